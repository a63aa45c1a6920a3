# SPDX-License-Identifier: MIT
"""What comes in: arrays of real numbers, C-contiguous, of one dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


def array_of(who: str, name: str, x: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"[{who}] {name} is {array.dtype}: expected real numbers")
    return array


def common_dtype(*arrays: npt.NDArray[Any]) -> type[np.float32] | type[np.float64]:
    narrow = all(x.dtype.kind == "f" and x.dtype.itemsize <= 4 for x in arrays)
    return np.float32 if narrow else np.float64


def contiguous(x: npt.NDArray[Any], dtype: npt.DTypeLike) -> FloatArray:
    return np.asarray(x, dtype=dtype, order="C")


def floats(who: str, **arguments: npt.ArrayLike | None) -> list[Any]:
    """Return the arguments as C-contiguous arrays of their common dtype; None stays None."""
    arrays = {name: None if x is None else array_of(who, name, x) for name, x in arguments.items()}
    dtype = common_dtype(*(x for x in arrays.values() if x is not None))
    return [None if x is None else contiguous(x, dtype) for x in arrays.values()]


def number(who: str, name: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    """Return `value` as a finite float in [low, high]."""
    number = float(value)
    if not (math.isfinite(number) and low <= number <= high):
        raise ValueError(f"[{who}] {name} is {value}: expected a finite number in [{low:g}, {high:g}]")
    return number
