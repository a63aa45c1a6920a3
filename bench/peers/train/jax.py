# SPDX-License-Identifier: MIT
"""JAX: an epoch is one compiled call, `lax.scan` over its batches, weights and optimizer state donated. W is (n_in, n_out), as is usual there."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..rows import BETA1, BETA2, EPS, MOMENTUM, Array, Inputs, Row

Parameters = list[tuple[jax.Array, jax.Array]]


def logits(parameters: Parameters, x: jax.Array) -> jax.Array:
    for W, b in parameters[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = parameters[-1]
    return x @ W + b


def loss(parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    z = jax.nn.log_softmax(logits(parameters, x))
    # one_hot, not take_along_axis: that one's derivative is a scatter, 1.2 times the whole step at batch 32 and twice at batch 1
    return -jnp.mean(jnp.sum(jax.nn.one_hot(y, z.shape[1], dtype=z.dtype) * z, axis=1))


def load(inputs: Inputs) -> Parameters:
    return [(jnp.array(W.T), jnp.array(b)) for W, b in zip(inputs.W, inputs.b, strict=True)]


def sgd(alpha: float, w: Any, g: Any, state: Any) -> tuple[Any, Any]:
    v = jax.tree.map(lambda v, g: MOMENTUM * v - alpha * g, state, g)
    return jax.tree.map(jnp.add, w, v), v


def adam(alpha: float, w: Any, g: Any, state: Any) -> tuple[Any, Any]:
    t, m, v = state
    t = t + 1
    c1, c2 = 1 - jnp.float32(BETA1) ** t, 1 - jnp.float32(BETA2) ** t
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
    w = jax.tree.map(lambda w, m, v: w - alpha * (m / c1) / (jnp.sqrt(v / c2) + EPS), w, m, v)
    return w, (t, m, v)


@partial(jax.jit, static_argnames=("optimizer", "alpha"), donate_argnums=(0, 1))
def epoch(w: Any, state: Any, X: jax.Array, y: jax.Array, optimizer: str, alpha: float) -> tuple[Any, Any]:
    """X (steps, batch, n_0), y (steps, batch)."""

    def step(carry: tuple[Any, Any], batch: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, Any], None]:
        w, state = carry
        update = sgd if optimizer == "sgd" else adam
        return update(alpha, w, jax.grad(loss)(w, *batch), state), None

    return jax.lax.scan(step, (w, state), (X, y))[0]


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        self.row = row  # its threads come from the affinity and NPROC

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.X = jnp.array(inputs.X).reshape(-1, inputs.batch, inputs.X.shape[1])
        self.y = jnp.array(inputs.y, dtype=jnp.int32).reshape(-1, inputs.batch)
        self.parameters: Any = load(inputs)
        zero = [jax.tree.map(jnp.zeros_like, self.parameters) for _ in range(2)]
        self.state: Any = zero[0] if self.row.optimizer == "sgd" else (jnp.float32(0), *zero)
        jax.block_until_ready((self.X, self.y, self.parameters, self.state))

    def run(self) -> None:
        for _ in range(self.inputs.epochs):
            self.parameters, self.state = epoch(self.parameters, self.state, self.X, self.y, self.row.optimizer, self.row.alpha)
        jax.block_until_ready((self.parameters, self.state))

    def result(self) -> list[Array]:
        return [np.array(x).T for pair in self.parameters for x in pair]
