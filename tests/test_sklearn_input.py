# SPDX-License-Identifier: MIT
"""Unusual and bad data: what scikit-learn's estimators take ours take, what they refuse ours refuse with the same type of exception."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from chainrule import sklearn as ours
from scipy import sparse
from sklearn import neural_network as theirs

Array = np.ndarray[Any, np.dtype[Any]]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X: Array = RNG.normal(size=(40, 3))
Y: Array = np.arange(40) % 3
V: Array = X[:, 0] ** 2


def with_value(value: float) -> Array:
    changed = X.copy()
    changed[7, 1] = value
    return changed


def fitted_with(module: Any, name: str, X: Any, y: Any, **options: Any) -> Any:
    return getattr(module, name)(**{"max_iter": 2, "random_state": 0} | options).fit(X, y)


def raised(action: Any) -> type[BaseException] | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            action()
        except Exception as error:
            return type(error)
    return None


BAD_DATA: list[tuple[str, Any, Any]] = [
    ("NaN", with_value(np.nan), Y),
    ("inf", with_value(np.inf), Y),
    ("NaN in y", X, np.where(Y == 1, np.nan, Y)),
    ("lengths", X, Y[:-1]),
    ("no rows", X[:0], Y[:0]),
    ("no columns", X[:, :0], Y),
    ("one axis", X[:, 0], Y),
    ("three axes", X[:, :, None], Y),
    ("strings", [["a", "b"], ["c", "d"]], [0, 1]),
    ("complex", X + 1j, Y),
    ("None", None, Y),
    ("y None", X, None),
    ("y of two axes too many", X, np.zeros((40, 2, 2))),
    ("ragged", [[1.0], [1.0, 2.0]], [0, 1]),
    ("a number", 3.0, Y),
    ("sparse y", X, sparse.csr_array(np.eye(40, 3, dtype=int)[:, :1])),
    ("sparse NaN", sparse.csr_array(with_value(np.nan)), Y),
]
BAD_LABELS: list[tuple[str, Any]] = [
    ("continuous", V),
    ("mixed", np.array([1, "a"] * 20, dtype=object)),
    ("objects", np.array([object() for _ in range(40)], dtype=object)),
    ("None among them", np.array([None, "a"] * 20, dtype=object)),
]
BAD_PARAMETERS: list[dict[str, Any]] = [
    {"hidden_layer_sizes": -1},
    {"hidden_layer_sizes": (4, 0)},
    {"hidden_layer_sizes": "big"},
    {"activation": "swish"},
    {"solver": "hadoken"},
    {"alpha": -1},
    {"alpha": "weak"},
    {"batch_size": 0},
    {"batch_size": "some"},
    {"learning_rate": "converge"},
    {"learning_rate_init": -1},
    {"learning_rate_init": 0},
    {"power_t": -1},
    {"max_iter": 0},
    {"max_iter": 1.5},
    {"shuffle": "true"},
    {"random_state": "x"},
    {"tol": -1},
    {"momentum": 1.1},
    {"nesterovs_momentum": "yes"},
    {"early_stopping": "yes"},
    {"validation_fraction": 1.0},
    {"beta_1": 1.0},
    {"beta_2": -0.1},
    {"epsilon": 0},
    {"n_iter_no_change": 0},
    {"max_fun": 0},
    {"warm_start": 3.5},
    {"verbose": -1},
]


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize(("what", "X", "y"), BAD_DATA, ids=[b[0] for b in BAD_DATA])
def test_bad_data_raises_the_same(what: str, X: Any, y: Any, name: str) -> None:
    expected = raised(lambda: fitted_with(theirs, name, X, y))
    assert expected is not None or what == "sparse y"
    assert raised(lambda: fitted_with(ours, name, X, y)) is expected


@pytest.mark.parametrize(("what", "y"), BAD_LABELS, ids=[b[0] for b in BAD_LABELS])
def test_bad_labels_raise_the_same(what: str, y: Any) -> None:
    expected = raised(lambda: fitted_with(theirs, "MLPClassifier", X, y))
    assert expected is not None
    assert raised(lambda: fitted_with(ours, "MLPClassifier", X, y)) is expected


@pytest.mark.parametrize("options", BAD_PARAMETERS, ids=str)
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_bad_parameters_raise_the_same(options: dict[str, Any], name: str) -> None:
    y = Y if name == "MLPClassifier" else V
    expected = raised(lambda: fitted_with(theirs, name, X, y, **options))
    assert raised(lambda: fitted_with(ours, name, X, y, **options)) is expected


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_bad_calls_raise_the_same(name: str) -> None:
    y = Y if name == "MLPClassifier" else V
    both = [fitted_with(m, name, X, y) for m in (theirs, ours)]
    method = "predict_proba" if name == "MLPClassifier" else "predict"
    for bad in (with_value(np.nan), with_value(-np.inf), X[:, :2], X[0], X[:0], [["a"] * 3], None, sparse.csr_array(X[:, :2]), X + 1j, X[..., None]):
        expected = raised(lambda bad=bad: getattr(both[0], method)(bad))
        assert expected is not None
        assert raised(lambda bad=bad: getattr(both[1], method)(bad)) is expected
        float32 = bad.astype(np.float32) if isinstance(bad, np.ndarray) and bad.dtype == float else bad
        assert raised(lambda bad=float32: getattr(both[1], method)(bad)) is expected
    for action in (
        lambda m: getattr(m, name)().predict(X),
        lambda m: getattr(m, name)(early_stopping=True).partial_fit(X, y, **({"classes": [0, 1, 2]} if name == "MLPClassifier" else {})),
        lambda m: getattr(m, name)(warm_start=True, max_iter=2).fit(X, y).fit(X[:, :2], y),
    ):
        expected = raised(lambda action=action: action(theirs))
        assert expected is not None
        assert raised(lambda action=action: action(ours)) is expected


def test_numbers_that_leave_the_finite_ones() -> None:
    """Always a ValueError; scikit-learn's classifier goes on with losses that are NaN as long as its weights are not."""
    assert raised(lambda: fitted_with(theirs, "MLPRegressor", X * 1e300, V)) is ValueError
    for name, y in (("MLPClassifier", Y), ("MLPRegressor", V)):
        for solver in ("adam", "sgd", "lbfgs"):
            with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
                fitted_with(ours, name, X * 1e300, y, solver=solver)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_validation_rows_that_are_too_few(name: str) -> None:
    with pytest.raises(ValueError, match=r"validation set is too small|least populated class"):
        fitted_with(ours, name, X[:2], [0, 1], early_stopping=True)


