# SPDX-License-Identifier: MIT
"""The rows of images: train-lenet-b64 is a training step of one of the networks below, predict-lenet-b1 a call that predicts one image.

A network is its spec, chainrule's description of the graph as data: every competitor builds its own from it.
"""

from __future__ import annotations

import functools
import importlib
import math
import re
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import chainrule as cr
import numpy as np
import numpy.typing as npt
from chainrule import blocks

from ..machine import ROOT
from ..rows import Array, Batched

NAMES = (
    "train-lenet-b64",
    "train-residual-b32",
    "train-separable-b32",
    "train-pointwise-b32",
    "predict-lenet-b1",
    "train-resnet-b128",
    "train-densenet-b128",
)


def _lenet() -> cr.Network:
    def stage(filters: int) -> list[cr.Layer]:
        return [cr.Conv2D(filters, 5, "relu", padding=2), cr.MaxPool(2)]

    return _chain((28, 28, 1), *stage(8), *stage(16), cr.Flatten(), cr.Dense(64, "relu"))


def _residual() -> cr.Network:
    """Three blocks y = relu(x + F(x)), F(x) = n(W2 * relu(n(W1 * x))), on 32 channels that a first convolution makes."""
    x = cr.Input((32, 32, 3))
    h = blocks.sequence(x, cr.Conv2D(32, 3, bias=False), cr.BatchNorm(), cr.Activation("relu"))
    for _ in range(3):
        layers = cr.Conv2D(32, 3, bias=False), cr.BatchNorm(), cr.Activation("relu"), cr.Conv2D(32, 3, bias=False), cr.BatchNorm()
        h = cr.Activation("relu")(blocks.residual(h, *layers))
    return cr.Network(inputs=x, outputs=blocks.sequence(h, cr.GlobalAveragePool(), cr.Dense(10, "softmax")), seed=0)


def _separable() -> cr.Network:
    return _chain((32, 32, 64), cr.Conv2D(64, 3, "relu", groups=64), cr.Conv2D(64, 1, "relu"), cr.GlobalAveragePool())


def _pointwise() -> cr.Network:
    return _chain((14, 14, 256), cr.Conv2D(256, 1, "relu"), cr.Conv2D(256, 1, "relu"), cr.GlobalAveragePool())


def _chain(shape: tuple[int, ...], *layers: cr.Layer) -> cr.Network:
    return cr.Network([cr.Input(shape), *layers, cr.Dense(10, "softmax")], seed=0)


def _example(name: str) -> Callable[[], cr.Network]:
    """The network of examples/`name`_mnist.py, whose epochs on MNIST are made of these steps."""

    def build() -> cr.Network:
        sys.path.insert(0, str(ROOT / "examples"))
        try:
            net: cr.Network = getattr(importlib.import_module(f"{name}_mnist"), name)(0)
        finally:
            sys.path.remove(str(ROOT / "examples"))
        return net

    return build


NETWORKS: dict[str, Callable[[], cr.Network]] = {
    "lenet": _lenet,
    "residual": _residual,
    "separable": _separable,
    "pointwise": _pointwise,
    "resnet": _example("resnet"),
    "densenet": _example("densenet"),
}


@dataclass(frozen=True)
class ImageInputs(Batched):
    """What every competitor is given: images X (n, h, w, c) float32, y (n,) int64, the network and its first weights. `epochs` times through X."""

    X: Array
    y: npt.NDArray[np.int64]
    spec: dict[str, Any]
    parameters: dict[str, Array]
    batch: int
    epochs: int


@dataclass(frozen=True)
class ImageRow:
    """One line of the table, with what `rows.Row` has of it."""

    network: str
    batch: int
    training: bool

    alpha = 0.01

    @classmethod
    def parse(cls, name: str) -> ImageRow | None:
        """The row of that name; None where it is not one of images."""
        found = re.fullmatch(rf"(train|predict)-({'|'.join(NETWORKS)})-b([1-9]\d*)", name)
        return cls(found[2], int(found[3]), found[1] == "train") if found else None

    @property
    def name(self) -> str:
        return f"{'train' if self.training else 'predict'}-{self.network}-b{self.batch}"

    @property
    def unit(self) -> str:
        return "step" if self.training else "call"

    @property
    def task(self) -> str:
        return "images" if self.training else "images_predict"

    @functools.cached_property
    def flop(self) -> int:
        """Of one step or call: two for each multiply-add. Training has three products a layer, but dx of the first is not needed."""
        work = [line.multiply_adds for line in NETWORKS[self.network]().summary().lines if line.multiply_adds]
        return 2 * self.batch * (3 * sum(work) - work[0] if self.training else sum(work))

    @property
    def timed_steps(self) -> int:
        """Steps or calls in one timed run, as of dense rows; fewer of the small ones, whose reference is NumPy's."""
        return min(max(round(5e10 / self.flop), 4), 100 if self.training else 1000)

    def whole(self, steps: int) -> int:
        return max(1, steps)

    @property
    def checked_steps(self) -> int:
        return 3

    def inputs(self, steps: int) -> ImageInputs:
        """Standard normal images, labels of a linear teacher, the network's own first weights: the same in every process."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        net = NETWORKS[self.network]()
        shape = tuple(net.spec["layers"][net.input_names[0]]["shape"])
        blocks_of_rows = min(steps, max(1, 1024 // self.batch))
        X = rng.standard_normal((blocks_of_rows * self.batch, *shape), dtype=np.float32)
        y = (X.reshape(len(X), -1) @ rng.standard_normal((math.prod(shape), 10), dtype=np.float32)).argmax(axis=1).astype(np.int64)
        parameters = {name: np.array(w) for name, w in net.parameters.items()}
        return ImageInputs(X, y, net.spec, parameters, self.batch, math.ceil(steps / blocks_of_rows))
