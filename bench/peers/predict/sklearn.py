# SPDX-License-Identifier: MIT
"""scikit-learn: `predict_proba`."""

from __future__ import annotations

from dataclasses import replace

from ..rows import Array, Inputs, Row
from ..train.sklearn import network


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        self.row = replace(row, batch=max(row.batch, row.sizes[-1]))

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.net = network(self.row, inputs)

    def run(self) -> None:
        net, X, batch = self.net, self.inputs.X, self.inputs.batch
        for _ in range(self.inputs.epochs):
            for i in self.inputs.starts:
                self.last = net.predict_proba(X[i : i + batch])

    def result(self) -> list[Array]:
        return [self.last]
