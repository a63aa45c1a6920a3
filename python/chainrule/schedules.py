# SPDX-License-Identifier: MIT
"""alpha as a function of time. The formulas are computed in csrc/optim/schedule.h, the one copy of them; these are
their hyper-parameters.

t counts from 0, in steps (`unit="step"`) or in epochs (`unit="epoch"`), over all calls of `fit` until
`net.reset_training()`."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, ClassVar

from . import _core
from ._record import record
from ._spec import Spec, build, registry

UNITS = ("step", "epoch")


class Schedule(Spec):
    """Base of the schedules: call one to see its alpha."""

    def __call__(self, t: int, epoch: int | None = None) -> float:
        """alpha at time t.

        Parameters
        ----------
        t : int
            Time from 0, in the schedule's unit.
        epoch : int, optional
            Only where a warm-up and its base count different units: then t counts steps and this counts epochs.
        """
        step = operator.index(t)
        alpha: float = _core.schedule_alpha(self.spec(), step, step if epoch is None else operator.index(epoch))
        return alpha

    @staticmethod
    def from_spec(spec: Mapping[str, Any]) -> Schedule:
        """The schedule whose `.spec()` is `spec`."""
        return from_spec(spec)


@record
class Constant(Schedule):
    """alpha(t) = alpha."""

    type_name: ClassVar[str] = "constant"
    alpha: float

    def __post_init__(self) -> None:
        self._real("alpha", 0.0)


@record
class Step(Schedule):
    """alpha(t) = alpha factor^floor(t / every).

    Parameters
    ----------
    alpha : float
        alpha at t = 0, >= 0.
    every : int
        Time between two changes, >= 1.
    factor : float, default 0.1
        What alpha is multiplied by, in (0, 1].
    unit : "step" or "epoch"
        What t counts.
    """

    type_name: ClassVar[str] = "step"
    alpha: float
    every: int
    factor: float = 0.1
    unit: str = "step"

    def __post_init__(self) -> None:
        self._real("alpha", 0.0)
        self._whole("every", 1)
        self._real("factor", 0.0, 1.0, open_low=True)
        self._one_of("unit", UNITS)


@record
class Cosine(Schedule):
    """alpha(t) = alpha_end + (alpha - alpha_end) / 2 (1 + cos(pi min(t, total) / total)).

    Parameters
    ----------
    alpha : float
        alpha at t = 0, >= 0.
    total : int
        Time at which alpha_end is reached, >= 1.
    alpha_end : float, default 0
        alpha from `total` on, >= 0.
    unit : "step" or "epoch"
        What t and `total` count.
    """

    type_name: ClassVar[str] = "cosine"
    alpha: float
    total: int
    alpha_end: float = 0.0
    unit: str = "step"

    def __post_init__(self) -> None:
        self._real("alpha", 0.0)
        self._whole("total", 1)
        self._real("alpha_end", 0.0)
        self._one_of("unit", UNITS)


@record
class InverseScaling(Schedule):
    """alpha(t) = alpha / (t + 1)^power.

    Parameters
    ----------
    alpha : float
        alpha at t = 0, >= 0.
    power : float, default 0.5
        Exponent, >= 0.
    unit : "step" or "epoch"
        What t counts.
    """

    type_name: ClassVar[str] = "inverse_scaling"
    alpha: float
    power: float = 0.5
    unit: str = "step"

    def __post_init__(self) -> None:
        self._real("alpha", 0.0)
        self._real("power", 0.0)
        self._one_of("unit", UNITS)


@record
class OneCycle(Schedule):
    """Half a cosine up, half a cosine down, constant from there.

    With T = warm total: from alpha / divide_start at t = 0 up to alpha at t = T, down to alpha / divide_end at t =
    total; each way is b + (a - b) / 2 (1 + cos(pi s)) from a to b while s runs from 0 to 1.

    Parameters
    ----------
    alpha : float
        The highest alpha, >= 0.
    total : int
        Length of the cycle, >= 1.
    warm : float, default 0.3
        Share of `total` that rises, in [0, 1).
    divide_start, divide_end : float, default 25 and 1e4
        What alpha is divided by at the start and at the end, >= 1.
    unit : "step" or "epoch"
        What t and `total` count.
    """

    type_name: ClassVar[str] = "one_cycle"
    alpha: float
    total: int
    warm: float = 0.3
    divide_start: float = 25.0
    divide_end: float = 1e4
    unit: str = "step"

    def __post_init__(self) -> None:
        self._real("alpha", 0.0)
        self._whole("total", 1)
        self._real("warm", 0.0, 1.0, open_high=True)
        self._real("divide_start", 1.0)
        self._real("divide_end", 1.0)
        self._one_of("unit", UNITS)


@record
class WarmUp(Schedule):
    """alpha(t) = base(0) (t + 1) / steps for t < steps, afterwards base(t - steps).

    Parameters
    ----------
    base : Schedule or float
        What follows; a number means `Constant`. No warm-up itself.
    steps : int
        Length of the warm-up, >= 1.
    unit : "step" or "epoch"
        What t and `steps` count. Where the base counts the other unit its clock runs from the beginning, not from the
        end of the warm-up.
    """

    type_name: ClassVar[str] = "warm_up"
    base: Schedule
    steps: int
    unit: str = "step"

    def __post_init__(self) -> None:
        self._set("base", get(self.base, "[WarmUp] base"))
        if isinstance(self.base, WarmUp):
            raise ValueError("[WarmUp] base is a WarmUp: expected another schedule")
        self._whole("steps", 1)
        self._one_of("unit", UNITS)


KNOWN: dict[str, type[Schedule]] = registry(Constant, Step, Cosine, InverseScaling, OneCycle, WarmUp)


def get(alpha: object, who: str = "alpha") -> Schedule:
    """`alpha` as a schedule: a number becomes `Constant(alpha)`. `who` begins the error."""
    if isinstance(alpha, Schedule):
        return alpha
    try:
        return Constant(alpha)  # type: ignore[arg-type]
    except TypeError:
        classes = ", ".join(c.__name__ for c in KNOWN.values())
        raise TypeError(f"{who} is {alpha!r}: expected a number or a schedule ({classes})") from None
    except ValueError:
        raise ValueError(f"{who} is {alpha!r}: expected a finite number >= 0") from None


def from_spec(spec: Mapping[str, Any]) -> Schedule:
    """The schedule whose `.spec()` is `spec`. ValueError for an unknown type, key or value."""
    if isinstance(spec, Mapping) and spec.get("type") == "warm_up" and isinstance(spec.get("base"), Mapping):
        if spec["base"].get("type") == "warm_up":
            raise ValueError("schedule: a warm-up cannot stand before a warm-up")
        spec = {**spec, "base": from_spec(spec["base"])}
    return build("schedule", KNOWN, spec)
