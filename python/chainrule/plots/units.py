# SPDX-License-Identifier: MIT
"""A small chain drawn unit by unit: circles, and edges whose colour and width show the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.graph import is_chain
from chainrule.plots.drawing import GREY, INK, NEGATIVE, POSITIVE, Circle, Drawing, Line, Shape, Text, clipped, text_width

if TYPE_CHECKING:
    from chainrule.structure import Structure

#: Above these sizes a picture of units says less than one of boxes.
WIDEST, DEEPEST = 64, 7
#: A wider layer shows this many of its units, the middle ones left out.
SHOWN = 11

_RADIUS, _STEP, _COLUMN, _TOP = 10.0, 28.0, 150.0, 44.0


def columns(net: Structure) -> list[tuple[int, list[str]]] | None:
    """For each a[k] of a chain: how many units, and the lines below it (layer, activation, what is done to it). None for other networks."""
    spec, shapes = net.spec, net.node_shapes
    layers, nodes = spec["layers"], spec["nodes"]
    if not is_chain(spec):
        return None
    found: list[tuple[int, list[str]]] = []
    for i, node in enumerate(nodes):
        layer, shape = layers[node["layer"]], shapes[i]
        size = int(np.prod([-1 if d is None else d for d in shape], dtype=np.int64))
        if size < 0:
            return None
        kind = layer["type"]
        if kind == "dense":
            if len(shape) != 1 or len(shapes[i - 1]) != 1:
                return None
            g = layer.get("activation") or "identity"
            found.append((size, [node["layer"], *([] if g == "identity" else [g])]))
        elif kind == "input":
            found.append((size, [node["layer"]]))
        else:
            if f"{node['layer']}.W" in net.parameters:
                return None
            note = {"activation": layer.get("function"), "dropout": f"dropout {layer.get('rate', 0):g}"}.get(kind, kind)
            found[-1] = (size, [*found[-1][1], str(note)])
    return found if len(found) > 1 else None


def fits(net: Structure) -> bool:
    """Whether a picture of the units is legible."""
    found = columns(net)
    return found is not None and len(found) <= DEEPEST and max(n for n, _ in found) <= WIDEST


def _places(n: int) -> list[int | None]:
    """Which units are shown, from the top; None is the gap."""
    if n <= SHOWN:
        return list(range(n))
    half = SHOWN // 2
    return [*range(half), None, *range(n - half, n)]


def _tint(value: float) -> str:
    """White at 0, the colour of the sign at -1 and 1, half way in between."""
    colour = NEGATIVE if value < 0 else POSITIVE
    return "#" + "".join(f"{round(255 + (int(colour[i : i + 2], 16) - 255) * min(abs(value), 1.0) * 0.75):02x}" for i in (1, 3, 5))


def _relative(a: Any) -> tuple[Any, str]:
    """The values relative to the largest magnitude, and that magnitude in words; what is not finite counts as 0 and is said."""
    a = np.asarray(a, dtype=np.float64)
    finite = np.isfinite(a)
    largest = float(np.abs(a[finite]).max(initial=0.0))
    told = f"|w| ≤ {largest:.3g}" if finite.all() else "holds NaN or inf"
    return np.where(finite, a, 0.0) / (largest or 1.0), told


def draw(net: Structure) -> Drawing:
    """Columns of circles from left to right; edges by weight, circles filled by bias."""
    found = columns(net)
    if found is None:
        raise ValueError("[plot] kind='units' needs a chain of dense layers on values (n, size): kind='boxes' draws any network")
    places = [_places(n) for n, _ in found]
    tallest = max(len(p) for p in places) * _STEP
    below = [[f"a[{k}]: {n:,} unit{'s' if n > 1 else ''}", *(clipped(line, 20) for line in lines)] for k, (n, lines) in enumerate(found)]
    wide = max(text_width(line, 13) for lines in below for line in lines) + 16
    column = max(_COLUMN, wide)
    x = [wide / 2 + 10 + k * column for k in range(len(found))]
    y = [[_TOP + (tallest - len(p) * _STEP) / 2 + (i + 0.5) * _STEP for i in range(len(p))] for p in places]
    edges: list[tuple[float, Line]] = []
    shapes: list[Shape] = []
    fills: list[list[str]] = [["#ffffff"] * n for n, _ in found]
    for k, (W, b) in enumerate(zip(net.W, net.b, strict=True)):
        weights, told = _relative(W)
        if b is not None:
            fills[k + 1] = [_tint(v) for v in _relative(b)[0]]
        middle = (x[k] + x[k + 1]) / 2
        shapes += [Text(middle, 16, f"W[{k}]", bold=True), Text(middle, 31, told, 11, colour=GREY)]
        for j, to in zip(y[k + 1], places[k + 1], strict=True):
            for i, of in zip(y[k], places[k], strict=True):
                if to is not None and of is not None:
                    w = float(weights[to, of])
                    colour = NEGATIVE if w < 0 else POSITIVE
                    line = Line([(x[k] + _RADIUS, i), (x[k + 1] - _RADIUS, j)], colour, 0.3 + 2.7 * abs(w), 0.12 + 0.78 * abs(w))
                    edges.append((abs(w), line))
    shapes = [*(line for _, line in sorted(edges, key=lambda e: e[0])), *shapes]  # strong ones in front
    for k in range(len(found)):
        for height, unit in zip(y[k], places[k], strict=True):
            if unit is None:
                shapes += [Circle(x[k], height + d, 1.5, INK) for d in (-6.0, 0.0, 6.0)]
            else:
                shapes.append(Circle(x[k], height, _RADIUS, fills[k][unit]))
        for i, text in enumerate(below[k]):
            shapes.append(Text(x[k], _TOP + tallest + 20 + 15 * i, text, 12, bold=i == 0))
    legend = _TOP + tallest + 20 + 15 * max(map(len, below)) + 8
    left, right = x[0] - wide / 2 + 10, x[-1] + wide / 2 - 10
    shapes += _legend((left + right) / 2, legend)
    width = max(x[-1] + wide / 2 + 10, (left + right) / 2 + _LEGEND / 2)
    return Drawing(width, legend + 12, f"network {'-'.join(str(n) for n, _ in found)}", shapes)


_LEGEND = 400.0


def _legend(middle: float, y: float) -> list[Shape]:
    left = middle - _LEGEND / 2 + 12
    shapes: list[Shape] = []
    for at, colour, text in ((left, NEGATIVE, "negative"), (left + 95, POSITIVE, "positive")):
        shapes += [Line([(at, y - 4), (at + 24, y - 4)], colour, 2.5), Text(at + 30, y, text, 11, anchor="start")]
    return [*shapes, Text(left + 190, y, "width: |w|", 11, anchor="start"), Text(left + 270, y, "fill of a circle: b", 11, anchor="start")]
