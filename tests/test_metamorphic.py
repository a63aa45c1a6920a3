# SPDX-License-Identifier: MIT
"""What must not matter: how a row is counted, the order of rows, a penalty of nothing, the scale of the losses, names instead of places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close
from graph_parts import Array, Graph, assert_gradients, assert_same, data, one, oracle
from graphs import GRAPHS, several
from hypothesis import given, settings
from hypothesis import strategies as st


def objective(net: cr.Network, graph: Graph, x: Sequence[Array], y: Sequence[Array], **options: Any) -> tuple[float, Array]:
    """Value and gradient of the graph's objective."""
    options.setdefault("loss_weights", one(graph.all_weights))
    return net.loss_and_gradient(one(x), one(y), loss=one(graph.all_losses), **options)


@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(
    weights=st.lists(st.integers(0, 3), min_size=2, max_size=50).filter(any),
    name=st.sampled_from(["several", "read_outputs", "twice", "symbolic"]),
)
def test_a_weight_is_a_count(weights: list[int], name: str) -> None:
    """Weight 2 is the row twice, weight 0 its removal; weights count relative to each other."""
    graph = GRAPHS[name]()
    net = graph.network()
    x, y = data(net, graph.all_losses, np.random.default_rng(len(weights)), len(weights))
    s = np.array(weights, dtype=np.float64)
    again = np.repeat(np.arange(len(weights)), weights)
    value, g = objective(net, graph, x, y, sample_weight=s)
    for expected, g_expected in (
        objective(net, graph, [a[again] for a in x], [a[again] for a in y]),
        objective(net, graph, x, y, sample_weight=0.25 * s),
    ):
        assert_close(value, expected, 1e-12)
        assert_same(g, g_expected, 1e-12, "float64", name)


def test_weights_by_output_and_by_position(rng: np.random.Generator) -> None:
    """A tuple gives each output its own weights; (n, T) weights each position, 0 masks it."""
    graph = several()
    net = graph.network()
    x, y = data(net, graph.all_losses, rng, 21)
    s = [rng.uniform(size=21) for _ in range(3)]
    value, gradient = 0.0, {name: np.zeros(a.shape) for name, a in net.parameters.items()}
    for j, weight in enumerate(graph.all_weights):
        part, g = oracle(net, x, y, graph.all_losses, loss_weights=[weight * (i == j) for i in range(3)], sample_weight=s[j])
        value += part
        gradient = {name: gradient[name] + g[name] for name in g}
    found = net.gradient(x, y, loss=tuple(graph.all_losses), loss_weights=tuple(graph.all_weights), sample_weight=tuple(s))
    assert_close(found.loss, value, 1e-12)
    assert_gradients(net, found.parameters, gradient, "weights by output")

    layer = cr.Dense(3, "softmax", name="o")
    sequence, rows = cr.Network([cr.Input((None, 4)), layer], dtype="float64"), cr.Network([cr.Input(4), layer], dtype="float64")
    v, labels, mask = rng.normal(size=(7, 5, 4)), rng.integers(0, 3, (7, 5)), rng.integers(0, 2, (7, 5))
    kept = mask.astype(bool)
    masked, expected = sequence.gradient(v, labels, sample_weight=mask), rows.gradient(v[kept], labels[kept])
    assert_close(masked.loss, expected.loss, 1e-12)
    assert_close(masked.flat, expected.flat, 1e-11, atol=1e-14)
    once = sequence.fit(v, labels, sample_weight=mask, optimizer=cr.SGD(0.5), epochs=1, batch_size=None)
    assert_close(once["loss"][0], expected.loss, 1e-12)


