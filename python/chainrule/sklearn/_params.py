# SPDX-License-Identifier: MIT
"""The parameters that both estimators share: what is allowed, and what they mean to the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

import chainrule as cr
from chainrule import _core

__all__ = ["CONSTRAINTS", "Architecture", "optimizer", "penalties", "threads"]

#: scikit-learn's names of activations that the core calls otherwise.
RENAMED = {"logistic": "sigmoid"}
ACTIVATIONS = {"identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu"}
STOCHASTIC = ("sgd", "adam", "rmsprop", "adamw")

_at_least_0 = Interval(Real, 0, None, closed="left")
_count = Interval(Integral, 1, None, closed="left")
_share = Interval(Real, 0, 1, closed="left")

CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", _count],
    "activation": [StrOptions(ACTIVATIONS), list, tuple],
    "solver": [StrOptions({"lbfgs", *STOCHASTIC})],
    "alpha": [_at_least_0, "array-like"],
    "batch_size": [StrOptions({"auto", "all"}), _count],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [_at_least_0],
    "max_iter": [_count],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_at_least_0],
    "verbose": ["verbose", StrOptions({"progress"})],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_share],
    "beta_1": [_share],
    "beta_2": [_share],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [_count, Options(Real, {np.inf})],
    "max_fun": [_count],
    "dropout": [_share, "array-like"],
    "l1": [_at_least_0, "array-like"],
    "monitor": [StrOptions({"score", "loss"})],
    "dtype": [StrOptions({"float32", "float64"}), Options(type, {np.float32, np.float64}), None],
    "n_jobs": [Integral, None],
    "device": [str],
}


def _by_layer(name: str, given: Any, count: int, what: str, allowed: Interval) -> list[float]:
    """Return one number a layer from a number or a sequence."""
    if np.ndim(given) == 0:
        return [float(given)] * count
    values = list(given)
    if len(values) != count:
        raise ValueError(f"{name} holds {len(values)} values: expected one number, or {count}, one for each {what}")
    for value in values:
        if not allowed.is_satisfied_by(value):
            raise ValueError(f"{name} holds {value!r}: expected {allowed}")
    return [float(v) for v in values]


class Architecture:
    """The hidden layers that the parameters describe, checked against each other."""

    def __init__(self, estimator: Any) -> None:
        sizes = estimator.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        self.sizes = [int(n) for n in sizes]
        count = len(self.sizes)
        given = estimator.activation
        names = [given] * count if isinstance(given, str) else list(given)
        if len(names) != count:
            raise ValueError(f"activation holds {len(names)} names: expected one name, or {count}, one for each hidden layer")
        for name in names:
            if name not in ACTIVATIONS:
                raise ValueError(f"activation holds {name!r}: expected names among {', '.join(sorted(ACTIVATIONS))}")
        self.activations = [RENAMED.get(name, name) for name in names]
        # without a hidden layer scikit-learn still takes its bounds from the activation
        self.starts = self.activations or ([RENAMED.get(given, given)] if isinstance(given, str) else [])
        self.dropout = _by_layer("dropout", estimator.dropout, count, "hidden layer", _share)


def optimizer(estimator: Any, alpha: float) -> cr.SGD | cr.Adam | cr.RMSprop | cr.AdamW:
    """Return the core's optimizer with step size `alpha` (scikit-learn's learning rate; its own alpha is lam here)."""
    below_1 = float(min(estimator.momentum, np.nextafter(1.0, 0.0)))  # scikit-learn allows 1
    if estimator.solver == "sgd":
        return cr.SGD(alpha, momentum=below_1, nesterov=bool(estimator.nesterovs_momentum and below_1 > 0))
    if estimator.solver == "rmsprop":
        return cr.RMSprop(alpha, rho=below_1, eps=estimator.epsilon)
    betas = {"beta1": estimator.beta_1, "beta2": estimator.beta_2, "eps": estimator.epsilon}
    if estimator.solver == "adam":
        return cr.Adam(alpha, eps_hat=True, **betas)
    if np.ndim(estimator.alpha):
        raise ValueError("alpha holds several values, but solver='adamw' decays all parameters alike: expected one number")
    return cr.AdamW(alpha, lam=float(estimator.alpha), **betas)


def penalties(estimator: Any, layers: Sequence[str], l1: bool = True) -> list[cr.L2 | cr.L1]:
    """Return what is added to the mean loss: (alpha / 2 sum w^2 + l1 sum |w|) / (the batch's number of rows)."""
    result: list[cr.L2 | cr.L1] = []
    if estimator.solver != "adamw":  # there alpha is the decay beside the step
        result += [cr.L2(lam, layers=names, per_sample=True) for lam, names in _grouped("alpha", estimator.alpha, layers)]
    if l1:
        # soft-thresholding is the exact step for plain gradients only; under Adam's scaling it would minimise something else
        exact = estimator.solver == "sgd"
        result += [cr.L1(lam, layers=names, per_sample=True, proximal=exact) for lam, names in _grouped("l1", estimator.l1, layers)]
    return result


def by_transition(name: str, given: Any, count: int) -> list[float]:
    """Return one strength for each layer with weights."""
    return _by_layer(name, given, count, "layer with weights (the output's included)", _at_least_0)


def _grouped(name: str, given: Any, layers: Sequence[str]) -> Iterable[tuple[float, tuple[str, ...] | None]]:
    strengths = by_transition(name, given, len(layers))
    if len(set(strengths)) == 1:
        return [(strengths[0], None)] if strengths[0] else []
    return [(lam, (layer,)) for lam, layer in zip(strengths, layers, strict=True) if lam]


@contextmanager
def threads(n_jobs: int | None) -> Any:
    """Use n_jobs threads inside, as joblib counts them; None: as many as chainrule uses anyway."""
    if n_jobs is None:
        yield
        return
    from joblib import effective_n_jobs

    before = _core.limit_threads(effective_n_jobs(n_jobs))
    try:
        yield
    finally:
        _core.limit_threads(before)
