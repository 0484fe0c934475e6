"""The papers' update rules.

Momentum is Caffe's and Keras's: v ← m v − η (g + λ w), w ← w + v, so a change of the rate acts on the velocity
gathered afterwards only. Weight decay is coupled (it is added to the gradient) and covers all trainable variables.
"""
import keras
import numpy as np
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

    h_kk is the running estimate of the error's second derivative by w_k, in the Gauss-Newton approximation that
    makes it non-negative. The loop calls `reestimate` before every pass.
    Source: LeCun et al. 1998, section III.B (equation 21) and appendix C.
    """

    def __init__(self, mu: float, hessian_samples: int, name="sdlm", **kwargs):
        super().__init__(learning_rate=0.0, name=name, **kwargs)
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

    def reestimate(self, gradients_of, samples) -> None:
        """Set h_kk to the mean of squared per-image gradients over `samples`.

        gradients_of(sample) -> one gradient a variable, of the loss of one image whose label is drawn from the
        network's own output. For a loss that is a log-likelihood the mean of their squares is the Gauss-Newton
        diagonal (the Fisher information); the paper obtains it by a second back-propagation with off-diagonal
        terms dropped, which approximates the same quantity.
        """
        total = [np.zeros(h.shape, "float64") for h in self.curvature]
        count = 0
        for sample in samples:
            for sum_, gradient in zip(total, gradients_of(sample)):
                sum_ += np.square(np.asarray(gradient, "float64"))
            count += 1
        for h, sum_ in zip(self.curvature, total):
            h.assign((sum_ / count).astype("float32"))

    def get_config(self):
        return {**super().get_config(), "mu": self.mu, "hessian_samples": self.hessian_samples}
