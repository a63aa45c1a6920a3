# SPDX-License-Identifier: MIT
"""The graphs of graphs.py with normalisation."""

from __future__ import annotations

from typing import Any

import chainrule as cr

Parts = tuple[list[Any], list[Any], list[Any]]  # inputs, outputs, losses


def norms() -> Parts:
    """Layer, RMS and group norm: of rows, sequences and images, with and without parameters, shared, frozen, before a fused activation."""
    x, s, m = cr.Input(6), cr.Input((None, 4)), cr.Input((2, 3, 6))
    layer = cr.LayerNorm()
    h = cr.Activation("tanh")(layer(cr.Dense(6)(x)))
    outputs = [
        cr.Dense(3, "softmax")(layer(h)),
        cr.RMSNorm()(cr.Dense(5)(s)),
        cr.Activation("silu")(cr.GroupNorm(3)(cr.Dense(6)(m))),
        cr.GroupNorm(2, bias=False)(x) + cr.LayerNorm(gain=False, bias=False)(x),
        cr.LayerNorm(trainable=False)(cr.Dense(4)(s)),
        cr.GroupNorm(1, gain=False)(s) * cr.RMSNorm(gain=False)(s),
        cr.RMSNorm(bias=True)(cr.GroupNorm(6)(m)),
    ]
    return [x, s, m], outputs, ["cross_entropy"] + ["squared_error"] * 6


def batch_norm() -> Parts:
    """Statistics over samples and positions: of sequences and images, with and without parameters, shared, frozen, before a fused activation."""
    s, m = cr.Input((None, 4)), cr.Input((2, 3, 5))
    layer = cr.BatchNorm()
    h = cr.Activation("tanh")(layer(cr.Dense(4)(s)))
    outputs = [
        cr.Dense(3, "softmax")(layer(h)),
        cr.Activation("silu")(cr.BatchNorm(0.3)(cr.Dense(6)(m))),
        cr.BatchNorm(gain=False)(s) + h,
        cr.BatchNorm(trainable=False)(cr.Dense(5)(m)) * cr.BatchNorm(gain=False, bias=False)(m),
        cr.Dense(2)(cr.BatchNorm(bias=False)(m)),
    ]
    return [s, m], outputs, ["cross_entropy"] + ["squared_error"] * 4
