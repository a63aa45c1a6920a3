# SPDX-License-Identifier: MIT
"""Losses over rows: (sum_i s_i L_i, the gradient times s_i times `scale`). Rows are all axes but the last.

`y` has the shape of the argument, or is integer labels 0 .. K-1 with one axis less. The smallest normal number that
guards a logarithm is that of the argument's dtype; everything else is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .activations import Array, activation_forward, float64, log_softmax, softmax_forward

Loss = Callable[..., tuple[float, Array]]


def targets(x: Array, y: npt.ArrayLike) -> Array:
    """`y` in the shape of `x`: labels become one-hot rows."""
    y = np.asarray(y)
    if y.shape == x.shape or (y.dtype.kind == "f" and y.shape == x.shape[:-1] and x.shape[-1] == 1):
        return float64(y).reshape(x.shape)
    if y.shape != x.shape[:-1] or y.dtype.kind not in "biu":
        raise ValueError(f"[loss] y is {y.dtype} {y.shape} but the output is {x.shape}: expected that shape, or integer labels {x.shape[:-1]}")
    hot: Array = np.equal(y[..., None], np.arange(x.shape[-1])).astype(np.float64)
    return hot


def _tiny(x: npt.ArrayLike) -> float:
    dtype = np.asarray(x).dtype
    return float(np.finfo(dtype if dtype.kind == "f" else np.float64).tiny)


def _weighted(value: Array, dx: Array, s: npt.ArrayLike | None, scale: float) -> tuple[float, Array]:
    """Sums the elementwise values over each row.

    `s` has the shape of the rows, or (n,): then it holds for all rows of its sample.
    """
    rows = value.shape[:-1]
    weight = np.ones(rows) if s is None else float64(s)
    weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(rows) - weight.ndim)), rows)
    return float((weight * value.sum(axis=-1)).sum()), scale * weight[..., None] * dx


def softmax_cross_entropy(z: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = -sum_m y_m log softmax(z)_m,  dz = (sum_m y_m) softmax(z) - y."""
    x = float64(z)
    t = targets(x, y)
    with np.errstate(all="ignore"):
        value = -t * np.where((t == 0) & np.isfinite(x), 0.0, log_softmax(x))
        return _weighted(value, t.sum(axis=-1, keepdims=True) * softmax_forward(x) - t, s, scale)


def cross_entropy(a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = -sum_m y_m log a_m,  da = -y / a;  a is kept >= the smallest normal number."""
    x = np.maximum(float64(a), _tiny(a))
    t = targets(x, y)
    with np.errstate(all="ignore"):
        return _weighted(-t * np.log(x), -t / x, s, scale)


def sigmoid_binary_cross_entropy(z: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = sum_m max(z, 0) - z y + log(1 + exp(-|z|)),  dz = sigmoid(z) - y."""
    x = float64(z)
    t = targets(x, y)
    with np.errstate(all="ignore"):
        value = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
        return _weighted(value, activation_forward("sigmoid", x) - t, s, scale)


def binary_cross_entropy(a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = -sum_m y log a + (1 - y) log(1 - a),  da = (a - y) / (a (1 - a)).

    a and 1 - a are kept >= the smallest normal number.
    """
    x = float64(a)
    t = targets(x, y)
    low, high = np.maximum(x, _tiny(a)), np.maximum(1 - x, _tiny(a))
    with np.errstate(all="ignore"):
        return _weighted(-t * np.log(low) - (1 - t) * np.log(high), (x - t) / (low * high), s, scale)


def squared_error(a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = 1/2 sum_m (y_m - a_m)^2,  da = a - y."""
    x = float64(a)
    d = x - targets(x, y)
    with np.errstate(all="ignore"):
        return _weighted(0.5 * d * d, d, s, scale)


def absolute_error(a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = sum_m |y_m - a_m|,  da = sign(a - y), sign(0) = 0."""
    x = float64(a)
    d = x - targets(x, y)
    return _weighted(np.abs(d), np.sign(d), s, scale)


def huber(a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0, *, delta: float = 1.0) -> tuple[float, Array]:
    """L = sum_m 1/2 d^2 for |d| <= delta, delta |d| - 1/2 delta^2 beyond, d = y_m - a_m.

    da = a - y, kept in [-delta, delta].
    """
    x = float64(a)
    d = x - targets(x, y)
    with np.errstate(all="ignore"):
        value = np.where(np.abs(d) <= delta, 0.5 * d * d, delta * np.abs(d) - 0.5 * delta**2)
        return _weighted(value, np.clip(d, -delta, delta), s, scale)


def quantile(
    a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0, *, q: Sequence[float] = (0.5,)
) -> tuple[float, Array]:
    """L = sum_m sum_l max(q_l d, (q_l - 1) d), d = y_m - a_ml; a (..., M K) for y (..., M) and K levels, the levels fastest.

    da = -q_l for d > 0, 1 - q_l for d < 0, 0 for d = 0.
    """
    x, level = float64(a), float64(q)
    each = x.reshape(*x.shape[:-1], x.shape[-1] // len(level), len(level))
    d = targets(each[..., 0], y)[..., None] - each
    value = np.maximum(level * d, (level - 1) * d)
    da = np.where(d > 0, -level, np.where(d < 0, 1 - level, 0.0 * d))
    return _weighted(value.reshape(x.shape), da.reshape(x.shape), s, scale)


def exp_poisson(z: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = sum_m exp(z_m) - y_m + y_m (log y_m - z_m), 0 log 0 = 0,  dz = exp(z) - y."""
    x = float64(z)
    t = targets(x, y)
    with np.errstate(all="ignore"):
        return _weighted(np.exp(x) - t + t * (np.log(np.where(t > 0, t, 1)) - x), np.exp(x) - t, s, scale)


def poisson(a: npt.ArrayLike, y: npt.ArrayLike, s: npt.ArrayLike | None = None, scale: float = 1.0) -> tuple[float, Array]:
    """L = sum_m a_m - y_m + y_m log(y_m / a_m), 0 log 0 = 0,  da = (a - y) / a.

    In the logarithm and the quotient a is kept >= the smallest normal number.
    """
    x = float64(a)
    t, low = targets(x, y), np.maximum(x, _tiny(a))
    with np.errstate(all="ignore"):
        return _weighted(x - t + t * (np.log(np.where(t > 0, t, 1)) - np.log(low)), (x - t) / low, s, scale)


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "cross_entropy": cross_entropy,
    "sigmoid_binary_cross_entropy": sigmoid_binary_cross_entropy,
    "binary_cross_entropy": binary_cross_entropy,
    "squared_error": squared_error,
    "absolute_error": absolute_error,
    "huber": huber,
    "quantile": quantile,
    "exp_poisson": exp_poisson,
    "poisson": poisson,
}
# (loss, activation of the output): the loss of z that is the same thing and stays finite where the output saturates
CANONICAL: dict[tuple[str, str], str] = {
    ("cross_entropy", "softmax"): "softmax_cross_entropy",
    ("binary_cross_entropy", "sigmoid"): "sigmoid_binary_cross_entropy",
    ("squared_error", "identity"): "squared_error",
    ("poisson", "exp"): "exp_poisson",
}
