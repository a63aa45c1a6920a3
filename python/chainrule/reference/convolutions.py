# SPDX-License-Identifier: MIT
"""Convolutions, forward above backward. Values are (n, places..., channels) with one or two axes of places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .activations import Array, float64

KINDS = ("conv1d", "conv2d", "conv_transpose2d")


def _padding(form: Mapping[str, Any], axis: int, size: int) -> tuple[int, int]:
    """Zeros before and after."""
    window, stride = (form["kernel"][axis] - 1) * form["dilation"][axis] + 1, form["stride"][axis]
    padding = form.get("padding", "same")
    if not isinstance(padding, str):
        return int(padding[2 * axis]), int(padding[2 * axis + 1])
    if padding == "valid":
        return 0, 0
    total = max(0, (-(-size // stride) - 1) * stride + window - size)
    if padding == "causal":
        return window - 1, max(0, total - window + 1)
    return total // 2, total - total // 2


def _taps(form: Mapping[str, Any], x: Array) -> Iterator[tuple[Any, Any]]:
    """Each tap's place in W, behind the filters, and the places of the padded x that it sees, behind the samples."""
    axes = len(form["kernel"])
    sizes = [x.shape[1 + a] + sum(_padding(form, a, x.shape[1 + a])) for a in range(axes)]
    for tap in np.ndindex(*form["kernel"]):
        seen = []
        for a in range(axes):
            d, s = form["dilation"][a], form["stride"][a]
            out = (sizes[a] - d * (form["kernel"][a] - 1) - 1) // s + 1
            seen.append(slice(d * tap[a], d * tap[a] + s * (out - 1) + 1, s))
        yield (slice(None), *tap), (slice(None), *seen)


def _padded(form: Mapping[str, Any], x: Array) -> Array:
    axes = len(form["kernel"])
    return np.pad(x, [(0, 0), *(_padding(form, a, x.shape[1 + a]) for a in range(axes)), (0, 0)])


def _small(form: Mapping[str, Any], x: Array) -> dict[str, Any]:
    """The convolution whose derivative to its input a transposed one is: it makes a value of x's shape."""
    padding: Any = form.get("padding", "same")
    if padding == "same":  # of an image stride times as large
        pairs = [_padding(form, a, x.shape[1 + a] * form["stride"][a]) for a in range(2)]
        padding = [p for pair in pairs for p in pair]
    return {**form, "type": "conv2d", "padding": padding}


def _large(form: Mapping[str, Any], x: Array) -> tuple[int, ...]:
    """The shape of a transposed convolution's output."""
    sizes = []
    for a in range(2):
        size, stride = x.shape[1 + a], form["stride"][a]
        full = (size - 1) * stride + (form["kernel"][a] - 1) * form["dilation"][a] + 1
        sizes.append(size * stride if form.get("padding", "same") == "same" else full - sum(_padding(form, a, size)))
    return (len(x), *sizes, form["filters"])


def forward(x: npt.ArrayLike, w: npt.ArrayLike, b: npt.ArrayLike | None, form: Mapping[str, Any]) -> Array:
    """z = sum over the taps of x there times W of that tap, + b; each group of filters on its own channels."""
    x, w = float64(x), float64(w)
    if form["type"] == "conv_transpose2d":
        z, _, _ = backward(x, np.zeros(_large(form, x)), w, _small(form, x))
        return z if b is None else z + float64(b)
    groups, padded = form.get("groups", 1), _padded(form, x)
    channels, filters = np.split(padded, groups, axis=-1), np.split(w, groups, axis=0)
    z = np.zeros(())
    for tap, seen in _taps(form, x):
        z = z + np.concatenate([channels[g][seen] @ filters[g][tap].T for g in range(groups)], axis=-1)
    return z if b is None else z + float64(b)


def backward(dz: npt.ArrayLike, x: npt.ArrayLike, w: npt.ArrayLike, form: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    """Forward was z = W * x + b, so each tap gives dx its dz W and W of it dz^T x; db is the sum of dz."""
    dz, x, w = float64(dz), float64(x), float64(w)
    if form["type"] == "conv_transpose2d":
        _, dw, _ = backward(x, dz, w, _small(form, x))
        return forward(dz, w, None, _small(form, x)), dw, dz.sum(axis=tuple(range(dz.ndim - 1)))
    groups, padded = form.get("groups", 1), _padded(form, x)
    dx, dw = np.zeros_like(padded), np.zeros_like(w)
    rows = list(range(dz.ndim - 1))
    # views of each group
    parts = zip(
        *(np.split(v, groups, axis=axis) for v, axis in ((dx, -1), (padded, -1), (dz, -1), (w, 0), (dw, 0))),
        strict=True,
    )
    for dx_g, x_g, dz_g, w_g, dw_g in parts:
        for tap, seen in _taps(form, x):
            dx_g[seen] += dz_g @ w_g[tap]
            dw_g[tap] = np.tensordot(dz_g, x_g[seen], (rows, rows))
    inside = [slice(p, p + size) for p, size in ((_padding(form, a, x.shape[1 + a])[0], x.shape[1 + a]) for a in range(len(form["kernel"])))]
    of_image: Any = (slice(None), *inside)
    return dx[of_image], dw, dz.sum(axis=tuple(range(dz.ndim - 1)))
