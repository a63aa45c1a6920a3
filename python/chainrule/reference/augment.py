# SPDX-License-Identifier: MIT
"""Augmentation: images flipped, turned and shifted as csrc/train/augment.h says."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .activations import Array, float64
from .random import stream_of, uniform_words


def augment(
    x: npt.ArrayLike,
    name: str,
    seed: int,
    step: int,
    *,
    shift: tuple[int, int] = (0, 0),
    flip: str | None = None,
    rotate: float = 0.0,
    fill: float = 0.0,
    first: int = 0,
) -> Array:
    """Rows `first`, `first` + 1, ... of a batch as training step `step` sees them: images (n, h, w) or (n, h, w, c) of the input `name`.

    Row i has words 4 i ... 4 i + 3: bit 0 of the first flips left and right, bit 1 up and down; floor(word (2 shift + 1) / 2^32) - shift is the way
    down and across; the fourth, (2 (word + 1/2) / 2^32 - 1) rotate, the angle in degrees.
    """
    x = float64(x)
    n = len(x)
    words = uniform_words(4 * first, 4 * n, seed, step, stream_of(name), "augment").reshape(n, 4).astype(np.uint64)
    return np.stack([_one(image, word, shift, flip, rotate, fill) for image, word in zip(x, words, strict=True)]) if n else x


def _one(image: Array, word: npt.NDArray[np.uint64], shift: tuple[int, int], flip: str | None, rotate: float, fill: float) -> Array:
    h, w = image.shape[:2]
    if flip in ("left_right", "both") and int(word[0]) & 1:
        image = image[:, ::-1]
    if flip in ("up_down", "both") and int(word[0]) & 2:
        image = image[::-1]
    down, across = ((int(v) * (2 * s + 1) >> 32) - s for v, s in zip(word[1:3], shift, strict=True))
    angle = np.deg2rad(rotate * (2 * ((float(word[3]) + 0.5) / 2**32) - 1))
    # where each pixel comes from: the way back begins with the shift, then turns clockwise
    middle = np.array([(h - 1) / 2, (w - 1) / 2])
    y, x = np.meshgrid(np.arange(h) - down - middle[0], np.arange(w) - across - middle[1], indexing="ij")
    u, v = np.cos(angle) * y + np.sin(angle) * x + middle[0], np.cos(angle) * x - np.sin(angle) * y + middle[1]
    if rotate == 0:
        u, v = np.round(u), np.round(v)
    top, left = np.floor(u).astype(int), np.floor(v).astype(int)
    extra = (1,) * (image.ndim - 2)
    lower, right = (u - top).reshape(h, w, *extra), (v - left).reshape(h, w, *extra)

    def pixel(i: npt.NDArray[Any], j: npt.NDArray[Any]) -> Array:
        inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
        return np.where(inside.reshape(h, w, *extra), image[np.clip(i, 0, h - 1), np.clip(j, 0, w - 1)], fill)

    upper = (1 - right) * pixel(top, left) + right * pixel(top, left + 1)
    z: Array = (1 - lower) * upper + lower * ((1 - right) * pixel(top + 1, left) + right * pixel(top + 1, left + 1))
    return z
