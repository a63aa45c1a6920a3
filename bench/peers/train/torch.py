# SPDX-License-Identifier: MIT
"""PyTorch, eager: a loop over slices of tensors, no DataLoader. Of its three kinds of optimizer the fused one is the fastest on the CPU."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F

from ..rows import BETA1, BETA2, EPS, MOMENTUM, Array, Inputs, Row


def network(row: Row) -> torch.nn.Sequential:
    layers: list[torch.nn.Module] = []
    for m, n in pairwise(row.sizes):
        layers += [torch.nn.Linear(m, n), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def load(net: torch.nn.Sequential, inputs: Inputs) -> None:
    with torch.no_grad():
        for k in range(len(inputs.W)):
            net[2 * k].weight.copy_(torch.from_numpy(inputs.W[k]))
            net[2 * k].bias.copy_(torch.from_numpy(inputs.b[k]))


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        torch.set_num_threads(threads)
        self.row = row
        self.net = network(row)

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.X, self.y = torch.from_numpy(inputs.X), torch.from_numpy(inputs.y)
        load(self.net, inputs)
        parameters, alpha = self.net.parameters(), self.row.alpha
        if self.row.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(parameters, alpha, MOMENTUM, fused=True)
        else:
            self.optimizer = torch.optim.Adam(parameters, alpha, (BETA1, BETA2), EPS, fused=True)

    def run(self) -> None:
        net, optimizer, X, y, batch = self.net, self.optimizer, self.X, self.y, self.inputs.batch
        for _ in range(self.inputs.epochs):
            for i in self.inputs.starts:
                optimizer.zero_grad()
                F.cross_entropy(net(X[i : i + batch]), y[i : i + batch]).backward()
                optimizer.step()

    def result(self) -> list[Array]:
        return [p.detach().numpy().copy() for p in self.net.parameters()]
