# SPDX-License-Identifier: MIT
"""Changing the import line: same start, same batches, same formulas, so the same numbers as scikit-learn's, to rounding."""

from __future__ import annotations

import inspect
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import sklearn as ours
from sklearn import neural_network as theirs
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import scale

Array = np.ndarray[Any, np.dtype[Any]]
ESTIMATORS = ("MLPClassifier", "MLPRegressor")
pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:scipy.optimize. The `disp` and `iprint`:DeprecationWarning"),  # an older scikit-learn on a newer SciPy
]

iris = load_iris()
X: Array = scale(iris.data)
LABELS: Array = iris.target
BINARY: Array = np.where(LABELS == 1, "one", "other")
MULTILABEL: Array = np.stack([LABELS == 1, X[:, 0] > 0], axis=1).astype(int)
VALUES: Array = X @ [1.0, -2.0, 0.5, 0.0] + np.sin(X[:, 0])
TWO: Array = np.stack([VALUES, X[:, 1] ** 2], axis=1)


def pair(name: str, X: Any, y: Any, **options: Any) -> tuple[Any, Any]:
    """(scikit-learn's, ours), fitted alike."""
    options = {"max_iter": 12, "random_state": 3, "hidden_layer_sizes": (8, 5)} | options
    return tuple(getattr(m, name)(**options).fit(X, y) for m in (theirs, ours))  # type: ignore[return-value]


def assert_same(a: Any, b: Any, rtol: float = 1e-8) -> None:
    """Every fitted attribute of scikit-learn's is there and equal."""
    for name in (n for n in vars(a) if n.endswith("_") and not n.startswith("_")):
        expected, found = getattr(a, name), getattr(b, name)
        if isinstance(expected, list) and expected and isinstance(expected[0], np.ndarray):
            assert len(expected) == len(found)
            for e, f in zip(expected, found, strict=True):
                assert e.shape == f.shape
                assert e.dtype == f.dtype
                np.testing.assert_allclose(f, e, rtol=rtol, atol=rtol, err_msg=name)
        elif expected is None or isinstance(expected, str):
            assert found == expected, name
        elif np.asarray(expected).dtype.kind in "OUS":
            assert list(found) == list(expected), name
        else:
            np.testing.assert_allclose(found, expected, rtol=rtol, err_msg=name)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_parameters_and_their_defaults(name: str) -> None:
    expected, found = ([(p.name, p.default, p.kind) for p in inspect.signature(getattr(m, name)).parameters.values()] for m in (theirs, ours))
    if ("loss", inspect.Parameter.POSITIONAL_OR_KEYWORD) not in [(p[0], p[2]) for p in expected]:  # the regressor has had it since 1.7, in front
        found = [p for p in found if p[0] != "loss"]
    assert expected == found[: len(expected)]
    both = [set(getattr(m, name)._parameter_constraints) for m in (theirs, ours)]
    assert both[0] <= both[1]


OPTIONS: list[dict[str, Any]] = [
    {},
    {"solver": "sgd", "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False, "momentum": 0.5, "shuffle": False},
    {"solver": "sgd", "momentum": 0.0, "alpha": 0.1, "batch_size": 7},
    {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2, "learning_rate_init": 0.1},
    {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2, "learning_rate_init": 0.1, "max_iter": 30},
    {"activation": "logistic", "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3},
    {"activation": "tanh", "early_stopping": True, "tol": 0.01, "n_iter_no_change": 4, "max_iter": 60},
    {"activation": "identity", "hidden_layer_sizes": 4, "tol": 0.1, "n_iter_no_change": 3, "max_iter": 60},
    {"solver": "lbfgs", "max_iter": 8, "alpha": 0.01},
    {"hidden_layer_sizes": []},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("y", [LABELS, BINARY, MULTILABEL], ids=["multiclass", "binary", "multilabel"])
def test_the_same_classifier(y: Array, options: dict[str, Any]) -> None:
    if options.get("early_stopping") and y is BINARY:
        y = (y == "one").astype(int)  # scikit-learn failed on strings here until 1.9 (its issue 33760)
    a, b = pair("MLPClassifier", X, y, **options)
    assert_same(a, b, 1e-5 if options.get("solver") == "lbfgs" else 1e-8)
    np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), rtol=1e-5, atol=1e-9)
    np.testing.assert_array_equal(b.predict(X), a.predict(X))
    with np.errstate(divide="ignore"):  # log(1 - p) where p is 1
        np.testing.assert_allclose(b.predict_log_proba(X), a.predict_log_proba(X), rtol=1e-5, atol=1e-9)
    assert b.predict(X).dtype == a.predict(X).dtype
    assert b.score(X, y) == a.score(X, y)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("y", [VALUES, TWO], ids=["one", "two"])
def test_the_same_regressor(y: Array, options: dict[str, Any]) -> None:
    if options.get("solver") == "lbfgs" and y.ndim == 2:
        pytest.skip("scikit-learn's lbfgs goes by a loss that is a mean over the outputs and a gradient that is a sum")
    a, b = pair("MLPRegressor", X, y, **options)
    assert_same(a, b, 1e-5 if options.get("solver") == "lbfgs" else 1e-8)
    np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=1e-5, atol=1e-8)
    assert b.score(X, y) == pytest.approx(a.score(X, y), rel=1e-5)


