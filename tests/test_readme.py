"""The README's uses of the package are run as they stand, next to a project with a `layers` package of its own."""
import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import cnn_repro
from cnn_repro.architectures import build

ROOT = Path(cnn_repro.__file__).resolve().parent
if not (ROOT / "README.md").is_file():
    pytest.skip("installed without its checkout", allow_module_level=True)

SECTION = (ROOT / "README.md").read_text(encoding="utf-8").split("## Use it elsewhere")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.S)
USES = [block for block in BLOCKS if "# →" in block]


def test_there_are_five_uses_that_say_what_they_print():
    assert len(USES) >= 5
    rest = [block for block in BLOCKS if block not in USES]
    assert all("runs/…" in block or "reports import load" in block for block in rest)      # held by other tests


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose own `layers` and `repro` packages must not be touched."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("layers", "repro", "architectures"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('this is the project\'s own')\n")
    return folder


@pytest.mark.slow
def test_the_uses_print_what_the_readme_says(project):
    """In one process, one after the other, each with a namespace and a precision of its own."""
    child = subprocess.run([sys.executable, __file__], cwd=project, input="\0".join(USES), capture_output=True, text=True,
                           timeout=600, env={**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert child.returncode == 0, child.stderr[-3000:]
    assert child.stdout.splitlines()[-1] == f"{len(USES)} uses"


def test_importing_the_networks_brings_nothing_but_keras(project):
    code = ("import sys, keras; before = set(sys.modules); import cnn_repro.architectures; "
            "print({name.split('.')[0] for name in set(sys.modules) - before})")
    child = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, timeout=120)
    assert child.stdout.strip() == "{'cnn_repro'}", child.stderr[-2000:]


def run(uses):
    for use in uses:
        random = np.random.default_rng(0)
        names = {"images": random.random((16, 32, 32, 3), "float32"), "labels": random.integers(0, 4, 16)}
        expected, = re.findall(r"# → (.*)", use)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(use, "README.md", "exec"), names)                      # noqa: S102
        keras.config.set_dtype_policy("float32")
        assert said.getvalue().splitlines()[-1] == expected, (use, said.getvalue())
    print(f"{len(uses)} uses")


def test_a_network_becomes_an_onnx_file(tmp_path):
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed: pip install -e '.[export]'")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[export]'")
    keras.utils.set_random_seed(0)
    model = build("resnet20_cifar", input_shape=(16, 16, 3))
    images = np.random.default_rng(0).random((2, 16, 16, 3), "float32")
    expected = np.asarray(model(images))                    # Keras exports only what has been called
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    found, = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("file", ["onnx", pytest.param("tf_saved_model", marks=pytest.mark.slow)])
def test_a_network_of_grouped_convolutions_is_read_without_its_code(tmp_path, file):
    """In a fresh process. Keras has XLA compile such convolutions on a CPU, which onnxruntime knows nothing of."""
    if file == "onnx":
        for needed in ("tf2onnx", "onnxruntime"):
            pytest.importorskip(needed, reason=f"{needed} is not installed: pip install -e '.[export]'")
    keras.utils.set_random_seed(0)
    model = build("lecun1989")
    images = np.random.default_rng(0).random((2, 16, 16, 1), "float32")
    np.savez(tmp_path / "known.npz", images=images, scores=np.asarray(model(images)))
    model.export(tmp_path / "model", format=file, verbose=False)
    code = {"onnx": """
import onnxruntime
session = onnxruntime.InferenceSession("model")
found, = session.run(None, {session.get_inputs()[0].name: known["images"]})
""", "tf_saved_model": """
import tensorflow as tf
served = tf.saved_model.load("model")
found = served.serve(known["images"]).numpy()
"""}[file]
    code = f"""import sys, numpy as np
known = np.load("known.npz")
{code}
np.testing.assert_allclose(found, known["scores"], atol=1e-6)
assert "cnn_repro" not in sys.modules
"""
    child = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, child.stderr[-2000:]


if __name__ == "__main__":
    run(sys.stdin.read().split("\0"))
