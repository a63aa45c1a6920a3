# SPDX-License-Identifier: MIT
"""LayerNorm, RMSNorm, GroupNorm, BatchNorm: y = gain xhat + bias, xhat = (x - m) / sqrt(v + eps), forward above backward.

The first axis of a value is that of the samples, the last that of the channels. The four differ in the axes that m and v run over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .activations import Array, float64

KINDS = ("layer_norm", "rms_norm", "group_norm", "batch_norm")


def _grouped(x: Array, attributes: Mapping[str, Any]) -> tuple[Array, tuple[int, ...]]:
    """x with the axes of a group apart, and the axes that m and v run over."""
    kind = attributes["type"]
    if kind == "batch_norm":
        return x, tuple(range(x.ndim - 1))
    if kind == "group_norm":
        groups = attributes["groups"]
        x = x.reshape(*x.shape[:-1], groups, x.shape[-1] // groups)
        return x, (*range(1, x.ndim - 2), x.ndim - 1)
    return x, (x.ndim - 1,)


def forward(
    x: npt.ArrayLike,
    attributes: Mapping[str, Any],
    gain: npt.ArrayLike | None = None,
    bias: npt.ArrayLike | None = None,
    mean: npt.ArrayLike | None = None,
    variance: npt.ArrayLike | None = None,
) -> Array:
    """y = gain xhat + bias of the layer with these attributes; `mean` and `variance` stand for m and v where they are given."""
    x = float64(x)
    parts, axes = _grouped(x, attributes)
    m, v = _moments(parts, axes, attributes, mean, variance)
    y: Array = ((parts - m) / np.sqrt(v + attributes["eps"])).reshape(x.shape)
    y = y if gain is None else y * float64(gain)
    return y if bias is None else y + float64(bias)


def _moments(x: Array, axes: tuple[int, ...], attributes: Mapping[str, Any], mean: Any, variance: Any) -> tuple[Array, Array]:
    if variance is not None:
        return float64(mean), float64(variance)
    m = np.zeros(1) if attributes["type"] == "rms_norm" else x.mean(axis=axes, keepdims=True)
    return m, ((x - m) ** 2).mean(axis=axes, keepdims=True)


def backward(
    dy: npt.ArrayLike,
    x: npt.ArrayLike,
    attributes: Mapping[str, Any],
    gain: npt.ArrayLike | None = None,
    mean: npt.ArrayLike | None = None,
    variance: npt.ArrayLike | None = None,
) -> tuple[Array, Array, Array]:
    """Forward was y = gain xhat + bias; returns dx, dgain, dbias.

    With g = gain dy: dx = (g - mean g - xhat mean(g xhat)) / sqrt(v + eps), the means over the axes of m and v; the first of them is 0 where m is 0,
    both are where m and v are given.
    """
    x, dy = float64(x), float64(dy)
    parts, axes = _grouped(x, attributes)
    m, v = _moments(parts, axes, attributes, mean, variance)
    scale = np.sqrt(v + attributes["eps"])
    hat = (parts - m) / scale
    g = (dy if gain is None else dy * float64(gain)).reshape(parts.shape)
    dx = g
    if variance is None:
        dx = dx - hat * (g * hat).mean(axis=axes, keepdims=True)
        if attributes["type"] != "rms_norm":
            dx = dx - g.mean(axis=axes, keepdims=True)
    others = tuple(range(x.ndim - 1))
    return (dx / scale).reshape(x.shape), (dy * hat.reshape(x.shape)).sum(axis=others), dy.sum(axis=others)


def learn(mean: npt.ArrayLike, variance: npt.ArrayLike, x: npt.ArrayLike, momentum: float) -> tuple[Array, Array]:
    """mean <- (1 - momentum) mean + momentum m, variance <- (1 - momentum) variance + momentum v N / (N - 1), of a batch norm's input x."""
    x = float64(x)
    x = x.reshape(-1, x.shape[-1])
    return (1 - momentum) * float64(mean) + momentum * x.mean(axis=0), (1 - momentum) * float64(variance) + momentum * x.var(axis=0, ddof=1)
