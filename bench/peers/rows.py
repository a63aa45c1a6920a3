# SPDX-License-Identifier: MIT
"""The rows of the table, and the one generator of their data and first weights.

A row is its name: train-20-64-64-3-b32[-adam] is a training step of a ReLU network with a softmax at its end, predict-64-128-10-b1 a call that
predicts one row. So any other size can be asked for by its name. train-20-64-64-3-b200-n1000000 trains whole epochs on as many rows of data.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from .images.rows import ImageRow

Array = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]

NAMES = (
    "train-20-64-64-3-b32",
    "train-64-128-10-b64",
    "train-784-1024-1024-10-b128",
    "train-1024-4096-4096-10-b256",
    "train-100-256-256-10-b128",
    "train-20-64-64-3-b1",
    "train-50-100-2-b100000",
    "train-20-64-64-3-b32-adam",
    "train-1024-4096-4096-10-b256-adam",
    "predict-64-128-10-b1",
    "predict-784-256-10-b100000",
)

MOMENTUM = 0.9
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Row:
    """One line of the table. `task` is the package that runs it."""

    task: str
    sizes: tuple[int, ...]
    batch: int
    optimizer: str = "sgd"
    rows: int | None = None
    """Of the data, where the name says it: a multiple of the batch."""

    @classmethod
    def parse(cls, name: str) -> Row:
        """The row of that name; ValueError where it is not one."""
        found = re.fullmatch(r"(train|predict)((?:-\d+){2,})-b(\d+)(?:-n(\d+))?(-adam)?", name)
        if not found:
            raise ValueError(f"row {name!r}: expected train-20-64-64-3-b32[-n3200][-adam] or predict-64-128-10-b1")
        task, sizes, batch, n, adam = found.groups()
        row = cls(task, tuple(int(n) for n in sizes.split("-")[1:]), int(batch), "adam" if adam else "sgd", int(n) if n else None)
        if min(*row.sizes, row.batch, row.sizes[-1] - 1) < 1 or (adam and task == "predict"):
            raise ValueError(f"row {name!r}: sizes and batch are at least 1, classes at least 2, and predicting has no optimizer")
        if row.rows is not None and (task == "predict" or row.rows < 1 or row.rows % row.batch):
            raise ValueError(f"row {name!r}: -n is for training, and a multiple of the batch")
        return row

    @property
    def name(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        return f"{self.task}-{sizes}-b{self.batch}" + (f"-n{self.rows}" if self.rows else "") + ("-adam" if self.optimizer == "adam" else "")

    @property
    def unit(self) -> str:
        return "step" if self.task == "train" else "call"

    def inputs(self, steps: int) -> Inputs:
        return inputs(self, steps)

    @property
    def alpha(self) -> float:
        """Step size; alpha times steps is bounded: long training is chaotic, and would amplify float32's rounding until nothing can be compared."""
        alpha = min(2.0 / self.timed_steps, 0.1) if self.optimizer == "sgd" else min(0.2 / self.timed_steps, 0.001)
        # each layer amplifies the rounding of those before it: at 16 of them 64 steps differed by half of all that the weights had moved
        hidden = len(self.sizes) - 2
        return alpha / hidden if hidden > 8 else alpha

    @property
    def flop(self) -> int:
        """Of one step or call: 2 b n_k n_(k+1) for each product. Training has three a transition (z, dW, da), but da of the input is not needed."""
        products = sum(m * n for m, n in pairwise(self.sizes))
        if self.task == "train":
            products = 3 * products - self.sizes[0] * self.sizes[1]
        return 2 * self.batch * products

    @property
    def timed_steps(self) -> int:
        """Steps or calls in one timed run: some 5e10 flop, so that a large network takes about a second and a small one is not lost in the clock."""
        return self.whole(min(max(round(5e10 / self.flop), 2 if self.task == "predict" else 8), 2000))

    def whole(self, steps: int) -> int:
        """About as many steps, in whole epochs where the name says how many rows there are."""
        blocks = self.rows // self.batch if self.rows else 1
        return max(1, round(steps / blocks)) * blocks

    @property
    def checked_steps(self) -> int:
        """Steps or calls before the first comparison: few, so that float32 rounding stays far below the tolerance, and all classes occur."""
        return max(5 if self.task == "train" and self.flop < 1e10 else 3, math.ceil(self.sizes[-1] / self.batch))


@dataclass(frozen=True)
class Variant:
    """Where a peer's formula is another one, the reference computes that one; the report says so."""

    eps_hat: bool = False
    """Adam's eps beside sqrt(v) instead of sqrt(v / c2)."""
    logistic: bool = False
    """Two classes as one logistic output instead of a softmax over two."""

    def __str__(self) -> str:
        words = ["eps_hat"] * self.eps_hat + ["one logistic output"] * self.logistic
        return ", ".join(words)


class Batched:
    """`epochs` times through X in batches."""

    X: Array
    batch: int
    epochs: int

    @property
    def starts(self) -> range:
        """First row of each batch, in order. The batch divides n."""
        return range(0, len(self.X), self.batch)

    @property
    def steps(self) -> int:
        return self.epochs * len(self.starts)


