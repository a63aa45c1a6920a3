# SPDX-License-Identifier: MIT
"""The estimators among others': copies and files, meta-estimators, routing, callbacks, threads and processes."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import chainrule as cr
import joblib
import numpy as np
import pytest
import sklearn
from chainrule.sklearn import MLPClassifier, MLPRegressor
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = np.ndarray[Any, np.dtype[Any]]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
OPTIONS: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 15, "random_state": 0, "learning_rate_init": 0.02}


def fitted(**options: Any) -> MLPClassifier:
    return MLPClassifier(**OPTIONS | options).fit(X, Y)


def by_joblib(est: Any, path: Path) -> Any:
    joblib.dump(est, path / "model.joblib")
    return joblib.load(path / "model.joblib")


def by_skops(est: Any, path: Path) -> Any:
    skops = pytest.importorskip("skops.io")
    skops.dump(est, path / "model.skops")
    unknown = skops.get_untrusted_types(file=path / "model.skops")
    assert all(name.startswith("chainrule.sklearn.") for name in unknown), "nothing else need be trusted"
    return skops.load(path / "model.skops", trusted=unknown)


@pytest.mark.parametrize("way", [lambda e, _: pickle.loads(pickle.dumps(e)), lambda e, _: copy.deepcopy(e), by_joblib, by_skops])
def test_a_copy_predicts_and_goes_on_alike(way: Any, tmp_path: Path) -> None:
    for est in (fitted(warm_start=True), fitted(warm_start=True, solver="sgd", learning_rate="invscaling")):
        other = way(est, tmp_path)
        np.testing.assert_array_equal(other.predict_proba(X), est.predict_proba(X))
        assert other.loss_curve_ == est.loss_curve_
        assert not np.shares_memory(other.coefs_[0], est.coefs_[0])
        for one in (est, other):
            one.fit(X, Y)
            one.partial_fit(X, Y)
        np.testing.assert_array_equal(other.network_.flat_parameters, est.network_.flat_parameters)


def test_a_pickle_holds_each_weight_once() -> None:
    est = MLPClassifier((300,), solver="lbfgs", max_iter=1, random_state=0).fit(X, Y)
    assert len(pickle.dumps(est)) < est.network_.flat_parameters.nbytes + 4000


def test_clone_and_parameters() -> None:
    est = fitted(dropout=0.1, l1=[0.0, 1e-3], activation=["gelu"])
    other = clone(est)
    assert other.get_params() == est.get_params()
    assert not hasattr(other, "network_")
    assert "dropout=0.1" in repr(est)
    assert "MLPClassifier" in est._repr_html_()


def test_pipelines_and_searches() -> None:
    pipe = make_pipeline(StandardScaler(), MLPClassifier(**OPTIONS))
    assert cross_val_score(pipe, X, Y, cv=3).mean() > 0.75
    search = GridSearchCV(pipe, {"mlpclassifier__alpha": [1e-4, 100.0], "mlpclassifier__activation": ["relu", ["tanh"]]}, cv=2).fit(X, Y)
    assert search.best_params_["mlpclassifier__alpha"] == 1e-4
    halving = HalvingGridSearchCV(MLPClassifier(random_state=0), {"hidden_layer_sizes": [(2,), (8,)]}, resource="max_iter", max_resources=12, cv=2)
    assert halving.fit(X, Y).best_estimator_.n_iter_ <= 12


def test_ensembles_calibration_and_importance() -> None:
    est = MLPClassifier(**OPTIONS)
    assert CalibratedClassifierCV(est, cv=2).fit(X, Y).predict_proba(X).shape == (150, 3)
    stack = StackingClassifier([("net", est), ("bayes", GaussianNB())], GaussianNB(), cv=2).fit(X, Y)
    assert stack.score(X, Y) > 0.9
    importance = permutation_importance(fitted(max_iter=60), X, Y, n_repeats=3, random_state=0).importances_mean
    assert importance[2:].min() > importance[1]


def test_metadata_reaches_fit() -> None:
    """Weights and validation rows go through a search where they are asked for."""
    with sklearn.config_context(enable_metadata_routing=True):
        est = MLPClassifier(**OPTIONS).set_fit_request(sample_weight=True, X_val=True, y_val=True).set_score_request(sample_weight=True)
        search = GridSearchCV(est, {"alpha": [1e-4]}, cv=2).fit(X, Y, sample_weight=np.ones(150), X_val=X[:9], y_val=Y[:9])
        assert len(search.best_estimator_.validation_scores_) == OPTIONS["max_iter"]


def test_in_threads() -> None:
    """Fits side by side give what they give alone, and one estimator may predict in several threads."""
    with ThreadPoolExecutor(4) as pool:
        ests = list(pool.map(lambda seed: fitted(random_state=seed), range(8)))
        for seed, est in enumerate(ests):
            np.testing.assert_array_equal(est.coefs_[0], fitted(random_state=seed).coefs_[0])
        expected = ests[0].predict_proba(X)
        for found in pool.map(lambda _: ests[0].predict_proba(X), range(50)):
            np.testing.assert_array_equal(found, expected)
    with joblib.parallel_config("threading", n_jobs=2):
        assert GridSearchCV(MLPClassifier(**OPTIONS), {"alpha": [1e-4, 1e-3]}, cv=2).fit(X, Y).best_score_ > 0.5


def test_in_processes() -> None:
    def job(seed: int) -> Array:
        return fitted(random_state=seed).coefs_[0]

    alone = [job(0), job(1)]
    for found, expected in zip(joblib.Parallel(2)(joblib.delayed(job)(seed) for seed in (0, 1)), alone, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_package_does_not_import_scikit_learn() -> None:
    code = "import sys, chainrule; assert not any(m.split('.')[0] in ('sklearn', 'scipy') for m in sys.modules); print(chainrule.sklearn.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "chainrule.sklearn"


def test_lines_and_bars(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fitted(verbose=True, max_iter=2)
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")
    fitted(verbose=True, max_iter=2, early_stopping=True)
    assert "Validation score: " in capsys.readouterr().out
    fitted(verbose=True, tol=1.0, n_iter_no_change=2, solver="sgd", learning_rate="adaptive")
    assert "Training loss did not improve more than tol=1.000000 for 2 consecutive epochs. Setting learning rate to" in capsys.readouterr().out
    fitted(verbose=True, max_iter=2, solver="lbfgs")
    assert capsys.readouterr().out.startswith("Iteration 1, loss = ")
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    fitted(verbose="progress", max_iter=2)
    caught = capsys.readouterr()
    assert caught.out == ""
    assert "epoch 2/2" in caught.err


def test_a_bar_by_tqdm(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    fitted(verbose="progress", max_iter=3)
    assert "3/3" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(self: Any, *args: Any, **options: Any) -> None:
        plain(self, *args, **options | {"epochs": 2})
        raise KeyboardInterrupt

    plain = cr.Network.fit
    monkeypatch.setattr(cr.Network, "fit", fit)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        est = fitted()
    assert (est.n_iter_, len(est.loss_curve_)) == (2, 2)
    assert est.predict(X).shape == (150,)


class Recorder:
    """A callback of scikit-learn's protocol: notes what it hears, and stops after an epoch."""

    def __init__(self, stop_after: int) -> None:
        self.heard: list[str] = []
        self.predicted: list[Array] = []
        self.weights: list[Array] = []
        self.stop_after = stop_after

    def setup(self, estimator: Any, context: Any) -> None:
        self.heard.append(f"setup {context.task_name} {context.max_subtasks}")

    def on_fit_task_begin(self, estimator: Any, context: Any, *, X: Any = None) -> None:
        self.heard.append(f"begin {context.task_name} {context.task_id}")

    def on_fit_task_end(self, estimator: Any, context: Any, *, X: Any = None, y: Any = None, fitted_estimator: Any = None) -> bool:
        self.heard.append(f"end {context.task_name} {context.task_id}")
        self.predicted.append(fitted_estimator.predict(X))
        assert np.isfinite(fitted_estimator.score(X, y))
        self.weights.append(fitted_estimator.coefs_[0])
        return context.task_name != "fit" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator: Any, context: Any) -> None:
        self.heard.append("teardown")


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_scikit_learns_callbacks(Estimator: Any, solver: str) -> None:
    pytest.importorskip("sklearn.callback", reason="since scikit-learn 1.9")
    recorder = Recorder(stop_after=3)
    est = Estimator(**OPTIONS | {"solver": solver}).set_callbacks(recorder).fit(X, Y)
    name = "epoch" if solver == "adam" else "lbfgs-iter"
    steps = [f"{what} {name} {k}" for k in range(3) for what in ("begin", "end")]
    assert recorder.heard == ["setup fit 15", "begin fit 0", *steps, "end fit 0", "teardown"]
    assert est.n_iter_ == 3
    np.testing.assert_array_equal(recorder.predicted[-1], est.predict(X))
    assert np.array_equal(recorder.weights[-2], est.coefs_[0])
    assert not np.array_equal(recorder.weights[0], recorder.weights[1])
    assert clone(est).fit(X, Y).n_iter_ >= 3
    if solver == "adam":
        est.partial_fit(X, Y)
        assert recorder.heard[-1] == "teardown"  # of the fit before: one epoch of one's own loop has no tasks


def test_scikit_learns_progress_bar_and_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    callback = pytest.importorskip("sklearn.callback", reason="since scikit-learn 1.9")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    est = MLPClassifier(**OPTIONS | {"max_iter": 4}).set_callbacks(monitor)
    if sys.modules.get("rich") or _has("rich"):
        import rich

        monkeypatch.setattr(rich.get_console(), "file", io.StringIO())
        est.set_callbacks(monitor, callback.ProgressBar())
    est.fit(X, Y)
    assert est.n_iter_ == 4


def _has(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_partial_fit_from_a_file_learns(tmp_path: Path) -> None:
    est = by_joblib(MLPRegressor(hidden_layer_sizes=(20,), learning_rate_init=0.01, random_state=0).fit([[2.0]], [4.0]), tmp_path)
    for _ in range(200):
        est.partial_fit([[2.0]], [1.0])
    assert est.predict([[2.0]])[0] == pytest.approx(1.0, abs=1e-3)
