# SPDX-License-Identifier: MIT
"""The classifier."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from chainrule.sklearn import _docs
from chainrule.sklearn._base import BaseMLP
from chainrule.sklearn._compat import with_callbacks
from chainrule.sklearn._network import Head
from chainrule.sklearn._targets import Labels

__all__ = ["MLPClassifier"]

Array = npt.NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    __doc__ = _docs.classifier

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseMLP._parameter_constraints,
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    _labels: Labels

    def __init__(
        self,
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
        class_weight: Any = None,
        monitor: str = "score",
        dtype: Any = None,
        n_jobs: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._keep(locals())

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None) -> MLPClassifier:
        """Fit the network to X (n, n_features) and the labels y.

        Parameters
        ----------
        X : array or sparse matrix (n, n_features)
        y : array (n,), an indicator matrix (n, n_labels), or several columns of classes (n, n_outputs)
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
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Run one epoch over X and y from where the network stands.

        ``classes``: all classes that will ever come (a list of arrays for several outputs); needed at the first call.
        """
        self._set_classes(y, classes)
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:
        """Return the class of each row: (n,), or (n, n_outputs)."""
        a = self._outputs(X)
        return self._labels.decode(a)

    def predict_proba(self, X: Any) -> Any:
        """Return P(class | row), (n, n_classes) in the order of ``classes_``; for several outputs a list of such arrays."""
        a = self._outputs(X)
        return self._labels.probabilities(a)

    def predict_log_proba(self, X: Any) -> Any:
        """Return log P(class | row)."""
        p = self.predict_proba(X)
        return [np.log(one) for one in p] if isinstance(p, list) else np.log(p)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy; for several labels or outputs the share of rows in which all are right."""
        check_is_fitted(self)
        if self._labels.kind != "multioutput":
            return float(super().score(X, y, sample_weight))
        return float(np.average((self.predict(X) == np.asarray(y)).all(axis=1), weights=sample_weight))

    # ---- for the base -----------------------------------------------------------------------------------------------------------------

    def _set_classes(self, y: Any, classes: Any) -> None:
        """scikit-learn's rules for ``classes`` at the first and at later calls of partial_fit."""
        known = getattr(self, "classes_", None)
        if known is None and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is None:
            return
        several = isinstance(classes, list) and len(classes) > 0 and np.ndim(classes[0]) == 1
        given = [np.unique(c) for c in classes] if several else np.unique(classes)
        if known is not None:
            same = len(known) == len(given) and all(np.array_equal(a, b) for a, b in zip(known, given, strict=True)) if several else \
                np.array_equal(known, given)  # fmt: skip
            if not same:
                raise ValueError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}")
            return
        if several:
            self._labels = Labels.of_outputs(list(given))
        else:
            self._labels = Labels(y if type_of_target(y).startswith("multilabel") else given)
        self.classes_ = self._labels.classes

    def _check_y(self, y: Any, first: bool, incremental: bool) -> Any:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if not hasattr(self, "classes_") or (first and not incremental):
            self._labels = Labels(y)
            self.classes_ = self._labels.classes
        elif self.warm_start and not incremental and not self._labels.same(found := Labels(y)):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes_}, `y` has {found.classes}"
            )
        return self._labels.encode(y)

    def _heads(self) -> list[Head]:
        return self._labels.heads

    def _weights(self, y: Any, weight: Array | None, incremental: bool) -> Array | None:
        if self.class_weight is None:
            return weight
        if incremental and self.class_weight == "balanced":
            raise ValueError("class_weight 'balanced' is not supported for partial_fit: the classes' shares of all the data are not known")
        by_class: Array = compute_sample_weight(self.class_weight, y)
        return by_class if weight is None else weight * by_class

    def _score_of(self, y: Any, weight: Array | None) -> Any:
        return lambda a: float(np.average(self._labels.hits(a, y), weights=weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
