# SPDX-License-Identifier: MIT
"""What hears of every epoch: callbacks of one's own, the progress display, early stopping."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ._record import record
from ._spec import Spec

if TYPE_CHECKING:
    from .history import History
    from .network import Network


class Callback:
    """Base class of callbacks: override what you need. They run between epochs, with the GIL, in the order given."""

    def on_fit_begin(self, net: Network, epochs: int) -> None:
        """Before the first epoch; `epochs` is how many were asked for."""

    def on_epoch_end(self, net: Network, epoch: int, record: Mapping[str, float]) -> object:
        """After epoch `epoch` (from 0 in this `fit`), with {"loss": ..., "validation_loss": ..., ...}.

        Anything truthy that it returns ends the training.
        """
        return None

    def on_fit_end(self, net: Network, history: History) -> None:
        """After the last epoch, also after an interrupt."""


@record
class EarlyStopping(Spec):
    """Ends the training when `monitor` has not improved for `patience` epochs.

    An epoch improves on the best so far if its value is lower by more than `min_delta` (higher, for a name that
    contains "accuracy"). A NaN never improves.

    Parameters
    ----------
    patience : int, default 5
        Epochs without improvement before the training ends, >= 1.
    min_delta : float, default 0
        >= 0.
    monitor : str, default "validation_loss"
        A name in the history. Where `fit` has no validation data, "validation_loss" falls back to "loss", the training
        objective; any other name that the history lacks is a ValueError.
    restore_best : bool, default True
        Whether the weights (and what `Standardize` has learned) of the best epoch are put back at the end.
    """

    type_name: ClassVar[str] = "early_stopping"
    patience: int = 5
    min_delta: float = 0.0
    monitor: str = "validation_loss"
    restore_best: bool = True

    def __post_init__(self) -> None:
        self._whole("patience", 1)
        self._real("min_delta", 0.0)
        self._flag("restore_best")
        if not isinstance(self.monitor, str):
            raise TypeError(f"[EarlyStopping] monitor is {self.monitor!r}: expected a name such as 'validation_loss'")

    def begin(self) -> Watch:
        """The state of one `fit`."""
        return Watch(self)


class Watch:
    """The state of `EarlyStopping` in one `fit`."""

    def __init__(self, rule: EarlyStopping) -> None:
        self.rule = rule
        self.best_epoch: int | None = None
        self.best = math.nan
        self.waited = 0

    def update(self, epoch: int, record: Mapping[str, float]) -> bool:
        """Hears of an epoch; True if it is the best so far, so that its weights are to be kept."""
        name = self.rule.monitor
        if name == "validation_loss" and name not in record:
            name = "loss"
        if name not in record:
            raise ValueError(f"[EarlyStopping] monitor is {self.rule.monitor!r}: expected one of {', '.join(record)}")
        value = float(record[name])
        sign = -1.0 if "accuracy" in name else 1.0
        first = self.best_epoch is None and not math.isnan(value)
        improved = first or sign * value < sign * self.best - self.rule.min_delta
        if improved:
            self.best_epoch, self.best, self.waited = epoch, value, 0
        else:
            self.waited += 1
        return improved

    @property
    def stop(self) -> bool:
        """Whether patience is at its end."""
        return self.waited >= self.rule.patience


class Progress(Callback):
    """`fit(..., progress=True)`: a bar by tqdm.auto where installed, else at most two lines a second on stderr."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._epochs = 0
        self._shown = -math.inf

    def on_fit_begin(self, net: Network, epochs: int) -> None:
        self._epochs = epochs
        self._shown = -math.inf
        try:
            from tqdm.auto import tqdm
        except ImportError:
            self._bar = None
        else:
            self._bar = tqdm(total=epochs, unit="epoch", leave=True)

    def on_epoch_end(self, net: Network, epoch: int, record: Mapping[str, float]) -> object:
        import time

        values = {k: f"{v:.4g}" for k, v in record.items()}
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(1)
            return None
        now = time.monotonic()
        if now - self._shown >= 0.5 or epoch + 1 == self._epochs:
            self._shown = now
            count = f"epoch {epoch + 1:{len(str(self._epochs))}d}/{self._epochs}"
            print(count, *(f" {k} {v}" for k, v in values.items()), file=sys.stderr, flush=True)
        return None

    def on_fit_end(self, net: Network, history: History) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
