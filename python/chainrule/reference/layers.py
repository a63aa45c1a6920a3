# SPDX-License-Identifier: MIT
"""Dense, Standardize, Add, Multiply, Concatenate, forward above backward.

The first axis of a value is that of the samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .activations import Array, float64


def dense_forward(a: npt.ArrayLike, w: npt.ArrayLike, b: npt.ArrayLike | None = None) -> Array:
    """z = a W^T + b: a (..., n_in), W (n_out, n_in), b (n_out,)."""
    z = float64(a) @ float64(w).T
    return z if b is None else z + float64(b)


def dense_backward(dz: npt.ArrayLike, a: npt.ArrayLike, w: npt.ArrayLike) -> tuple[Array, Array, Array]:
    """Forward was z = a W^T + b, so da = dz W, dW = sum_i dz_i a_i^T, db = sum_i dz_i, over all rows i."""
    dz, a, w = float64(dz), float64(a), float64(w)
    da = dz @ w
    rows = math.prod(a.shape[:-1])
    dz, a = dz.reshape(rows, w.shape[0]), a.reshape(rows, w.shape[1])
    return da, dz.T @ a, dz.sum(axis=0)


def standardize_forward(x: npt.ArrayLike, mean: npt.ArrayLike, scale: npt.ArrayLike) -> Array:
    """y = (x - mean) / scale, over the last axis."""
    return (float64(x) - float64(mean)) / float64(scale)


def standardize_backward(dy: npt.ArrayLike, scale: npt.ArrayLike) -> Array:
    """Forward was y = (x - mean) / scale, so dx = dy / scale."""
    return float64(dy) / float64(scale)


def standardize_learn(x: npt.ArrayLike) -> tuple[Array, Array]:
    """Mean and standard deviation (1/n under the root) of every column; a column that does not vary has scale 1."""
    x = float64(x)
    x = x.reshape(-1, x.shape[-1])
    mean, scale = x.mean(axis=0), x.std(axis=0)
    return mean, np.where(np.ptp(x, axis=0) == 0, 1.0, scale)


def align(inputs: Sequence[Array]) -> list[Array]:
    """Views of the inputs with equally many axes.

    Those of a sample are aligned at the right, as NumPy aligns whole arrays.
    """
    rank = max(x.ndim for x in inputs)
    return [x.reshape(x.shape[:1] + (1,) * (rank - x.ndim) + x.shape[1:]) for x in inputs]


def _reduce(dy: Array, shape: tuple[int, ...]) -> Array:
    """Sums `dy` over the axes along which an input of that shape was repeated."""
    aligned = shape[:1] + (1,) * (dy.ndim - len(shape)) + shape[1:]
    axes = tuple(i for i in range(1, dy.ndim) if aligned[i] == 1 and dy.shape[i] != 1)
    total: Array = dy.sum(axis=axes, keepdims=True)
    return total.reshape(shape)


def add_forward(inputs: Sequence[npt.ArrayLike]) -> Array:
    """y = sum_i x_i."""
    first, *rest = align([float64(x) for x in inputs])
    for x in rest:
        first = first + x
    return first


def add_backward(dy: npt.ArrayLike, inputs: Sequence[npt.ArrayLike]) -> list[Array]:
    """Forward was y = sum_i x_i, so dx_i = dy, summed over the axes that were broadcast."""
    return [_reduce(float64(dy), float64(x).shape) for x in inputs]


def multiply_forward(inputs: Sequence[npt.ArrayLike]) -> Array:
    """y = prod_i x_i."""
    first, *rest = align([float64(x) for x in inputs])
    for x in rest:
        first = first * x
    return first


def multiply_backward(dy: npt.ArrayLike, inputs: Sequence[npt.ArrayLike]) -> list[Array]:
    """Forward was y = prod_i x_i, so dx_i = dy prod_{j != i} x_j, summed over the axes that were broadcast."""
    aligned = align([float64(x) for x in inputs])
    gradients = []
    for i, x in enumerate(inputs):
        d = float64(dy)
        for j, other in enumerate(aligned):
            d = d * other if j != i else d
        gradients.append(_reduce(d, float64(x).shape))
    return gradients


def concatenate_forward(inputs: Sequence[npt.ArrayLike], axis: int = -1) -> Array:
    """y = [x_0, x_1, ...] along `axis`; axis 0 is that of the samples."""
    return np.concatenate([float64(x) for x in inputs], axis=axis)


def concatenate_backward(dy: npt.ArrayLike, inputs: Sequence[npt.ArrayLike], axis: int = -1) -> list[Array]:
    """Forward was y = [x_0, x_1, ...], so dx_i is its part of dy."""
    ends = np.cumsum([float64(x).shape[axis] for x in inputs])[:-1]
    return list(np.split(float64(dy), ends, axis=axis))
