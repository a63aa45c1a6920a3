# SPDX-License-Identifier: MIT
"""Which part of its activation's range each unit uses: the picture of `net.activation_ranges(X)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.plots import axes
from chainrule.plots.drawing import clipped

if TYPE_CHECKING:
    from chainrule.ranges import ActivationRange, ActivationRanges

#: Of a wider layer this many units are drawn, evenly from all.
SHOWN = 500
#: Of more activations the first ones are drawn.
STRIPS = 40

_DEAD, _GROUND, _PALE = "#f3c4a8", "#fbe7bb", "#f2c35c"


class ActivationRangeDisplay:
    """A strip for each activation, from one end of its range to the other; in it a bar for each unit: saturated ones first, dead ones last,
    sorted by the mean of z.

    The pale bar goes from the smallest to the largest a, the dark one from g(mean - deviation) to g(mean + deviation) of z. Where the range has no
    end, the strip ends at the largest value. Saturated units are orange, the ground of dead ones is red.

    Parameters
    ----------
    ranges : ActivationRanges
        What ``net.activation_ranges(X)`` returns.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        After ``plot``.
    bars_ : list of PolyCollection
        For each layer: the pale bars and, except for softmax, the dark ones.
    """

    def __init__(self, ranges: ActivationRanges) -> None:
        self.ranges = ranges

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None) -> ActivationRangeDisplay:
        """Look at the network of a fitted estimator, or at a network itself, on the rows of X."""
        network: Any = axes.network_of(estimator)
        return cls(network.activation_ranges(X)).plot(ax)

    def plot(self, ax: Any = None) -> ActivationRangeDisplay:
        """Draw on `ax`, or on a figure of its own. ImportError where Matplotlib is not installed."""
        shown = self.ranges[:STRIPS]
        n = len(shown)
        ax = axes.axes_for(ax, "ActivationRangeDisplay.plot", (7.5, 1.0 + 0.95 * n))
        self.ax_, self.figure_ = ax, ax.figure
        self.bars_: list[Any] = []
        for i, r in enumerate(shown):
            self._strip(r, float(i))
        left_out = f"\nthe first {n} of {len(self.ranges):,} activations" if n < len(self.ranges) else ""
        ax.set(xlim=(-0.01, 1.01), ylim=(n - 0.62, -0.62), xticks=[], xlabel=f"a, from one end of the activation's range to the other{left_out}")
        labels = [f"{clipped(r.name, 20)}\n{r.title}, {r.units:,} unit{'s' if r.units > 1 else ''}" for r in shown]
        ax.set_yticks(range(n), labels, fontsize=9, parse_math=False)
        ax.tick_params(length=0)
        for side in ax.spines.values():
            side.set_visible(False)
        self._legend(shown)
        return self

    def _strip(self, r: ActivationRange, at: float) -> None:
        """One activation: ends, bars and counts."""
        from matplotlib.patches import Rectangle

        low = r.lower if np.isfinite(r.lower) else float(r.low.min())
        high = r.upper if np.isfinite(r.upper) else float(r.high.max())
        if low == high:  # all units of a range without an end take one value
            low, high = (low, low + 1.0) if np.isfinite(r.lower) else (low - 0.5, high + 0.5)
        order = np.lexsort((-r.z_mean, 1 - r.saturated + r.dead))
        order = order[np.linspace(0, r.units - 1, min(r.units, SHOWN)).round().astype(int)]
        height = 0.64 / len(order)
        y = at - 0.32 + height * np.arange(len(order))
        dead, saturated = r.dead[order], r.saturated[order]
        for mask, ground in ((dead, _DEAD), (saturated, _GROUND)):  # their bars are points at an end, or nearly
            if mask.any():
                self._bars(y[mask], height, np.zeros(mask.sum()), np.ones(mask.sum()), [ground], True)
        bars = [(r.low[order], r.high[order], axes.SKY, _PALE)]
        if r.function != "softmax":
            bars.append((*r.typical(order), axes.BLUE, axes.ORANGE))
        for first, last, usual, warning in bars:
            a, b = ((v.astype(np.float64) - low) / (high - low) for v in (first, last))
            thin = np.maximum(b - a, 0.003)  # a unit that does not vary is still a line
            a = np.minimum(a, 1 - thin)
            colours = [warning if s else usual for s in saturated]
            self.bars_.append(self._bars(y, height, a, a + thin, colours, len(order) > 16))
        ax = self.ax_
        ax.add_patch(Rectangle((0, at - 0.32), 1, 0.64, fill=False, edgecolor="#555555", linewidth=0.8))
        left = f"{low:.3g}" if np.isfinite(r.lower) else f"{low:.3g}, no end"
        right = f"{high:.3g}" if np.isfinite(r.upper) else f"{high:.3g}, no end"
        small = {"fontsize": 8, "va": "bottom", "color": "#555555"}
        ax.text(0, at - 0.34, left, ha="left", **small)
        ax.text(1, at - 0.34, right, ha="right", **small)
        counts = [f"{int(m.sum()):,} {word}" for m, word in ((r.dead, "dead"), (r.saturated, "saturated")) if m.any()]
        if counts:
            ax.text(0.5, at - 0.34, ", ".join(counts), ha="center", fontsize=8, va="bottom", weight="bold")

    def _bars(self, y: Any, height: float, a: Any, b: Any, colours: list[str], touching: bool) -> Any:
        """Horizontal bars from a to b as one artist; with gaps between them where there is room."""
        from matplotlib.collections import PolyCollection

        top, bottom = (y, y + height) if touching else (y + 0.15 * height, y + 0.85 * height)
        corners = np.stack([np.stack([a, top], 1), np.stack([b, top], 1), np.stack([b, bottom], 1), np.stack([a, bottom], 1)], axis=1)
        bars = PolyCollection(corners, facecolors=colours, linewidths=0, antialiaseds=not touching)
        self.ax_.add_collection(bars, autolim=False)
        return bars

    def _legend(self, shown: ActivationRanges) -> None:
        from matplotlib.patches import Patch

        handles = [Patch(color=axes.SKY, label="smallest to largest a"), Patch(color=axes.BLUE, label="g(mean ± deviation of z)")]
        if any(r.dead.any() for r in shown):
            handles.append(Patch(color=_DEAD, label="dead"))
        if any(r.saturated.any() for r in shown):
            handles.append(Patch(color=axes.ORANGE, label="saturated"))
        self.ax_.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, fontsize="small")
