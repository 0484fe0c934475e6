"""The papers' update rules, and what is done to the gradients before them.

w: a variable, g: the gradient of the mean loss by it, η: the rate of the step, v, m, s: what the rule remembers.

    SGD, Caffe's          v ← μ v − η g,  w ← w + v                 a new rate acts on what is gathered from then on
        Nesterov          v ← μ v − η g,  w ← w + μ v − η g
    SGD, Torch's          v ← μ v + g,    w ← w − η v               a new rate acts on the whole velocity at once
        Nesterov          v ← μ v + g,    w ← w − η (g + μ v)
    RMSProp, TensorFlow's s ← ρ s + (1 − ρ) g²,  m ← μ m + η g/√(s + ε),  w ← w − m;  s begins with 1
    Adam                  m ← β₁ m + (1 − β₁) g,  s ← β₂ s + (1 − β₂) g²,
                          w ← w − η (m/(1 − β₁ᵗ)) / (√(s/(1 − β₂ᵗ)) + ε);  t = 1 in the first step
    sdlm                  w ← w − η/(μ + h) g

At a constant rate the two forms of SGD are one. Weight decay λ is a term ½ λ w² of the loss, so that it is clipped
with the rest (g ← g + λ w), or decoupled from it (w ← w − η λ w, then the rule).

Sources: Caffe's SGDSolver and NesterovSolver (Krizhevsky et al. 2012, section 5, has the former); Sutskever et al.
2013 for Nesterov's form; torch.optim.SGD; the RMSProp of TensorFlow 1 (PyTorch's and Keras's begin with 0, PyTorch's
has ε outside the root); Kingma and Ba 2015, algorithm 1 (TensorFlow 1 has its ε in place of ε √(1 − β₂ᵗ));
Loshchilov and Hutter 2019 for the decoupled decay.
"""
import math
from abc import ABC, abstractmethod
from fnmatch import fnmatchcase

import keras
from keras import ops

NO_KERNELS = ("bias", "beta", "gamma")          # decay_of = "kernels" leaves variables of these names out


def optimizer_of(resolved: dict, variables) -> keras.optimizers.Optimizer:
    """The optimizer of a resolved recipe's table, built for `variables`; the schedule sets the rate at every step.

    Raises ValueError where a group of the recipe names no variable.
    """
    rules = {"sgd": Momentum, "rmsprop": RMSProp, "adam": Adam, "sdlm": DiagonalLevenbergMarquardt}
    optimizer = rules[resolved["name"]](**{key: value for key, value in resolved.items() if key != "name"})
    optimizer.build(variables)
    return optimizer


class UpdateRule(keras.optimizers.Optimizer, ABC):
    """A rule's common part: weight decay, clipping, groups of variables; `move` is the rule.

    weight_decay λ covers all variables or the kernels only (decay_of); clip_value limits every component of a
    gradient to ± its value, clip_norm the L2 norm of all gradients together. groups: tables of `match`, a pattern of
    variable.path, with `rate`, a factor of the rate, and a `weight_decay` of their own; the first match counts.
    """

    def __init__(self, learning_rate=0.0, weight_decay=0.0, decoupled=False, decay_of="all", clip_norm=None,
                 clip_value=None, groups=(), **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.decay, self.decoupled, self.decay_of = weight_decay, decoupled, decay_of
        self.clip_norm, self.clip_value = clip_norm, clip_value
        self.groups = [dict(group) for group in groups]

    def build(self, variables):
        """Make the rule's memory for `variables` (Keras variables)."""
        if self.built:
            return
        super().build(variables)
        chosen = [self._group_of(variable.path) for variable in variables]
        for group in self.groups:
            if group not in chosen:
                raise ValueError(
                    f"optimizer.groups: {group['match']!r} is the first to match no variable's path; "
                    f"paths are written like {variables[0].path!r} or {variables[-1].path!r}")
        self.factors = tuple(group.get("rate", 1.0) for group in chosen)
        self.decays = tuple(
            group.get("weight_decay", 0.0 if self.decay_of == "kernels" and v.name in NO_KERNELS else self.decay)
            for group, v in zip(chosen, variables))

    def _group_of(self, path: str) -> dict:
        return next((group for group in self.groups if fnmatchcase(path, group["match"])), {})

    def apply(self, gradients, trainable_variables=None):
        """One step: gradients of the mean loss, one a variable. Raises ValueError where one is missing."""
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        for gradient, variable in zip(gradients, variables):
            if gradient is None:
                raise ValueError(f"the loss has no gradient for {variable.path}: expected one for every trainable "
                                 "variable; build the network without it, or set its layer's trainable = False")
        super().apply(gradients, trainable_variables)

    def completed(self, gradients, variables) -> list:
        """∂(loss + ½ Σ λ w²)/∂w, clipped: gradients and variables in the order of `build`."""
        if not self.decoupled:
            gradients = [g + decay * ops.convert_to_tensor(w) if decay else g
                         for g, w, decay in zip(gradients, variables, self.decays)]
        if self.clip_value is not None:
            gradients = [ops.clip(g, -self.clip_value, self.clip_value) for g in gradients]
        if self.clip_norm is not None:
            norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in gradients))
            scale = self.clip_norm / ops.maximum(norm, self.clip_norm)
            gradients = [g * scale for g in gradients]
        return gradients

    # Keras's hooks: the gradients are complete after the replicas' have been added, and before any variable moves.
    def _backend_update_step(self, gradients, variables, learning_rate):
        if keras.backend.backend() != "tensorflow":
            gradients = self.completed(gradients, variables)
        super()._backend_update_step(gradients, variables, learning_rate)

    def _all_reduce_sum_gradients(self, pairs):
        gradients, variables = zip(*super()._all_reduce_sum_gradients(pairs))
        return list(zip(self.completed(gradients, variables), variables))

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        gradient, rate = ops.cast(gradient, variable.dtype), ops.cast(learning_rate, variable.dtype)
        if self.factors[index] != 1:
            rate = rate * self.factors[index]
        if self.decoupled and self.decays[index]:
            self.assign_sub(variable, rate * self.decays[index] * ops.convert_to_tensor(variable))
        self.move(gradient, variable, rate, index)

    @abstractmethod
    def move(self, gradient, variable, rate, index):
        """The rule for the variable of that index."""

    def get_config(self):
        config = super().get_config()
        config.update(weight_decay=self.decay, decoupled=self.decoupled, decay_of=self.decay_of,
                      clip_norm=self.clip_norm, clip_value=self.clip_value,
                      groups=[dict(group) for group in self.groups])
        return config


