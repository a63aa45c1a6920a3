# SPDX-License-Identifier: MIT
"""PyTorch: the network with its softmax under `inference_mode`; NumPy's memory is shared both ways."""

from __future__ import annotations

import torch

from ..images.torch import Competitor as Trained
from ..rows import Array


class Competitor(Trained):
    def run(self) -> None:
        net, X, batch = self.net.eval(), self.inputs.X, self.inputs.batch
        with torch.inference_mode():
            for _ in range(self.inputs.epochs):
                for i in self.inputs.starts:
                    images = torch.from_numpy(X[i : i + batch]).permute(0, 3, 1, 2).contiguous(memory_format=self.form)
                    self.last = torch.softmax(net(images), 1).numpy()

    def result(self) -> list[Array]:
        return [self.last]
