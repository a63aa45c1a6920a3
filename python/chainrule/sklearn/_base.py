# SPDX-License-Identifier: MIT
"""What the classifier and the regressor share: from fit's arguments to the network, and from the network to fitted attributes."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

import chainrule as cr
from chainrule.sklearn import _params
from chainrule.sklearn._compat import CallbackSupport, Tasks
from chainrule.sklearn._network import Head, Views, build, start, weighted
from chainrule.sklearn._solvers import NON_FINITE, Problem, Rate, fit_epochs, fit_lbfgs

__all__ = ["BaseMLP"]

Array = npt.NDArray[Any]
#: scikit-learn's names of output activations that the core calls otherwise.
SHOWN = {"sigmoid": "logistic"}


class BaseMLP(CallbackSupport, BaseEstimator):
    """Base of the estimators. The network itself is the fitted attribute ``network_``: whatever a :class:`chainrule.Network` can do, it can."""

    _parameter_constraints: ClassVar[dict[str, Any]] = _params.CONSTRAINTS

    network_: cr.Network
    n_features_in_: int

    def _keep(self, given: dict[str, Any]) -> None:
        """Set every parameter of __init__ as it came, from its locals()."""
        for name, value in given.items():
            if name != "self":
                setattr(self, name, value)

    # ---- what the classifier and the regressor say themselves -------------------------------------------------------------------------

    def _check_y(self, y: Any, first: bool, incremental: bool) -> Any:
        """Return y for the core, having set what describes it."""
        raise NotImplementedError

    def _heads(self) -> list[Head]:
        raise NotImplementedError

    def _rows(self, X: Any, dtype: Any) -> Any:
        """Return validated rows as the network takes them."""
        return _cast(X, dtype)

    def _dtype_of(self, X: Any) -> Any:
        """Return what is computed in where the parameter leaves it open."""
        return X.dtype

    def _augment(self) -> cr.Augment | None:
        """Return what happens to the rows of a batch."""
        return None

    def _loss(self) -> Any:
        """The core's loss; None: that of the output's activation."""
        return None

    def _weights(self, y: Any, weight: Array | None, incremental: bool) -> Array | None:
        """Return the rows' weights, class_weight included."""
        return weight

    def _score_of(self, y: Any, weight: Array | None) -> Any:
        """Return the function outputs -> score for these targets."""
        raise NotImplementedError

    # ---- fit --------------------------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any = None, y_val: Any = None, incremental: bool = False) -> Any:
        architecture = _params.Architecture(self)
        first = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y = self._check_X_y(X, y, reset=first or not hasattr(self, "n_features_in_"))
        target = self._check_y(y, first, incremental)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)
        weight = self._weights(y, weight, incremental)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        if (X_val is None) != (y_val is None):
            raise ValueError("got one of X_val and y_val: expected both or none")
        if weight is not None and not weight.all():  # rows of weight 0 are no rows
            there = weight != 0
            if not there.any():
                raise ValueError("sample_weight (times class_weight) is 0 everywhere: expected a positive sum")
            X, target, weight = X[there], _picked(target, there), weight[there]
        rng = check_random_state(self.random_state)
        with _params.threads(self.n_jobs):
            net = self._start(architecture, X, rng, first)
            problem = Problem(self._rows(X, net.dtype), target, weight, self._loss(), self._shown_outputs(), augment=self._augment())
            tasks = Tasks(self, X, y, {"sample_weight": sample_weight, "X_val": X_val, "y_val": y_val}, active=not incremental)
            if self.solver == "lbfgs":
                fit_lbfgs(self, net, problem, tasks)
            else:
                if X_val is not None:
                    self._validate_with(problem, *self._check_X_y(X_val, y_val, reset=False))
                elif self.early_stopping:
                    self._hold_back(problem, rng)
                self._begin(problem, first, incremental)
                fit_epochs(self, net, problem, self._batch(problem.X.shape[0]), rng, tasks, once=incremental)
            tasks.close()
        if not np.isfinite(net.flat_parameters).all():
            raise ValueError(NON_FINITE)
        return self

    def _check_X_y(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=self._y_numeric,
            dtype=(np.float64, np.float32),
            order="C",
            reset=reset,
        )
        return X, y

    _y_numeric: ClassVar[bool] = False

    def _shown_outputs(self) -> int:
        return 1

    def _start(self, architecture: _params.Architecture, X: Any, rng: np.random.RandomState, first: bool) -> cr.Network:
        """Return the network to go on with, or a new one."""
        given = self.__dict__.get("_given")
        if not first and given is None:
            net = self.network_
            shapes = [net.parameters[f"{name}.W"].shape[0] for name in weighted(net)]
            if shapes != self._units(architecture):
                raise ValueError(f"the fitted layers have {shapes} units and a warm start keeps them: expected {self._units(architecture)}")
            return net
        heads = self._heads()
        dtype = self._dtype_of(X) if self.dtype is None else np.dtype(self.dtype)
        net = self.network_ = self._build(architecture, heads, X.shape[1], dtype, rng)
        self.n_layers_ = len(architecture.sizes) + 2
        self.n_outputs_ = len(heads) if len(heads) > 1 else heads[0].units
        self.out_activation_ = SHOWN.get(heads[0].activation, heads[0].activation)
        self.n_iter_ = self.t_ = 0
        self.__dict__.pop("_given", None)
        if given is not None and not first:
            for name, values in given.items():
                setattr(self, name, values)
        return net

    def _units(self, architecture: _params.Architecture) -> list[int]:
        """Return the outputs of each layer with weights."""
        return [*architecture.sizes, *(head.units for head in self._heads())]

    def _build(self, architecture: _params.Architecture, heads: list[Head], features: int, dtype: Any, rng: np.random.RandomState) -> cr.Network:
        """Return a new network, started as scikit-learn starts its own."""
        seed = int(rng.randint(2**31 - 1)) if any(architecture.dropout) else 0  # without masks the draws are scikit-learn's
        net = build(features, architecture.sizes, architecture.activations, architecture.dropout, heads, seed, dtype, self.device)
        start(net, architecture.starts, rng)
        return net

    def _begin(self, problem: Problem, first: bool, incremental: bool) -> None:
        """Set the fitted attributes of the solvers by epochs; a warm start keeps what stands there."""
        if not (incremental and hasattr(self, "_optimizer")):
            self._optimizer = Rate(self)
        if first or not hasattr(self, "_best_value"):
            self.loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self._best_value = -np.inf
            self.best_loss_: float | None = None
            self.best_validation_score_: float | None = None
            self.validation_scores_: list[float] | None = None
            self.validation_loss_curve_: list[float] | None = None
        if self.early_stopping:
            self.best_loss_ = None
            self.best_validation_score_ = -np.inf if self.best_validation_score_ is None else self.best_validation_score_
        elif self.best_loss_ is None:
            self.best_loss_ = np.inf
        if problem.validation is not None and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []

    def _batch(self, rows: int) -> int | None:
        if self.batch_size == "all":
            return None
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=2)
        return min(int(self.batch_size), rows)

    def _hold_back(self, problem: Problem, rng: np.random.RandomState) -> None:
        """Move a share of the rows to the validation data: the rows that scikit-learn would take."""
        two_classes = isinstance(problem.y, np.ndarray) and problem.y.dtype == bool and problem.y.ndim == 1
        stratify = problem.y[:, None] if two_classes else None
        train, held = train_test_split(np.arange(problem.X.shape[0]), random_state=rng, test_size=self.validation_fraction, stratify=stratify)
        if len(held) < 2:
            raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        weight = None if problem.weight is None else problem.weight[held]
        self._validate_with(problem, problem.X[held], _picked(problem.y, held), weight, encoded=True)
        problem.X, problem.y = problem.X[train], _picked(problem.y, train)
        problem.weight = None if problem.weight is None else problem.weight[train]

    def _validate_with(self, problem: Problem, X: Any, y: Any, weight: Array | None = None, encoded: bool = False) -> None:
        if not encoded:
            X, y = self._rows(X, self.network_.dtype), self._check_y(y, False, True)
        problem.validation = (X, y) if weight is None else (X, y, weight)
        problem.score = self._score_of(y, weight)

    def _stochastic(self) -> bool:
        if self.solver not in _params.STOCHASTIC:
            raise AttributeError(f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic.")
        return True

    # ---- what was fitted --------------------------------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Any:
        """Return the network's outputs. Plain float arrays go straight to C++, which sees that they are finite; what it leaves is validated here."""
        direct = self._direct(X)
        if direct is not None:
            return direct
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), order="C", reset=False)
        with _params.threads(self.n_jobs):
            return self.network_.predict(X)

    def _direct(self, X: Any) -> Any:
        """Return the outputs for what the network takes as it is, else None."""
        fitted = self.__dict__
        if "network_" not in fitted or "feature_names_in_" in fitted:
            return None
        if self.n_jobs is None:
            return fitted["network_"]._direct_finite(X)
        with _params.threads(self.n_jobs):
            return fitted["network_"]._direct_finite(X)

    def formula(self, format: str = "text") -> str:
        """Return the fitted network as formulas, in the "text" of :func:`print` or as "latex": :meth:`chainrule.Network.formula`."""
        check_is_fitted(self)
        return self.network_.formula(format)

    @property
    def coefs_(self) -> Any:
        """Weights W^T (n_in, n_out) of each layer: writable views of ``network_``'s parameters. Several outputs: one array each, at the end."""
        return self._views("coefs_")

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        self._write("coefs_", values)

    @property
    def intercepts_(self) -> Any:
        """Biases (n_out,) of each layer: writable views of ``network_``'s parameters."""
        return self._views("intercepts_")

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        self._write("intercepts_", values)

    def _views(self, name: str) -> Any:
        net = self.__dict__.get("network_")
        if net is not None:
            suffix = ".W" if name == "coefs_" else ".b"
            return Views(net.parameters[layer + suffix].T for layer in weighted(net))
        given = self.__dict__.get("_given", {})
        if name not in given:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}: it is not fitted yet")
        return given[name]

    def _write(self, name: str, values: Any) -> None:
        if "network_" in self.__dict__:
            self._views(name).write(values)
        else:  # where partial_fit, or fit with warm_start, is to begin
            self.__dict__.setdefault("_given", {})[name] = values

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())
        if "network_" in state:  # plain values, so that any way of keeping an estimator can keep it
            state["network_"] = {**state["network_"].__getstate__(), "last_fit": None}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if isinstance(state.get("network_"), dict):
            net = cr.Network.__new__(cr.Network)
            net.__setstate__(state["network_"])
            state["network_"] = net
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _cast(X: Any, dtype: Any) -> Any:
    with np.errstate(over="ignore"):  # the core says in which row a number became inf
        return X.astype(dtype, copy=False)


def _picked(target: Any, which: Array) -> Any:
    return tuple(t[which] for t in target) if isinstance(target, tuple) else target[which]
