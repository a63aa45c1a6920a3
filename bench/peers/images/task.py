# SPDX-License-Identifier: MIT
"""What training is to give: the weights after all steps of SGD with momentum, by chainrule's NumPy twin in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from chainrule import reference

from ..rows import MOMENTUM, Reference, Variant, worst_change
from ..train.task import kinks, slack
from .rows import ImageInputs, ImageRow


def expected(row: ImageRow, inputs: ImageInputs, variant: Variant) -> Reference:
    """The weights after inputs.steps steps. A network of ReLUs and max pools amplifies rounding where two numbers are nearly equal."""
    w = {name: value.astype(np.float64) for name, value in inputs.parameters.items()}
    v = {name: np.zeros_like(value) for name, value in w.items()}
    close = 0.0
    for _ in range(inputs.epochs):
        for i in inputs.starts:
            rows = slice(i, i + inputs.batch)
            x, y = inputs.X[rows].astype(np.float64), inputs.y[rows]
            _, gradient = reference.network_loss_and_gradient(inputs.spec, w, x, y, "cross_entropy", training=True)
            tape = reference.network_forward(inputs.spec, w, x, training=True)
            close += kinks(z for node, z in enumerate(tape.z) if tape.activation(node) == "relu")
            for name in w:
                w[name], v[name] = reference.sgd(w[name], gradient[name], v[name], alpha=row.alpha, mu=MOMENTUM)
    return Reference(list(w.values()), slack(close))


def error(found: list[npt.NDArray[np.generic]], reference: Reference, inputs: ImageInputs, variant: Variant) -> float:
    """As of dense rows."""
    return worst_change(found, reference.arrays, list(inputs.parameters.values()), least=1e-3)


def tolerance(row: ImageRow, reference: Reference, timed: bool) -> float:
    """Of `error`."""
    return 0.25 if timed else 1e-2 + reference.slack