def test_weights_that_are_none_are_refused() -> None:
    for bad in (np.full(40, -1.0), np.r_[0.0, -1.0, np.ones(38)], np.full(40, np.nan), np.ones(39), np.zeros(40)):
        for solver in ("adam", "lbfgs"):
            with pytest.raises(ValueError, match=r"sample_weight|NaN|weights"):
                ours.MLPClassifier(max_iter=2, solver=solver).fit(X, Y, sample_weight=bad)


def test_bad_classes_raise_the_same() -> None:
    for action in (
        lambda m: m.MLPClassifier().partial_fit(X, Y),
        lambda m: m.MLPClassifier(solver="lbfgs").partial_fit(X, Y),
        lambda m: m.MLPClassifier().partial_fit(X, Y, classes=[0, 1]),
        lambda m: m.MLPClassifier().partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y, classes=[0, 1, 3]),
        lambda m: m.MLPClassifier().partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y + 1),
        lambda m: m.MLPClassifier(warm_start=True, max_iter=2).fit(X, Y).fit(X, Y % 2),
        lambda m: m.MLPClassifier(early_stopping=True).fit(X[:20], [0] * 19 + [1]),
    ):
        expected = raised(lambda action=action: action(theirs))
        assert expected is not None
        assert raised(lambda action=action: action(ours)) is expected


