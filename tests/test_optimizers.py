"""The update rules against loops in NumPy (and PyTorch's, where it is installed), and the average of weights."""
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnn_repro.repro.training.average import Average
from cnn_repro.repro.training.optimizer import DiagonalLevenbergMarquardt, optimizer_of

STEPS = 20
SHAPES = [(3, 4), (4,), ()]
NAMES = ["first/kernel", "first/bias", "second/gamma"]
RATES = np.where(np.arange(STEPS) < 12, 0.05, 0.02)             # a step in the rate tells the two velocities apart


def begin(dtype="float64"):
    """Variables named as a model's, with numbers that any test can have again."""
    random = np.random.default_rng(0)
    values = [random.normal(size=shape) for shape in SHAPES]
    variables = [keras.Variable(value, dtype=dtype, name=name.split("/")[-1])
                 for value, name in zip(values, NAMES)]
    for variable, name in zip(variables, NAMES):
        variable._path = name
    gradients = [[random.normal(size=shape) for shape in SHAPES] for _ in range(STEPS)]
    return values, variables, gradients


def trained(resolved, dtype="float64", compiled=False):
    """The variables after STEPS steps of the optimizer, and the optimizer."""
    _, variables, gradients = begin(dtype)
    optimizer = optimizer_of(resolved, variables)

    def step(rate, some):
        optimizer.learning_rate.assign(rate)
        optimizer.apply(some, variables)

    step = tf.function(step) if compiled else step
    for rate, some in zip(RATES, gradients):
        step(tf.constant(rate, "float32"), [tf.constant(g, dtype) for g in some])
    return [variable.numpy() for variable in variables], optimizer


def looped(rule, treat=None, rates=RATES):
    """The same by a loop: rule(w, g, rate, t, memory) → w for every variable; treat(w, gradients) before it."""
    values, _, gradients = begin()
    values, memories = list(values), [{} for _ in values]
    for t, (rate, some) in enumerate(zip(rates.astype("float32").astype("float64"), gradients), 1):
        some = treat(values, some) if treat else some
        values = [rule(w, g, rate, t, memory) for w, g, memory in zip(values, some, memories)]
    return values


def plain(w, g, rate, t, memory):
    return w - rate * g


def caffe(w, g, rate, t, memory, nesterov=False):
    v = memory["v"] = 0.9 * memory.get("v", 0) - rate * g
    return w + (0.9 * v - rate * g if nesterov else v)


def torch_velocity(w, g, rate, t, memory, nesterov=False):
    v = memory["v"] = 0.9 * memory.get("v", 0) + g
    return w - rate * (g + 0.9 * v if nesterov else v)


def caffes_own_nesterov(w, g, rate, t, memory):
    """As the NesterovSolver writes it: with the history before and after the step, ν ← μ ν + η g."""
    before = memory.get("v", 0)
    after = memory["v"] = 0.9 * before + rate * g
    return w - (1.9 * after - 0.9 * before)


def rmsprop(w, g, rate, t, memory):
    s = memory["s"] = 0.9 * memory.get("s", 1.0) + 0.1 * g**2
    m = memory["m"] = 0.8 * memory.get("m", 0) + rate * g / np.sqrt(s + 0.5)
    return w - m


def adam(w, g, rate, t, memory):
    m = memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
    s = memory["s"] = 0.999 * memory.get("s", 0) + 0.001 * g**2
    return w - rate * (m / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-3)


SGD = {"name": "sgd", "momentum": 0.9}
ADAM = {"name": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-3}
RULES = [
    ({"name": "sgd"}, plain),
    (SGD, caffe),
    (SGD | {"velocity": "torch"}, torch_velocity),
    (SGD | {"nesterov": True}, lambda *given: caffe(*given, nesterov=True)),
    (SGD | {"nesterov": True}, caffes_own_nesterov),
    (SGD | {"nesterov": True, "velocity": "torch"}, lambda *given: torch_velocity(*given, nesterov=True)),
    ({"name": "rmsprop", "decay": 0.9, "momentum": 0.8, "epsilon": 0.5}, rmsprop),
    (ADAM, adam),
    (ADAM | {"beta1": 0, "beta2": 0, "epsilon": 0.5}, lambda w, g, rate, t, memory: w - rate * g / (abs(g) + 0.5)),
]


