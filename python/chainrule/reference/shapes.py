# SPDX-License-Identifier: MIT
"""Pools, Mean, Reshape, Transpose, Slice and UpSample, forward above backward; and `axes_forward`, `axes_backward`: any of them by its spec.

The first axis of a value is that of the samples, the last one of a pooled value that of the channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .activations import Array, float64

KINDS = ("max_pool", "average_pool", "global_average_pool", "mean", "flatten", "reshape", "transpose", "slice", "up_sample")
Cut = tuple[slice, ...]


def _numbers(value: Any, axes: int) -> tuple[int, ...]:
    numbers = tuple(value) if isinstance(value, (tuple, list)) else (int(value),)
    return numbers * axes if len(numbers) == 1 else numbers


def windows(shape: tuple[int, ...], size: Any, stride: Any = None, padding: Any = "valid") -> tuple[tuple[int, ...], Iterator[tuple[Cut, Cut]]]:
    """The pooled axes, and for each window its index into z and its part of x: of a value of that shape (n, places..., c)."""
    places = shape[1:-1]
    k = _numbers(size, len(places))
    s = k if stride is None else _numbers(stride, len(places))
    before, out = [], []
    for n, ki, si, pi in zip(places, k, s, [0] * len(places) if isinstance(padding, str) else _numbers(padding, len(places)), strict=True):
        if padding == "same":
            out.append(-(-n // si))
            before.append(max((out[-1] - 1) * si + ki - n, 0) // 2)
        else:
            out.append((n + 2 * pi - ki) // si + 1)
            before.append(pi)

    def each() -> Iterator[tuple[Cut, Cut]]:
        for at in np.ndindex(*out):
            starts = [i * si - b for i, si, b in zip(at, s, before, strict=True)]
            cut = tuple(slice(max(a, 0), min(a + ki, n)) for a, ki, n in zip(starts, k, places, strict=True))
            yield (slice(None), *(slice(i, i + 1) for i in at)), (slice(None), *cut)

    return tuple(out), each()


def max_pool_forward(x: npt.ArrayLike, size: Any, stride: Any = None, padding: Any = "valid") -> Array:
    """z = max of x over each window."""
    x = float64(x)
    places, each = windows(x.shape, size, stride, padding)
    z = np.empty((x.shape[0], *places, x.shape[-1]))
    axes = tuple(range(1, x.ndim - 1))
    for at, cut in each:
        z[at] = x[cut].max(axis=axes, keepdims=True)
    return z


def max_pool_backward(dz: npt.ArrayLike, x: npt.ArrayLike, size: Any, stride: Any = None, padding: Any = "valid") -> Array:
    """Forward was z = max x over each window, so dx = dz at the first of its largest places, in the order of memory."""
    x, dz = float64(x), float64(dz)
    dx = np.zeros_like(x)
    for at, cut in windows(x.shape, size, stride, padding)[1]:
        window = x[cut]
        flat = window.reshape(len(x), -1, x.shape[-1])
        first = np.arange(flat.shape[1])[:, None] == flat.argmax(axis=1)[:, None]
        dx[cut] += first.reshape(window.shape) * dz[at]
    return dx


def average_pool_forward(x: npt.ArrayLike, size: Any, stride: Any = None, padding: Any = "valid") -> Array:
    """z = mean of x over the places of each window that lie in x."""
    x = float64(x)
    places, each = windows(x.shape, size, stride, padding)
    z = np.empty((x.shape[0], *places, x.shape[-1]))
    for at, cut in each:
        z[at] = x[cut].mean(axis=tuple(range(1, x.ndim - 1)), keepdims=True)
    return z


def average_pool_backward(dz: npt.ArrayLike, x: npt.ArrayLike, size: Any, stride: Any = None, padding: Any = "valid") -> Array:
    """Forward was z = sum x / m over the m places of each window, so dx = dz / m at each of them."""
    x, dz = float64(x), float64(dz)
    dx = np.zeros_like(x)
    for at, cut in windows(x.shape, size, stride, padding)[1]:
        dx[cut] += dz[at] / np.prod(x[cut].shape[1:-1])
    return dx


def _order(layer: Mapping[str, Any], ndim: int) -> list[int]:
    """The axes of x that a Transpose names, that of the samples in front."""
    axes = layer.get("axes")
    return [0, *([a % ndim for a in axes] if axes is not None else reversed(range(1, ndim)))]


def _cut(layer: Mapping[str, Any], ndim: int) -> Cut:
    """The part of x that a Slice keeps."""
    axis = layer.get("axis", -1) % ndim
    return (*[slice(None)] * axis, slice(layer.get("start"), layer.get("stop"), layer.get("step", 1)))


def _up(layer: Mapping[str, Any], n: int, size: int) -> Array:
    """(n size, n): what an UpSample makes of n places along one axis."""
    matrix, j = np.zeros((n * size, n)), np.arange(n * size)
    if layer.get("mode", "nearest") == "nearest":
        matrix[j, j // size] = 1
        return matrix
    place = np.clip((j + 0.5) / size - 0.5, 0, n - 1)
    before = np.floor(place).astype(int)
    np.add.at(matrix, (j, before), 1 - (place - before))
    np.add.at(matrix, (j, np.minimum(before + 1, n - 1)), place - before)
    return matrix


def _window(layer: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return layer["size"], layer.get("stride"), layer.get("padding", "valid")


def axes_forward(layer: Mapping[str, Any], x: npt.ArrayLike) -> Array:
    """z of the layer with that spec, one of `KINDS`."""
    x, kind = float64(x), layer["type"]
    if kind == "max_pool":
        return max_pool_forward(x, *_window(layer))
    if kind == "average_pool":
        return average_pool_forward(x, *_window(layer))
    if kind == "slice":
        return x[_cut(layer, x.ndim)]
    if kind == "transpose":
        return x.transpose(_order(layer, x.ndim))
    if kind == "up_sample":
        for axis, size in enumerate(_numbers(layer["size"], x.ndim - 2), 1):
            x = np.moveaxis(np.tensordot(_up(layer, x.shape[axis], size), x, (1, axis)), 0, axis)
        return x
    if kind in ("global_average_pool", "mean"):
        z: Array = x.mean(axis=layer["axis"] if kind == "mean" else tuple(range(1, x.ndim - 1)))
        return z
    if kind == "reshape":
        return x.reshape(len(x), *layer["shape"])
    return x.reshape(len(x), int(np.prod(x.shape[1:])))


def axes_backward(layer: Mapping[str, Any], dz: npt.ArrayLike, x: npt.ArrayLike) -> Array:
    """Forward was z = f(x) of the layer with that spec, so dx."""
    dz, x, kind = float64(dz), float64(x), layer["type"]
    if kind == "max_pool":
        return max_pool_backward(dz, x, *_window(layer))
    if kind == "average_pool":
        return average_pool_backward(dz, x, *_window(layer))
    if kind == "transpose":
        return dz.transpose(np.argsort(_order(layer, x.ndim)))
    if kind == "up_sample":
        for axis, size in enumerate(_numbers(layer["size"], x.ndim - 2), 1):
            dz = np.moveaxis(np.tensordot(_up(layer, x.shape[axis], size), dz, (0, axis)), 0, axis)
        return dz
    dx = np.zeros_like(x)
    if kind == "slice":
        dx[_cut(layer, x.ndim)] = dz
    elif kind in ("global_average_pool", "mean"):
        axes = layer["axis"] if kind == "mean" else tuple(range(1, x.ndim - 1))
        dx += np.expand_dims(dz, axes) * (dz.size / x.size)
    else:
        dx += dz.reshape(x.shape)
    return dx
