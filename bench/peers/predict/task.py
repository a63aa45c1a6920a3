# SPDX-License-Identifier: MIT
"""What predicting is to give: the probabilities of the last batch, in float64 NumPy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..rows import Inputs, Reference, Refused, Row, Variant, forward, refuse_form


def expected(row: Row, inputs: Inputs, variant: Variant) -> Reference:
    W, b = ([x.astype(np.float64) for x in arrays] for arrays in (inputs.W, inputs.b))
    last = inputs.X[-row.batch :]
    return Reference([np.concatenate([forward(last[i : i + 8192], W, b)[1][-1] for i in range(0, row.batch, 8192)])])


def error(found: list[npt.NDArray[np.generic]], reference: Reference, inputs: Inputs, variant: Variant) -> float:
    """The largest |p - reference|."""
    refuse_form(found, reference.arrays)
    worst = float(np.abs(found[0].astype(np.float64) - reference.arrays[0]).max())
    if not math.isfinite(worst):
        raise Refused("probabilities that are not finite")
    return worst


def tolerance(row: Row, reference: Reference, timed: bool) -> float:
    """Of `error`: probabilities are at most 1, sums of some 1,000 float32 products lose a few 1e-7 of their size."""
    return 1e-5