@dataclass(frozen=True)
class Inputs(Batched):
    """What every competitor is given: X (n, n_0) float32, y (n,) int64, W[k] (n_(k+1), n_k), b[k] (n_(k+1),). `epochs` times through X."""

    X: Array
    y: npt.NDArray[np.int64]
    W: tuple[Array, ...]
    b: tuple[Array, ...]
    batch: int
    epochs: int

    def of(self, variant: Variant) -> Inputs:
        """The same function of X with the variant's output layer: p(class 1) = sigmoid(z_1 - z_0)."""
        if not variant.logistic:
            return self
        W, b = self.W[-1], self.b[-1]
        return replace(self, W=(*self.W[:-1], W[1:] - W[:1]), b=(*self.b[:-1], b[1:] - b[:1]))


def inputs(row: Row, steps: int) -> Inputs:
    """Standard normal X, labels of a linear teacher with noise, He's weights and small biases: the same in every process."""
    rng = np.random.default_rng(zlib.crc32(row.name.encode()))
    n_in, classes = row.sizes[0], row.sizes[-1]
    W = tuple((rng.standard_normal((n, m)) * math.sqrt(2 / m)).astype(np.float32) for m, n in pairwise(row.sizes))
    b = tuple((rng.standard_normal(n) * 0.1).astype(np.float32) for n in row.sizes[1:])
    teacher = rng.standard_normal((n_in, classes), dtype=np.float32)
    blocks = max(1, min(steps, (row.rows or MOST_ROWS) // row.batch))
    n = blocks * row.batch
    X = rng.standard_normal((n, n_in), dtype=np.float32)
    noise = rng.standard_normal((n, classes), dtype=np.float32) * math.sqrt(n_in)
    y = (X @ teacher + noise).argmax(axis=1).astype(np.int64)
    # scikit-learn goes on training only where the classes are the same as before
    y[:classes] = np.arange(min(classes, n))
    return Inputs(X, y, W, b, row.batch, math.ceil(steps / blocks))


def forward(X: npt.NDArray[np.floating], W: list[Array64], b: list[Array64]) -> tuple[list[Array64], list[Array64]]:
    """Return z and a in float64: z[k+1] = a[k] W[k]^T + b[k], a = relu(z), at the end softmax(z), or sigmoid(z) where there is one output.

    z[0] is empty, a[0] is X.
    """
    z: list[Array64] = [np.empty((0, 0))]
    a = [X.astype(np.float64)]
    for k in range(len(W)):
        z.append(a[k] @ W[k].T + b[k])
        if k < len(W) - 1:
            a.append(np.maximum(z[-1], 0.0))
        elif len(b[k]) == 1:
            a.append(1.0 / (1.0 + np.exp(-z[-1])))
        else:
            e = np.exp(z[-1] - z[-1].max(axis=1, keepdims=True))
            a.append(e / e.sum(axis=1, keepdims=True))
    return z, a


@dataclass(frozen=True)
class Reference:
    """What is to come out, and by how much a right float32 result may differ beyond the usual tolerance."""

    arrays: list[Array64]
    slack: float = 0.0


def parse(name: str) -> Row | ImageRow:
    """The row of that name, dense or of images; ValueError where it is neither."""
    from .images.rows import ImageRow

    return ImageRow.parse(name) or Row.parse(name)


class Refused(Exception):
    """A competitor's result is not the reference's: it is not timed."""


def refuse_form(found: list[npt.NDArray[np.generic]], expected: list[Array64]) -> None:
    """Raises Refused unless number, shapes and dtype are right. Before any comparison: broadcasting hides a wrong shape."""
    if len(found) != len(expected):
        raise Refused(f"{len(found)} arrays: expected {len(expected)}")
    for i, (x, y) in enumerate(zip(found, expected, strict=True)):
        if x.shape != y.shape or x.dtype != np.float32:
            raise Refused(f"array {i} is {x.dtype} {x.shape}: expected float32 {y.shape}")


def worst_change(found: list[npt.NDArray[np.generic]], wanted: list[Array64], start: list[Array], least: float = 0.0) -> float:
    """The largest |w - wanted| / |wanted - start| over the tensors, Frobenius norms: the error of the change, as the weight hardly moves.

    A tensor that moves by less than `least` of what the one does that moves most (a bias that batch norm takes out again) is measured by that.
    """
    refuse_form(found, wanted)
    moved = [float(np.linalg.norm(y - w)) for y, w in zip(wanted, start, strict=True)]
    shortest = least * max(moved)
    worst = 0.0
    for x, y, length in zip(found, wanted, moved, strict=True):
        if not max(length, shortest) > 0.0:
            raise Refused("the reference itself did not move: nothing can be compared")
        relative = float(np.linalg.norm(x.astype(np.float64) - y)) / max(length, shortest)
        if not math.isfinite(relative):
            raise Refused("weights that are not finite")
        worst = max(worst, relative)
    return worst
