# SPDX-License-Identifier: MIT
"""The rows of the table: a data set, hidden layers, a solver and a dtype; what one run of a row does."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

LIBRARIES = {"chainrule": "chainrule.sklearn", "scikit-learn": "sklearn.neural_network"}
#: name -> epochs of a timed run with hidden layers of 100 units; wide networks run one
EPOCHS = {"digits": 50, "4601x57": 20, "100000x50": 2}
WIDE = "1024-1024"


@cache
def data(name: str) -> tuple[Any, Any]:
    """X (float64, every column of about unit size) and the labels; the two larger sets are drawn."""
    from sklearn.datasets import load_digits, make_classification

    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    rows, columns = (int(part) for part in name.split("x"))
    return make_classification(rows, columns, n_informative=20, n_redundant=10, flip_y=0.05, random_state=0)


@dataclass(frozen=True)
class Row:
    """`digits/100/adam/float64`: a fit; `digits/100/predict/float64`: predict_proba of one row."""

    data: str
    hidden: str
    solver: str
    dtype: str

    @property
    def name(self) -> str:
        return "/".join((self.data, self.hidden, self.solver, self.dtype))

    @classmethod
    def parse(cls, name: str) -> Row:
        return cls(*name.split("/"))

    @property
    def steps(self) -> int:
        """Epochs, iterations or calls of a timed run."""
        if self.solver == "predict":
            return 500
        if self.solver == "lbfgs":
            return 30
        return 1 if self.hidden == WIDE else EPOCHS[self.data]

    @property
    def goal(self) -> float:
        """How many times scikit-learn's speed is asked for."""
        return {"predict": 15.0, "lbfgs": 4.0}.get(self.solver, 2.0 if self.hidden == WIDE else 8.0)


def table() -> list[Row]:
    """All rows. 100,000 rows through the wide network would take scikit-learn minutes an epoch, at the same cost a step as the 4,601."""
    dtypes = ("float64", "float32")
    fits = [Row(d, "100", s, t) for d in EPOCHS for s in ("adam", "sgd") for t in dtypes]
    others = [Row(d, "100", s, t) for d in ("digits", "4601x57") for s in ("lbfgs", "predict") for t in dtypes]
    return [*fits, *others, *(Row(d, WIDE, s, t) for d in ("digits", "4601x57") for s in ("adam", "sgd") for t in dtypes)]


def estimator(module: Any, row: Row, seed: int, epochs: int) -> Any:
    """The class with the parameters of the row; tol=0 so that every epoch is run."""
    hidden = tuple(int(n) for n in row.hidden.split("-"))
    solver = "adam" if row.solver == "predict" else row.solver
    return module.MLPClassifier(hidden, solver=solver, max_iter=epochs, random_state=seed, tol=0.0, n_iter_no_change=10**6)


def run(module: Any, row: Row) -> tuple[float, list[float]]:
    """(seconds, what has to be the same for both libraries: the losses, or a row's probabilities)."""
    X, y = data(row.data)
    X = X.astype(row.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        est = estimator(module, row, 0, 1 if row.solver == "predict" else row.steps)
        if row.solver == "predict":
            est.fit(X, y)
            one = X[:1].copy()
            start = time.perf_counter()
            for _ in range(row.steps):
                p = est.predict_proba(one)
            return time.perf_counter() - start, [float(x) for x in np.ravel(p)]
        start = time.perf_counter()
        est.fit(X, y)
        return time.perf_counter() - start, [float(x) for x in getattr(est, "loss_curve_", [est.loss_])]
