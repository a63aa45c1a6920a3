# SPDX-License-Identifier: MIT
"""The losses: value and gradient of the mean over rows."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any, Literal, Protocol, overload

import numpy as np
import numpy.typing as npt

from .. import _core, losses, reference
from ._arrays import FloatArray, array_of, contiguous, floats


class Loss(Protocol):
    """A loss: (x, y, sample_weight=None, *, gradient=True) -> (value, dL/dx), or the value alone."""

    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        gradient: Literal[True] = True,
    ) -> tuple[float, FloatArray]: ...
    @overload
    def __call__(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        gradient: Literal[False],
    ) -> float: ...


# whose kernels take integer labels as well
_WITH_LABELS = ("softmax_cross_entropy", "cross_entropy", "squared_error")


def _targets(who: str, x: FloatArray, y: npt.ArrayLike, levels: int) -> tuple[FloatArray | None, npt.NDArray[np.int32] | None]:
    """(y with one column for `levels` of x, None) or (None, labels)."""
    array = array_of(who, "y", y)
    rows, columns = x.shape[:-1], x.shape[-1]
    if columns % levels:
        raise ValueError(f"[{who}] the output is {x.shape}: expected {levels} columns for one of y, one for each level")
    shape = (*rows, columns // levels)
    if array.shape == shape:
        return contiguous(array, x.dtype), None
    if array.shape == rows and shape[-1] == 1 and who not in ("cross_entropy", "softmax_cross_entropy"):
        return contiguous(array.reshape(shape), x.dtype), None
    labels = who in _WITH_LABELS
    if not labels or array.shape != rows or array.dtype.kind == "f":
        allowed = f", or integer labels {rows}" if labels else ""
        raise ValueError(f"[{who}] y is {array.dtype} {array.shape} but the output is {x.shape}: expected {shape}{allowed}")
    # before the cast to 32 bits, which would wrap
    if array.size and (array.min() < 0 or array.max() >= columns):
        raise ValueError(f"[{who}] y has labels from {array.min()} to {array.max()}: expected 0 .. {columns - 1}")
    return None, np.asarray(array, dtype=np.int32, order="C")


def _weights(who: str, x: FloatArray, sample_weight: npt.ArrayLike | None) -> tuple[FloatArray | None, float]:
    """One weight a row (None: all 1), and their sum."""
    rows = x.shape[:-1]
    if sample_weight is None:
        s, total = None, float(math.prod(rows))
    else:
        array = array_of(who, "sample_weight", sample_weight)
        if array.shape not in (rows, x.shape[:1]):
            raise ValueError(f"[{who}] sample_weight is {array.shape} but the output is {x.shape}: expected {x.shape[:1]}")
        if not np.isfinite(array).all() or (array < 0).any():
            raise ValueError(f"[{who}] sample_weight has negative or non-finite values: expected weights >= 0")
        spread = array.reshape(array.shape + (1,) * (len(rows) - array.ndim))
        s = contiguous(np.broadcast_to(spread, rows), x.dtype)
        total = float(s.sum(dtype=np.float64))
    if not total > 0:
        raise ValueError(f"[{who}] the output is {x.shape} and the weights of its rows sum to {total:g}: expected a sum above 0")
    return s, total


_LOSS = """{equation}

The mean over the rows (all axes but the last): sum_i s_i L_i / sum_i s_i, and its gradient.

Parameters
----------
x : array_like
    {argument} of the formula, (..., K).
y : array_like
    {targets}
sample_weight : array_like, optional
    s (n,): all rows of a sample have its weight; or one weight a row.
{parameters}gradient : bool
    False: the value alone.

Returns
-------
(float, ndarray) or float
    The value, and d{argument} in the shape of {argument}.

Raises
------
ValueError
    If shapes do not fit, labels or y are out of range, or the weights are negative, not finite or sum to 0.
"""


def _document(loss: Any, name: str, targets: str, parameters: str = "") -> None:
    equation = inspect.cleandoc(reference.LOSSES[name].__doc__ or "")
    argument = "z" if name in reference.CANONICAL.values() and name not in losses.KNOWN else "a"
    loss.__name__ = loss.__qualname__ = name
    loss.__doc__ = _LOSS.format(equation=equation, argument=argument, targets=targets, parameters=parameters)


def _evaluate(name: str, loss: losses.Loss, x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None, gradient: bool) -> Any:
    (output,) = floats(name, x=x)
    if output.ndim == 0:
        raise ValueError(f"[{name}] the output is a scalar: expected an array with a last axis")
    target, classes = _targets(name, output, y, loss.levels)
    if target is not None:
        losses.check_range(loss, target, f"[{name}] y")
    s, total = _weights(name, output, sample_weight)
    value, dx = _core.kernel_loss(name, output, target, classes, s, 1.0 / total, gradient, parameters=loss.parameters)
    return (value / total, dx) if gradient else value / total


def _make_loss(name: str) -> Loss:
    rule = losses.KNOWN[next((loss for (loss, _), fused in reference.CANONICAL.items() if fused == name), name)]()

    def loss(x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, gradient: bool = True) -> Any:
        return _evaluate(name, rule, x, y, sample_weight, gradient)

    labels = ", or integer labels 0 .. K-1 of the shape of its rows." if name in _WITH_LABELS else "; (n,) for (n, 1)."
    _document(loss, name, "The shape of x" + labels)
    return loss


softmax_cross_entropy: Loss = _make_loss("softmax_cross_entropy")
cross_entropy: Loss = _make_loss("cross_entropy")
sigmoid_binary_cross_entropy: Loss = _make_loss("sigmoid_binary_cross_entropy")
binary_cross_entropy: Loss = _make_loss("binary_cross_entropy")
squared_error: Loss = _make_loss("squared_error")
absolute_error: Loss = _make_loss("absolute_error")
exp_poisson: Loss = _make_loss("exp_poisson")
poisson: Loss = _make_loss("poisson")

Levels = float | Iterable[float]


# fmt: off
@overload
def huber(
    x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, delta: float = 1.0, gradient: Literal[True] = True
) -> tuple[float, FloatArray]: ...
@overload
def huber(
    x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, delta: float = 1.0, gradient: Literal[False]
) -> float: ...
def huber(x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, delta: float = 1.0, gradient: bool = True) -> Any:
    return _evaluate("huber", losses.Huber(delta), x, y, sample_weight, gradient)


@overload
def quantile(
    x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, q: Levels = 0.5, gradient: Literal[True] = True
) -> tuple[float, FloatArray]: ...
@overload
def quantile(
    x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, q: Levels = 0.5, gradient: Literal[False]
) -> float: ...
def quantile(x: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None, *, q: Levels = 0.5, gradient: bool = True) -> Any:
    return _evaluate("quantile", losses.Quantile(q), x, y, sample_weight, gradient)
# fmt: on


_document(huber, "huber", "The shape of x; (n,) for (n, 1).", "delta : float\n    Above 0.\n")
_document(
    quantile,
    "quantile",
    "(..., K / len(q)), one column for the len(q) columns of x that are its quantiles; (n,) for (n, 1).",
    "q : float or sequence of floats\n    The levels, each in (0, 1).\n",
)