def test_float32_follows_for_some_epochs() -> None:
    a, b = pair("MLPClassifier", X.astype(np.float32), LABELS, max_iter=5)
    assert_same(a, b, 2e-5)
    assert b.coefs_[0].dtype == b.predict_proba(X).dtype == np.float32


def test_rows_of_equal_weights_and_warm_starts_go_on_alike() -> None:
    weight = np.full(len(X), 2.5)
    if "sample_weight" in inspect.signature(theirs.MLPClassifier.fit).parameters:
        a, b = (m.MLPClassifier(max_iter=5, random_state=0).fit(X, LABELS, sample_weight=weight) for m in (theirs, ours))
        assert_same(a, b)
    a, b = (m.MLPClassifier(random_state=0, solver="sgd") for m in (theirs, ours))
    for _ in range(3):
        for one in (a, b):
            one.partial_fit(X, LABELS, classes=[0, 1, 2])
    assert_same(a, b)


def test_one_step_is_the_formula() -> None:
    """W <- W - eta (dW + alpha W / n), from a start that was given, within 1e-5 in float32."""
    rng = np.random.default_rng(0)
    W1, b1, W2, b2 = rng.normal(size=(4, 6)), rng.normal(size=6), rng.normal(size=(6, 1)), rng.normal(size=1)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        reg = ours.MLPRegressor(
            hidden_layer_sizes=6, activation="tanh", solver="sgd", learning_rate_init=0.1, momentum=0, alpha=0.7, batch_size="all", max_iter=1
        )
        x, y = X.astype(dtype), VALUES.astype(dtype)
        reg.coefs_, reg.intercepts_ = [W1, W2], [b1, b2]
        reg.partial_fit(x, y)
        h = np.tanh(X @ W1 + b1)
        delta2 = (h @ W2 + b2 - VALUES[:, None]) / len(X)
        delta1 = delta2 @ W2.T * (1 - h**2)
        for found, start, gradient in (
            (reg.coefs_[0], W1, X.T @ delta1 + 0.7 * W1 / len(X)),
            (reg.coefs_[1], W2, h.T @ delta2 + 0.7 * W2 / len(X)),
            (reg.intercepts_[0], b1, delta1.sum(0)),
            (reg.intercepts_[1], b2, delta2.sum(0)),
        ):
            np.testing.assert_allclose(found, start - 0.1 * gradient, atol=tolerance, rtol=tolerance)


def test_without_a_hidden_layer_it_is_logistic_regression() -> None:
    alpha = 0.8
    expected = LogisticRegression(C=1 / alpha, tol=1e-12, max_iter=5000).fit(X, LABELS)
    clf = ours.MLPClassifier((), solver="lbfgs", alpha=alpha, tol=1e-10, max_iter=5000, random_state=0).fit(X, LABELS)
    np.testing.assert_allclose(clf.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(clf.coefs_[0].T, expected.coef_, atol=1e-6)
    binary = LogisticRegression(C=1 / alpha, tol=1e-12, max_iter=5000).fit(X, BINARY)
    clf = ours.MLPClassifier((), solver="lbfgs", alpha=alpha, tol=1e-10, max_iter=5000, random_state=0).fit(X, BINARY)
    np.testing.assert_allclose(clf.coefs_[0].T, binary.coef_, atol=1e-6)
    np.testing.assert_allclose(clf.intercepts_[0], binary.intercept_, atol=1e-6)


@pytest.mark.parametrize("y", [VALUES, TWO], ids=["one", "two"])
def test_without_a_hidden_layer_it_is_ridge(y: Array) -> None:
    expected = Ridge(alpha=0.8, tol=1e-12).fit(X, y)
    reg = ours.MLPRegressor(hidden_layer_sizes=(), solver="lbfgs", alpha=0.8, tol=1e-10, max_iter=5000, random_state=0).fit(X, y)
    np.testing.assert_allclose(reg.predict(X), expected.predict(X), atol=1e-6)
    np.testing.assert_allclose(reg.coefs_[0].T, np.atleast_2d(expected.coef_), atol=1e-6)


def test_coefs_are_views_of_the_network() -> None:
    clf = ours.MLPClassifier((5,), max_iter=2, random_state=0).fit(X, LABELS)
    assert isinstance(clf.network_, cr.Network)
    assert [c.shape for c in clf.coefs_] == [(4, 5), (5, 3)]
    assert all(np.shares_memory(c, clf.network_.flat_parameters) for c in [*clf.coefs_, *clf.intercepts_])
    clf.coefs_[1][...] = 0
    clf.intercepts_[1] = [0.0, 7.0, 0.0]
    assert (clf.predict(X) == 1).all()
    clf.coefs_ = [np.ones((4, 5)), np.ones((5, 3))]
    assert clf.network_.W[0].min() == 1
    with pytest.raises(ValueError, match=r"\[0\] got shape \(5, 4\): expected \(4, 5\)"):
        clf.coefs_[0] = np.ones((5, 4))
    with pytest.raises(AttributeError, match="not fitted"):
        _ = ours.MLPClassifier().coefs_