UNUSUAL: list[tuple[str, Any, Any]] = [
    ("strings", X, np.array(["no", "yes", "maybe"])[Y]),
    ("objects", X, np.array(["no", "yes", "maybe"], dtype=object)[Y]),
    ("bools", X, Y == 1),
    ("floats", X, Y.astype(float)),
    ("negative", X, Y * 2 - 3),
    ("one class", X, np.zeros(40)),
    ("one row", X[:1], [1]),
    ("constant column", np.column_stack([X, np.full(40, 3.0)]), Y),
    ("many columns", RNG.normal(size=(10, 200)), Y[:10]),
    ("lists", X.tolist(), Y.tolist()),
    ("integers", (X * 10).astype(int), Y),
    ("float16", X.astype(np.float16), Y),
    ("Fortran order", np.asfortranarray(X), Y),
    ("strided", np.repeat(X, 2, axis=0)[::2], Y),
    ("big-endian", X.astype(">f8"), Y),
    ("column of labels", X, Y[:, None]),
    ("one label of two", X, np.stack([Y == 1, Y == 1], axis=1).astype(int)),
    ("sparse labels", X, sparse.csr_matrix(np.eye(3, dtype=int)[Y])),
    ("csr", sparse.csr_array(X), Y),
    ("csc", sparse.csc_array(X), Y),
    ("coo", sparse.coo_array(X), Y),
]


@pytest.mark.parametrize(("what", "X", "y"), UNUSUAL, ids=[u[0] for u in UNUSUAL])
def test_unusual_data_does_the_same(what: str, X: Any, y: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = (fitted_with(m, "MLPClassifier", X, y) for m in (theirs, ours))
        found, expected = b.predict(X), a.predict(X)
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        dense = [p.toarray() if sparse.issparse(p) else p for p in (found, expected)]
        np.testing.assert_array_equal(*dense)
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(a.classes_, b.classes_)
        if np.asarray(y).dtype.kind in "biuf" and not sparse.issparse(y):
            a, b = (fitted_with(m, "MLPRegressor", X, y) for m in (theirs, ours))
            np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-4, atol=1e-6)


def test_frames_and_categories() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    labels = pd.Series(pd.Categorical(np.array(["x", "y", "z"])[Y], categories=["z", "unused", "x", "y"]))
    a, b = (fitted_with(m, "MLPClassifier", frame, labels) for m in (theirs, ours))
    np.testing.assert_array_equal(a.predict(frame), b.predict(frame))
    np.testing.assert_array_equal(a.classes_, b.classes_)
    assert list(b.feature_names_in_) == ["a", "b", "c"]
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        b.predict(X)
    assert raised(lambda: b.predict(frame[["c", "b", "a"]])) is raised(lambda: a.predict(frame[["c", "b", "a"]])) is ValueError


def test_a_class_that_the_rows_lack() -> None:
    """partial_fit knows it; a fold of a cross-validation does not."""
    a, b = (m.MLPClassifier(random_state=0).partial_fit(X, Y, classes=[0, 1, 2, 9]) for m in (theirs, ours))
    assert b.predict_proba(X).shape == (40, 4)
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-6)


def test_an_array_that_a_network_cannot_hold_is_named() -> None:
    with pytest.raises(ValueError, match=r"float32|infinity|inf"):
        ours.MLPClassifier(dtype="float32").fit(X * 1e200, Y)


def test_sparse_rows_are_the_dense_ones() -> None:
    dense = np.where(np.abs(X) < 1, 0, X)
    for options in ({}, {"solver": "lbfgs"}, {"early_stopping": True}):
        a, b = (fitted_with(ours, "MLPClassifier", x, Y, **options) for x in (dense, sparse.csr_matrix(dense)))
        np.testing.assert_allclose(a.predict_proba(dense), b.predict_proba(sparse.csr_matrix(dense)), rtol=1e-9)
        assert a.network_.dtype == b.network_.dtype
