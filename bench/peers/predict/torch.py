# SPDX-License-Identifier: MIT
"""PyTorch: the network with its softmax under `inference_mode`; NumPy's memory is shared both ways."""

from __future__ import annotations

import torch

from ..rows import Array, Inputs, Row
from ..train.torch import load, network


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        torch.set_num_threads(threads)
        self.net = network(row).append(torch.nn.Softmax(dim=1)).eval()

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        load(self.net, inputs)

    def run(self) -> None:
        net, X, batch = self.net, self.inputs.X, self.inputs.batch
        with torch.inference_mode():
            for _ in range(self.inputs.epochs):
                for i in self.inputs.starts:
                    self.last = net(torch.from_numpy(X[i : i + batch])).numpy()

    def result(self) -> list[Array]:
        return [self.last]
