"""python -m repro …, from the checkout or from anywhere the package is installed."""
import sys

try:
    from cnn_repro.repro.cli import main
except ModuleNotFoundError as error:
    if error.name and error.name.split(".")[0] != "cnn_repro":
        missing = f"the package {error.name} is not installed"
    else:
        missing = "cnn_repro is not installed in this Python"
    sys.exit(f"{missing}; run `make .venv` in the checkout, then .venv/bin/python -m repro, or `pip install -e .`")

sys.exit(main())
