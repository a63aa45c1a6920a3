# SPDX-License-Identifier: MIT
"""Matplotlib: the only place that imports it. Axes, and a drawing's shapes on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.plots.drawing import INK, Box, Circle, Drawing, Line, Text, arrow_head, bends
from chainrule.structure import Structure

if TYPE_CHECKING:
    from chainrule.plots.drawing import Shape

# Okabe, Ito, "Color Universal Design" (2008): told apart with any colour vision
BLUE, SKY, ORANGE, RED, GREEN = "#0072b2", "#a6cee8", "#e69f00", "#d55e00", "#009e73"

#: Inches a picture of its own has at most.
_LARGEST = 16.0


def pyplot(who: str) -> Any:
    """matplotlib.pyplot, or an ImportError that says what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"[{who}] needs Matplotlib: pip install 'chainrule[plot]', or pip install matplotlib") from error
    return plt


def axes_for(ax: Any, who: str, size: tuple[float, float]) -> Any:
    """`ax` itself, or those of a new figure of this size in inches."""
    plt = pyplot(who)
    if ax is None:
        return plt.subplots(figsize=size, layout="constrained")[1]
    if not hasattr(ax, "transAxes"):
        raise TypeError(f"[{who}] ax is a {type(ax).__name__}: expected Matplotlib's Axes, or None")
    return ax


def network_of(estimator: Any, who: str = "from_estimator") -> Structure:
    """The network itself, or that of a fitted estimator (its attribute ``network_``)."""
    found = estimator if isinstance(estimator, Structure) else getattr(estimator, "network_", None)
    if isinstance(found, Structure):
        return found
    name = type(estimator).__name__
    if hasattr(estimator, "fit"):
        raise ValueError(f"[{who}] {name} has no network_: expected an estimator of chainrule.sklearn that is fitted, or a chainrule.Network")
    raise TypeError(f"[{who}] got {name}: expected a fitted estimator of chainrule.sklearn, or a chainrule.Network")


def draw(drawing: Drawing, ax: Any, who: str) -> Any:
    """Put a drawing on `ax`, or on a figure of its own size; texts and lines grow and shrink with it."""
    plt = pyplot(who)
    if ax is None:
        scale = min(0.01, _LARGEST / drawing.width, _LARGEST / drawing.height)
        ax = plt.figure(figsize=(drawing.width * scale, drawing.height * scale)).add_axes((0, 0, 1, 1))
    ax = axes_for(ax, who, (1, 1))
    ax.set(xlim=(0, drawing.width), ylim=(drawing.height, 0), aspect="equal")
    ax.set_axis_off()
    extent = ax.get_window_extent()
    point = min(extent.width / drawing.width, extent.height / drawing.height) * 72 / ax.figure.dpi
    _lines(ax, [s for s in drawing.shapes if isinstance(s, Line)], point)
    for shape in drawing.shapes:
        if not isinstance(shape, Line):
            _put(ax, shape, point)
    return ax


def _lines(ax: Any, lines: list[Line], point: float) -> None:
    """All lines as one artist, all arrow heads as another."""
    from matplotlib.collections import PathCollection, PolyCollection
    from matplotlib.path import Path

    if not lines:
        return
    paths = []
    for s in lines:
        points, codes = [s.points[0]], [Path.MOVETO]
        if s.curved:
            for piece in bends(s):
                points += piece
                codes += [Path.CURVE4] * 3
        else:
            points += s.points[1:]
            codes += [Path.LINETO] * (len(s.points) - 1)
        paths.append(Path(points, codes))
    look = {"edgecolors": [s.colour for s in lines], "linewidths": [s.width * point for s in lines], "alpha": [s.opacity for s in lines]}
    ax.add_collection(PathCollection(paths, facecolors="none", zorder=1, **look), autolim=False)
    heads = [s for s in lines if s.arrow]
    if heads:
        ax.add_collection(PolyCollection([arrow_head(s) for s in heads], facecolors=[s.colour for s in heads], zorder=1), autolim=False)


def _put(ax: Any, s: Shape, point: float) -> None:
    from matplotlib import patches

    if isinstance(s, Circle):
        ax.add_patch(patches.Circle((s.x, s.y), s.radius, facecolor=s.fill, edgecolor=INK, linewidth=point, zorder=2))
    elif isinstance(s, Box):
        look = {"boxstyle": patches.BoxStyle("round", pad=0, rounding_size=5), "linestyle": "--" if s.dashed else "-", "linewidth": point}
        ax.add_patch(patches.FancyBboxPatch((s.x, s.y), s.width, s.height, facecolor=s.fill, edgecolor=INK, zorder=2, **look))
    elif isinstance(s, Text):
        align = {"middle": "center", "start": "left"}[s.anchor]
        weight = "bold" if s.bold else "normal"
        ax.text(s.x, s.y, s.text, fontsize=s.size * point, ha=align, weight=weight, color=s.colour, zorder=3, parse_math=False)
