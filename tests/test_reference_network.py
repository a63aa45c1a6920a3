# SPDX-License-Identifier: MIT
"""The oracle of whole networks: a hand-worked one, and central differences. Nothing here runs the C++."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chainrule import reference as ref
from compare import assert_close, central_difference

NAMES = list(ref.ACTIVATIONS)


def spec_of(nodes: list[tuple[str, dict[str, Any], list[int]]], outputs: list[int]) -> dict[str, Any]:
    """A spec from (name, attributes, inputs) of each node; a name used twice is one layer."""
    layers: dict[str, Any] = {}
    for name, attributes, _ in nodes:
        layers.setdefault(name, attributes)
    return {
        "format": 1,
        "layers": layers,
        "nodes": [{"layer": name, "inputs": inputs} for name, _, inputs in nodes],
        "inputs": [i for i, (_, attributes, _) in enumerate(nodes) if attributes["type"] == "input"],
        "outputs": outputs,
    }


def dense(units: int, activation: str = "identity", bias: bool = True) -> dict[str, Any]:
    return {"type": "dense", "units": units, "activation": activation, "bias": bias}


def check_network(spec: dict[str, Any], parameters: dict[str, Any], *arguments: Any, **options: Any) -> None:
    """Every gradient of the twin against central differences of its own value."""
    _, gradient = ref.network_loss_and_gradient(spec, parameters, *arguments, **options)
    trained = {name for name in parameters if name.endswith((".W", ".b"))}
    assert set(gradient) == trained
    for name in trained:

        def value(v: np.ndarray, name: str = name) -> float:
            return ref.network_loss_and_gradient(spec, {**parameters, name: v}, *arguments, **options)[0]

        assert_close(gradient[name], central_difference(value, parameters[name]), 1e-7, atol=1e-9, what=name)


def test_network_by_hand() -> None:
    """A 2-2-1 network, one sample, squared error.

    x = (1, 2); z1 = (1*1 + 0*2 + 0, -1*1 + 0*2 + 0) = (1, -1); relu: a1 = (1, 0); z2 = 2*1 + 3*0 + 0.5 = 2.5 = a2; y =
    1: L = 1.5^2 / 2 = 1.125 delta2 = 1.5; dW2 = 1.5 (1, 0); db2 = 1.5; da1 = 1.5 (2, 3); delta1 = (3, 0); dW1 = ((3,
    6), (0, 0)); db1 = (3, 0); dx = 3 (1, 0) = (3, 0)
    """
    spec = spec_of([("x", {"type": "input"}, []), ("h", dense(2, "relu"), [0]), ("o", dense(1), [1])], [2])
    parameters = {
        "h.W": np.array([[1.0, 0.0], [-1.0, 0.0]]),
        "h.b": np.zeros(2),
        "o.W": np.array([[2.0, 3.0]]),
        "o.b": np.array([0.5]),
    }
    x = np.array([[1.0, 2.0]])
    value, gradient = ref.network_loss_and_gradient(spec, parameters, x, np.array([[1.0]]), "squared_error")
    assert_close(value, 1.125, 0.0)
    assert_close(gradient["o.W"], np.array([[1.5, 0.0]]), 0.0)
    assert_close(gradient["o.b"], np.array([1.5]), 0.0)
    assert_close(gradient["h.W"], np.array([[3.0, 6.0], [0.0, 0.0]]), 0.0)
    assert_close(gradient["h.b"], np.array([3.0, 0.0]), 0.0)
    tape = ref.network_forward(spec, parameters, x)
    _, delta, (dx,) = ref.network_backward(tape, {2: [[1.5]]})
    assert_close(dx, np.array([[3.0, 0.0]]), 0.0)
    assert_close(delta[1], np.array([[3.0, 0.0]]), 0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        ("cross_entropy", "softmax"),
        ("binary_cross_entropy", "sigmoid"),
        ("squared_error", "identity"),
        ("poisson", "exp"),
        ("squared_error", "softmax"),
    ],
)
def test_network_chain(name: str, loss: str, output: str, rng: np.random.Generator) -> None:
    spec = spec_of([("x", {"type": "input"}, []), ("h", dense(3, name), [0]), ("o", dense(2, output), [1])], [2])
    parameters = {
        "h.W": rng.normal(size=(3, 4)),
        "h.b": rng.normal(size=3),
        "o.W": rng.normal(size=(2, 3)),
        "o.b": rng.normal(size=2),
    }
    penalties = [(0.1, 0.2, None), (0.0, 0.3, ["h.b"])]
    y = rng.dirichlet(np.ones(2), size=5)
    check_network(spec, parameters, rng.normal(size=(5, 4)), y, loss, sample_weight=rng.uniform(size=5), penalties=penalties)


@pytest.mark.parametrize(("loss", "output"), [("cross_entropy", "softmax"), ("squared_error", "tanh")])
def test_network_of_sequences(loss: str, output: str, rng: np.random.Generator) -> None:
    """Values (n, T, d): the objective is the mean over all n T rows, a sample's weight holds for its T rows."""
    spec = spec_of([("x", {"type": "input"}, []), ("o", dense(3, output), [0])], [1])
    parameters = {"o.W": rng.normal(size=(3, 4)), "o.b": rng.normal(size=3)}
    x, y, s = rng.normal(size=(5, 2, 4)), rng.dirichlet(np.ones(3), size=(5, 2)), rng.uniform(size=5)
    check_network(spec, parameters, x, y, loss, sample_weight=s)
    flat = x.reshape(10, 4), y.reshape(10, 3), loss
    expected = ref.network_loss_and_gradient(spec, parameters, *flat, sample_weight=np.repeat(s, 2))
    found = ref.network_loss_and_gradient(spec, parameters, x, y, loss, sample_weight=s)
    assert_close(found[0], expected[0], 1e-13)
    assert_close(found[1]["o.W"], expected[1]["o.W"], 1e-12, atol=1e-14)


