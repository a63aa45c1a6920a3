# SPDX-License-Identifier: MIT
"""Networks as graphs against the oracle `chainrule.reference`: value, every gradient and predictions, by chunks and by layers."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Sequence
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import reference
from compare import assert_close
from graph_parts import CHUNKS_UP_TO, Array, Graph, assert_gradients, assert_same, by_name, data, one, oracle, tolerance
from graphs import GRAPHS, dropout, symbolic
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = [1, 3, 33, 257]  # one more than the 256 rows up to which a network this small is one chunk


def check(graph: Graph, net: cr.Network, x: tuple[Array, ...], y: tuple[Array, ...]) -> None:
    """Every way to a value or a gradient against the oracle."""
    losses, weights = graph.all_losses, graph.all_weights
    tol, X, Y = tolerance(net), one(x), one(y)
    given: dict[str, Any] = {"loss": one(losses), "loss_weights": one(weights)}
    net.adapt(X)

    value, gradient = oracle(net, x, y, losses, loss_weights=weights)
    plain, flat = net.loss_and_gradient(X, Y, **given)  # by chunks, or by layers where wide
    assert_close(plain, value, tol, atol=tol, what="loss_and_gradient")
    assert_gradients(net, by_name(net, flat), gradient, "loss_and_gradient")
    assert_close(net.evaluate(X, Y, **given)["loss"], value, tol, atol=tol, what="evaluate")

    tape = reference.network_forward(net.spec, {**net.parameters, **net.state}, x)
    found = net.predict(X)
    for i, node in enumerate(net.spec["outputs"]):
        assert_same(found if len(net.spec["outputs"]) == 1 else found[i], tape.a[node], tol, net.dtype, f"predict, output {i}")

    # With dropout: the masks of step 0
    value, gradient = oracle(net, x, y, losses, loss_weights=weights, training=True)
    g = net.gradient(X, Y, training=True, **given)
    assert_close(g.loss, value, tol, atol=tol, what="gradient")
    assert_gradients(net, g.parameters, gradient, "gradient")

    tape = reference.network_forward(net.spec, {**net.parameters, **net.state}, x, training=True, seed=net.seed)
    outputs = net.forward(X, training=True)
    rng = np.random.default_rng(1)
    da: dict[int, Array] = {}
    given_da = []
    for i, node in enumerate(net.spec["outputs"]):
        a = outputs if len(net.spec["outputs"]) == 1 else outputs[i]
        assert_same(a, tape.a[node], tol, net.dtype, f"forward, output {i}")
        given_da.append(rng.normal(size=a.shape).astype(net.dtype))
        da[node] = da.get(node, 0.0) + np.asarray(given_da[-1], dtype=np.float64)
    dx = net.backward(one(given_da))
    through, _, expected_dx = reference.network_backward(tape, da)
    frozen = {n for n in through if not net.spec["layers"][n.split(".")[0]].get("trainable", True)}
    full = {n: np.zeros(a.shape) if n in frozen or n not in through else through[n] for n, a in net.parameters.items()}
    assert_gradients(net, net.gradients, full, "backward")
    for i, d in enumerate(expected_dx):
        assert_same(dx if len(expected_dx) == 1 else dx[i], d, tol, net.dtype, f"backward, input {i}")
    net.clear_gradients()

    before = {name: a.astype(np.float64) for name, a in net.parameters.items()}
    history = net.fit(X, Y, optimizer=cr.SGD(0.125), epochs=1, batch_size=None, **given)
    assert_close(history["loss"][0], value, tol, atol=tol, what="fit")
    step = {name: np.asarray((before[name] - a) / 0.125, dtype=net.dtype) for name, a in net.parameters.items()}
    if net.dtype == np.float64:
        assert_gradients(net, step, gradient, "fit")
    else:  # W - alpha g is rounded to W's last bit
        for name, a in net.parameters.items():
            size = max(float(np.abs(v).max(initial=0.0)) for v in gradient.values())
            assert_close(a, before[name] - 0.125 * gradient[name], 2e-7, atol=tol * size, dtype="float32", what=f"fit {name}")
    for name in gradient:
        if not net.spec["layers"][name.split(".")[0]].get("trainable", True):
            assert np.array_equal(net.parameters[name], before[name]), name


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", GRAPHS)
def test_against_the_oracle(rng: np.random.Generator, name: str, n: int) -> None:
    """By chunks, float64."""
    graph = GRAPHS[name]()
    net = graph.network()
    check(graph, net, *data(net, graph.all_losses, rng, n))


@pytest.mark.parametrize("n", [1, 33, 129])
@pytest.mark.parametrize("name", GRAPHS)
def test_by_layers(rng: np.random.Generator, name: str, n: int) -> None:
    """The same where the weights are wide, float64."""
    graph = GRAPHS[name]()
    net = graph.network(wide=True)
    assert net.flat_parameters.size > CHUNKS_UP_TO
    check(graph, net, *data(net, graph.all_losses, rng, n))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_float32(rng: np.random.Generator, name: str, wide: bool) -> None:
    """Single precision, both ways through the graph."""
    graph = GRAPHS[name]()
    net = graph.network("float32", wide=wide)
    check(graph, net, *data(net, graph.all_losses, rng, 33))


@pytest.mark.parametrize("name", GRAPHS)
def test_check_gradient(rng: np.random.Generator, name: str) -> None:
    """The library's own check by central differences agrees, dropout included."""
    graph = GRAPHS[name]()
    net = graph.network()
    x, y = data(net, graph.all_losses, rng, 3)
    net.adapt(one(x))
    result = net.check_gradient(one(x), one(y), loss=one(graph.all_losses), loss_weights=one(graph.all_weights), entries=40)
    assert result < 1e-6, repr(result)
    assert result.checked > result.skipped


