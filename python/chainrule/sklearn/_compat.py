# SPDX-License-Identifier: MIT
"""What scikit-learn has only in newer versions: the callbacks of 1.9."""

from __future__ import annotations

from typing import Any

__all__ = ["CallbackSupport", "Tasks", "with_callbacks"]

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
    from sklearn.callback import with_callbacks
except ImportError:

    class CallbackSupport:  # type: ignore[no-redef]
        """There are no callbacks before scikit-learn 1.9."""

    def with_callbacks(method: Any) -> Any:
        """Return the method as it is."""
        return method


class Tasks:
    """Tells scikit-learn's callbacks of a fit and of its epochs. Costs nothing where the estimator has none."""

    def __init__(self, estimator: Any, X: Any, y: Any, metadata: dict[str, Any], active: bool) -> None:
        self.estimator = estimator
        self.given = {"X": X, "y": y, "metadata": {k: v for k, v in metadata.items() if v is not None}}
        self.fit: Any = None
        self.epoch: Any = None
        if active and hasattr(CallbackSupport, "_init_callback_context"):
            self.fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
            self.fit.call_on_fit_task_begin(estimator=estimator, **self.given)
        self.heard = self.fit is not None and bool(getattr(estimator, "_skl_callbacks", None))

    def begin(self, name: str) -> None:
        """An epoch (or iteration) begins."""
        if self.heard:
            self.epoch = self.fit.subcontext(task_name=name)
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.given)

    def end(self) -> bool:
        """It ends; whether a callback asks to stop."""
        if self.epoch is None:
            return False
        context, self.epoch = self.epoch, None
        # copying the estimator copies its network: nothing is left to be set
        return bool(context.call_on_fit_task_end(estimator=self.estimator, **self.given, reconstruction_attributes=dict))

    def close(self) -> None:
        """The fit ends."""
        if self.fit is not None:
            self.fit.call_on_fit_task_end(estimator=self.estimator, **self.given, reconstruction_attributes=dict)