def test_network_graph(rng: np.random.Generator) -> None:
    """Two inputs, two outputs, every layer type, a shared layer, a callable loss, a value that is an output and goes.

    On.
    """
    spec = spec_of(
        [
            ("x1", {"type": "input"}, []),
            ("x2", {"type": "input"}, []),
            ("standardize", {"type": "standardize"}, [0]),
            ("shared", dense(3, "tanh"), [2]),
            ("shared", dense(3, "tanh"), [1]),
            ("add", {"type": "add"}, [3, 4]),
            ("multiply", {"type": "multiply"}, [5, 3, 4]),
            ("drop", {"type": "dropout", "rate": 0.25}, [6]),
            ("drop", {"type": "dropout", "rate": 0.25}, [5]),
            ("concatenate", {"type": "concatenate", "axis": 1}, [7, 8]),
            ("act", {"type": "activation", "function": "elu", "parameter": 0.5}, [9]),
            ("flatten", {"type": "flatten"}, [10]),
            ("o1", dense(3, "softmax", bias=False), [11]),
            ("o2", dense(2, "sigmoid"), [9]),
        ],
        [12, 13],
    )
    parameters = {
        "shared.W": rng.normal(size=(3, 4)),
        "shared.b": rng.normal(size=3),
        "standardize.mean": rng.normal(size=4),
        "standardize.scale": rng.uniform(0.5, 2, size=4),
        "o1.W": rng.normal(size=(3, 12)),
        "o2.W": rng.normal(size=(2, 3)),
        "o2.b": rng.normal(size=2),
    }
    assert ref.node_names(spec)[7:9] == ["drop", "drop/2"]
    # x2 (n, 4) is broadcast against x1 (n, 2, 4) from Add on
    x = rng.normal(size=(5, 2, 4)), rng.normal(size=(5, 4))
    assert ref.network_forward(spec, parameters, x).a[13].shape == (5, 4, 2)

    def cubes(y: Any, a: np.ndarray) -> tuple[float, np.ndarray]:
        return float((a**3).mean()), 3 * a**2 / a.size

    check_network(
        spec, parameters, x, (rng.integers(0, 3, size=5), None), ("cross_entropy", cubes), loss_weights=[0.3, 2.0],
        sample_weight=rng.uniform(size=5), training=True, seed=4, step=2,
    )  # fmt: skip


def test_add_broadcasts_within_a_sample() -> None:
    x, y = np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3, 1)
    assert ref.add_forward([x, y]).shape == (2, 3, 3)
    assert [d.shape for d in ref.add_backward(np.ones((2, 3, 3)), [x, y])] == [(2, 3), (2, 3, 1)]
    assert_close(ref.multiply_backward(np.ones((2, 3, 3)), [x, y])[0], np.repeat([[3.0], [12.0]], 3, axis=1), 0.0)


def test_fused_pairs_equal_the_long_way(rng: np.random.Generator) -> None:
    z, y = rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), size=4)
    a = ref.softmax_forward(z)
    assert_close(ref.softmax_backward(ref.cross_entropy(a, y)[1], a), ref.softmax_cross_entropy(z, y)[1], 1e-13, atol=1e-15)
    da = ref.binary_cross_entropy(ref.activation_forward("sigmoid", z), y)[1]
    assert_close(ref.activation_backward("sigmoid", da, z), ref.sigmoid_binary_cross_entropy(z, y)[1], 1e-13, atol=1e-15)


def test_standardize_learn() -> None:
    mean, scale = ref.standardize_learn([[1.0, 5.0], [3.0, 5.0]])
    assert_close(mean, np.array([2.0, 5.0]), 0.0)
    assert_close(scale, np.array([1.0, 1.0]), 0.0)