@pytest.mark.parametrize("time", [1, 2, 7, 300])
def test_lengths_of_the_open_axis(rng: np.random.Generator, time: int) -> None:
    """One network, any length; 300 positions make one sample larger than a chunk."""
    graph = symbolic()
    net = graph.network()
    for length in (3, time):
        check(graph, net, *data(net, graph.all_losses, rng, 5, length))


def test_more_rows_than_a_block(rng: np.random.Generator) -> None:
    """By layers, rows above 2,048 go through in a second block: gradients add, masks count on."""
    graph = dropout()
    net = graph.network(wide=True)
    check(graph, net, *data(net, graph.all_losses, rng, 2051))


def test_backward_from_dz(rng: np.random.Generator) -> None:
    """dz = dL/dz is taken as it is, whether g is fused into the layer, stands alone, or reads a z that others read."""
    x = cr.Input(4)
    z = cr.Dense(3)(x)
    outputs = [
        cr.Dense(3, "softmax")(x),
        cr.Dense(3, "silu")(x),
        cr.Dense(2)(x),
        cr.Activation("tanh")(z),
        cr.Activation("silu")(z),
        cr.Activation("softmax")(z),
        cr.Activation("sigmoid")(cr.Dense(3, "tanh")(x)),
    ]
    net = Graph([x], outputs, ["squared_error"] * len(outputs)).network()
    v = rng.normal(size=(9, 4))
    dz = [rng.normal(size=np.shape(a)) for a in net.forward(v)]
    dx = net.backward(dz=tuple(dz))
    tape = reference.network_forward(net.spec, net.parameters, v)
    expected, _, (expected_dx,) = reference.network_backward(tape, {}, dict(zip(net.spec["outputs"], dz, strict=True)))
    assert_gradients(net, net.gradients, expected, "backward(dz=)")
    assert_close(dx, expected_dx, 1e-11, atol=1e-12)


def test_an_input_lives_as_long_as_its_graph() -> None:
    """No registry keeps it; a deep copy of a graph is a graph."""
    x = cr.Input(4)
    y = cr.Dense(3)(x)
    assert x.node is x.node
    copied = copy.deepcopy((x, y))
    cr.Network(inputs=copied[0], outputs=copied[1])
    watch = weakref.ref(x)
    del x, y, copied
    gc.collect()
    assert watch() is None