@pytest.mark.parametrize("resolved, rule", RULES)
def test_a_rule_is_the_loop_of_its_formula(resolved, rule):
    expected = looped(rule)
    for one, other in zip(trained(resolved)[0], expected):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    for one, other in zip(trained(resolved, "float32", compiled=True)[0], expected):
        np.testing.assert_allclose(one, other, rtol=3e-6, atol=1e-6)


def test_the_two_velocities_differ_only_where_the_rate_changes():
    caffes, torchs = looped(caffe), looped(torch_velocity)
    assert np.abs(caffes[0] - torchs[0]).max() > 1e-2
    steady = np.full(STEPS, 0.05)
    np.testing.assert_allclose(looped(caffe, rates=steady)[0], looped(torch_velocity, rates=steady)[0], rtol=1e-12)


def torch_trained(make):
    """PyTorch's own optimizer on the same numbers."""
    torch = pytest.importorskip("torch")
    values, _, gradients = begin()
    parameters = [torch.nn.Parameter(torch.tensor(np.asarray(value))) for value in values]
    optimizer = make(torch.optim, parameters)
    for rate, some in zip(RATES.astype("float32").astype("float64"), gradients):
        for parameter, g in zip(parameters, some):
            parameter.grad = torch.tensor(np.asarray(g))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters]


@pytest.mark.parametrize("resolved, make", [
    (SGD | {"velocity": "torch", "weight_decay": 0.01}, lambda o, p: o.SGD(p, 0.1, 0.9, weight_decay=0.01)),
    (SGD | {"velocity": "torch", "nesterov": True, "weight_decay": 0.01},
     lambda o, p: o.SGD(p, 0.1, 0.9, weight_decay=0.01, nesterov=True)),
    (ADAM | {"weight_decay": 0.01}, lambda o, p: o.Adam(p, 0.1, eps=1e-3, weight_decay=0.01)),
    (ADAM | {"weight_decay": 0.1, "decoupled": True}, lambda o, p: o.AdamW(p, 0.1, eps=1e-3, weight_decay=0.1)),
])
def test_pytorchs_optimizers_agree(resolved, make):
    expected = torch_trained(make)
    for one, other in zip(trained(resolved)[0], expected):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_rmsprop_is_tensorflows_and_neither_kerass_nor_pytorchs():
    resolved = {"name": "rmsprop", "decay": 0.9, "momentum": 0.8, "epsilon": 0.5}
    other = torch_trained(lambda o, p: o.RMSprop(p, 0.1, alpha=0.9, eps=0.5, momentum=0.8))
    assert np.abs(trained(resolved)[0][0] - other[0]).max() > 1e-2
    values, variables, gradients = begin()
    optimizer = optimizer_of(resolved, variables)
    ms, mom, w = (tf.Variable(value) for value in (np.ones((3, 4)), np.zeros((3, 4)), values[0]))
    for some in gradients:
        optimizer.learning_rate.assign(0.05)
        optimizer.apply([tf.constant(g) for g in some], variables)
        tf.raw_ops.ResourceApplyRMSProp(                    # the kernel that TensorFlow 1's optimizer runs
            var=w.handle, ms=ms.handle, mom=mom.handle, lr=np.float64(np.float32(0.05)), rho=np.float64(0.9),
            momentum=np.float64(0.8), epsilon=np.float64(0.5), grad=some[0])
    np.testing.assert_allclose(variables[0].numpy(), w.numpy(), rtol=1e-12)


# ---------------------------------------------------------------------------- decay, clipping, groups

