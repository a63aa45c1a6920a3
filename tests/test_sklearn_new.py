# SPDX-License-Identifier: MIT
"""What the estimators have beyond scikit-learn's: each parameter does what its formula says."""

from __future__ import annotations

from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import plots
from chainrule.sklearn import MLPClassifier, MLPRegressor
from scipy.special import expit
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, PoissonRegressor
from sklearn.preprocessing import scale

Array = np.ndarray[Any, np.dtype[Any]]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

iris = load_iris()
X: Array = scale(iris.data)
LABELS: Array = iris.target
VALUES: Array = X @ [1.0, -2.0, 0.5, 0.0] + np.sin(X[:, 0])


@pytest.mark.parametrize("name", ["identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu"])
def test_every_activation_learns(name: str) -> None:
    clf = MLPClassifier((12,), name, solver="lbfgs", max_iter=60, random_state=0).fit(X, LABELS)
    assert clf.score(X, LABELS) > 0.95
    node = next(iter(clf.network_.spec["layers"][n] for n in clf.network_.spec["layers"] if n == "hidden_1"))
    assert node["activation"] == ("sigmoid" if name == "logistic" else name)


def test_an_activation_for_each_layer() -> None:
    clf = MLPClassifier((4, 3), ["tanh", "logistic"], max_iter=1, random_state=0).fit(X, LABELS)
    W, b = clf.coefs_, clf.intercepts_
    z = expit(np.tanh(X @ W[0] + b[0]) @ W[1] + b[1]) @ W[2] + b[2]
    np.testing.assert_allclose(clf.predict_proba(X), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-10)
    same = MLPClassifier((4, 3), ["tanh", "tanh"], max_iter=3, random_state=0).fit(X, LABELS)
    np.testing.assert_array_equal(same.coefs_[0], MLPClassifier((4, 3), "tanh", max_iter=3, random_state=0).fit(X, LABELS).coefs_[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": ["relu"]}, "activation holds 1 names: expected one name, or 2, one for each hidden layer"),
        ({"activation": ["relu", "swish"]}, "activation holds 'swish'"),
        ({"dropout": [0.1]}, "dropout holds 1 values: expected one number, or 2"),
        ({"dropout": [0.1, 1.0]}, r"dropout holds 1.0: expected a float in the range \[0.0, 1.0\)"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"alpha": [1e-4, 1e-4]}, "alpha holds 2 values: expected one number, or 3"),
        ({"l1": [0.1, -0.1, 0.1]}, "l1 holds -0.1"),
        ({"l1": -1}, "The 'l1' parameter"),
        ({"solver": "adamw", "alpha": [0.1, 0.1, 0.1]}, "alpha holds several values, but solver='adamw'"),
        ({"monitor": "accuracy"}, "The 'monitor' parameter"),
        ({"dtype": "float16"}, "The 'dtype' parameter"),
        ({"device": "gpu"}, r"\[network\] device is 'gpu'"),
        ({"class_weight": "even"}, "class_weight"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**{"hidden_layer_sizes": (4, 3)} | options).fit(X, LABELS)


def test_dropout_leaves_units_out_in_training_only() -> None:
    options: dict[str, Any] = {"hidden_layer_sizes": (16, 8), "max_iter": 20, "random_state": 0}
    one, two = (MLPClassifier(dropout=[0.5, 0.0], **options).fit(X, LABELS) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    plain = MLPClassifier(**options).fit(X, LABELS)
    assert one.loss_curve_ != plain.loss_curve_
    assert [n for n in one.network_.spec["layers"] if "dropout" in n] == ["dropout_1"]
    assert one.loss_ > 0
    h = np.maximum(np.maximum(X @ one.coefs_[0] + one.intercepts_[0], 0) @ one.coefs_[1] + one.intercepts_[1], 0)
    z = h @ one.coefs_[2] + one.intercepts_[2]
    np.testing.assert_allclose(one.predict_proba(X), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-9)


def test_alpha_and_l1_are_divided_by_the_rows() -> None:
    options: dict[str, Any] = {"hidden_layer_sizes": (5,), "solver": "lbfgs", "max_iter": 4, "random_state": 0}
    for alpha, l1 in ((2.0, 0.0), ([1.0, 3.0], 0.0), (0.5, [0.0, 2.0]), (0.0, 1.5)):
        clf = MLPClassifier(alpha=alpha, l1=l1, **options).fit(X, LABELS)
        a, b = np.broadcast_to(alpha, 2), np.broadcast_to(l1, 2)
        penalty = sum(s / 2 * (w**2).sum() + t * np.abs(w).sum() for s, t, w in zip(a, b, clf.coefs_, strict=True))
        log_loss = -np.log(clf.predict_proba(X)[np.arange(len(X)), LABELS]).mean()
        assert clf.loss_ == pytest.approx(log_loss + penalty / len(X), rel=1e-9)


def test_l1_by_lbfgs_is_the_lasso_of_logistic_regression() -> None:
    binary = (LABELS == 1).astype(int)
    clf = MLPClassifier((), solver="lbfgs", alpha=0.0, l1=4.0, tol=1e-9, max_iter=5000, random_state=0).fit(X, binary)
    lasso: dict[str, Any] = {"l1_ratio": 1.0} if LogisticRegression().l1_ratio == 0.0 else {"penalty": "l1"}  # its name before 1.8
    expected = LogisticRegression(C=0.25, solver="saga", tol=1e-9, max_iter=100_000, **lasso).fit(X, binary)
    np.testing.assert_allclose(clf.coefs_[0].ravel(), expected.coef_.ravel(), atol=1e-5)
    assert (clf.coefs_[0] == 0).sum() == (expected.coef_ == 0).sum() > 0


def test_l1_by_sgd_makes_zeros() -> None:
    options: dict[str, Any] = {"solver": "sgd", "learning_rate_init": 0.05, "max_iter": 60, "random_state": 0, "hidden_layer_sizes": (10,)}
    assert (MLPClassifier(l1=20.0, **options).fit(X, LABELS).coefs_[0] == 0).mean() > 0.2
    assert (MLPClassifier(l1=[0.0, 5.0], **options).fit(X, LABELS).coefs_[0] == 0).sum() == 0


@pytest.mark.parametrize("solver", ["lbfgs", "adam"])
def test_weights_are_repeated_rows(solver: str, rng: np.random.Generator) -> None:
    """Exactly so for full batches; class_weight multiplies, and a weight of 0 is no row."""
    weight = rng.integers(0, 4, len(X))
    options: dict[str, Any] = {"solver": solver, "batch_size": "all", "max_iter": 8, "random_state": 0, "hidden_layer_sizes": (4,)}
    a = MLPClassifier(**options).fit(X, LABELS, sample_weight=weight)
    b = MLPClassifier(**options).fit(np.repeat(X, weight, axis=0), np.repeat(LABELS, weight))
    np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), rtol=1e-6, atol=1e-9)
    assert a.loss_ == pytest.approx(b.loss_, rel=1e-6)
    c = MLPClassifier(class_weight={0: 1, 1: 2, 2: 0}, **options).fit(X, LABELS)
    d = MLPClassifier(**options).fit(X, LABELS, sample_weight=np.array([1, 2, 0])[LABELS])
    np.testing.assert_array_equal(c.coefs_[0], d.coefs_[0])


