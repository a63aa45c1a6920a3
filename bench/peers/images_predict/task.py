# SPDX-License-Identifier: MIT
"""What predicting is to give: the probabilities of the last batch, by chainrule's NumPy twin in float64."""

from __future__ import annotations

import numpy as np
from chainrule import reference

from ..images.rows import ImageInputs, ImageRow
from ..predict.task import error, tolerance
from ..rows import Reference, Variant

__all__ = ["error", "expected", "tolerance"]


def expected(row: ImageRow, inputs: ImageInputs, variant: Variant) -> Reference:
    w = {name: value.astype(np.float64) for name, value in inputs.parameters.items()}
    return Reference([reference.network_forward(inputs.spec, w, inputs.X[-row.batch :].astype(np.float64)).a[-1]])
