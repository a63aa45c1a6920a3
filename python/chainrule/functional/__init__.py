# SPDX-License-Identifier: MIT
"""Every kernel of the core as a function of arrays.

Arrays are float32 or float64 of any shape and strides; the result has the same dtype and is always a new array.
Integers, booleans and lists are converted to float64 (float16 to float32); where dtypes differ the wider one wins.
Complex numbers, objects and strings raise a TypeError that names the function and the argument, shapes that do not fit
a ValueError that names both and what was expected.

For each activation g that `ACTIVATIONS` names there are three functions, made when this module is imported: `g(z)`,
`g_derivatives(z)` and `g_backward(da, z)`. Notation: z goes in, a = g(z) comes out, the gradient of x is dx.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._activations import ACTIVATIONS, MADE, softmax, softmax_backward
from ._layers import dense, dense_backward, dropout, standardize, standardize_backward
from ._losses import (
    absolute_error,
    binary_cross_entropy,
    cross_entropy,
    exp_poisson,
    huber,
    poisson,
    quantile,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
    squared_error,
)
from ._optim import adam, adamw, penalty, rmsprop, sgd

__all__ = [
    "ACTIVATIONS",
    "absolute_error",
    "adam",
    "adamw",
    "binary_cross_entropy",
    "cross_entropy",
    "dense",
    "dense_backward",
    "dropout",
    "exp_poisson",
    "huber",
    "penalty",
    "poisson",
    "quantile",
    "rmsprop",
    "sgd",
    "sigmoid_binary_cross_entropy",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "squared_error",
    "standardize",
    "standardize_backward",
]
globals().update(MADE)
__all__.extend(MADE)
# pickle and the documentation look functions up where users find them
for _name in __all__:
    if callable(globals()[_name]):
        globals()[_name].__module__ = __name__
del _name


def __getattr__(name: str) -> Callable[..., Any]:
    # never called for the functions above; it tells type checkers that there are more names than they can see
    raise AttributeError(f"module {__name__!r} has no function {name!r}: there are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
