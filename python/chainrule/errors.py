# SPDX-License-Identifier: MIT
"""The package's own exceptions; everything else is a ValueError, TypeError or RuntimeError."""

from __future__ import annotations

import math


class DivergenceError(ArithmeticError):
    """The loss, a delta or W left the finite numbers. The network holds the last finite weights.

    Attributes
    ----------
    epoch : int
        The epoch in which it happened, counted from 0.
    layer : str
        The first layer whose values were not finite; "" where it is not known.
    last_loss : float
        The last finite loss; NaN if there was none.
    """

    epoch: int
    layer: str
    last_loss: float

    def __init__(self, message: str, epoch: int = 0, layer: str = "", last_loss: float = float("nan")) -> None:
        super().__init__(message, epoch, layer, last_loss)
        self.epoch = epoch
        self.layer = layer
        self.last_loss = last_loss

    def __str__(self) -> str:
        where = f"[{self.layer}] " if self.layer and not str(self.args[0]).startswith("[") else ""
        none = math.isnan(self.last_loss)
        last = "there was no finite loss before" if none else f"the last finite loss was {self.last_loss:.6g}"
        advice = "the last finite weights are kept: try a smaller alpha, or clip_norm="
        return f"{where}{self.args[0]} (epoch {self.epoch}; {last}); {advice}"
