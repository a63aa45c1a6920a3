# SPDX-License-Identifier: MIT
"""Philox4x32-10 (Salmon et al., "Parallel random numbers.

As easy as 1, 2, 3", 2011), and the masks of dropout that are drawn from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .activations import Array, float64

_MASK = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIER = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
PURPOSES = {"init": 0, "shuffle": 1, "dropout": 2, "augment": 3, "split": 4, "sample": 5}
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


def philox4x32_10(counter: npt.ArrayLike, key: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Four 32-bit words for each counter (..., 4) under the key (2,).

    A round turns (c0, c1, c2, c3) into (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)); the key grows
    by the Weyl constants between rounds.
    """
    c = np.asarray(counter).astype(np.uint64)
    k0, k1 = (np.uint64(int(k)) for k in np.asarray(key, dtype=np.uint64))
    c0, c1, c2, c3 = (c[..., i] for i in range(4))
    for _ in range(10):
        p0, p1 = _MULTIPLIER[0] * c0, _MULTIPLIER[1] * c2
        c0, c1, c2, c3 = (p1 >> _SHIFT) ^ c1 ^ k0, p1 & _MASK, (p0 >> _SHIFT) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def stream_of(name: str) -> int:
    """24 bits of FNV-1a 32 of a node's name: the upper 8 folded into the lower 24 by exclusive or."""
    h = 2166136261
    for byte in name.encode():
        h = ((h ^ byte) * 16777619) & 0xFFFFFFFF
    return (h >> 24) ^ (h & 0xFFFFFF)


def uniform_words(first: int, n: int, seed: int, step: int, stream: int, purpose: str = "dropout") -> npt.NDArray[np.uint32]:
    """u_e for e = first .. first + n - 1.

    u_e is lane e mod 4 of the block with counter (lo(e / 4), hi(e / 4), step, purpose << 24 | stream) under the seed.
    """
    blocks = np.arange(first // 4, (first + n + 3) // 4 if n else first // 4, dtype=np.uint64)
    counter = np.empty((blocks.size, 4), dtype=np.uint64)
    counter[:, 0], counter[:, 1], counter[:, 2] = blocks & _MASK, blocks >> _SHIFT, step
    counter[:, 3] = PURPOSES[purpose] << 24 | stream
    words = philox4x32_10(counter, [seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF]).reshape(-1)
    return words[first % 4 : first % 4 + n]


def dropout_threshold(rate: float) -> int:
    """How many of the 2^32 words drop an element: rate 2^32 rounded, at most 2^32 - 1."""
    return min(int(np.floor(rate * 2.0**32 + 0.5)), 2**32 - 1)


def dropout(x: npt.ArrayLike, rate: float, seed: int, step: int, stream: int, first: int = 0) -> Array:
    """y_e = x_e / (1 - rate) where u_e >= rate 2^32, else 0. Its own backward, with dy for x.

    e counts the elements of `x` from `first`.
    """
    x = float64(x)
    kept = uniform_words(first, x.size, seed, step, stream) >= dropout_threshold(rate)
    return np.where(kept.reshape(x.shape), x / (1 - rate), 0.0)
