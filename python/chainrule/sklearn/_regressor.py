# SPDX-License-Identifier: MIT
"""The regressor."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import d2_pinball_score
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

import chainrule as cr
from chainrule.sklearn import _docs
from chainrule.sklearn._base import BaseMLP
from chainrule.sklearn._compat import with_callbacks
from chainrule.sklearn._network import Head

__all__ = ["MLPRegressor"]

Array = npt.NDArray[Any]
LOSSES = {"squared_error", "absolute_error", "huber", "quantile", "poisson"}


class MLPRegressor(RegressorMixin, BaseMLP):
    __doc__ = _docs.regressor

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions(LOSSES)],
        "quantile": [Interval(Real, 0, 1, closed="neither"), "array-like"],
        "delta": [Interval(Real, 0, None, closed="neither")],
    }
    _y_numeric: ClassVar[bool] = True

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        l1: Any = 0.0,
        quantile: Any = 0.5,
        delta: float = 1.0,
        monitor: str = "score",
        dtype: Any = None,
        n_jobs: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._keep(locals())

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> MLPRegressor:
        """Fit the network to X (n, n_features) and y.

        Parameters
        ----------
        X : array or sparse matrix (n, n_features)
        y : array (n,) or (n, n_outputs)
        sample_weight : array (n,), optional
            A row of weight 2 is two rows: exactly so with the solver lbfgs and with ``batch_size="all"``, in expectation with mini-batches.
        X_val, y_val : optional
            Validation data of one's own, instead of ``validation_fraction``; watched where ``early_stopping=True``, recorded in any case.

        Returns
        -------
        self
        """
        self._fit(X, y, sample_weight, X_val, y_val)
        return self

    @available_if(lambda self: self._stochastic())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Run one epoch over X and y from where the network stands."""
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the prediction for each row: (n,), or (n, n_outputs).

        With several quantiles they come last, in the order of ``quantile``: (n, n_quantiles), or (n, n_outputs, n_quantiles).
        """
        return self._shaped(self._outputs(X))

    # ---- for the base -----------------------------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R^2; for the loss "quantile" the share of the pinball loss that is explained, 1 - D / D of the constant quantiles (D^2, mean)."""
        check_is_fitted(self)
        if self.loss != "quantile":
            return float(super().score(X, y, sample_weight))
        weight = None if sample_weight is None else np.asarray(sample_weight)
        return self._explained(np.asarray(y, dtype=np.float64), self._outputs(X), weight)

    def _explained(self, y: Array, a: Array, weight: Array | None) -> float:
        y = y.reshape(len(y), -1)
        a = a.reshape(*y.shape, -1)
        levels = np.ravel(self.quantile)
        shares = [
            d2_pinball_score(y, a[:, :, level], sample_weight=weight, alpha=float(q)) if np.isfinite(a).all() else np.nan
            for level, q in enumerate(levels)
        ]
        return float(np.mean(shares))

    def _shaped(self, a: Array) -> Array:
        """The outputs of a network as predict returns them."""
        if np.ndim(self.quantile) and self.loss == "quantile":
            return a.reshape(len(a), -1, len(self.quantile)) if self._targets > 1 else a
        return a.ravel() if a.shape[1] == 1 else a

    def _check_y(self, y: Any, first: bool, incremental: bool) -> Any:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first or not hasattr(self, "_targets"):
            self._targets = 1 if y.ndim == 1 else y.shape[1]
        return y.astype(np.float64, copy=False) if y.dtype.kind != "f" else y

    def _loss(self) -> Any:
        if self.loss == "quantile":
            return cr.losses.Quantile(self.quantile if np.ndim(self.quantile) == 0 else tuple(self.quantile))
        return cr.losses.Huber(self.delta) if self.loss == "huber" else self.loss

    def _heads(self) -> list[Head]:
        levels = np.size(self.quantile) if self.loss == "quantile" else 1
        return [Head(self._targets * levels, "exp" if self.loss == "poisson" else "identity")]

    def _shown_outputs(self) -> int:
        return self._targets if self.loss == "squared_error" else 1

    def _score_of(self, y: Any, weight: Array | None) -> Any:
        if self.loss == "quantile":
            return lambda a: self._explained(y, a, weight)
        return lambda a: r2(y, self._shaped(a), weight)


def r2(y: Array, a: Array, weight: Array | None) -> float:
    """R^2 = 1 - sum s (y - a)^2 / sum s (y - mean)^2, the mean over the outputs; 1 or 0 where y does not vary. NaN where a is not finite.

    scikit-learn's ``r2_score`` takes longer than an epoch of a small network.
    """
    residual = np.average(np.square(y - a), axis=0, weights=weight)
    if not np.isfinite(residual).all():
        return float("nan")
    spread = np.average(np.square(y - np.average(y, axis=0, weights=weight)), axis=0, weights=weight)
    varies = spread != 0
    share = np.where(varies, residual / np.where(varies, spread, 1), residual != 0)
    return float(np.mean(1 - share))