@pytest.mark.parametrize("name", ["several", "shared", "frozen"])
def test_penalty_of_nothing_is_none(rng: np.random.Generator, name: str) -> None:
    """lam = 0 changes no bit; lam counts a shared layer once, and a frozen one not at all."""
    graph = GRAPHS[name]()
    net = graph.network()
    x, y = data(net, graph.all_losses, rng, 40)
    value, g = objective(net, graph, x, y)
    for nothing in (cr.L2(0), cr.L1(0.0), cr.ElasticNet(0, 0.3), [cr.L2(0), cr.L1(0, proximal=True)]):
        again, g_again = objective(net, graph, x, y, penalty=nothing)
        assert again == value
        assert np.array_equal(g, g_again)
    trained = [n for n in net.parameters if n.endswith(".W") and net.spec["layers"][n[:-2]]["trainable"]]
    expected, g_expected = oracle(net, x, y, graph.all_losses, loss_weights=graph.all_weights, penalties=[(0.1, 0.2, trained)])
    found = net.gradient(one(x), one(y), loss=one(graph.all_losses), loss_weights=one(graph.all_weights), penalty=cr.L1(0.1) + cr.L2(0.2))
    assert_close(found.loss, expected, 1e-12)
    assert_gradients(net, found.parameters, g_expected, "penalties")


@pytest.mark.parametrize("wide", [False, True])
def test_order_of_rows_does_not_matter(rng: np.random.Generator, wide: bool) -> None:
    """Full batch: permuted rows have the same loss to 1e-12."""
    graph = several()
    net = graph.network(wide=wide)
    x, y = data(net, graph.all_losses, rng, 301)
    value, g = objective(net, graph, x, y)
    for _ in range(5):
        p = rng.permutation(301)
        permuted, g_permuted = objective(net, graph, [a[p] for a in x], [a[p] for a in y])
        assert_close(permuted, value, 1e-12)
        assert_same(g_permuted, g, 1e-12, "float64", "gradient")


def test_scale_of_the_loss_weights(rng: np.random.Generator) -> None:
    """All weights times c: objective and gradient times c. A weight 0 leaves its output out."""
    graph = several()
    net = graph.network()
    x, y = data(net, graph.all_losses, rng, 45)
    value, g = objective(net, graph, x, y)
    scaled, g_scaled = objective(net, graph, x, y, loss_weights=tuple(8 * w for w in graph.all_weights))
    assert_close(scaled, 8 * value, 1e-14)
    assert np.array_equal(g_scaled, 8 * g)
    alone = net.gradient(one(x), one(y), loss=tuple(graph.all_losses), loss_weights=(0.0, 3.0, 0.0))
    single = cr.Network(inputs=graph.inputs, outputs=graph.outputs[1], dtype="float64")
    for name, a in single.parameters.items():
        a[...] = net.parameters[name]
    expected = single.gradient(one(x), y[1], loss="binary_cross_entropy", loss_weights=3.0)
    assert_close(alone.loss, expected.loss, 1e-13)
    for name, d in alone.parameters.items():
        assert_close(d, expected.parameters.get(name, np.zeros(d.shape)), 1e-11, atol=1e-15, what=name)


def test_dicts_by_name_equal_tuples(rng: np.random.Generator) -> None:
    """Inputs, targets, losses and weights by name; a layer's second use is called "name/2"."""
    x, y = cr.Input(3, name="left"), cr.Input(3, name="right")
    head = cr.Dense(2, name="head")
    net = cr.Network(inputs=[x, y], outputs=[head(x), head(y), cr.Dense(3, "softmax", name="p")(x * y)], dtype="float64")
    assert net.output_names == ["head", "head/2", "p"]
    a, b = rng.normal(size=(2, 9, 3))
    targets = rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), rng.integers(0, 3, 9)
    value, g = net.loss_and_gradient((a, b), targets, loss_weights=(1.0, 2.0, 3.0))
    names = net.output_names
    by_name, g_by_name = net.loss_and_gradient(
        {"right": b, "left": a},
        dict(zip(names[::-1], targets[::-1], strict=True)),
        loss={"p": "cross_entropy", "head": "squared_error", "head/2": "squared_error"},
        loss_weights=dict(zip(names, (1.0, 2.0, 3.0), strict=True)),
    )
    assert by_name == value
    assert np.array_equal(g, g_by_name)
    found = net.predict({"right": b, "left": a})
    for i, other in enumerate(net.predict((a, b))):
        assert np.array_equal(found[i], other)
