"""The papers' update rules.

Momentum is Caffe's and Keras's: v ← m v − η (g + λ w), w ← w + v, so a change of the rate acts on the velocity
gathered afterwards only. Weight decay is coupled (it is added to the gradient) and covers all trainable variables.
"""
import keras
from keras import ops


def optimizer_of(resolved: dict, variables) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, built for `variables`. The rate is set at every step by the schedule."""
    if resolved["name"] == "sdlm":
        optimizer = DiagonalLevenbergMarquardt(mu=resolved["mu"], hessian_samples=resolved["hessian_samples"])
    else:
        optimizer = keras.optimizers.SGD(0.0, momentum=resolved.get("momentum", 0.0))
    optimizer.build(variables)
    return optimizer


class DiagonalLevenbergMarquardt(keras.optimizers.Optimizer):
    """Stochastic diagonal Levenberg-Marquardt: w_k ← w_k − η/(μ + h_kk) · ∂E/∂w_k.

    h_kk is the error's second derivative by w_k in the Gauss-Newton approximation, estimated on `hessian_samples`
    images before every pass and fixed during it.
    Source: LeCun et al. 1998, section III.B (equation 21) and appendix C.
    """

    def __init__(self, mu: float, hessian_samples: int, learning_rate=0.0, name="sdlm", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.mu, self.hessian_samples = mu, hessian_samples

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.curvature = [self.add_variable_from_reference(v, name="curvature") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        h = self.curvature[self._get_variable_index(variable)]
        step = ops.cast(learning_rate, variable.dtype) / (self.mu + h) * ops.cast(gradient, variable.dtype)
        self.assign_sub(variable, step)

    def set_curvature(self, diagonal) -> None:
        """h_kk, one array a variable, as training.curvature.diagonal computes it."""
        for h, values in zip(self.curvature, diagonal, strict=True):
            h.assign(values)

    def get_config(self):
        return {**super().get_config(), "mu": self.mu, "hessian_samples": self.hessian_samples}
