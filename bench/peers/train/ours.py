# SPDX-License-Identifier: MIT
"""chainrule: `fit`, the whole run in one call."""

from __future__ import annotations

import chainrule as cr
import numpy as np

from ..rows import BETA1, BETA2, EPS, MOMENTUM, Array, Inputs, Row


def network(row: Row) -> cr.Network:
    *hidden, classes = row.sizes[1:]
    layers = [cr.Input(row.sizes[0]), *(cr.Dense(n, "relu") for n in hidden), cr.Dense(classes, "softmax")]
    return cr.Network(layers, seed=0, dtype="float32")


def load(net: cr.Network, inputs: Inputs) -> None:
    for k in range(len(inputs.W)):
        net.W[k][...] = inputs.W[k]
        net.b[k][...] = inputs.b[k]


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        cr.set_num_threads(threads)
        self.net = network(row)
        if row.optimizer == "sgd":
            self.optimizer: cr.SGD | cr.Adam = cr.SGD(row.alpha, momentum=MOMENTUM)
        else:
            self.optimizer = cr.Adam(row.alpha, beta1=BETA1, beta2=BETA2, eps=EPS)

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.net.reset_training()
        load(self.net, inputs)

    def run(self) -> None:
        self.net.fit(
            self.inputs.X,
            self.inputs.y,
            loss="cross_entropy",
            optimizer=self.optimizer,
            epochs=self.inputs.epochs,
            batch_size=self.inputs.batch,
            shuffle=False,
            progress=False,
        )

    def result(self) -> list[Array]:
        return [np.array(x) for k in range(len(self.inputs.W)) for x in (self.net.W[k], self.net.b[k])]


def versions() -> dict[str, str]:
    return {key: str(value) for key, value in cr.build_info().items()}
