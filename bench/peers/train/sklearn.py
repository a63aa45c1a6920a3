# SPDX-License-Identifier: MIT
"""scikit-learn: MLPClassifier.fit from given weights (warm_start); faster than partial_fit, which validates every batch.

Two of its formulas are others, and the reference follows them (`variant`): Adam's eps stands beside sqrt(v), and two classes are one logistic
output, not a softmax.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from ..rows import BETA1, BETA2, EPS, MOMENTUM, Array, Inputs, Row, Variant

warnings.simplefilter("ignore", ConvergenceWarning)  # max_iter is the number of epochs that is wanted


def variant(row: Row) -> Variant:
    return Variant(eps_hat=row.optimizer == "adam", logistic=row.sizes[-1] == 2)


def network(row: Row, inputs: Inputs) -> MLPClassifier:
    """A model whose layers exist, with the given weights."""
    net = MLPClassifier(
        row.sizes[1:-1],
        solver=row.optimizer,
        alpha=0.0,
        batch_size=row.batch,
        learning_rate_init=row.alpha,
        momentum=MOMENTUM,
        nesterovs_momentum=False,
        beta_1=BETA1,
        beta_2=BETA2,
        epsilon=EPS,
        shuffle=False,
        max_iter=inputs.epochs,
        n_iter_no_change=inputs.epochs,
        tol=0.0,
        warm_start=True,
    )
    few = max(row.batch, row.sizes[-1])
    net.partial_fit(inputs.X[:few], inputs.y[:few], classes=np.arange(row.sizes[-1]))
    start = inputs.of(variant(row))
    net.coefs_ = [np.array(W.T, order="C") for W in start.W]
    net.intercepts_ = [b.copy() for b in start.b]
    return net


class Competitor:
    def __init__(self, row: Row, threads: int) -> None:
        self.row = row  # its threads are the BLAS's, which the environment has set

    def prepare(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.net = network(self.row, inputs)

    def run(self) -> None:
        self.net.fit(self.inputs.X, self.inputs.y)

    def result(self) -> list[Array]:
        if self.net.n_iter_ != self.inputs.epochs:
            raise RuntimeError(f"stopped after {self.net.n_iter_} of {self.inputs.epochs} epochs")
        return [x for W, b in zip(self.net.coefs_, self.net.intercepts_, strict=True) for x in (W.T, b)]
