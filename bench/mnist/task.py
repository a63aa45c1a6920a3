# SPDX-License-Identifier: MIT
"""The training that all of them do: 784-256-128-10, ReLU, softmax with cross-entropy, Adam, batches drawn anew each epoch, the last of 96 rows.

The first weights are each library's own, but JAX's, which has none: He's, as chainrule's for ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIZES = (784, 256, 128, 10)
BATCH = 128
RATE, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
MOST_ERROR = 0.05
"""Twice what ten epochs reach: who has more did not train, and is refused."""


@dataclass(frozen=True)
class Data:
    """X (n, 784) float32 in [0, 1], y (n,) int64, and the test set."""

    X: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    X_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int64]


def convert(folder: Path, path: Path) -> None:
    """Reads the four idx files, compressed or not, and writes what `load` reads, so that no competitor's process needs chainrule."""
    import chainrule as cr

    def read(name: str) -> npt.NDArray[np.uint8]:
        plain, packed = folder / name, folder / f"{name}.gz"
        return cr.datasets.read_idx(plain if plain.exists() else packed)

    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for suffix, part in (("", "train"), ("_test", "t10k")):
        images = read(f"{part}-images-idx3-ubyte")
        arrays["X" + suffix] = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
        arrays["y" + suffix] = read(f"{part}-labels-idx1-ubyte").astype(np.int64)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Data:
    with np.load(path, allow_pickle=False) as arrays:
        return Data(*(arrays[name] for name in ("X", "y", "X_test", "y_test")))
