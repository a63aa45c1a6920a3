# SPDX-License-Identifier: MIT
"""JAX: one compiled function; the result is copied out by NumPy."""

from __future__ import annotations

import jax
import numpy as np

from ..rows import Array, Inputs, Row
from ..train.jax import Parameters, load, logits


@jax.jit
def probabilities(parameters: Parameters, x: jax.Array) -> jax.Array:
    return jax.nn.softmax(logits(parameters, x))


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        pass

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.parameters = load(inputs)

    def run(self) -> None:
        parameters, X, batch = self.parameters, self.inputs.X, self.inputs.batch
        for _ in range(self.inputs.epochs):
            for i in self.inputs.starts:
                self.last = np.asarray(probabilities(parameters, X[i : i + batch]))

    def result(self) -> list[Array]:
        return [self.last]