def test_weight_decay_is_a_term_of_the_gradient():
    found, _ = trained(SGD | {"weight_decay": 0.1})
    expected = looped(caffe, lambda values, some: [g + 0.1 * w for w, g in zip(values, some)])
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_decoupled_decay_shrinks_the_weight_and_leaves_the_velocity_alone():
    found, _ = trained(SGD | {"weight_decay": 0.1, "decoupled": True})
    expected = looped(lambda w, g, rate, t, memory: caffe(w * (1 - rate * 0.1), g, rate, t, memory))
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("decoupled", [False, True])
def test_decay_of_kernels_spares_biases_and_batch_normalisation(decoupled):
    common = {"name": "sgd", "decoupled": decoupled}
    some, _ = trained(common | {"weight_decay": 0.1, "decay_of": "kernels"})
    none, every = trained(common)[0], trained(common | {"weight_decay": 0.1})[0]
    np.testing.assert_array_equal(some[0], every[0])
    np.testing.assert_array_equal(some[1], none[1])
    np.testing.assert_array_equal(some[2], none[2])
    assert not np.allclose(every[1], none[1])


@pytest.mark.parametrize("decoupled", [False, True])
def test_a_group_has_a_rate_and_a_decay_of_its_own_and_the_first_match_counts(decoupled):
    groups = [{"match": "*/bias", "rate": 2.0, "weight_decay": 0.0}, {"match": "first/*", "weight_decay": 0.3}]
    found, _ = trained({"name": "sgd", "weight_decay": 0.1, "decoupled": decoupled, "groups": groups})
    for index, (factor, decay) in enumerate([(1, 0.3), (2, 0), (1, 0.1)]):
        expected = looped(lambda w, g, rate, t, memory: w - factor * rate * (g + decay * w))[index]
        np.testing.assert_allclose(found[index], expected, rtol=1e-10)


def test_a_group_that_matches_nothing_first_is_one_line_with_paths():
    for match in ("*/depthwise_kernel", "first/bias"):
        groups = [{"match": "*/bias", "rate": 2}, {"match": match, "weight_decay": 0}]
        with pytest.raises(ValueError) as error:
            trained({"name": "sgd", "groups": groups})
        assert match in str(error.value) and "first/kernel" in str(error.value) and "\n" not in str(error.value)


def test_clipping_by_norm_takes_all_gradients_together_with_their_decay():
    def treat(values, some):
        some = [g + 0.1 * w for w, g in zip(values, some)]
        norm = np.sqrt(sum((g**2).sum() for g in some))
        return [g * min(1, 3.5 / norm) for g in some]

    found, _ = trained(SGD | {"weight_decay": 0.1, "clip_norm": 3.5})
    for one, other in zip(found, looped(caffe, treat)):
        np.testing.assert_allclose(one, other, rtol=1e-10)
    norms = [np.sqrt(sum((g**2).sum() for g in some)) for some in begin()[2]]
    assert min(norms) < 3.5 < max(norms)                    # both sides of the minimum were met


def test_clipping_by_value_takes_every_component():
    found, _ = trained({"name": "sgd", "clip_value": 0.4})
    for one, other in zip(found, looped(plain, lambda values, some: [np.clip(g, -0.4, 0.4) for g in some])):
        np.testing.assert_allclose(one, other, rtol=1e-10)


def test_a_missing_gradient_names_its_variable():
    _, variables, gradients = begin()
    optimizer = optimizer_of(SGD, variables)
    with pytest.raises(ValueError, match=r"no gradient for first/bias.*trainable") as error:
        optimizer.apply([gradients[0][0], None, gradients[0][2]], variables)
    assert "\n" not in str(error.value) and int(optimizer.iterations) == 0


# ------------------------------------------------------------------------------------ what a checkpoint keeps

@pytest.mark.parametrize("resolved", [resolved for resolved, _ in RULES]
                         + [{"name": "sdlm", "mu": 0.1, "hessian_samples": 3}])
