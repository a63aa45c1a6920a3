# SPDX-License-Identifier: MIT
"""The losses L[y, a] of one sample, summed over the output's m = 1 ... M. A batch's is sum s_i L_i / sum s_i."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from ._record import record
from ._spec import Spec, build, choose, registry


class Loss(Spec):
    """Base of the losses."""

    #: The values that y may have.
    y_range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    @property
    def parameters(self) -> tuple[float, ...]:
        """The hyper-parameters as the core takes them."""
        return ()

    @property
    def levels(self) -> int:
        """Columns of the output for one column of y."""
        return 1


@record
class CrossEntropy(Loss):
    """L = -sum_m y_m log a_m; with softmax, dL/dz = (sum_m y_m) a - y in one fused pair.

    y: integer labels (n,) in 0 ... M-1, or probabilities (n, M) whose rows sum to 1 within 1e-4.
    """

    type_name: ClassVar[str] = "cross_entropy"


@record
class BinaryCrossEntropy(Loss):
    """L = -sum_m (y_m log a_m + (1 - y_m) log(1 - a_m)); with sigmoid, dL/dz = a - y in one fused pair.

    y: (n, M), or (n,) where M = 1, each value in [0, 1].
    """

    type_name: ClassVar[str] = "binary_cross_entropy"
    y_range: ClassVar[tuple[float, float]] = (0.0, 1.0)


@record
class SquaredError(Loss):
    """L = 1/2 sum_m (y_m - a_m)^2; with identity, dL/dz = a - y in one fused pair.

    y: (n, M), or (n,) where M = 1.
    """

    type_name: ClassVar[str] = "squared_error"


@record
class AbsoluteError(Loss):
    """L = sum_m abs(y_m - a_m), dL/da = sign(a - y), sign(0) = 0: the minimum is at the median.

    y: (n, M), or (n,) where M = 1.
    """

    type_name: ClassVar[str] = "absolute_error"


@record
class Huber(Loss):
    """L = sum_m 1/2 d_m^2 where abs(d_m) <= delta, else delta (abs(d_m) - delta / 2), with d = y - a; dL/da = a - y, kept in [-delta, delta].

    Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35, 1964.

    Parameters
    ----------
    delta : float
        > 0, in the units of y: beyond it an error counts by its size and not by its square.
    """

    type_name: ClassVar[str] = "huber"

    delta: float = 1.0

    def __post_init__(self) -> None:
        self._real("delta", 0.0, open_low=True)

    @property
    def parameters(self) -> tuple[float, ...]:
        """(delta,)."""
        return (self.delta,)


@record
class Quantile(Loss):
    """L = sum_m sum_l max(q_l d_ml, (q_l - 1) d_ml), d_ml = y_m - a_ml: the minimum over a_ml is at the q_l-quantile of y_m.

    dL/da_ml = -q_l for y_m > a_ml, 1 - q_l for y_m < a_ml, 0 where they are equal; q = 0.5 is half the absolute error.
    Koenker and Bassett, "Regression quantiles", Econometrica 46, 1978.

    y: (n, M), or (n,) where M = 1. The output is (n, M len(q)), the levels fastest: ``a.reshape(n, M, len(q))[i, m, l]`` is the q_l-quantile
    of y_m. Nothing keeps the levels of one target in order: crossing quantiles are sorted with ``np.sort`` over that last axis.

    Parameters
    ----------
    q : float or sequence of floats
        The levels, each in (0, 1); kept as a tuple.
    """

    type_name: ClassVar[str] = "quantile"

    q: float | Iterable[float] = 0.5

    def __post_init__(self) -> None:
        given = self.q
        levels: list[float] = []
        for level in given if isinstance(given, Iterable) and not isinstance(given, str) else (given,):
            self._set("q", level)
            self._real("q", 0.0, 1.0, open_low=True, open_high=True)
            levels.append(self.q)  # type: ignore[arg-type]
        if not levels:
            raise ValueError(f"[Quantile] q is {given!r}: expected at least one level")
        self._set("q", tuple(levels))

    @property
    def parameters(self) -> tuple[float, ...]:
        """The levels q."""
        return self.q  # type: ignore[return-value]

    @property
    def levels(self) -> int:
        """len(q)."""
        return len(self.parameters)


@record
class Poisson(Loss):
    """L = sum_m a_m - y_m + y_m log(y_m / a_m), 0 log 0 = 0: half the Poisson deviance; with exp, dL/dz = a - y in one fused pair.

    y: (n, M), or (n,) where M = 1, counts or rates >= 0. The output has to be positive: "exp", the canonical one, or "softplus".
    """

    type_name: ClassVar[str] = "poisson"
    y_range: ClassVar[tuple[float, float]] = (0.0, math.inf)


KNOWN: dict[str, type[Loss]] = registry(CrossEntropy, BinaryCrossEntropy, SquaredError, AbsoluteError, Huber, Quantile, Poisson)

_CANONICAL: dict[str, type[Loss]] = {"softmax": CrossEntropy, "sigmoid": BinaryCrossEntropy, "identity": SquaredError, "exp": Poisson}


def get(x: str | Loss | Callable[..., Any]) -> Loss | Callable[..., Any]:
    """`x` itself if it is a loss or a callable (y, a) -> (value, da), else the loss of that name."""
    if callable(x) and not isinstance(x, type):
        return x
    return choose("loss", KNOWN, x)


def infer(activation: str) -> Loss:
    """The loss that belongs to an output's activation: the canonical one, squared error for all others."""
    return _CANONICAL.get(activation, SquaredError)()


def check_range(loss: Loss, y: Any, who: str) -> None:
    """ValueError unless the values of the array `y` are those that the loss takes; `who` opens the message."""
    low, high = loss.y_range
    if (low, high) == Loss.y_range or not y.size:
        return
    least, most = y.min(), y.max()
    if least < low or most > high:
        allowed = f"values in [{low:g}, {high:g}]" if high < math.inf else f"values >= {low:g}"
        raise ValueError(f"{who} holds values from {least} to {most}: expected {allowed}")


def from_spec(spec: Mapping[str, Any]) -> Loss:
    """The loss whose `.spec()` is `spec`."""
    return build("loss", KNOWN, spec)
