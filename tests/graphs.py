# SPDX-License-Identifier: MIT
"""Networks as graphs for the tests: a collection, random ones by Hypothesis, and data for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import chainrule as cr
import numpy as np
from chainrule import reference
from compare import assert_close
from graphs_norm import batch_norm, norms

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Graph:
    """Inputs, outputs, and a loss and its weight for each output."""

    inputs: list[Any]
    outputs: list[Any]
    losses: list[Any]
    weights: list[float] = field(default_factory=list)
    # of the outputs of the network that was made last, that of `wide` included
    all_losses: list[Any] = field(default_factory=list, init=False)
    all_weights: list[float] = field(default_factory=list, init=False)

    def network(self, dtype: str = "float64", seed: int = 7, wide: bool = False) -> cr.Network:
        """The network; `wide` adds an output behind 135,000 weights, so that the plan goes by layers instead of by chunks."""
        outputs, self.all_losses = list(self.outputs), list(self.losses)
        self.all_weights = list(self.weights) or [1.0 + 0.5 * i for i in range(len(self.outputs))]
        if wide:
            x = min((i for i in self.inputs if i.shape != ()), key=lambda i: len(i.shape))
            outputs.append(cr.Dense(3, name="wide_3")(cr.Dense(450, "tanh", name="wide_2")(cr.Dense(300, name="wide_1")(x))))
            self.all_losses.append("squared_error")
            self.all_weights.append(0.7)
        net = cr.Network(inputs=self.inputs, outputs=outputs, dtype=dtype, seed=seed)
        random = np.random.default_rng(seed)
        for name, a in net.parameters.items():
            if name.endswith((".b", ".gain", ".bias")):
                a[...] = random.normal(size=a.shape) / 2
        for name, a in net.state.items():
            if name.endswith(".variance"):  # of a batch norm
                a[...] = random.uniform(0.5, 2, a.shape)
                net.state[name.replace("variance", "mean")][...] = random.normal(size=a.shape)
        return net


def bound(shape: Sequence[int | None], time: int) -> tuple[int, ...]:
    """The shape with its open axis bound."""
    return tuple(time if d is None else d for d in shape)


def target(loss: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Labels or probabilities, shares, counts or numbers, as the loss takes them."""
    if loss == "poisson":
        return rng.poisson(2.0, size=shape).astype(float)
    if isinstance(loss, cr.Quantile):
        shape = (*shape[:-1], shape[-1] // loss.levels)
    if loss == "cross_entropy":
        return rng.integers(0, shape[-1], shape[:-1]) if shape[0] % 2 else rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    if loss == "binary_cross_entropy":
        return rng.uniform(size=shape)
    return rng.normal(size=shape)


def data(net: cr.Network, losses: Sequence[Any], rng: np.random.Generator, n: int, time: int = 4) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Inputs and targets that the network's dtype holds exactly."""
    x = tuple(rng.normal(size=(n, *bound(s, time))).astype(net.dtype) for s in net.input_shapes)
    y = tuple(target(loss, (n, *bound(s, time)), rng) for loss, s in zip(losses, net.output_shapes, strict=True))
    return x, tuple(a.astype(net.dtype) if a.dtype.kind == "f" else a for a in y)


def one(values: Sequence[Any]) -> Any:
    """A single value for a single input or output, a tuple else."""
    return values[0] if len(values) == 1 else tuple(values)


def oracle(net: cr.Network, x: Any, y: Any, losses: Sequence[Any], **options: Any) -> tuple[float, dict[str, Array]]:
    """The reference's objective and gradient; frozen layers have none."""
    specs = tuple(loss.spec() if isinstance(loss, cr.losses.Loss) else loss for loss in losses)
    value, gradient = reference.network_loss_and_gradient(
        net.spec, {**net.parameters, **net.state}, tuple(x), tuple(y), specs, seed=net.seed, **options
    )
    for name in gradient:
        if not net.spec["layers"][name.split(".")[0]].get("trainable", True):
            gradient[name] = np.zeros_like(gradient[name])
    return value, {name: gradient.get(name, np.zeros(a.shape)) for name, a in net.parameters.items()}


def tolerance(net: cr.Network) -> float:
    """Of one comparison, relative to the largest element."""
    return 3e-4 if net.dtype == np.float32 else 1e-10


def by_name(net: cr.Network, flat: Array) -> dict[str, Array]:
    """A flat vector cut into the parameters (NOTATION.md has the order)."""
    ends = np.cumsum([a.size for a in net.parameters.values()])[:-1]
    return {n: part.reshape(a.shape) for (n, a), part in zip(net.parameters.items(), np.split(flat, ends), strict=bool(net.parameters))}


def assert_same(actual: Any, expected: Array, tol: float, dtype: Any, what: str) -> None:
    """Normwise: |actual - expected| <= tol max |expected|."""
    size = float(np.abs(expected).max(initial=0.0))
    assert_close(actual, expected, 0.0, atol=tol * max(size, 1e-3), dtype=dtype, what=what)


def assert_gradients(net: cr.Network, found: Any, expected: dict[str, Array], what: str) -> None:
    """All parameters by name, within the largest of them all."""
    size = max((float(np.abs(g).max(initial=0.0)) for g in expected.values()), default=0.0)
    for name, g in expected.items():
        assert_close(found[name], g, 0.0, atol=tolerance(net) * max(size, 1e-3), dtype=net.dtype, what=f"{what} {name}")


# ---- the graphs -----------------------------------------------------------------------------------------------------------------------------


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
    """A Dropout used twice draws two masks; one at the input, one before the output, one on sequences; whole samples dropped."""
    x, s = cr.Input(6), cr.Input((3, 4))
    drop = cr.Dropout(0.4)
    h = cr.Dense(6, "tanh")(cr.Dropout(0.3, name="first")(x))
    a = drop(h) + drop(h)
    return Graph(
        [x, s],
        [
            cr.Dense(2)(a),
            cr.Dropout(0.5)(cr.Dense(3, "relu")(x)),
            cr.Dense(3, "softmax")(drop(cr.Dense(4)(s))),
            s + cr.StochasticDepth(0.5)(cr.Dense(4)(s)),
        ],
        ["squared_error", "squared_error", "cross_entropy", "squared_error"],
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
        input_as_output, dropout, standardize, softmax_inside, other_pairs, regressions, own_loss,
    )
}  # fmt: skip
GRAPHS |= {f.__name__: lambda f=f: Graph(*f()) for f in (norms, batch_norm)}
GRAPHS |= {"broadcast_add": broadcast(cr.Add), "broadcast_multiply": broadcast(cr.Multiply)}
