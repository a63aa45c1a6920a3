# SPDX-License-Identifier: MIT
"""chainrule: `fit`, the whole run in one call."""

from __future__ import annotations

import chainrule as cr
import numpy as np

from ..rows import MOMENTUM, Array
from ..train.ours import versions
from .rows import NETWORKS, ImageInputs, ImageRow

__all__ = ["Competitor", "versions"]


class Competitor:
    def __init__(self, row: ImageRow, threads: int) -> None:
        cr.set_num_threads(threads)
        self.net = NETWORKS[row.network]()
        self.optimizer = cr.SGD(row.alpha, momentum=MOMENTUM)

    def prepare(self, inputs: ImageInputs) -> None:
        self.inputs = inputs
        self.net.reset_training()
        for name, w in inputs.parameters.items():
            self.net.parameters[name][...] = w

    def run(self) -> None:
        data = self.inputs
        self.net.fit(data.X, data.y, optimizer=self.optimizer, epochs=data.epochs, batch_size=data.batch, shuffle=False, progress=False)

    def result(self) -> list[Array]:
        return [np.array(self.net.parameters[name]) for name in self.inputs.parameters]
