"""Second derivatives by a second back-propagation: the curvature that LeNet-5's training divides by.

For a unit with total input a_i = Σ_j u_ij x_j, output y_i = f(a_i) and curvature c_i = ∂²E/∂a_i²

    ∂²E/∂u_ij²  = c_i x_j²                  h_kk: its sum over the connections that share weight k, mean over images
    c_j         = f′(a_j)² Σ_i u_ij² c_i    Gauss-Newton: without f″, so never negative

That is the backward pass with squared weights, squared inputs and squared slopes, so the written-out gradients of
cnn_repro.layers compute it as they are.  Source: LeCun et al. 1998, appendix C, equations 23 to 27.
"""
import keras
import numpy as np
from keras import ops

from ...layers import activation, convolution, dense, pooling, table
from ...layers.window import Window
from ..papers import RecipeError


def diagonal(model, images, loss: dict) -> list[np.ndarray]:
    """h_kk of every trainable variable of a sequential model of LeNet-5's layers, in their order.

    images (N, H, W, C), loss: the recipe's. Raises RecipeError for a layer without a rule here.
    """
    x, steps = ops.convert_to_tensor(images), []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        y = layer(x)
        steps.append((layer, x, y))
        x = y
    found, curvature = {}, None
    for layer, x, y in reversed(steps):
        kind = type(layer).__name__
        if curvature is None:
            if kind != "RadialBasis" or loss["name"] != "map":
                raise RecipeError("the optimizer sdlm is LeNet-5's: it needs radial basis functions as output and the "
                                  f"loss map, not {kind} and {loss['name']}; use sgd")
            curvature = radial_curvature(x)
        elif kind in RULES:
            curvature, own = RULES[kind](layer, x, y, curvature)
            found.update({variable.path: value for variable, value in own})
        else:
            raise RecipeError(f"the optimizer sdlm has no second back-propagation for {kind} ({layer.name}); use sgd")
    return [ops.convert_to_numpy(found[variable.path]) / len(images) for variable in model.trainable_variables]


def radial_curvature(x):
    """∂²E/∂x_i² behind radial basis functions: 2, that of the right class's penalty Σ_i (x_i − c_Di)².

    The paper does not say what it starts from. The MAP loss's own second derivative goes to 0 as the network becomes
    sure, the rates then rise to η/μ, and on MNIST the second pass ended at 20 % training error; so the term that is
    common to the paper's two losses (equations 8 and 9) is taken.
    """
    return 2 * ops.ones_like(x)


def _through_activation(layer, y, curvature):
    """c of the total input from that of the output: f′(a)² c."""
    if layer.activation is activation.scaled_tanh:
        return curvature * activation.scaled_tanh_gradient(1.0, y)**2
    if getattr(layer.activation, "__name__", "linear") == "linear":
        return curvature
    raise RecipeError(f"the optimizer sdlm has no second back-propagation for the activation of {layer.name}; use sgd")


def _convolution(layer, x, y, curvature):
    c = _through_activation(layer, y, curvature)
    kernel, window = ops.copy(layer.kernel), Window.of(layer.kernel_size, layer.strides, layer.padding)
    return convolution.input_gradient(c, x, kernel**2, window), [
        (layer.kernel, convolution.kernel_gradient(c, x**2, kernel, window)), (layer.bias, dense.bias_gradient(c))]


def _table(layer, x, y, curvature):
    c = _through_activation(layer, y, curvature)
    kernel, window = layer.dense_kernel(layer.kernel), Window.of((layer.kernel_size,) * 2, 1, "valid")
    wide = convolution.kernel_gradient(c, x**2, kernel, window)
    return convolution.input_gradient(c, x, kernel**2, window), [
        (layer.kernel, table.listed_kernels(wide, layer.spread)), (layer.bias, dense.bias_gradient(c))]


def _subsampling(layer, x, y, curvature):
    """The coefficient multiplies the sum of a window, which is its one input."""
    c = _through_activation(layer, y, curvature)
    w, window = ops.copy(layer.coefficient), Window.of((layer.pool_size,) * 2, layer.pool_size, "valid")
    below, _ = pooling.subsampling_gradients(c, x, w**2, window)
    return below, [(layer.coefficient, ops.sum(c * pooling.window_sum(x, window)**2, axis=(0, 1, 2))),
                   (layer.bias, dense.bias_gradient(c))]


def _dense(layer, x, y, curvature):
    c = _through_activation(layer, y, curvature)
    return dense.dense_input_gradient(c, ops.copy(layer.kernel)**2), [
        (layer.kernel, dense.dense_kernel_gradient(c, x**2)), (layer.bias, dense.bias_gradient(c))]


def _flatten(layer, x, y, curvature):
    return ops.reshape(curvature, ops.shape(x)), []


RULES = {"Conv2D": _convolution, "TableConv2D": _table, "Subsampling2D": _subsampling, "Dense": _dense,
         "Flatten": _flatten}
