# SPDX-License-Identifier: MIT
"""`net.summary()`: layers, shapes, parameters and multiply-adds as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .formulas import batch_shape, own_tensors, title

if TYPE_CHECKING:
    from .structure import Structure

__all__ = ["Summary"]


class Line(NamedTuple):
    """One use of a layer. `parameters` counts where the layer is used first, 0 where it is used again."""

    name: str
    layer: str
    shape: tuple[int | None, ...]
    parameters: int
    multiply_adds: int


class Summary:
    """A network's layers in order; ``print`` shows them as a table.

    Attributes
    ----------
    lines : list
        (name, layer, shape of one sample, parameters, multiply-adds) of every node. Multiply-adds are those of one sample's way forward through the
        layers with weights; along an open axis T those of one place.
    parameters, trainable, multiply_adds : int
        Sums.
    """

    def __init__(self, net: Structure) -> None:
        spec, own = net.spec, own_tensors(net)
        self.lines: list[Line] = []
        self.parameters = self.trainable = 0
        seen: set[str] = set()
        for node, shape, work in zip(spec["nodes"], net.node_shapes, net._core.node_work, strict=True):
            name = node["layer"]
            count = 0 if name in seen else sum(a.size for a in own[name].values())
            again = "; shared, see above" if name in seen and own[name] else ""
            layer = spec["layers"][name]
            frozen = ", frozen" if own[name] and not layer.get("trainable", True) else ""
            self.lines.append(Line(name, title(layer) + again + frozen, shape, count, int(work)))
            self.parameters += count
            self.trainable += count if layer.get("trainable", True) else 0
            seen.add(name)
        self.multiply_adds = sum(line.multiply_adds for line in self.lines)
        self.bytes = self.parameters * net.dtype.itemsize

    def __str__(self) -> str:
        head = ("name", "layer", "shape", "parameters", "multiply-adds")
        rows = [(n, what, batch_shape(shape), f"{p:,}" if p else "", f"{m:,}" if m else "") for n, what, shape, p, m in self.lines]
        total = ("", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")
        wide = [max(len(row[i]) for row in (head, *rows, total)) for i in range(5)]
        rule = "  ".join("-" * w for w in wide)

        def text(row: tuple[str, ...]) -> str:
            return "  ".join(f"{cell:{'>' if i > 2 else '<'}{w}}" for i, (cell, w) in enumerate(zip(row, wide, strict=True))).rstrip()

        frozen = "" if self.trainable == self.parameters else f", {self.parameters - self.trainable:,} of them frozen"
        last = f"{self.parameters:,} parameters{frozen}, {self.bytes:,} bytes; {self.multiply_adds:,} multiply-adds a sample"
        return "\n".join([text(head), rule, *map(text, rows), rule, last])

    __repr__ = __str__
