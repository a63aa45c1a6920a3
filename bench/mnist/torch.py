# SPDX-License-Identifier: MIT
"""PyTorch, eager: the tensors indexed by pieces of a permutation, no DataLoader, the fused optimizer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from .task import BATCH, BETA1, BETA2, EPS, RATE, SIZES, Data


class Competitor:
    def __init__(self, data: Data, threads: int) -> None:
        torch.set_num_threads(threads)
        self.X, self.y, self.X_test = (torch.from_numpy(a) for a in (data.X, data.y, data.X_test))

    def train(self, epochs: int, seed: int) -> None:
        torch.manual_seed(seed)
        layers = [layer for m, n in pairwise(SIZES) for layer in (torch.nn.Linear(m, n), torch.nn.ReLU())]
        self.net = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.Adam(self.net.parameters(), RATE, (BETA1, BETA2), EPS, fused=True)
        for _ in range(epochs):
            for rows in torch.randperm(len(self.X)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(self.net(self.X[rows]), self.y[rows]).backward()
                optimizer.step()

    def predict(self) -> npt.NDArray[np.int64]:
        with torch.no_grad():
            return self.net(self.X_test).argmax(dim=1).numpy()