def test_the_rows_that_weigh_nothing_are_not_seen(rng: np.random.Generator) -> None:
    weight = rng.integers(0, 2, len(X)).astype(float)
    a = MLPRegressor(max_iter=3, random_state=0).fit(X, VALUES, sample_weight=weight)
    b = MLPRegressor(max_iter=3, random_state=0).fit(X[weight > 0], VALUES[weight > 0])
    np.testing.assert_allclose(a.predict(X), b.predict(X), rtol=1e-12)


def test_balanced_classes_cannot_be_known_in_parts() -> None:
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, LABELS, classes=[0, 1, 2])


@pytest.mark.parametrize("solver", ["rmsprop", "adamw"])
def test_the_other_solvers_are_the_cores(solver: str) -> None:
    reg = MLPRegressor(
        hidden_layer_sizes=(6,),
        solver=solver,
        alpha=0.2,
        momentum=0.7,
        shuffle=False,
        batch_size=50,
        max_iter=2,
        random_state=0,
        learning_rate_init=0.01,
    ).fit(X, VALUES)
    net = MLPRegressor(hidden_layer_sizes=(6,), max_iter=1, learning_rate_init=1e-300, random_state=0).fit(X, VALUES).network_
    net.reset_training()
    if solver == "rmsprop":
        net.fit(X, VALUES, optimizer=cr.RMSprop(0.01, rho=0.7), penalty=cr.L2(0.2, per_sample=True), epochs=2, batch_size=50, shuffle=False)
    else:
        net.fit(X, VALUES, optimizer=cr.AdamW(0.01, lam=0.2), epochs=2, batch_size=50, shuffle=False)
    np.testing.assert_allclose(reg.network_.flat_parameters, net.flat_parameters, rtol=1e-12)


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        ("absolute_error", lambda y, a: np.abs(y - a)),
        ("huber", lambda y, a: np.where(np.abs(y - a) <= 0.7, (y - a) ** 2 / 2, 0.7 * (np.abs(y - a) - 0.35))),
        ("quantile", lambda y, a: np.maximum(0.3 * (y - a), -0.7 * (y - a))),
    ],
)
def test_losses_of_the_regressor(loss: str, value: Any) -> None:
    reg = MLPRegressor(loss, solver="lbfgs", alpha=0.0, quantile=0.3, delta=0.7, max_iter=50, random_state=0).fit(X, VALUES)
    assert reg.loss_ == pytest.approx(value(VALUES, reg.predict(X)).mean(), rel=1e-9)
    assert reg.score(X, VALUES) > 0.8