def test_all_of_an_optimizers_memory_is_in_its_variables(resolved):
    """Ten steps, the variables copied into a new optimizer, ten more: the same as twenty."""
    def half(optimizer, variables, gradients):
        for some in gradients:
            optimizer.learning_rate.assign(0.05)
            optimizer.apply([tf.constant(g) for g in some], variables)

    _, variables, gradients = begin()
    whole = optimizer_of(resolved, variables)
    if isinstance(whole, DiagonalLevenbergMarquardt):
        whole.set_curvature([np.full(shape, 2.0) for shape in SHAPES])
    half(whole, variables, gradients[:10])
    _, others, _ = begin()
    resumed = optimizer_of(resolved, others)
    for own, kept in zip(others + resumed.variables, variables + whole.variables, strict=True):
        own.assign(kept.numpy())
    half(whole, variables, gradients[10:])
    half(resumed, others, gradients[10:])
    for one, other in zip(variables + whole.variables, others + resumed.variables):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(resumed.iterations) == STEPS
    assert json.dumps(whole.get_config())                   # and its settings are plain numbers


def test_levenberg_marquardt_divides_by_the_curvature():
    _, variables, gradients = begin()
    before = [variable.numpy() for variable in variables]
    optimizer = optimizer_of({"name": "sdlm", "mu": 0.5, "hessian_samples": 3}, variables)
    optimizer.set_curvature([np.full(shape, 1.5) for shape in SHAPES])
    optimizer.learning_rate.assign(0.25)
    optimizer.apply([tf.constant(g) for g in gradients[0]], variables)
    for old, variable, g in zip(before, variables, gradients[0]):
        np.testing.assert_allclose(variable.numpy(), old - 0.125 * g, rtol=1e-12)


def test_replicas_gradients_are_added_before_decay_and_clipping():
    """Two logical devices, one process: the step of their sum."""
    script = '''
import numpy as np, tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
import keras
from cnn_repro.repro.training.optimizer import optimizer_of
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    w = keras.Variable(np.array([1.0, 2.0]), dtype="float32", name="kernel")
    optimizer = optimizer_of({"name": "sgd", "weight_decay": 0.5, "clip_norm": 1.0}, [w])

@tf.function
def step():
    def replica():
        which = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.float32)
        optimizer.learning_rate.assign(0.1)
        optimizer.apply([tf.stack([1.0 + which, 2.0])], [w])
    strategy.run(replica)

step()
total = np.array([3.0, 4.0]) + 0.5 * np.array([1.0, 2.0])
expected = np.array([1.0, 2.0]) - 0.1 * total / np.linalg.norm(total)
np.testing.assert_allclose(keras.ops.convert_to_numpy(w), expected, rtol=1e-6)
print("equal")
'''
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert child.stdout.split() == ["equal"], child.stderr[-2000:]


# ------------------------------------------------------------------------------------------- the average

def test_the_average_follows_the_weights_and_steps_aside():
    values, variables, gradients = begin()
    average = Average(variables, 0.5)
    update = tf.function(average.update)
    expected = [np.array(value) for value in values]
    for t, some in enumerate(gradients, 1):
        for variable, g in zip(variables, some):
            variable.assign(g)
        update()
        decay = min(0.5, (1 + t) / (10 + t))                # 2/11, 3/12, … up to a half
        expected = [decay * a + (1 - decay) * g for a, g in zip(expected, some)]
    own = [variable.numpy() for variable in variables]
    with average.swapped():
        for variable, values in zip(variables, expected):
            np.testing.assert_allclose(variable.numpy(), values, rtol=1e-5, atol=1e-7)
    for variable, values in zip(variables, own):
        np.testing.assert_array_equal(variable.numpy(), values)
    assert int(average.variables[0]) == STEPS and len(average.variables) == 1 + len(variables)


def test_the_weights_come_back_when_an_evaluation_fails():
    _, variables, _ = begin("float32")
    average = Average(variables, 0.9)
    variables[0].assign(variables[0] + 1)
    own = variables[0].numpy()
    with pytest.raises(KeyboardInterrupt), average.swapped():
        assert not np.array_equal(variables[0].numpy(), own)
        raise KeyboardInterrupt
    np.testing.assert_array_equal(variables[0].numpy(), own)


def test_an_average_takes_a_models_moving_averages_and_leaves_its_seeds():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dropout(0.5, seed=1)(keras.layers.BatchNormalization()(inputs)))
    average = Average(model.variables, 0.9)
    assert len(average.variables) == 1 + 4                  # gamma, beta and the two moving ones
