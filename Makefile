# One command a job; every target works in .venv, which the first one makes.
PYTHON ?= python3
# what pyproject.toml calls extras; EXTRAS=test,jax runs the tests of the layers on JAX too
EXTRAS ?= test
RUN = .venv/bin/python -m repro
PYTEST = .venv/bin/python -m pytest

.PHONY: .venv demo test test-slow report check
.DEFAULT_GOAL := demo

.venv: .venv/installed

.venv/installed: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "cnn_repro needs Python 3.11 or later, $(PYTHON) is $$($(PYTHON) -V 2>&1); try make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

# trains LeNet-5 and a small ResNet on digits that need no download, checks the gradients, writes the report
demo: .venv
	$(RUN) demo

# file by file in two processes: the fast set; `test-slow` runs what takes minutes or starts a browser
test: .venv
	$(PYTEST) -m "not slow and not real_data" -n 2 --dist loadfile

test-slow: .venv
	$(PYTEST) -m "slow or real_data" --durations=25 -n 2 --dist loadfile --no-loadscope-reorder

check: .venv
	$(RUN) check

report: .venv
	$(RUN) report --readme README.md
