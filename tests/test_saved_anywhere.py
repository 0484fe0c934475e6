"""F18: every layer saved, loaded and used in a fresh process: the same bits, in each precision, compiled and not."""
import json
import os
import subprocess
import sys

import keras
import numpy as np
import operators
import passes
import pytest

from cnn_repro import layers as L

CASES = operators.every("ANY_SIZE")
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")

CHILD = """
import json, sys
import cnn_repro.layers
import keras, numpy as np
folder, count = sys.argv[1], int(sys.argv[2])
inputs, found, configs = np.load(f"{folder}/inputs.npz"), {}, []
for case in range(count):
    model = keras.models.load_model(f"{folder}/{case}.keras")
    given = [inputs[key] for key in sorted(inputs.files) if key.startswith(f"{case}_")]
    for fused in (False, True):
        model.compile(jit_compile=fused)
        y = model.predict_on_batch(given if len(given) > 1 else given[0])
        found[f"{case}_{int(fused)}"] = np.asarray(y).astype("float32")
    configs.append(model.layers[-1].get_config())
np.savez(f"{folder}/outputs.npz", **found)
json.dump(configs, open(f"{folder}/configs.json", "w"))
assert not [name for name in sys.modules if name.startswith(("cnn_repro.repro", "cnn_repro.architectures"))]
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the child process computes on TensorFlow")
@pytest.mark.parametrize("policy", POLICIES)
def test_f18_a_fresh_process_predicts_the_same_bits(policy, tmp_path):
    given, expected, configs = {}, {}, []
    for case, (name, shape, arguments) in enumerate(CASES):
        shapes = shape if isinstance(shape, list) else [shape]
        keras.utils.set_random_seed(case)
        inputs = [keras.Input(one[1:]) for one in shapes]
        layer = getattr(L, name)(dtype=policy, **arguments)
        model = keras.Model(inputs, layer(inputs if len(inputs) > 1 else inputs[0]))
        values = passes.drawn(shape, dtype="float32")
        values = values if isinstance(values, list) else [values]
        given.update({f"{case}_{index}": value for index, value in enumerate(values)})
        for fused in (False, True):
            model.compile(jit_compile=fused)
            y = model.predict_on_batch(values if len(values) > 1 else values[0])
            expected[f"{case}_{int(fused)}"] = np.asarray(y).astype("float32")
        configs.append(layer.get_config())
        model.save(tmp_path / f"{case}.keras")
    np.savez(tmp_path / "inputs.npz", **given)
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), str(len(CASES))], capture_output=True, text=True,
                           timeout=900, cwd=tmp_path, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert child.returncode == 0, child.stderr[-2000:]
    found = np.load(tmp_path / "outputs.npz")
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=f"{CASES[int(key.split('_')[0])]}, compiled: {key[-1]}")
    assert json.loads((tmp_path / "configs.json").read_text()) == json.loads(json.dumps(configs))
