# SPDX-License-Identifier: MIT
"""The estimators with device="cuda": the same fit as on the CPU."""

from __future__ import annotations

import pickle
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule.sklearn import MLPClassifier, MLPRegressor
from compare import assert_close

pytestmark = pytest.mark.gpu


def digits(n: int = 600) -> tuple[Any, Any]:
    X, y = cr.datasets.load_digits()[:2]
    return (X[:n] / 16).astype(np.float32), y[:n]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "learning_rate_init": 0.1, "dropout": 0.2, "l1": 1e-4},
        {"solver": "lbfgs", "max_iter": 8},
        {"early_stopping": True, "n_iter_no_change": 2},
        {"dtype": "float64", "class_weight": "balanced"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_classifier_is_the_same(options: dict[str, Any]) -> None:
    X, y = digits()
    one, other = (MLPClassifier((24,), **{"max_iter": 4, "random_state": 0, "device": device} | options).fit(X, y) for device in ("cpu", "cuda"))
    assert other.network_.device == "cuda:0"
    assert other.n_iter_ == one.n_iter_
    assert_close(np.array(other.loss_curve_ if hasattr(one, "loss_curve_") else other.loss_), np.array(getattr(one, "loss_curve_", one.loss_)), 1e-4)
    assert_close(np.asarray(other.coefs_[0]), np.asarray(one.coefs_[0]), 1e-3)
    assert_close(other.predict_proba(X), one.predict_proba(X), 1e-3)
    assert (other.predict(X[:1]) == one.predict(X[:1])).all()
    assert abs(other.score(X, y) - one.score(X, y)) <= 2 / len(X)


def test_the_regressor_goes_on_and_is_pickled() -> None:
    X, y = digits(300)
    models = [MLPRegressor(hidden_layer_sizes=(16,), random_state=0, device=device) for device in ("cpu", "cuda")]
    for model in models:
        for _ in range(3):
            model.partial_fit(X, y.astype(float))
    one, other = models
    assert_close(other.predict(X), one.predict(X), 1e-3)
    again = pickle.loads(pickle.dumps(other))
    assert again.network_.device == "cuda:0"
    assert np.asarray(again.predict(X)).tobytes() == np.asarray(other.predict(X)).tobytes()
    for model in (other, again):
        model.partial_fit(X, y.astype(float))
    assert np.asarray(again.predict(X)).tobytes() == np.asarray(other.predict(X)).tobytes()


def test_what_is_no_device_is_said_by_the_estimator() -> None:
    X, y = digits(50)
    with pytest.raises(ValueError, match="device is 'gpu': expected 'cpu', 'cuda' or 'cuda:1'"):
        MLPClassifier(device="gpu").fit(X, y)
