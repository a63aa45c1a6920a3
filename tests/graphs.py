# SPDX-License-Identifier: MIT
"""Networks as graphs for the tests: the collection, each with the trap that it sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
from graph_parts import Array, Graph
from graphs_conv import convolutions, deep_blocks, sequences, transposed
from graphs_norm import batch_norm, norms
from graphs_shapes import places, pools, views


def several() -> Graph:
    """Two inputs, three outputs, a loss and a weight each; the layers feed each other across."""
    a, b = cr.Input(4), cr.Input((2, 3))
    h = cr.Dense(5, "tanh", name="h")(a)
    k = cr.Flatten()(cr.Dense(4, "relu", name="k")(b))
    j = cr.concat(h, k)
    middle = cr.Dense(2, "sigmoid", name="middle")(h * cr.Dense(5, name="gate")(k))
    return Graph(
        [a, b],
        [cr.Dense(3, "softmax")(j), middle, cr.Dense(2)(cr.Dense(3, "silu")(b))],
        ["cross_entropy", "binary_cross_entropy", "squared_error"],
        [0.3, 2.0, 0.0625],
    )


def shared() -> Graph:
    """One layer used three times, also on its own output."""
    x = cr.Input(4)
    layer, act = cr.Dense(4, "tanh"), cr.Activation("softplus")
    once = layer(x)
    return Graph([x], [cr.Dense(2)(layer(layer(once)) + act(once)), act(once)], ["squared_error", "squared_error"])


def shared_inputs() -> Graph:
    """One layer on two inputs: siamese."""
    x, y = cr.Input(3), cr.Input(3)
    tower = cr.Dense(5, "gelu_tanh")
    product = tower(x) * tower(y)
    return Graph([x, y], [cr.Dense(1, "sigmoid")(product)], ["binary_cross_entropy"])


def frozen() -> Graph:
    """Frozen layers before, between and beside trainable ones; a frozen one is also shared."""
    x = cr.Input(4)
    still = cr.Dense(4, "silu", trainable=False)
    h = cr.Dense(4, "tanh")(still(x))
    return Graph([x], [cr.Dense(3, "softmax", trainable=False)(still(h)), cr.Dense(2)(still(x))], ["cross_entropy", "squared_error"])


def bias_free() -> Graph:
    """No b anywhere, fused and not."""
    x = cr.Input(5)
    h = cr.Dense(4, "elu", bias=False)(x)
    k = cr.Dense(4, bias=False)(x)
    return Graph([x], [cr.Dense(3, "softmax", bias=False)(h + k), cr.Dense(2, bias=False)(k)], ["cross_entropy", "squared_error"])


def broadcast(join: type) -> Callable[[], Graph]:
    """Sizes 1, missing axes, a scalar, more than two inputs, the first the smaller one."""

    def build() -> Graph:
        scalar, v, m, t = cr.Input(()), cr.Input(3), cr.Input((2, 1)), cr.Input((4, 1, 3))
        d = cr.Dense(3, "tanh")(v)
        e = cr.Dense(1)(m)
        f = cr.Dense(3, "sigmoid")(t)
        one_wide = cr.Dense(1, "silu")(v)
        outputs = [
            join()(d, e),
            join()(e, d),
            join()(scalar, f),
            join()(f, scalar, d, e),
            join()(one_wide, d, one_wide, m),
            cr.Dense(2)(join()(d, d)),
        ]
        return Graph([scalar, v, m, t], outputs, ["squared_error"] * len(outputs))

    return build


def powers() -> Graph:
    """x x, x x x of the same node, and x + x."""
    x = cr.Input(4)
    h = cr.Dense(3, "tanh")(x)
    z = cr.Dense(3)(x)
    return Graph([x], [h * h, cr.Multiply()(h, h, h), z + z, cr.Multiply()(z, h, z), x * x], ["squared_error"] * 5)


def concatenate() -> Graph:
    """Along every axis, from the front and from the back, the same node twice."""
    x, y = cr.Input((2, 3, 4)), cr.Input((2, 3, 4))
    h, k = cr.Dense(4, "tanh")(x), cr.Dense(4)(y)
    outputs = [cr.concat(h, k, axis=axis) for axis in (1, 2, 3, -1, -3)] + [cr.concat(k, h, k, x, axis=2), cr.concat(h, cr.Dense(1)(x))]
    return Graph([x, y], outputs, ["squared_error"] * len(outputs))


def flatten() -> Graph:
    """Flatten of an input, of what others read too, before an activation, twice, on the way out."""
    x = cr.Input((2, 3))
    f, h = cr.Flatten()(x), cr.Dense(4, "silu")(x)
    g = cr.Flatten()(h)
    outputs = [
        cr.Dense(3, "softmax")(f),
        cr.Dense(2)(h),
        cr.Dense(2, "tanh")(g),
        cr.Activation("tanh")(cr.Flatten()(cr.Dense(3)(x))),
        cr.Flatten()(cr.Flatten()(cr.Dense(2, "softmax")(x))),
        g,
    ]
    return Graph([x], outputs, ["cross_entropy"] + ["squared_error"] * 5)


def symbolic() -> Graph:
    """An open axis: sequences, with an image of the whole sample added and multiplied in."""
    x, y, c = cr.Input((None, 3)), cr.Input((None, 2)), cr.Input(4)
    h = cr.Dense(4, "tanh")(x)
    j = cr.concat(h, cr.Dense(2, "relu")(y))
    outputs = [cr.Dense(3, "softmax")(j), cr.Dense(4)(h * cr.Dense(4, "sigmoid")(c) + c), cr.concat(x, y)]
    return Graph([x, y, c], outputs, ["cross_entropy", "squared_error", "squared_error"])


def activations_anywhere() -> Graph:
    """After an input, a sum, a join, a dropout, an alias, another activation, softmax, a layer with its own activation."""
    x = cr.Input(4)
    h, k = cr.Dense(4, "tanh")(x), cr.Dense(4)(x)
    act = cr.Activation
    outputs = [
        act("gelu")(x) + h,
        act("softplus")(h + k),
        act("elu", 0.5)(cr.concat(h, k)),
        act("leaky_relu", 0.3)(cr.Dropout(0.0)(k)),
        act("selu")(act("sigmoid")(k)),
        act("silu")(act("silu")(k)),
        act("tanh")(act("softmax")(k)),
        act("relu")(cr.Flatten()(k)),
        act("identity")(cr.Dense(3)(act("identity")(h))),
        act("silu")(cr.Dense(3, "silu")(x)),
        act("tanh")(k * k),
    ]
    return Graph([x], outputs, ["squared_error"] * len(outputs))


def read_outputs() -> Graph:
    """Outputs that other layers read as well, under their canonical loss and under others."""
    x = cr.Input(4)
    p, q, r = cr.Dense(3, "softmax")(x), cr.Dense(3, "sigmoid")(x), cr.Dense(3)(x)
    z = cr.Dense(3)(x)
    s = cr.Activation("softmax")(z)
    return Graph(
        [x],
        [p, q, r, cr.Dense(2)(p * q + r), s, cr.Activation("tanh")(z), z, cr.Dense(1)(s)],
        ["cross_entropy", "binary_cross_entropy", "squared_error", "squared_error", "cross_entropy"] + ["squared_error"] * 3,
    )


def twice() -> Graph:
    """The same node as several outputs, under the same and under different losses."""
    x = cr.Input(4)
    p, q, r = cr.Dense(3, "softmax")(x), cr.Dense(2, "sigmoid")(x), cr.Dense(2, "tanh")(x)
    return Graph(
        [x],
        [p, p, p, q, q, r, r],
        ["cross_entropy", "squared_error", "cross_entropy", "squared_error", "binary_cross_entropy", "squared_error", "squared_error"],
    )


def input_as_output() -> Graph:
    """Inputs and their aliases as outputs: predictions and losses without a way to any parameter."""
    x, y = cr.Input((2, 3)), cr.Input(3)
    return Graph([x, y], [x, cr.Dense(2)(x + y), y, cr.Flatten()(x)], ["squared_error"] * 4)


def dropout() -> Graph:
    """A Dropout used twice draws two masks; one at the input, one before the output, one on sequences."""
    x, s = cr.Input(6), cr.Input((3, 4))
    drop = cr.Dropout(0.4)
    h = cr.Dense(6, "tanh")(cr.Dropout(0.3, name="first")(x))
    a = drop(h) + drop(h)
    return Graph(
        [x, s],
        [cr.Dense(2)(a), cr.Dropout(0.5)(cr.Dense(3, "relu")(x)), cr.Dense(3, "softmax")(drop(cr.Dense(4)(s)))],
        ["squared_error", "squared_error", "cross_entropy"],
    )


def standardize() -> Graph:
    """At the input, on sequences, behind a layer, shared by two readers."""
    x, s = cr.Input(4), cr.Input((None, 3))
    n = cr.Standardize()(x)
    m = cr.Standardize(name="inner")(cr.Dense(5, "tanh")(n))
    return Graph([x, s], [cr.Dense(3, "softmax")(m), cr.Dense(4)(n) * n, cr.Dense(2)(cr.Standardize()(s))], ["cross_entropy"] + ["squared_error"] * 2)


def softmax_inside() -> Graph:
    """A gate: softmax in the middle, of one row and of sequences."""
    x, s = cr.Input(4), cr.Input((3, 5))
    gate = cr.Dense(4, "softmax")(x)
    attention = cr.Dense(5, "softmax")(cr.Activation("softmax")(s))
    return Graph([x, s], [cr.Dense(2)(gate * x), cr.Dense(2)(attention * s), cr.Activation("softmax")(gate)], ["squared_error"] * 3)


def other_pairs() -> Graph:
    """Losses on outputs that are not their canonical ones, and canonical activations that stand behind another activation."""
    x = cr.Input(4)
    act = cr.Activation
    return Graph(
        [x],
        [
            cr.Dense(3, "sigmoid")(x),
            cr.Dense(3, "softmax")(x),
            cr.Dense(3, "softmax")(x),
            cr.Dense(3, "sigmoid")(x),
            act("softmax")(cr.Dense(3, "silu")(x)),
            act("softmax")(cr.Dense(3, "tanh")(x)),
            act("sigmoid")(cr.Dense(3, "gelu")(x)),
            act("sigmoid")(act("tanh")(cr.Dense(3)(x))),
            act("softmax")(act("softmax")(cr.Dense(3)(x))),
            act("sigmoid")(cr.Dense(4, "relu")(x) + x),
            cr.Flatten()(cr.Dense(3, "softmax")(x)),
            act("softmax")(cr.Flatten()(cr.Dense(3, "softplus")(x))),
            act("softplus")(cr.Dense(2)(x)),
            act("softmax")(x),
            act("sigmoid")(x),
        ],
        ["cross_entropy", "squared_error", "binary_cross_entropy", "squared_error"]
        + ["cross_entropy"] * 2
        + ["binary_cross_entropy"] * 2
        + ["cross_entropy", "binary_cross_entropy", "cross_entropy", "cross_entropy", "cross_entropy", "cross_entropy"]
        + ["binary_cross_entropy"],
    )


def regressions() -> Graph:
    """The losses of regression, each on an output of its own, on what others read, and on sequences; Poisson with exp and without."""
    x, s = cr.Input(4), cr.Input((None, 3))
    h = cr.Dense(4, "tanh")(x)
    rate = cr.Dense(2, "exp")(h)
    outputs_and_losses: list[tuple[Any, Any]] = [
        (cr.Dense(3)(h), "absolute_error"),
        (h, "absolute_error"),
        (cr.Dense(3)(h), cr.Huber(0.5)),
        (cr.Dense(6)(h), cr.Quantile((0.1, 0.5, 0.9))),
        (cr.Dense(1)(h), "quantile"),
        (rate, "poisson"),
        (cr.Dense(2, "softplus")(h), "poisson"),
        (cr.Activation("exp")(cr.Flatten()(h)), "poisson"),
        (cr.Dense(4, "exp")(rate), "squared_error"),
        (cr.Dense(4)(s), cr.Quantile((0.25, 0.75))),
        (cr.Dense(2, "exp")(s), "poisson"),
        (cr.Activation("exp")(cr.Dense(2)(s)), "huber"),
    ]
    outputs, losses = zip(*outputs_and_losses, strict=True)
    return Graph([x, s], list(outputs), list(losses))


def cubes(y: Array, a: Array) -> tuple[float, Array]:
    """A loss of one's own: mean of (a - y)^3."""
    d = np.asarray(a, dtype=np.float64) - y
    return float((d**3).mean()), 3 * d**2 / d.size


def own_loss() -> Graph:
    """A callable beside built-in losses: on a hidden value that goes on, on an input, on softmax."""
    x = cr.Input((2, 3))
    h = cr.Dense(4, "silu")(x)
    return Graph([x], [h, cr.Dense(3, "softmax")(h), cr.Dense(3, "softmax")(x), x, cr.Flatten()(x)], [cubes, "cross_entropy", cubes, cubes, cubes])


GRAPHS: dict[str, Callable[[], Graph]] = {
    f.__name__: f
    for f in (
        several, shared, shared_inputs, frozen, bias_free, powers, concatenate, flatten, symbolic, activations_anywhere, read_outputs, twice,
        input_as_output, dropout, standardize, softmax_inside, other_pairs, regressions, own_loss, places, pools, views,
    )
}  # fmt: skip
GRAPHS |= {f.__name__: lambda f=f: Graph(*f()) for f in (norms, batch_norm, convolutions, deep_blocks, sequences, transposed)}
GRAPHS |= {"broadcast_add": broadcast(cr.Add), "broadcast_multiply": broadcast(cr.Multiply)}
