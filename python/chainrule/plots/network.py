# SPDX-License-Identifier: MIT
"""The drawing of a network: by units where they are few, else by boxes; in Matplotlib and in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from chainrule.plots import axes, boxes, units
from chainrule.plots.drawing import Drawing, clipped, svg

if TYPE_CHECKING:
    from chainrule.structure import Structure

#: Lines of formulas that a notebook shows.
LINES = 60


def drawing(net: Structure, kind: str = "auto") -> Drawing:
    """The network as shapes: "units", "boxes", or "auto", which of the two is legible."""
    if kind not in ("auto", "units", "boxes"):
        raise ValueError(f"[plot] kind is {kind!r}: expected 'auto', 'units' or 'boxes'")
    if kind == "auto":
        kind = "units" if units.fits(net) else "boxes"
    return units.draw(net) if kind == "units" else boxes.draw(net)


def html(net: Structure) -> str:
    """The drawing as SVG, and the formulas folded up below it: what a notebook shows."""
    head, *lines = net.formula().splitlines()
    if len(lines) > LINES:
        lines = [*lines[:LINES], f"  ... and {len(lines) - LINES:,} more lines: print(net)"]
    text = "\n".join(clipped(line, 250) for line in lines if line)
    summary = f'<details><summary>{escape(head)}</summary><pre style="line-height:1.3">{escape(text)}</pre></details>'
    return f'<div style="max-width:100%;overflow:auto">{svg(drawing(net))}{summary}</div>'


class NetworkDisplay:
    """A network as a picture.

    Parameters
    ----------
    network : Network
    kind : {"auto", "units", "boxes"}
        "units": circles, and edges whose colour and width show the weights; for chains of dense layers. "boxes": any network as boxes with shapes
        and numbers of parameters. "auto": units for at most 7 layers of at most 64 units.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        After ``plot``.
    """

    def __init__(self, network: Structure, *, kind: str = "auto") -> None:
        self.network = network
        self.kind = kind

    @classmethod
    def from_estimator(cls, estimator: Any, *, kind: str = "auto", ax: Any = None) -> NetworkDisplay:
        """Draw the network of a fitted estimator, or a network itself."""
        return cls(axes.network_of(estimator), kind=kind).plot(ax)

    def plot(self, ax: Any = None) -> NetworkDisplay:
        """Draw on `ax`, or on a figure of its own. ImportError where Matplotlib is not installed."""
        shown = drawing(self.network, self.kind)
        self.ax_ = axes.draw(shown, ax, "NetworkDisplay.plot")
        self.figure_ = self.ax_.figure
        return self
