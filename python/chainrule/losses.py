# SPDX-License-Identifier: MIT
"""The losses L[y, a] of one sample, summed over the output's m = 1 ... M. A batch's is sum s_i L_i / sum s_i."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ._record import record
from ._spec import Spec, build, choose, registry


class Loss(Spec):
    """Base of the losses."""


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


@record
class SquaredError(Loss):
    """L = 1/2 sum_m (y_m - a_m)^2; with identity, dL/dz = a - y in one fused pair.

    y: (n, M), or (n,) where M = 1.
    """

    type_name: ClassVar[str] = "squared_error"


KNOWN: dict[str, type[Loss]] = registry(CrossEntropy, BinaryCrossEntropy, SquaredError)

_CANONICAL: dict[str, type[Loss]] = {"softmax": CrossEntropy, "sigmoid": BinaryCrossEntropy, "identity": SquaredError}


def get(x: str | Loss | Callable[..., Any]) -> Loss | Callable[..., Any]:
    """`x` itself if it is a loss or a callable (y, a) -> (value, da), else the loss of that name."""
    if callable(x) and not isinstance(x, type):
        return x
    return choose("loss", KNOWN, x)


def infer(activation: str) -> Loss:
    """The loss that belongs to an output's activation: the canonical one, squared error for all others."""
    return _CANONICAL.get(activation, SquaredError)()


def from_spec(spec: Mapping[str, Any]) -> Loss:
    """The loss whose `.spec()` is `spec`."""
    return build("loss", KNOWN, spec)
