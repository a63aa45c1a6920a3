# SPDX-License-Identifier: MIT
"""chainrule: `fit`."""

from __future__ import annotations

import chainrule as cr
import numpy as np
import numpy.typing as npt

from ..peers.train.ours import versions
from .task import BATCH, BETA1, BETA2, EPS, RATE, SIZES, Data

__all__ = ["Competitor", "versions"]


class Competitor:
    def __init__(self, data: Data, threads: int) -> None:
        cr.set_num_threads(threads)
        self.data = data

    def train(self, epochs: int, seed: int) -> None:
        *hidden, classes = SIZES[1:]
        layers = [cr.Input(SIZES[0]), *(cr.Dense(n, "relu") for n in hidden), cr.Dense(classes, "softmax")]
        self.net = cr.Network(layers, seed=seed)
        optimizer = cr.Adam(RATE, beta1=BETA1, beta2=BETA2, eps=EPS)
        self.net.fit(
            self.data.X, self.data.y, loss="cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=BATCH, shuffle=True, progress=False
        )

    def predict(self) -> npt.NDArray[np.int64]:
        return self.net.predict(self.data.X_test).argmax(axis=1)
