# SPDX-License-Identifier: MIT
"""Activations a = g(z) with g' and g'', elementwise, and softmax. Everything is computed in float64 whatever comes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Function = Callable[[Array, float], Array]

_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def float64(x: npt.ArrayLike) -> Array:
    """`x` in float64, any strides."""
    return np.asarray(x, dtype=np.float64)


@dataclass(frozen=True)
class Activation:
    """One elementwise activation.

    The formula in words, the hyper-parameter p, where g' jumps, and g, g', g'' as functions of (z, p).
    """

    name: str
    equation: str
    init: str
    parameter: float | None
    kinks: tuple[float, ...]
    g: Function
    g1: Function
    g2: Function


def _limits(value: Array, z: Array, below: float, above: float) -> Array:
    """The value's limits at -inf and +inf, where the formula itself reads inf * 0."""
    return np.where(z == -np.inf, below, np.where(z == np.inf, above, value))


def _sigmoid(z: Array, p: float = 0.0) -> Array:
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


def _sigmoid_1(z: Array, p: float = 0.0) -> Array:
    return _sigmoid(z) * _sigmoid(-z)


def _sigmoid_2(z: Array, p: float = 0.0) -> Array:
    # 1 - 2 sigmoid(z) = -tanh(z / 2), which keeps its digits near 0
    return -_sigmoid_1(z) * np.tanh(z / 2)


def _tanh_1(z: Array, p: float = 0.0) -> Array:
    return 1.0 / np.cosh(z) ** 2


def _phi(z: Array) -> Array:
    """Density of the standard normal distribution."""
    return np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _Phi(z: Array) -> Array:
    """Its distribution function; by erfc, because 1 + erf cancels for z < 0."""
    return 0.5 * _erfc(-z / math.sqrt(2.0)) if z.size else z.copy()


def _gelu_1(z: Array, p: float) -> Array:
    return _limits(_Phi(z) + z * _phi(z), z, 0.0, 1.0)


# gelu_tanh: 1/2 z (1 + tanh u) = z sigmoid(v) with v = 2 u
_C = 2.0 * math.sqrt(2.0 / math.pi)
_D = 0.044715


def _gelu_tanh(z: Array, p: float) -> Array:
    return _limits(z * _sigmoid(_C * (z + _D * z**3)), z, 0.0, np.inf)


def _gelu_tanh_1(z: Array, p: float) -> Array:
    v, v1 = _C * (z + _D * z**3), _C * (1 + 3 * _D * z**2)
    return _limits(_sigmoid(v) + z * _sigmoid_1(v) * v1, z, 0.0, 1.0)


def _gelu_tanh_2(z: Array, p: float) -> Array:
    v, v1, v2 = _C * (z + _D * z**3), _C * (1 + 3 * _D * z**2), _C * 6 * _D * z
    return _limits(2 * _sigmoid_1(v) * v1 + z * (_sigmoid_2(v) * v1**2 + _sigmoid_1(v) * v2), z, 0.0, 0.0)


_LAMBDA = 1.0507009873554804934193349852946
_ALPHA = 1.6732632423543772848170429916717


def _nan_like(z: Array, value: npt.ArrayLike) -> Array:
    """A constant, but NaN where z is NaN."""
    return np.where(np.isnan(z), np.nan, value)


def _elu(z: Array, p: float) -> Array:
    return np.where(z > 0, z, p * np.expm1(z))


def _exp(z: Array, p: float) -> Array:
    return np.exp(z)