def test_poisson_without_a_hidden_layer_is_the_glm(rng: np.random.Generator) -> None:
    y = rng.poisson(np.exp(0.5 + X[:, 0]))
    reg = MLPRegressor("poisson", (), solver="lbfgs", alpha=0.0, tol=1e-9, max_iter=3000, random_state=0).fit(X, y)
    expected = PoissonRegressor(alpha=0, solver="newton-cholesky", tol=1e-9).fit(X, y)
    np.testing.assert_allclose(reg.predict(X), expected.predict(X), rtol=1e-5)
    assert reg.out_activation_ == "exp"
    with pytest.raises(ValueError, match="expected values >= 0"):
        MLPRegressor("poisson").fit(X, VALUES)


def test_several_quantiles_at_once() -> None:
    levels = [0.1, 0.5, 0.9]
    reg = MLPRegressor("quantile", (), quantile=levels, solver="lbfgs", alpha=0.0, max_iter=500, random_state=0).fit(X, VALUES)
    below = (VALUES[:, None] <= reg.predict(X)).mean(axis=0)
    np.testing.assert_allclose(below, levels, atol=0.04)
    assert 0.3 < reg.score(X, VALUES) < 1
    both = np.stack([VALUES, -VALUES], axis=1)
    two = MLPRegressor("quantile", (), quantile=levels, solver="lbfgs", alpha=0.0, max_iter=500, random_state=0).fit(X, both)
    assert two.predict(X).shape == (150, 2, 3)
    np.testing.assert_allclose((both[:, :, None] <= two.predict(X)).mean(axis=0), [levels, levels], atol=0.04)
    with pytest.raises(ValueError, match=r"q is 1.5"):
        MLPRegressor("quantile", quantile=[0.5, 1.5]).fit(X, VALUES)


@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("monitor", ["score", "loss"])
def test_early_stopping_on_rows_of_ones_own(Estimator: Any, monitor: str) -> None:
    y = LABELS if Estimator is MLPClassifier else VALUES
    est = Estimator(early_stopping=True, monitor=monitor, n_iter_no_change=3, max_iter=300, learning_rate_init=0.03, random_state=0)
    est.fit(X[::2], y[::2], X_val=X[1::2], y_val=y[1::2])
    assert est.n_iter_ < 300
    assert len(est.validation_scores_) == len(est.validation_loss_curve_) == est.n_iter_
    best = int(np.argmax(est.validation_scores_) if monitor == "score" else np.argmin(est.validation_loss_curve_))
    assert est.score(X[1::2], y[1::2]) == pytest.approx(est.validation_scores_[best], rel=1e-9)
    assert est.best_validation_score_ == est.validation_scores_[best]
    watched = Estimator(max_iter=4, random_state=0).fit(X, y, X_val=X, y_val=y)
    assert len(watched.validation_loss_curve_) == 4
    with pytest.raises(ValueError, match="got one of X_val and y_val"):
        Estimator().fit(X, y, X_val=X)


def test_dtype_and_threads() -> None:
    for dtype in ("float32", np.float32, "float64"):
        clf = MLPClassifier((4,), dtype=dtype, max_iter=2, random_state=0).fit(X, LABELS)
        assert clf.coefs_[0].dtype == clf.predict_proba(X).dtype == np.dtype(dtype)
    wide = np.tile(X, (1, 20))
    nets = [MLPClassifier((64,), n_jobs=n, max_iter=3, random_state=0).fit(wide, LABELS) for n in (None, 1, 2, -1)]
    assert all(np.array_equal(nets[0].coefs_[0], other.coefs_[0]) for other in nets)
    assert np.array_equal(nets[0].predict(wide), nets[1].predict(wide))


