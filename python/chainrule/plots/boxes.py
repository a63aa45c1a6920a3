# SPDX-License-Identifier: MIT
"""Any network drawn as boxes and arrows, from the inputs at the top to the outputs at the bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.formulas import batch_shape, own_tensors, title
from chainrule.plots.drawing import GREY, Box, Drawing, Line, Point, Shape, Text, clipped, text_width

if TYPE_CHECKING:
    from chainrule.structure import Structure

#: Of a longer network the nodes in the middle become one box that says how many they are.
MOST = 24

_GAP, _LEVEL, _LINE = 26.0, 30.0, 15.0
_FILLS = {
    "input": "#eeeeee",
    "dense": "#dbe9f6",
    "conv1d": "#dbe9f6",
    "conv2d": "#dbe9f6",
    "conv_transpose2d": "#dbe9f6",
    "activation": "#fdebd0",
    "add": "#dff0e4",
    "multiply": "#dff0e4",
    "concatenate": "#dff0e4",
}
_FILLS |= dict.fromkeys(("max_pool", "average_pool", "global_average_pool", "mean"), "#f3e0ee")


class _Item:
    """A box, or the place where a long edge passes a level."""

    def __init__(self, lines: list[str], fill: str = "#ffffff", dashed: bool = False) -> None:
        self.lines, self.fill, self.dashed = lines, fill, dashed
        self.width = max((text_width(t, 12) for t in lines), default=0.0) + (24 if lines else 0)
        self.height = _LINE * len(lines) + 12 if lines else 0.0
        self.inputs: list[_Item] = []
        self.readers: list[_Item] = []
        self.level = 0
        self.x = self.y = self.room = 0.0  # centre, and the height of its level


def _items(net: Structure) -> list[_Item]:
    """One item a node, in the network's order; the middle of a long one left out."""
    spec, shapes, own = net.spec, net.node_shapes, own_tensors(net)
    nodes = spec["nodes"]
    cut = range(0) if len(nodes) <= MOST else range(MOST // 2, len(nodes) - MOST // 2 + 1)
    items: list[_Item] = []
    of: list[_Item] = []
    seen: set[str] = set()
    for i, node in enumerate(nodes):
        name, layer = node["layer"], spec["layers"][node["layer"]]
        if i in cut:
            if i == cut.start:
                items.append(_Item([f"… {len(cut):,} more nodes …"], dashed=True))
            item = items[-1]
        else:
            shape = batch_shape(shapes[i]) + (", output" if i in spec["outputs"] else "")
            item = _Item(_lines(name, layer, shape, own[name], name in seen), _FILLS.get(layer["type"], "#ffffff"))
            items.append(item)
        seen.add(name)
        of.append(item)
        for j in node["inputs"]:
            if of[j] is not item and not (i in cut and of[j] in item.inputs):
                item.inputs.append(of[j])
    return items


def _lines(name: str, layer: dict[str, Any], shape: str, own: dict[str, Any], again: bool) -> list[str]:
    what = title(layer)
    if own:
        count = "shared, see above" if again else f"{sum(a.size for a in own.values()):,} parameters"
        what = f"{what}; {count}{'' if layer.get('trainable', True) else ', frozen'}"
    return [clipped(name), what, shape]


def _levels(items: list[_Item]) -> list[list[_Item]]:
    """Each item below all its inputs, an input just above its first reader; long edges pass each level between as an item of its own."""
    for item in items:
        item.level = max((i.level + 1 for i in item.inputs), default=0)
        for i in item.inputs:
            i.readers.append(item)
    for item in items:
        if not item.inputs and item.readers:
            item.level = min(r.level for r in item.readers) - 1
    levels: list[list[_Item]] = [[] for _ in range(max(i.level for i in items) + 1)]
    for item in items:
        levels[item.level].append(item)
    for item in items:
        for place, start in enumerate(item.inputs):
            above = start
            for level in range(start.level + 1, item.level):
                bend = _Item([])
                bend.level, bend.inputs = level, [above]
                above.readers.append(bend)
                levels[level].append(bend)
                above = bend
            item.inputs[place] = above
            if above is not start:
                start.readers.remove(item)
                above.readers.append(item)
    return levels


def _arrange(levels: list[list[_Item]]) -> None:
    """Order within a level by the mean place of the neighbours, then x near that mean without overlaps (Sugiyama et al., IEEE SMC 11, 1981)."""
    for sweep in range(8):
        down = sweep % 2 == 0
        for level in levels if down else reversed(levels):
            for i, item in enumerate(level):
                item.x = float(i)
        for level in levels[1:] if down else levels[-2::-1]:
            means = {id(item): _mean([n.x for n in (item.inputs if down else item.readers)], item.x) for item in level}
            level.sort(key=lambda item: means[id(item)])
            for i, item in enumerate(level):
                item.x = float(i)
    for level in levels:
        _spread(level, [0.0] * len(level))
    for sweep in range(12):
        for level in levels if sweep % 2 == 0 else reversed(levels):
            _spread(level, [_near(item) for item in level])


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _near(item: _Item) -> float:
    """The mean place of the neighbours, long edges pulling more, so that they become straight (Gansner et al., IEEE TSE 19, 1993)."""
    pairs = [(n.x, 1 if n.lines and item.lines else 8 if not n.lines and not item.lines else 2) for n in (*item.inputs, *item.readers)]
    total = sum(weight for _, weight in pairs)
    return sum(x * weight for x, weight in pairs) / total if total else item.x


def _spread(level: list[_Item], wanted: list[float]) -> None:
    """Centres near the wanted ones, in order and apart: the mean of what pushing to the right and to the left gives."""

    def push(order: list[int], sign: float) -> list[float]:
        x = [0.0] * len(level)
        last: int | None = None
        for i in order:
            x[i] = sign * wanted[i]
            if last is not None:
                x[i] = max(x[i], x[last] + (level[i].width + level[last].width) / 2 + _GAP)
            last = i
        return [sign * v for v in x]

    order = list(range(len(level)))
    for item, right, left in zip(level, push(order, 1.0), push(order[::-1], -1.0), strict=True):
        item.x = (right + left) / 2


def draw(net: Structure) -> Drawing:
    """Levels from top to bottom, arrows along the edges."""
    items = _items(net)
    levels = _levels(items)
    _arrange(levels)
    y = 12.0
    for level in levels:
        height = max(item.height for item in level)
        for item in level:
            item.y, item.room = y + height / 2, height
        y += height + _LEVEL
    every = [item for level in levels for item in level]
    left = min(item.x - item.width / 2 for item in every) - 12
    for item in every:
        item.x -= left
    shapes: list[Shape] = [Line(_route(item, i), curved=True, arrow=True) for item in items for i in range(len(item.inputs))]
    for item in items:
        shapes.append(Box(item.x - item.width / 2, item.y - item.height / 2, item.width, item.height, item.fill, item.dashed))
        for i, text in enumerate(item.lines):
            head = i == 0 and not item.dashed
            at = item.y - item.height / 2 + 6 + _LINE * (i + 0.78)
            shapes.append(Text(item.x, at, text, 12 if head else 11, head, "#222222" if i < 2 else GREY))
    width = max(item.x + item.width / 2 for item in every) + 12
    return Drawing(width, y - _LEVEL + 12, f"network of {len(net.spec['nodes'])} nodes", shapes)


def _route(item: _Item, place: int) -> list[Point]:
    """From the box that makes the value, past the levels between, to the reader's upper side: its inputs side by side there."""
    order = sorted(range(len(item.inputs)), key=lambda i: item.inputs[i].x)
    step = min(22.0, item.width / (len(item.inputs) + 1))
    end = item.x + (order.index(place) - (len(order) - 1) / 2) * step
    points: list[Point] = [(end, item.y - item.height / 2)]
    if item.height < item.room:
        points.append((end, item.y - item.room / 2))
    above = item.inputs[place]
    while not above.lines:
        points += [(above.x, above.y + above.room / 2), (above.x, above.y - above.room / 2)]  # straight past the boxes of its level
        above = above.inputs[0]
    if above.height < above.room:
        points.append((above.x, above.y + above.room / 2))
    return [*points, (above.x, above.y + above.height / 2)][::-1]
