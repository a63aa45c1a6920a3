# SPDX-License-Identifier: MIT
"""The estimators with device="cuda": what they give on the CPU, by every solver, and what scikit-learn does with them."""

from __future__ import annotations

import pickle
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule.sklearn import CNNClassifier, MLPClassifier, MLPRegressor
from compare import assert_close
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (16,), "random_state": 0, "max_iter": 3, "batch_size": 64}


def digits(n: int = 300) -> tuple[Any, Any]:
    X, y = cr.datasets.load_digits()[:2]
    return (X[:n] / 16).astype(np.float32), y[:n]


def both(Estimator: Any, X: Any, y: Any, **options: Any) -> list[Any]:
    """Fitted on the CPU and on the card."""
    return [Estimator(device=device, **{**SMALL, **options}).fit(X, y) for device in ("cpu", "cuda")]


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop", "lbfgs"])
def test_every_solver(solver: str) -> None:
    X, y = digits()
    one, other = both(MLPClassifier, X, y, solver=solver, dtype="float64")
    assert other.network_.device == "cuda:0"
    assert_close(other.predict_proba(X), one.predict_proba(X), 1e-8)
    assert np.array_equal(other.predict(X), one.predict(X))
    assert other.loss_ == pytest.approx(one.loss_, rel=1e-9)


@pytest.mark.parametrize("options", [{"early_stopping": True}, {"dropout": 0.3, "l1": 1e-3}], ids=["early stopping", "dropout and l1"])
def test_what_a_fit_can_do(options: dict[str, Any]) -> None:
    X, y = digits()
    one, other = both(MLPClassifier, X, y, **options)
    assert_close(np.array(other.loss_curve_), np.array(one.loss_curve_), 1e-4)
    if "early_stopping" in options:
        assert one.validation_scores_ == pytest.approx(other.validation_scores_, abs=0.04)  # a row of thirty may lie on the border
    assert other.score(X, y) == pytest.approx(one.score(X, y), abs=0.01)


def test_the_regressor_goes_on_in_parts() -> None:
    X, y = digits()
    one, other = both(MLPRegressor, X, y.astype(float), dtype="float64")
    for net in (one, other):
        net.partial_fit(X, y.astype(float))
    assert_close(other.predict(X), one.predict(X), 1e-8)
    assert_close(np.array(other.coefs_[0]), np.array(one.coefs_[0]), 1e-8)


def test_it_is_an_estimator() -> None:
    """Clone, pickle, grid search, warm start: the device is a parameter like others, and what is read back lies there again."""
    X, y = digits()
    clf = MLPClassifier(device="cuda", **SMALL).fit(X, y)
    again = pickle.loads(pickle.dumps(clf))
    assert again.network_.device == "cuda:0"
    assert np.array_equal(again.predict_proba(X), clf.predict_proba(X))
    assert clone(clf).device == "cuda"
    search = GridSearchCV(clone(clf), {"alpha": [1e-4, 1.0]}, cv=2).fit(X, y)
    assert search.best_estimator_.network_.device == "cuda:0"
    network = clf.set_params(warm_start=True).fit(X, y).network_
    assert clf.fit(X, y).network_ is network


def test_images_stay_on_the_cpu() -> None:
    """No kernels for convolutions yet: said at once, by the layer's name."""
    X, y = digits(20)
    with pytest.raises(ValueError, match=r"\[conv_1\] is a convolution, which a card does not do yet: use device='cpu'"):
        CNNClassifier(image_shape=(8, 8), device="cuda", random_state=0, max_iter=1).fit(X, y)
