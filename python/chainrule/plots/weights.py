# SPDX-License-Identifier: MIT
"""The weight matrices as heat maps; the rows of the first as small images where the inputs are pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.plots import axes
from chainrule.plots.drawing import clipped

#: Rows or columns of a heat map; of a larger matrix each cell is the entry of largest magnitude in a block.
CELLS = 512
#: Of more matrices the first ones are shown.
MATRICES = 12


class WeightsDisplay:
    """W of each layer as a heat map, blue below 0 and red above, white at 0.

    Parameters
    ----------
    weights : dict of array (n_out, n_in)
        By name, in order.
    image_shape : (int, int), optional
        Height and width: each row of the first matrix is shown as an image of this shape instead.
    images : int, default 64
        How many rows are shown as images, at most.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        After ``plot``; `ax_` is the frame that holds a panel for each matrix.
    axes_ : list of Axes
        The panels.
    images_ : list of AxesImage
        One for each panel.
    """

    def __init__(self, weights: dict[str, Any], *, image_shape: tuple[int, int] | None = None, images: int = 64) -> None:
        self.weights = {name: _matrix(name, W) for name, W in weights.items()}
        if not self.weights:
            raise ValueError("[WeightsDisplay] there are no weights: expected at least one matrix (n_out, n_in)")
        if image_shape is not None:
            name, first = next(iter(self.weights.items()))
            if len(image_shape) != 2 or min(image_shape) < 1 or math.prod(image_shape) != first.shape[1]:
                raise ValueError(
                    f"[WeightsDisplay] image_shape is {image_shape}: expected (height, width) of {first.shape[1]} pixels, as {name} has inputs"
                )
        if images < 1:
            raise ValueError(f"[WeightsDisplay] images is {images}: expected at least 1")
        self.image_shape = image_shape
        self.images = images

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        layers: Sequence[str] | None = None,
        image_shape: tuple[int, int] | None = None,
        images: int = 64,
        ax: Any = None,
    ) -> WeightsDisplay:
        """Draw the weights of a fitted estimator's network, or of a network itself; of all its dense layers, or of those that are named."""
        net = axes.network_of(estimator)
        found = {k.removesuffix(".W"): a for k, a in net.parameters.items() if k.endswith(".W")}
        unknown = [name for name in layers or () if name not in found]
        if unknown:
            raise ValueError(f"[from_estimator] layers names {unknown[0]!r}: expected some of {list(found)}")
        chosen = found if layers is None else {name: found[name] for name in layers}
        return cls({f"{name}.W": W for name, W in chosen.items()}, image_shape=image_shape, images=images).plot(ax)

    def plot(self, ax: Any = None) -> WeightsDisplay:
        """Draw on `ax`, or on a figure of its own. ImportError where Matplotlib is not installed."""
        n = min(len(self.weights), MATRICES)
        across = min(n, 3)
        down = -(-n // across)
        ax = axes.axes_for(ax, "WeightsDisplay.plot", (3.9 * across, 3.5 * down))
        self.ax_, self.figure_ = ax, ax.figure
        ax.set_axis_off()
        self.axes_: list[Any] = []
        self.images_: list[Any] = []
        if n < len(self.weights):
            ax.set_title(f"the first {n} of {len(self.weights):,} matrices: layers= chooses others", fontsize=10)
        for i, (name, W) in enumerate(list(self.weights.items())[:n]):
            row, column = divmod(i, across)
            place = (column / across, 1 - (row + 1) / down, 1 / across, 1 / down)
            panel = ax.inset_axes((place[0] + 0.16 * place[2], place[1] + 0.13 * place[3], 0.58 * place[2], 0.70 * place[3]))
            self.axes_.append(panel)
            self.images_.append(self._images(panel, name, W) if i == 0 and self.image_shape else self._heat_map(panel, name, W))
        return self

    def _show(self, panel: Any, values: Any, largest: float, **options: Any) -> Any:
        """An image with 0 in the middle of its colours, and their bar."""
        limit = largest or 1.0
        image = panel.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", **options)
        bar = self.figure_.colorbar(image, cax=panel.inset_axes((1.04, 0, 0.05, 1)))
        bar.ax.tick_params(labelsize=8)
        panel.tick_params(labelsize=8)
        return image

    def _heat_map(self, panel: Any, name: str, W: Any) -> Any:
        small, block = _strongest(W)
        image = self._show(panel, small, float(np.abs(W).max(initial=0.0)), aspect="auto", extent=(-0.5, W.shape[1] - 0.5, W.shape[0] - 0.5, -0.5))
        note = "" if block == (1, 1) else f"\nstrongest of each {block[0]} x {block[1]}"
        panel.set_title(f"{clipped(name, 22)}  {W.shape[0]:,} x {W.shape[1]:,}{note}", fontsize=9, parse_math=False)
        panel.set_xlabel("input", fontsize=8)
        panel.set_ylabel("unit", fontsize=8)
        for axis in (panel.xaxis, panel.yaxis):
            axis.get_major_locator().set_params(integer=True)
        return image

    def _images(self, panel: Any, name: str, W: Any) -> Any:
        """The rows side by side, a line of nothing between them."""
        assert self.image_shape is not None
        h, w = self.image_shape
        shown = W[: self.images]
        across = max(1, math.ceil(math.sqrt(len(shown) * h / w)))
        down = -(-len(shown) // across)
        sheet = np.full((down * (h + 1) - 1, across * (w + 1) - 1), np.nan)
        for i, row in enumerate(shown):
            y, x = divmod(i, across)
            sheet[y * (h + 1) : y * (h + 1) + h, x * (w + 1) : x * (w + 1) + w] = row.reshape(h, w)
        image = self._show(panel, sheet, float(np.abs(shown).max(initial=0.0)))
        count = f"{len(shown):,} of {len(W):,} units" if len(shown) < len(W) else f"{len(W):,} unit{'s' if len(W) > 1 else ''}"
        panel.set_title(f"{clipped(name, 22)}: {count}, {h} x {w}", fontsize=9, parse_math=False)
        panel.set(xticks=[], yticks=[], facecolor="#c8c8c8")
        return image


def _matrix(name: str, W: Any) -> Any:
    a = np.asarray(W)
    if a.ndim != 2 or a.dtype.kind not in "biuf":
        raise ValueError(f"[WeightsDisplay] {name} has shape {a.shape}, dtype {a.dtype}: expected numbers (n_out, n_in)")
    if not np.isfinite(a).all():
        out, of = (int(i) for i in np.argwhere(~np.isfinite(a))[0])
        raise ValueError(f"[WeightsDisplay] {name}[{out}, {of}] is {a[out, of]}: expected finite numbers")
    return a


def _strongest(W: Any) -> tuple[Any, tuple[int, int]]:
    """W cut into blocks, of each the entry of largest magnitude, so that at most CELLS x CELLS are left; and the block."""
    block = (max(1, math.ceil(W.shape[0] / CELLS)), max(1, math.ceil(W.shape[1] / CELLS)))
    if block == (1, 1):
        return W, block
    short = [(-n) % b for n, b in zip(W.shape, block, strict=True)]
    padded = np.pad(W, [(0, short[0]), (0, short[1])])
    tiles = padded.reshape(padded.shape[0] // block[0], block[0], -1, block[1]).swapaxes(1, 2)
    high, low = tiles.max(axis=(2, 3)), tiles.min(axis=(2, 3))
    return np.where(high >= -low, high, low), block
