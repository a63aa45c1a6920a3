# SPDX-License-Identifier: MIT
"""The estimators with device="cuda": the same fit as on the CPU."""

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

pytestmark = pytest.mark.gpu


def digits(n: int = 600) -> tuple[Any, Any]:
    X, y = cr.datasets.load_digits()[:2]
    return (X[:n] / 16).astype(np.float32), y[:n]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"solver": "sgd", "learning_rate_init": 0.1, "dropout": 0.2, "l1": 1e-4},
        {"solver": "adamw"},
        {"solver": "rmsprop"},
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


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_device_is_a_parameter_like_others() -> None:
    """Cloned, searched with, kept by a warm start."""
    X, y = digits(300)
    clf = MLPClassifier((16,), random_state=0, max_iter=2, device="cuda")
    assert clone(clf).device == "cuda"
    search = GridSearchCV(clf, {"alpha": [1e-4, 1.0]}, cv=2).fit(X, y)
    assert search.best_estimator_.network_.device == "cuda:0"
    network = clf.set_params(warm_start=True).fit(X, y).network_
    assert clf.fit(X, y).network_ is network


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_images_without_pools() -> None:
    """The same scores on both devices; pools, for which there are no kernels yet, are refused at once, by the layer's name."""
    X, y = digits(60)
    options: dict[str, Any] = {"image_shape": (8, 8), "filters": (4, 5), "pool_size": 1, "random_state": 0, "max_iter": 2, "tol": 0}
    cpu, card = (CNNClassifier(device=device, **options).fit(X, y) for device in ("cpu", "cuda"))
    assert_close(np.array(card.loss_curve_), np.array(cpu.loss_curve_), 1e-4)
    assert_close(np.asarray(card.predict_proba(X)), np.asarray(cpu.predict_proba(X)), 0.0, atol=1e-4)
    with pytest.raises(ValueError, match="pools, which a card does not do yet: use device='cpu'"):
        CNNClassifier(image_shape=(8, 8), device="cuda", random_state=0, max_iter=1).fit(X, y)


def test_what_is_no_device_is_said_by_the_estimator() -> None:
    X, y = digits(50)
    with pytest.raises(ValueError, match="device is 'gpu': expected 'cpu', 'cuda' or 'cuda:1'"):
        MLPClassifier(device="gpu").fit(X, y)
