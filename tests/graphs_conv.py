# SPDX-License-Identifier: MIT
"""The graphs of graphs.py with convolutions."""

from __future__ import annotations

from typing import Any

import chainrule as cr
from chainrule import blocks

Parts = tuple[list[Any], list[Any], list[Any]]  # inputs, outputs, losses


def convolutions() -> Parts:
    """Images: every stride, dilation, padding and grouping, ragged widths, one pixel, depthwise, shared, frozen, on each other."""
    x, y = cr.Input((7, 5, 3)), cr.Input((4, 6, 8))
    shared = cr.Conv2D(3, 3, "tanh")
    h = cr.Conv2D(9, 3, "silu")(x)
    deep = cr.Conv2D(8, (2, 3), "tanh", groups=8)(cr.Conv2D(8, 1, "sigmoid")(y))
    outputs = [
        cr.Conv2D(17, (3, 2), padding="valid")(shared(shared(x))),
        cr.Conv2D(4, 3, "softplus", stride=2, padding=1)(h),
        cr.Conv2D(6, 2, stride=(3, 2), dilation=(2, 1), padding=((2, 0), (1, 3)), groups=3)(h),
        cr.Conv2D(8, 3, stride=2, groups=8, bias=False)(deep) * cr.Conv2D(8, 2, padding="valid", stride=2, trainable=False)(y),
        cr.Conv2D(4, 4, dilation=2, stride=3, groups=2)(y),
        cr.Dense(3, "softmax")(cr.Flatten()(cr.Conv2D(2, 5, padding=4, stride=3)(x))),
    ]
    return [x, y], outputs, ["squared_error"] * 5 + ["cross_entropy"]


def transposed() -> Parts:
    """Images that grow: every stride, dilation, padding and grouping, one pixel, a kernel shorter than its stride, shared, frozen, added to."""
    x, y = cr.Input((3, 2, 3)), cr.Input((4, 3, 8))
    shared = cr.ConvTranspose2D(3, 3, "tanh")
    h = cr.ConvTranspose2D(9, 3, "silu", stride=2)(x)
    k = cr.Dense(8, "tanh")(y)
    outputs = [
        cr.ConvTranspose2D(17, (3, 2), padding="valid")(shared(shared(x))),
        cr.ConvTranspose2D(4, 2, "softplus", stride=(2, 3), dilation=(1, 2), padding=((1, 0), (2, 1)))(h),
        cr.ConvTranspose2D(8, 3, stride=2, groups=8, bias=False)(k) * cr.ConvTranspose2D(8, 1, stride=2, trainable=False)(k),
        cr.ConvTranspose2D(6, 4, padding=1, stride=3, groups=2)(k),
        cr.ConvTranspose2D(5, 1)(k) + cr.Conv2D(5, 1)(k),
        cr.Dense(3, "softmax")(cr.Flatten()(cr.Conv2D(2, 3, stride=2)(h))),
    ]
    return [x, y], outputs, ["squared_error"] * 5 + ["cross_entropy"]


def sequences() -> Parts:
    """Sequences of any length: the same and causal, dilated, in groups."""
    s, t = cr.Input((None, 4)), cr.Input((9, 6))
    outputs = [
        cr.Conv1D(5, 3, "tanh", padding="causal", dilation=2)(s),
        cr.Conv1D(4, 3, groups=4)(cr.Conv1D(4, 2, padding=[(1, 0)])(s)),
        cr.Conv1D(6, 4, stride=2, padding="causal")(t),
        cr.Conv1D(20, 3, "silu", stride=2, groups=2, padding="valid")(t),
    ]
    return [s, t], outputs, ["squared_error"] * 4


def deep_blocks() -> Parts:
    """A bottleneck that goes on as it is, one with a stride; dense blocks with and without W1, with a transition between them."""
    x, v = cr.Input((4, 4, 4)), cr.Input(4)  # v: where `wide` has its weights
    h = blocks.bottleneck(blocks.bottleneck(x, 2, expansion=2), 3, stride=2, expansion=1)
    d = blocks.dense_block(blocks.transition(blocks.dense_block(x, 2, 2, width=1), 4), 1, 3, width=0)
    return [x, v], [h, cr.Dense(3, "softmax")(cr.concat(cr.GlobalAveragePool()(d), v))], ["squared_error", "cross_entropy"]