_LIST = (
    Activation(
        "identity", "g(z) = z", "glorot", None, (),
        lambda z, p: z.copy(), lambda z, p: _nan_like(z, 1), lambda z, p: _nan_like(z, 0),
    ),
    Activation("sigmoid", "g(z) = 1 / (1 + exp(-z))", "glorot", None, (), _sigmoid, _sigmoid_1, _sigmoid_2),
    Activation(
        "tanh", "g(z) = tanh z", "glorot", None, (),
        lambda z, p: np.tanh(z), _tanh_1, lambda z, p: -2 * np.tanh(z) * _tanh_1(z),
    ),
    Activation(
        "relu", "g(z) = max(z, 0)", "he", None, (0.0,),
        lambda z, p: np.maximum(z, 0.0), lambda z, p: _nan_like(z, np.where(z > 0, 1.0, 0.0)),
        lambda z, p: _nan_like(z, 0),
    ),
    Activation(
        "leaky_relu", "g(z) = z for z > 0, p z otherwise", "he", 0.01, (0.0,),
        lambda z, p: np.where(z > 0, z, p * z), lambda z, p: _nan_like(z, np.where(z > 0, 1.0, p)),
        lambda z, p: _nan_like(z, 0),
    ),
    Activation(
        "elu", "g(z) = z for z > 0, p (exp z - 1) otherwise", "he", 1.0, (0.0,),
        _elu, lambda z, p: np.where(z > 0, 1.0, p * np.exp(z)), lambda z, p: np.where(z > 0, 0.0, p * np.exp(z)),
    ),
    Activation(
        "selu", "g(z) = 1.0507... (z for z > 0, 1.6732... (exp z - 1) otherwise)", "lecun", None, (0.0,),
        lambda z, p: _LAMBDA * _elu(z, _ALPHA),
        lambda z, p: _LAMBDA * np.where(z > 0, 1.0, _ALPHA * np.exp(z)),
        lambda z, p: _LAMBDA * np.where(z > 0, 0.0, _ALPHA * np.exp(z)),
    ),
    Activation(
        "softplus", "g(z) = log(1 + exp z)", "he", None, (),
        lambda z, p: np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))), _sigmoid, _sigmoid_1,
    ),
    Activation(
        "gelu", "g(z) = z Phi(z), Phi(z) = (1 + erf(z / sqrt 2)) / 2", "he", None, (),
        lambda z, p: _limits(z * _Phi(z), z, 0.0, np.inf), _gelu_1,
        lambda z, p: _limits((2 - z * z) * _phi(z), z, 0.0, 0.0),
    ),
    Activation(
        "gelu_tanh", "g(z) = z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2", "he", None, (),
        _gelu_tanh, _gelu_tanh_1, _gelu_tanh_2,
    ),
    Activation(
        "silu", "g(z) = z / (1 + exp(-z))", "he", None, (),
        lambda z, p: _limits(z * _sigmoid(z), z, 0.0, np.inf),
        lambda z, p: _limits(_sigmoid(z) + z * _sigmoid_1(z), z, 0.0, 1.0),
        lambda z, p: _limits(2 * _sigmoid_1(z) + z * _sigmoid_2(z), z, 0.0, 0.0),
    ),
    Activation("exp", "g(z) = exp z", "glorot", None, (), _exp, _exp, _exp),
)  # fmt: skip
ACTIVATIONS: dict[str, Activation] = {entry.name: entry for entry in _LIST}


def _parameter(entry: Activation, p: float | None) -> float:
    return (entry.parameter or 0.0) if p is None else p


def activation_forward(name: str, z: npt.ArrayLike, p: float | None = None) -> Array:
    """a = g(z)."""
    entry = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        return entry.g(float64(z), _parameter(entry, p))


def activation_backward(name: str, da: npt.ArrayLike, z: npt.ArrayLike, p: float | None = None) -> Array:
    """dz = da * g'(z)."""
    with np.errstate(all="ignore"):
        return np.multiply(float64(da), activation_derivatives(name, z, p)[0])


def activation_derivatives(name: str, z: npt.ArrayLike, p: float | None = None) -> tuple[Array, Array]:
    """g'(z) and g''(z); at a kink those from the left."""
    entry = ACTIVATIONS[name]
    with np.errstate(all="ignore"):
        return entry.g1(float64(z), _parameter(entry, p)), entry.g2(float64(z), _parameter(entry, p))


def log_softmax(z: npt.ArrayLike) -> Array:
    """Log a = z - max z - log sum_l exp(z_l - max z), over the last axis."""
    shifted = float64(z)
    if not shifted.size:
        return shifted.copy()
    with np.errstate(all="ignore"):
        shifted = shifted - shifted.max(axis=-1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return result


def softmax_forward(z: npt.ArrayLike) -> Array:
    """a_m = exp(z_m - max z) / sum_l exp(z_l - max z), over the last axis."""
    shifted = float64(z)
    if not shifted.size:
        return shifted.copy()
    with np.errstate(all="ignore"):
        e = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True), dtype=np.float64)


def softmax_backward(da: npt.ArrayLike, a: npt.ArrayLike) -> Array:
    """Forward was a = softmax(z), so dz_m = a_m (da_m - sum_l a_l da_l)."""
    da, a = float64(da), float64(a)
    with np.errstate(all="ignore"):
        return np.asarray(a * (da - (a * da).sum(axis=-1, keepdims=True)), dtype=np.float64)
