# SPDX-License-Identifier: MIT
"""chainrule: `predict`."""

from __future__ import annotations

import chainrule as cr

from ..rows import Array, Inputs, Row
from ..train.ours import load, network, versions

__all__ = ["Competitor", "versions"]


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        cr.set_num_threads(threads)
        self.net = network(row)

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        load(self.net, inputs)

    def run(self) -> None:
        net, X, batch = self.net, self.inputs.X, self.inputs.batch
        for _ in range(self.inputs.epochs):
            for i in self.inputs.starts:
                self.last = net.predict(X[i : i + batch])

    def result(self) -> list[Array]:
        return [self.last]
