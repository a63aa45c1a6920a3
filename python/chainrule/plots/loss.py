# SPDX-License-Identifier: MIT
"""Losses and scores over the epochs of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.history import History
from chainrule.plots import axes

_SCORES = [axes.GREEN, axes.ORANGE, "#cc79a7", "#555555"]


class LossCurveDisplay:
    """The loss of each epoch, that of the validation data, and scores on an axis of their own; a shorter curve ends earlier.

    Parameters
    ----------
    loss : sequence of float, optional
        Of the training rows, penalties included; NaN where an epoch has none.
    validation_loss : sequence of float, optional
    scores : mapping of name to sequence of float, optional
        Drawn on the right: "validation accuracy", ...
    best_epoch : int, optional
        Marked by a vertical line.
    name : str, optional
        The title.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        After ``plot``.
    score_ax_ : Axes or None
        The axes of the scores, on the right.
    lines_ : dict of Line2D
        By the names "loss", "validation loss", and those of the scores.
    """

    def __init__(
        self,
        *,
        loss: Sequence[float] | None = None,
        validation_loss: Sequence[float] | None = None,
        scores: Mapping[str, Sequence[float]] | None = None,
        best_epoch: int | None = None,
        name: str | None = None,
    ) -> None:
        given = {"loss": loss, "validation loss": validation_loss}
        self.losses = {k: _curve(k, v) for k, v in given.items() if v is not None}
        self.scores = {k: _curve(k, v) for k, v in (scores or {}).items()}
        self.best_epoch = best_epoch
        self.name = name
        if not any(map(len, (self.losses | self.scores).values())):
            raise ValueError("[LossCurveDisplay] there is no epoch to draw: expected a loss or a score for at least one")

    @classmethod
    def from_history(cls, history: History, *, name: str | None = None, ax: Any = None) -> LossCurveDisplay:
        """Draw what ``net.fit`` returned (or ``net.last_fit``)."""
        return cls._of_history(history, name).plot(ax)

    @classmethod
    def _of_history(cls, history: History, name: str | None) -> LossCurveDisplay:
        if not isinstance(history, History):
            raise TypeError(f"[from_history] got {type(history).__name__}: expected the History that net.fit returned")
        scores = {_words(k): v for k, v in history.items() if k not in ("loss", "validation_loss")}
        best = history.best_epoch if history.stopped == "early_stopping" or "validation_loss" in history else None
        return cls(loss=history.get("loss"), validation_loss=history.get("validation_loss"), scores=scores, best_epoch=best, name=name)

    @classmethod
    def from_estimator(cls, estimator: Any, *, name: str | None = None, ax: Any = None) -> LossCurveDisplay:
        """Draw the curves of a network's last fit, or of a fitted estimator, any object with a ``loss_curve_`` as scikit-learn's have.

        Its ``validation_loss_curve_`` and ``validation_scores_`` are drawn where they are. ValueError where there is no curve, such as before
        ``fit``.
        """
        history = getattr(estimator, "last_fit", None)
        if history is not None:
            return cls._of_history(history, name).plot(ax)
        loss, kind = getattr(estimator, "loss_curve_", None), type(estimator).__name__
        if loss is None:
            raise ValueError(f"[from_estimator] {kind} has no last_fit and no loss_curve_: expected a network or an estimator that is fitted")
        scores = getattr(estimator, "validation_scores_", None)
        losses = getattr(estimator, "validation_loss_curve_", None)
        return cls(loss=loss, validation_loss=losses, scores={} if scores is None else {"validation score": scores}, name=name or kind).plot(ax)

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw on `ax`, or on a figure of its own. ImportError where Matplotlib is not installed."""
        ax = axes.axes_for(ax, "LossCurveDisplay.plot", (6.4, 4.0))
        from matplotlib.ticker import MaxNLocator

        self.ax_, self.figure_, self.score_ax_ = ax, ax.figure, None
        self.lines_: dict[str, Any] = {}
        looks = [{"color": axes.BLUE, "linestyle": "-"}, {"color": axes.RED, "linestyle": "--"}]
        for (name, curve), look in zip(self.losses.items(), looks if "loss" in self.losses else looks[1:], strict=False):
            (self.lines_[name],) = ax.plot(curve, label=name, **_dots(curve), **look)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if self.scores:
            self.score_ax_ = ax.twinx() if self.losses else ax
            self.score_ax_.set_ylabel(next(iter(self.scores)) if len(self.scores) == 1 else "score")
            for i, (name, curve) in enumerate(self.scores.items()):
                look = {"color": _SCORES[i % 4], "linestyle": [":", "-."][i // 4 % 2]}
                (self.lines_[name],) = self.score_ax_.plot(curve, label=name, **_dots(curve), **look)
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color="#999999", linewidth=1, zorder=0, label=f"best epoch: {self.best_epoch}")
        handles = ax.get_legend_handles_labels()
        if self.score_ax_ is not None and self.score_ax_ is not ax:
            more = self.score_ax_.get_legend_handles_labels()
            handles = (handles[0] + more[0], handles[1] + more[1])
        ax.legend(*handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(4, len(handles[0])), frameon=False, fontsize="small")
        if self.name:
            ax.set_title(self.name, pad=28, parse_math=False)
        ax.spines[["top"] if self.score_ax_ is not None else ["top", "right"]].set_visible(False)
        return self


def _curve(name: str, values: Any) -> Any:
    curve = np.asarray(values, dtype=np.float64)
    if curve.ndim != 1:
        raise ValueError(f"[LossCurveDisplay] {name} has shape {curve.shape}: expected one number an epoch")
    return curve


def _words(name: str) -> str:
    """validation_accuracy -> validation accuracy; an output's name in brackets stays as it is."""
    head, bracket, rest = name.partition("[")
    return head.replace("_", " ") + bracket + rest


def _dots(curve: Any) -> dict[str, Any]:
    """Markers where a curve would otherwise show nothing: a number between two gaps."""
    return {"marker": "o", "markersize": 3} if len(curve) < 20 or np.isnan(curve).any() else {}
