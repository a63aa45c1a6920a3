# SPDX-License-Identifier: MIT
"""Graphs of pools, means and views: windows that overlap, leave places out, are padded, run over open axes; read by several, fused, at both ends."""

from __future__ import annotations

import chainrule as cr
from graph_parts import Graph


def pools() -> Graph:
    """Images and sequences through every kind of window; a maximum of an input, of a fused activation, of a pool; 1, 3, 8 and 11 channels."""
    x, s, g = cr.Input((5, 7, 3)), cr.Input((9, 8)), cr.Input((4, 6, 1))
    h = cr.Dense(11, "tanh")(x)
    k = cr.Dense(8)(s)
    outputs = [
        cr.MaxPool(2)(x),
        cr.MaxPool((2, 3), stride=(1, 2), padding="same")(h),
        cr.MaxPool(3, stride=1, padding=(1, 2))(cr.MaxPool((5, 1), stride=(1, 2))(h)),
        cr.AveragePool(3, stride=2, padding=1)(h) + cr.Dense(11)(cr.AveragePool((3, 2), padding="same", stride=2)(x)),
        cr.MaxPool(3, padding="same")(k) + cr.AveragePool(4, stride=3, padding="same")(k),
        cr.Dense(2)(cr.MaxPool(2, stride=3)(cr.Activation("silu")(cr.AveragePool(2)(k)))),
        cr.MaxPool(2)(cr.Dense(1, "sigmoid")(g)),
        cr.AveragePool(2)(g),
    ]
    return Graph([x, s, g], outputs, ["squared_error"] * len(outputs))


def places() -> Graph:
    """Means over every axis, the open one too; the mean of an image gates its channels."""
    x, s = cr.Input((3, 4, 5)), cr.Input((None, 3))
    h = cr.Dense(5, "relu")(x)
    gate = cr.Dense(5, "sigmoid")(cr.GlobalAveragePool()(h))
    outputs = [
        cr.Dense(2, "softmax")(cr.GlobalAveragePool()(h * gate)),
        cr.Mean(1)(h) + cr.Slice(0, 1, axis=1)(cr.Dense(5)(cr.Mean(-2)(x))),
        cr.Mean(-1)(h),
        cr.Dense(3, "softmax")(cr.GlobalAveragePool()(cr.Dense(4, "tanh")(s))),
        cr.Mean(1)(s),
        cr.Mean(2)(s),
        cr.Dense(3)(cr.Flatten()(x)) * cr.Mean(axis=1)(cr.Flatten()(h)),
    ]
    return Graph([x, s], outputs, ["cross_entropy", "squared_error", "squared_error", "cross_entropy"] + ["squared_error"] * 3)


def views() -> Graph:
    """Reshape, Transpose, Slice, UpSample: of inputs, of what others read and each other, before an activation, as outputs; an open axis."""
    x, s = cr.Input((4, 3, 2)), cr.Input((None, 6))
    h = cr.Dense(4, "silu")(x)
    t = cr.Transpose((3, 1, 2))(h)
    outputs = [
        cr.Dense(3, "softmax")(cr.Reshape((2, -1))(h)),
        cr.Activation("tanh")(cr.Reshape(-1)(cr.Dense(3)(x))),
        cr.Dense(2)(t),
        cr.Transpose()(x),
        cr.Slice(1, 4, axis=1)(h) + cr.Slice(-3, None, axis=1)(h),
        cr.Dense(2)(cr.Slice(step=2)(h)),
        cr.concat(cr.Slice(1, 3)(h), cr.Slice(None, -1, 3)(h)),
        cr.Transpose((-1, 1))(cr.Dense(5)(s)),
        cr.Dense(3, "softmax")(cr.Slice(2, 5)(s)),
        cr.Reshape((2, 2, 2, 3, 2))(cr.Flatten()(cr.concat(x, x))),
        cr.Dense(2)(cr.UpSample((2, 3))(h)) + cr.UpSample((2, 3))(cr.Dense(1, "tanh")(x)),
        cr.UpSample(2)(x),
        cr.Activation("silu")(cr.UpSample(3)(cr.Mean(1)(h))),
        cr.UpSample((3, 2), mode="bilinear")(h) + cr.UpSample((3, 2), mode="bilinear")(cr.Dense(1)(x)),
        cr.UpSample(4, mode="bilinear")(cr.Mean(2)(h)),
    ]
    return Graph([x, s], outputs, ["cross_entropy"] + ["squared_error"] * 7 + ["cross_entropy"] + ["squared_error"] * 6)