def test_one_softmax_for_each_of_several_outputs() -> None:
    y = np.stack([LABELS, np.where(X[:, 1] > 0.3, 7, np.where(X[:, 1] < -0.3, 5, 9))], axis=1)
    clf = MLPClassifier((12,), solver="lbfgs", max_iter=200, random_state=0).fit(X, y)
    assert clf.score(X, y) > 0.95
    assert [c.tolist() for c in clf.classes_] == [[0, 1, 2], [5, 7, 9]]
    p = clf.predict_proba(X)
    assert [one.shape for one in p] == [(150, 3), (150, 3)]
    np.testing.assert_allclose([one.sum(axis=1) for one in p], 1)
    assert clf.n_outputs_ == 2
    assert [c.shape for c in clf.coefs_] == [(4, 12), (12, 3), (12, 3)]
    steps = MLPClassifier((12,), early_stopping=True, max_iter=10, random_state=0).fit(X, y)
    assert len(steps.validation_scores_) == steps.n_iter_
    parts = MLPClassifier((12,), random_state=0)
    for part in (slice(0, 75), slice(75, 150)):
        parts.partial_fit(X[part], y[part], classes=[[0, 1, 2], [5, 7, 9]])
    assert parts.predict(X).shape == (150, 2)


def test_a_warm_start_keeps_the_optimizer() -> None:
    """Two fits of 5 epochs are one of 10, but for the order of the rows: bit for bit in their own order."""
    options: dict[str, Any] = {"hidden_layer_sizes": (6,), "random_state": 0, "shuffle": False, "batch_size": 40}
    for solver in ("adam", "sgd", "rmsprop", "adamw"):
        whole = MLPClassifier(max_iter=10, solver=solver, **options).fit(X, LABELS)
        parts = MLPClassifier(max_iter=5, solver=solver, warm_start=True, **options).fit(X, LABELS).fit(X, LABELS)
        np.testing.assert_array_equal(whole.network_.flat_parameters, parts.network_.flat_parameters)
        assert whole.loss_curve_ == parts.loss_curve_
        assert (parts.n_iter_, parts.t_) == (5, 1500)
    with pytest.raises(ValueError, match="a warm start keeps them"):
        parts.set_params(hidden_layer_sizes=(7,)).fit(X, LABELS)


def test_a_warm_start_may_begin_to_watch_rows() -> None:
    clf = MLPClassifier((6,), warm_start=True, max_iter=3, random_state=0).fit(X, LABELS)
    clf.set_params(early_stopping=True).fit(X, LABELS)
    assert (clf.best_loss_, len(clf.validation_scores_), len(clf.loss_curve_)) == (None, 3, 6)
    clf.set_params(early_stopping=False).fit(X, LABELS)
    assert clf.best_loss_ == min(clf.loss_curve_[6:])


def test_partial_fit_of_several_labels() -> None:
    y = np.stack([LABELS == 1, X[:, 0] > 0], axis=1).astype(int)
    clf = MLPClassifier((8,), solver="sgd", learning_rate_init=0.3, random_state=0)
    for _ in range(60):
        clf.partial_fit(X, y, classes=[0, 1])
    assert clf.score(X, y) > 0.8


def test_formula_and_pictures() -> None:
    """The network's own, by the estimator."""
    clf = MLPClassifier((6,), max_iter=3, random_state=0, early_stopping=True)
    with pytest.raises(NotFittedError):
        clf.formula()
    clf.fit(X, LABELS)
    assert clf.formula() == clf.network_.formula()
    assert "softmax" in clf.formula("latex")
    pytest.importorskip("matplotlib").use("Agg")
    losses = plots.LossCurveDisplay.from_estimator(clf)
    drawn = [line.get_ydata().tolist() for line in losses.ax_.get_lines()]
    assert clf.loss_curve_ in drawn
    assert clf.validation_loss_curve_ in drawn
    weights = plots.WeightsDisplay.from_estimator(clf)
    assert len(weights.ax_.child_axes) >= 2
    ranges = plots.ActivationRangeDisplay.from_estimator(clf, X)
    assert ranges.ax_ is not None
