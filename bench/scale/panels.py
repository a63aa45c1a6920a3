# SPDX-License-Identifier: MIT
"""What grows in each panel of the picture, and the rows of bench.peers that one of its points is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..peers.rows import Row


@dataclass(frozen=True)
class Panel:
    """`names` gives, for a point, the rows that are run there: one line a competitor in the picture for each."""

    name: str
    title: str
    axis: str
    points: tuple[int, ...]
    names: Callable[[int], tuple[str, ...]]

    def rows(self, x: int) -> list[Row]:
        return [Row.parse(name) for name in self.names(x)]

    def threads(self, x: int, usual: int) -> int:
        return x if self.name == "threads" else usual


PANELS = {
    panel.name: panel
    for panel in (
        Panel(
            "rows",
            "one epoch, 64-128-10, batches of 500",
            "rows of data",
            (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
            lambda x: (f"train-64-128-10-b500-n{x}",),
        ),
        Panel(
            "width",
            "one step, 64-width-width-10, batch 128",
            "width of the two hidden layers",
            (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
            lambda x: (f"train-64-{x}-{x}-10-b128",),
        ),
        Panel(
            "depth",
            "one step, hidden layers of 128, batch 128",
            "hidden layers",
            (1, 2, 4, 8, 16, 32, 64),
            lambda x: (f"train-64-{'128-' * x}10-b128",),
        ),
        Panel(
            "batch",
            "one step, 64-128-10",
            "rows in a batch",
            (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536),
            lambda x: (f"train-64-128-10-b{x}",),
        ),
        Panel(
            "threads",
            "one step of a wide and of a small network",
            "threads, each on a CPU of its own",
            (1, 2),
            lambda x: ("train-784-1024-1024-10-b128", "train-64-128-10-b64"),
        ),
    )
}
