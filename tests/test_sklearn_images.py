# SPDX-License-Identifier: MIT
"""CNNClassifier: scikit-learn's checks, every way to hand over images, and what it refuses."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule.sklearn import CNNClassifier
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from test_sklearn_checks import checks, outcome

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL: dict[str, Any] = {"filters": (4,), "hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 4}


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    X, y = cr.datasets.load_digits()
    return X[:300], y[:300]


def test_scikit_learns_checks() -> None:
    found = {key: outcome(*given) for key, given in checks(CNNClassifier()).items()}
    assert len(found) >= 50
    assert {key: result for key, result in found.items() if result.startswith("failed")} == {}


def test_images_come_in_any_shape(digits: tuple[Any, Any]) -> None:
    """Flat with image_shape, with and without the axis of the channels, bytes, lists: the same network and the same predictions."""
    X, y = digits
    ways: list[tuple[Any, Any]] = [
        (X, (8, 8)),
        (X, [8, 8, 1]),
        (X.reshape(-1, 8, 8), None),
        (X.reshape(-1, 8, 8, 1), None),
        (X.reshape(-1, 8, 8).astype(np.uint8), None),
    ]
    found = [CNNClassifier(image_shape=shape, **SMALL).fit(images, y) for images, shape in ways]
    for clf, (images, _) in zip(found, ways, strict=True):
        assert clf.image_shape_ == (8, 8, 1)
        assert clf.n_features_in_ == 64
        assert clf.network_.dtype == np.float32
        assert np.array_equal(clf.network_.flat_parameters, found[0].network_.flat_parameters)
        assert np.array_equal(clf.predict_proba(images), found[0].predict_proba(X))
        assert np.array_equal(clf.predict(X), found[0].predict(X))
    assert CNNClassifier(dtype="float64", **SMALL).fit(ways[2][0].tolist(), y).image_shape_ == (8, 8, 1)


def test_it_is_an_estimator(digits: tuple[Any, Any]) -> None:
    """Clone, pickle, grid search over the images' own parameters, warm start, partial_fit, early stopping."""
    X, y = digits[0].reshape(-1, 8, 8), digits[1]
    clf = CNNClassifier(augment=cr.Augment(1), **SMALL).fit(X, y)
    assert np.array_equal(pickle.loads(pickle.dumps(clf)).predict(X), clf.predict(X))
    assert clone(clf).get_params() == clf.get_params()
    search = GridSearchCV(CNNClassifier(**SMALL), {"kernel_size": [1, 3], "augment": [None, {"shift": 1}]}, cv=2).fit(X, y)
    assert set(search.best_params_) == {"kernel_size", "augment"}
    before = clf.network_.flat_parameters.copy()
    clf.partial_fit(X, y)
    assert not np.array_equal(before, clf.network_.flat_parameters)
    again = CNNClassifier(warm_start=True, early_stopping=True, **SMALL)
    network = again.fit(X, y).network_
    assert again.fit(X, y).network_ is network
    assert len(again.validation_scores_) > 4


def test_floats_go_straight_to_the_core(digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Float images, and rows that are some, are not validated by scikit-learn first, and get what they would get then."""
    X, y = digits
    clf = CNNClassifier(image_shape=(8, 8), **SMALL).fit(X, y)
    ways = [X[:3].astype(dtype).reshape(3, *shape) for dtype in ("float32", "float64") for shape in ((64,), (8, 8), (8, 8, 1))]
    expected = clf.predict_proba(X[:3].tolist())
    monkeypatch.setattr("chainrule.sklearn._images.validate_data", None)
    for images in ways:
        assert np.array_equal(clf.predict_proba(images), expected)
    with pytest.raises(TypeError, match="not callable"):
        clf.predict(np.full((1, 8, 8), np.nan))


def test_augmentation_is_that_of_fit(digits: tuple[Any, Any]) -> None:
    X, y = digits[0].reshape(-1, 8, 8), digits[1]
    plain, moved, same = (CNNClassifier(augment=a, **SMALL).fit(X, y) for a in (None, {"shift": 2, "rotate": 10}, cr.Augment(2, rotate=10)))
    assert not np.array_equal(plain.network_.flat_parameters, moved.network_.flat_parameters)
    assert np.array_equal(moved.network_.flat_parameters, same.network_.flat_parameters)


def test_its_layers() -> None:
    """Pools only where two windows fit, kernels no longer than the image."""
    X, y = np.random.default_rng(0).normal(size=(40, 3, 9, 2)), np.arange(40) % 3
    clf = CNNClassifier((5, 6, 7), (), kernel_size=(5, 3), pool_size=(2, 3), max_iter=1, activation="logistic", random_state=0).fit(X, y)
    lines = {line.name: line for line in clf.network_.summary().lines}
    assert [name for name in lines if name.startswith("pool")] == ["pool_1"]
    assert [lines[f"conv_{k}"].shape for k in (1, 2, 3)] == [(3, 9, 5), (3, 3, 6), (3, 3, 7)]
    assert [clf.network_.parameters[f"conv_{k}.W"].shape[:3] for k in (1, 2, 3)] == [(5, 3, 3), (6, 3, 3), (7, 3, 3)]
    assert lines["output"].shape == (3,)


REFUSED: list[tuple[Callable[[Any, Any], object], type[Exception], str]] = [
    (lambda X, y: CNNClassifier(image_shape=(3, 3)).fit(X, y), ValueError, r"image_shape is \(3, 3\), 9 numbers an image, and X has 64 features"),
    (lambda X, y: CNNClassifier(image_shape=(64,)).fit(X, y), ValueError, r"image_shape is \(64,\): expected \(h, w\) or \(h, w, channels\)"),
    (lambda X, y: CNNClassifier(image_shape=(8, 8), filters=(0,)).fit(X, y), ValueError, r"filters is \(0,\): expected numbers of at least 1"),
    (lambda X, y: CNNClassifier(kernel_size=(3, 3, 3)).fit(X, y), ValueError, r"kernel_size is \(3, 3, 3\): expected a number of at least 1, or two"),
    (lambda X, y: CNNClassifier().fit(np.zeros((4, 0, 3)), y[:4]), ValueError, r"X has shape \(4, 0, 3\): expected images of at least one pixel"),
    (lambda X, y: CNNClassifier(solver="lbfgs", augment={"shift": 1}).fit(X, y), ValueError, "augment changes the images of each batch"),
    (lambda X, y: CNNClassifier(augment={"shift": 8}, image_shape=(8, 8)).fit(X, y), ValueError, r"shift is \(8, 8\) and the images \(n, 8, 8, 1\)"),
    (lambda X, y: CNNClassifier(**SMALL).fit(X.reshape(-1, 8, 8), y).predict(X.reshape(-1, 4, 16)), ValueError, r"fitted to images of shape"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused(digits: tuple[Any, Any], call: Callable[[Any, Any], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(*digits)
