# SPDX-License-Identifier: MIT
"""The kernels of one step of training on a card, in the order of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from .costs import INDEX, Call


def training_step(widths: Sequence[int], batch: int, hidden: str = "relu", optimizer: str = "momentum") -> list[Call]:
    """Return the calls of one step: a network of Dense layers, `hidden` between them, softmax cross-entropy, labels, shuffled rows on the card.

    csrc/train/device_trainer.cpp and csrc/network/device_executor.cpp are what it repeats; tests/test_bench_cuda.py counts their launches.
    """
    layers = list(pairwise(widths))
    calls = [Call("copy_in", (INDEX * batch,)), Call("gather", (batch, widths[0]))]
    for depth, (n_in, units) in enumerate(layers, 1):
        calls += [Call("gemm", (batch, units, n_in)), Call(f"bias_{hidden}" if depth < len(layers) else "bias", (batch, units))]
    calls += [Call("gather_labels", (batch,)), Call("softmax_cross_entropy", (batch, widths[-1]))]
    for depth, (n_in, units) in reversed(list(enumerate(layers))):
        calls += [Call("gemm", (units, n_in, batch)), Call("column_sum", (batch, units))]
        if depth > 0:
            calls += [Call("gemm", (batch, n_in, units)), Call(f"{hidden}_backward", (batch, n_in))]
    parameters = sum((n_in + 1) * units for n_in, units in layers)
    return [*calls, Call("expect_finite", (parameters,)), Call(optimizer, (parameters,)), Call("end_step"), Call("copy_out", (4,))]