# ---- random graphs --------------------------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Up to eight layers on one or two inputs; every value that nothing reads is an output, and one more may be."""

    def pick(values: Sequence[Any]) -> Any:
        return values[draw(st.integers(0, len(values) - 1))]

    shapes = [(3,), (2, 3), (1, 3), (2, 1), (2, 2, 3), (1,)]
    inputs = [cr.Input(pick(shapes)) for _ in range(draw(st.integers(1, 2)))]
    pool: list[tuple[Any, tuple[int, ...], str]] = [(i.node, tuple(i.shape), "identity") for i in inputs]  # node, shape, activation
    used: set[int] = set()
    known: dict[tuple[int, int], Any] = {}
    dropped = cr.Dropout(0.3)

    def add(node: Any, shape: tuple[int, ...], *parents: int, activation: str = "identity") -> None:
        pool.append((node, shape, activation))
        used.update(parents)

    for _ in range(draw(st.integers(1, 8))):
        kind = pick(["dense", "dense", "shared", "activation", "join", "join", "concatenate", "flatten", "dropout", "standardize"])
        i = draw(st.integers(0, len(pool) - 1))
        node, shape, _ = pool[i]
        if kind in ("dense", "shared"):
            units = draw(st.integers(1, 4))
            g = pick(["identity", "tanh", "silu", "sigmoid", "softmax", "softplus"])
            layer = cr.Dense(units, g, bias=draw(st.booleans()), trainable=draw(st.integers(0, 4)) > 0)
            if kind == "shared":
                layer = known.setdefault((shape[-1], units), layer)
                g = layer.activation
            add(layer(node), (*shape[:-1], units), i, activation=g)
        elif kind == "activation":
            g = pick(["tanh", "silu", "sigmoid", "softmax", "gelu", "identity"])
            add(cr.Activation(g)(node), shape, i, activation=g)
        elif kind == "join":
            others = [i] + [draw(st.integers(0, len(pool) - 1)) for _ in range(draw(st.integers(1, 2)))]
            try:
                out = np.broadcast_shapes(*(pool[j][1] for j in others))
            except ValueError:
                continue
            join = pick([cr.Add, cr.Multiply])
            add(join()(*(pool[j][0] for j in others)), out, *others)
        elif kind == "concatenate":
            axis = draw(st.integers(1, len(shape)))
            j = draw(st.integers(0, len(pool) - 1))
            other = pool[j][1]
            if len(other) != len(shape) or any(a != b for k, (a, b) in enumerate(zip(shape, other, strict=True)) if k != axis - 1):
                j, other = i, shape
            out = tuple(a + b if k == axis - 1 else a for k, (a, b) in enumerate(zip(shape, other, strict=True)))
            if np.prod(out) <= 60:
                add(cr.concat(node, pool[j][0], axis=axis), out, i, j)
        elif kind == "flatten":
            add(cr.Flatten()(node), (int(np.prod(shape)),), i)
        elif kind == "dropout":
            add(dropped(node), shape, i)
        else:
            add(cr.Standardize()(node), shape, i)
    chosen = [i for i in range(len(pool)) if i not in used]
    if draw(st.booleans()):
        chosen.append(draw(st.integers(0, len(pool) - 1)))
    by_activation = {"softmax": ["cross_entropy", "squared_error"], "sigmoid": ["binary_cross_entropy", "squared_error", "cross_entropy"]}
    losses = [pick(by_activation.get(pool[i][2], ["squared_error"])) for i in chosen]
    return Graph(inputs, [pool[i][0] for i in chosen], losses)


@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(graph=graphs(), n=st.sampled_from([2, 5, 33]), seed=st.integers(0, 1000))
def test_random_graphs(graph: Graph, n: int, seed: int) -> None:
    """Whatever is joined with whatever."""
    net = graph.network(seed=seed)
    check(graph, net, *data(net, graph.all_losses, np.random.default_rng(seed), n))
