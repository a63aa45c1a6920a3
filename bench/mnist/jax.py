# SPDX-License-Identifier: MIT
"""JAX: an epoch is one compiled `lax.scan` over the pieces of a permutation, each gathered inside; a second, shorter one for the last batch."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ..peers.train.jax import adam, logits, loss
from .task import BATCH, RATE, SIZES, Data


@partial(jax.jit, donate_argnums=(0, 1))
def epoch(w: Any, state: Any, X: jax.Array, y: jax.Array, order: jax.Array) -> tuple[Any, Any]:
    """order (steps, batch)."""

    def step(carry: tuple[Any, Any], rows: jax.Array) -> tuple[tuple[Any, Any], None]:
        w, state = carry
        return adam(RATE, w, jax.grad(loss)(w, X[rows], y[rows]), state), None

    return jax.lax.scan(step, (w, state), order)[0]


class Competitor:
    def __init__(self, data: Data, threads: int) -> None:  # its threads come from the affinity and NPROC
        self.X, self.y, self.X_test = jnp.array(data.X), jnp.array(data.y, dtype=jnp.int32), jnp.array(data.X_test)

    def train(self, epochs: int, seed: int) -> None:
        keys = jax.random.split(jax.random.key(seed), len(SIZES) - 1 + epochs)
        w: Any = [(jax.random.normal(key, (m, n)) * (2 / m) ** 0.5, jnp.zeros(n)) for key, (m, n) in zip(keys, pairwise(SIZES), strict=False)]
        state: Any = (jnp.float32(0), *(jax.tree.map(jnp.zeros_like, w) for _ in range(2)))
        whole = len(self.X) // BATCH * BATCH
        for key in keys[len(SIZES) - 1 :]:
            order = jax.random.permutation(key, len(self.X))
            w, state = epoch(w, state, self.X, self.y, order[:whole].reshape(-1, BATCH))
            if whole < len(self.X):
                w, state = epoch(w, state, self.X, self.y, order[None, whole:])
        self.parameters = jax.block_until_ready(w)

    def predict(self) -> npt.NDArray[np.int64]:
        return np.asarray(logits(self.parameters, self.X_test)).argmax(axis=1)
