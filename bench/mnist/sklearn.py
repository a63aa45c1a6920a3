# SPDX-License-Identifier: MIT
"""scikit-learn: MLPClassifier.fit."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from .task import BATCH, BETA1, BETA2, EPS, RATE, SIZES, Data

warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is the number of epochs that is wanted


class Competitor:
    def __init__(self, data: Data, threads: int) -> None:
        self.data = data  # its threads are the BLAS's, which the environment has set

    def train(self, epochs: int, seed: int) -> None:
        self.net = MLPClassifier(
            SIZES[1:-1],
            alpha=0.0,
            batch_size=BATCH,
            learning_rate_init=RATE,
            beta_1=BETA1,
            beta_2=BETA2,
            epsilon=EPS,
            max_iter=epochs,
            n_iter_no_change=epochs,
            tol=0.0,
            random_state=seed,
        )
        self.net.fit(self.data.X, self.data.y)
        if self.net.n_iter_ != epochs:
            raise RuntimeError(f"stopped after {self.net.n_iter_} of {epochs} epochs")

    def predict(self) -> npt.NDArray[np.int64]:
        return self.net.predict(self.data.X_test)