class Momentum(UpdateRule):
    """Stochastic gradient descent, its velocity "caffe" or "torch", with Nesterov's step or without."""

    def __init__(self, momentum=0.0, nesterov=False, velocity="caffe", name="sgd", **kwargs):
        super().__init__(name=name, **kwargs)
        self.momentum, self.nesterov, self.velocity = momentum, nesterov, velocity

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        remembered = variables if self.momentum else []
        self.velocities = [self.add_variable_from_reference(v, name="velocity") for v in remembered]

    def move(self, gradient, variable, rate, index):
        if not self.momentum:
            self.assign_sub(variable, rate * gradient)
            return
        v, torch = self.velocities[index], self.velocity == "torch"
        step = gradient if torch else -rate * gradient
        velocity = self.momentum * v + step
        self.assign(v, velocity)
        ahead = self.momentum * velocity + step if self.nesterov else velocity
        if torch:
            self.assign_sub(variable, rate * ahead)
        else:
            self.assign_add(variable, ahead)

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov,
                "velocity": self.velocity}


class RMSProp(UpdateRule):
    """TensorFlow 1's RMSProp: the rate enters the momentum, ε is inside the root, the mean square begins with 1."""

    def __init__(self, decay=0.9, momentum=0.0, epsilon=1e-10, name="rmsprop", **kwargs):
        super().__init__(name=name, **kwargs)
        self.rho, self.momentum, self.epsilon = decay, momentum, epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.squares = [self.add_variable_from_reference(v, name="square", initializer="ones") for v in variables]
        self.velocities = [self.add_variable_from_reference(v, name="velocity") for v in variables]

    def move(self, gradient, variable, rate, index):
        s, m = self.squares[index], self.velocities[index]
        square = self.rho * s + (1 - self.rho) * ops.square(gradient)
        velocity = self.momentum * m + rate * gradient * ops.rsqrt(square + self.epsilon)
        self.assign(s, square)
        self.assign(m, velocity)
        self.assign_sub(variable, velocity)

    def get_config(self):
        return {**super().get_config(), "decay": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}


class Adam(UpdateRule):
    """Adam as its paper's algorithm 1 has it; with decoupled decay it is AdamW."""

    def __init__(self, beta1=0.9, beta2=0.999, epsilon=1e-8, name="adam", **kwargs):
        super().__init__(name=name, **kwargs)
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.means = [self.add_variable_from_reference(v, name="mean") for v in variables]
        self.squares = [self.add_variable_from_reference(v, name="square") for v in variables]

    def move(self, gradient, variable, rate, index):
        m, s = self.means[index], self.squares[index]
        step = ops.cast(self.iterations + 1, variable.dtype)
        mean = self.beta1 * m + (1 - self.beta1) * gradient
        square = self.beta2 * s + (1 - self.beta2) * ops.square(gradient)
        self.assign(m, mean)
        self.assign(s, square)
        mean = mean / _seen(self.beta1, step)
        square = square / _seen(self.beta2, step)
        self.assign_sub(variable, rate * mean / (ops.sqrt(square) + self.epsilon))

    def get_config(self):
        return {**super().get_config(), "beta1": self.beta1, "beta2": self.beta2, "epsilon": self.epsilon}


def _seen(beta: float, step):
    """1 − βᵗ: how much of an average that began with 0 are values. As expm1, for β near 1 in float32."""
    return -ops.expm1(step * math.log(beta)) if beta else 1.0


class DiagonalLevenbergMarquardt(UpdateRule):
    """Stochastic diagonal Levenberg-Marquardt: w_k ← w_k − η/(μ + h_kk) · ∂E/∂w_k.

    h_kk is the error's second derivative by w_k in the Gauss-Newton approximation, estimated on `hessian_samples`
    images before every pass and fixed during it.
    Source: LeCun et al. 1998, section III.B (equation 21) and appendix C.
    """

    def __init__(self, mu: float, hessian_samples: int, name="sdlm", **kwargs):
        super().__init__(name=name, **kwargs)
        self.mu, self.hessian_samples = mu, hessian_samples

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.curvature = [self.add_variable_from_reference(v, name="curvature") for v in variables]

    def move(self, gradient, variable, rate, index):
        self.assign_sub(variable, rate / (self.mu + self.curvature[index]) * gradient)

    def set_curvature(self, diagonal) -> None:
        """h_kk, one array a variable, as training.curvature.diagonal computes it."""
        for h, values in zip(self.curvature, diagonal, strict=True):
            h.assign(values)

    def get_config(self):
        return {**super().get_config(), "mu": self.mu, "hessian_samples": self.hessian_samples}
