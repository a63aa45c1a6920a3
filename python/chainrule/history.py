# SPDX-License-Identifier: MIT
"""What `fit` returns: the record of its epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import zip_longest


class History(Mapping[str, list[float]]):
    """One list an entry, one value an epoch: `history["loss"]`, `history["validation_loss"]`,
    `history["validation_accuracy"]`, ...

    "loss" is the mean over the epoch's batches of the objective (penalties included), each before its step, "penalty"
    the penalties' part of it, where `fit` was given some. Lists of the validation data exist only where `fit` was given some.

    Attributes
    ----------
    epochs : int
        Number of epochs run by this `fit`.
    best_epoch : int or None
        Index into the lists of the epoch that `EarlyStopping` chose; without it that of the lowest validation loss (of
        the lowest loss where there is no validation data). None before the first epoch.
    stopped : str
        Why `fit` ended: "epochs" (all were run), "early_stopping", "callback", "stop" (`net.stop()`), "interrupted"
        (Ctrl-C) or "error".
    seconds : list of float
        Wall-clock time of each epoch, validation included.
    chunks_by_thread : list of int
        How many pieces of work each thread took: a network too small for two threads shows a single one.
    """

    def __init__(self) -> None:
        self._lists: dict[str, list[float]] = {}
        self._best: int | None = None
        self.seconds: list[float] = []
        self.stopped: str = ""
        self.chunks_by_thread: list[int] = []

    def count_chunks(self, chunks: list[int]) -> None:
        """Adds an epoch's number of tasks by thread."""
        both = zip_longest(self.chunks_by_thread, chunks, fillvalue=0)
        self.chunks_by_thread = [a + b for a, b in both]

    def append(self, record: Mapping[str, float], seconds: float) -> None:
        """Adds an epoch. What an epoch lacks is NaN."""
        n = self.epochs
        for name, value in record.items():
            self._lists.setdefault(name, [math.nan] * n).append(float(value))
        for values in self._lists.values():
            if len(values) == n:
                values.append(math.nan)
        self.seconds.append(float(seconds))

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._lists[name]
        except KeyError:
            raise KeyError(f"{name!r}: this history has {', '.join(self._lists) or 'nothing yet'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._lists)

    def __len__(self) -> int:
        return len(self._lists)

    @property
    def epochs(self) -> int:
        return len(self.seconds)

    @property
    def best_epoch(self) -> int | None:
        if self._best is not None:
            return self._best
        values = self._lists.get("validation_loss", self._lists.get("loss", []))
        finite = [i for i, v in enumerate(values) if math.isfinite(v)]
        return min(finite, key=values.__getitem__) if finite else None

    @best_epoch.setter
    def best_epoch(self, epoch: int | None) -> None:
        self._best = epoch

    def __repr__(self) -> str:
        n = self.epochs
        if n == 0:
            return "History(no epochs)"
        end = f", stopped: {self.stopped}" if self.stopped else ""
        best = self.best_epoch
        lines = [f"History({n} epoch{'s' if n > 1 else ''} in {sum(self.seconds):.3g} s{end})"]
        for name, values in self._lists.items():
            at_best = "" if best is None else f", {values[best]:.5g} at epoch {best}"
            lines.append(f"  {name}: {values[0]:.5g} -> {values[-1]:.5g}{at_best}")
        return "\n".join(lines)
