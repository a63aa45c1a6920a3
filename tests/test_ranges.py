# SPDX-License-Identifier: MIT
"""`net.activation_ranges(X)` against the oracle's z and a of every node, and against units whose state is known."""

from __future__ import annotations

import math
import threading
import tracemalloc
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import ranges, reference
from chainrule.graph import WEIGHTED
from chainrule.reference.network import node_names
from compare import assert_close
from graph_parts import Array, data, one
from graphs import GRAPHS


def expected(net: cr.Network, x: Any) -> dict[str, tuple[str, float | None, Array, Array]]:
    """Name: (g, its parameter, z, a) of every activation, from the oracle; a dense layer without g counts unless an activation follows it."""
    tape = reference.network_forward(net.spec, {**net.parameters, **net.state}, x)
    layers, nodes = net.spec["layers"], net.spec["nodes"]
    read = {j for n in nodes if layers[n["layer"]]["type"] == "activation" for j in n["inputs"]}
    found = {}
    for i, name in enumerate(node_names(net.spec)):
        layer, g = layers[nodes[i]["layer"]], tape.activation(i)
        if layer["type"] == "activation" or (layer["type"] in WEIGHTED and (g != "identity" or i not in read)):
            z, a = (v.reshape(-1, v.shape[-1] if v.ndim > 1 else 1) for v in (tape.z[i], tape.a[i]))
            found[name] = (g, layer.get("parameter"), z, a)
    return found


@pytest.mark.parametrize("name", GRAPHS)
def test_against_the_oracle(name: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """All graphs: shared layers, activations anywhere, open axes, several inputs; in chunks of a few rows."""
    monkeypatch.setattr(ranges, "_VALUES", 500)
    graph = GRAPHS[name]()
    net = graph.network()
    x, _ = data(net, graph.all_losses, rng, 37)
    net.adapt(one(x))
    before = net.flat_parameters.copy()
    found = net.activation_ranges(one(x))
    oracle = expected(net, x)
    assert [r.name for r in found] == list(oracle)
    for r in found:
        g, parameter, z, a = oracle[r.name]
        assert (r.function, r.parameter, r.rows, r.units) == (g, parameter, len(z), z.shape[1])
        tol = 1e-12 * max(1.0, float(np.abs(z).max()))
        for mine, true in [(r.z_low, z.min(0)), (r.z_high, z.max(0)), (r.z_mean, z.mean(0)), (r.z_deviation, z.std(0)), (r.low, a.min(0)),
                           (r.high, a.max(0))]:  # fmt: skip
            assert_close(np.asarray(mine, dtype=np.float64), true, 0.0, atol=tol)
        assert_close(r.positive, (z > 0).mean(0), 0.0, atol=1e-15)
        if g in ("softmax", "exp"):  # whose slope has no maximum
            assert np.isnan(r.flat).all()
        else:
            slope = np.abs(reference.activation_derivatives(g, z, parameter)[0])
            grid = np.abs(reference.activation_derivatives(g, np.linspace(-9, 9, 100001), parameter)[0])
            assert_close(r.flat, (slope <= 0.04 * grid.max()).mean(0), 0.0, atol=1e-15)
    assert np.array_equal(net.flat_parameters, before)


# lower end, upper end, can its units be dead, can they be saturated
SHAPES = {
    "identity": (-math.inf, math.inf, False, False),
    "sigmoid": (0, 1, False, True),
    "tanh": (-1, 1, False, True),
    "relu": (0, math.inf, True, False),
    "leaky_relu": (-math.inf, math.inf, True, False),
    "elu": (-1, math.inf, True, False),
    "selu": (-1.7580993408473766, math.inf, True, False),
    "softplus": (0, math.inf, True, False),
    "gelu": (-0.16997120747990369, math.inf, True, False),  # min z Phi(z), at z = -0.7517916
    "gelu_tanh": (-0.17004069, math.inf, True, False),
    "silu": (-0.27846454276107380, math.inf, True, False),  # min z sigmoid(z), at z = -1.2784645
    "exp": (0, math.inf, False, False),  # bends upwards for ever: z <= 0 is no dead unit of it
    "softmax": (0, 1, False, False),
}


@pytest.mark.parametrize("g", [entry["name"] for entry in cr.activations()] + ["softmax"])
def test_ends_of_every_activation(g: str) -> None:
    """Found by looking at g: a new activation needs a row here, and no other line."""
    (r,) = cr.Network([cr.Input(2), cr.Dense(3, g)]).activation_ranges(np.ones((4, 2)))
    lower, upper, rectifies, saturates = SHAPES[g]
    assert_close([r.lower, r.upper], np.array([lower, upper], dtype=np.float64), 0.0, atol=2e-6)
    assert (r.rectifies, r.saturates) == (rectifies, saturates)


def unit(g: str, z: Array, parameter: float | None = None) -> ranges.ActivationRange:
    """One layer whose z are given, a column a unit."""
    net = cr.Network([cr.Input(z.shape[1]), cr.Activation(g, parameter)], dtype="float64")
    return net.activation_ranges(z)[0]


def test_dead_units() -> None:
    """z <= 0 on every row; one positive row is enough to live; 0 is not."""
    z = -np.ones((100, 4))
    z[7, 1], z[3, 2] = 1e-9, 0.0
    assert unit("relu", z).dead.tolist() == [True, False, True, True]
    assert unit("elu", z, 0.5).dead.tolist() == [True, False, True, True]
    assert not unit("tanh", z).dead.any()
    assert not unit("identity", z).dead.any()
    assert not unit("leaky_relu", z, 1.0).dead.any()  # a line


def test_saturated_units() -> None:
    """|tanh z| >= sqrt(0.96) on 95 of 100 rows, at whichever end; 94 are not enough."""
    high, low = math.atanh(0.98), math.atanh(0.9797)  # g' = 1 - a^2: 0.0396, 0.0402
    z = np.full((100, 5), high)
    z[::2, 1] *= -1
    z[:5, 2], z[:6, 3], z[:, 4] = 0, 0, low
    assert unit("tanh", z).saturated.tolist() == [True, True, True, False, False]
    assert_close(unit("tanh", z).flat, [1, 1, 0.95, 0.94, 0], 1e-15, atol=1e-15)
    z = np.log(np.array([[0.9898, 0.9900, 0.0102, 0.0100]]) / (1 - np.array([[0.9898, 0.9900, 0.0102, 0.0100]])))
    assert unit("sigmoid", z).saturated.tolist() == [False, True, False, True]
    assert not unit("relu", -np.ones((3, 2))).saturated.any()
    assert not unit("softmax", np.array([[50.0, 0], [50, 0]])).saturated.any()


def test_share_of_the_range() -> None:
    z = np.arctanh([[-0.5, 0.0, 0.8], [0.5, 0.1, 0.8]])
    r = unit("tanh", z)
    assert r.used is not None
    assert_close(r.used, [0.5, 0.05, 0.0], 0.0, atol=1e-12)
    assert unit("relu", z).used is None


def test_table() -> None:
    """One row a layer; by index and by name."""
    net = cr.Network([cr.Input(2), cr.Dense(4, "relu", name="first"), cr.Dense(2), cr.Activation("elu", 0.5), cr.Dense(1, "tanh")])
    net.W[0][...], net.b[0][...] = [[1, 0], [0, 1], [-1, -1], [-1, 0]], 0
    found = net.activation_ranges(np.array([[1, 2], [3, 4]]))
    assert len(found) == 3
    head, first, second, third = (line.split("   ") for line in repr(found).splitlines())
    assert [h.strip() for h in head if h] == ["layer", "g", "units", "z", "z > 0", "a", "of the range", "dead", "saturated"]
    z = np.array([[1, 2, -3, -1], [3, 4, -7, -3]])
    cells = [c.strip() for c in first if c.strip()]
    assert cells == ["first", "relu", "4", f"{z.mean():.3g} ± {z.std():.3g}", "50%", "0 ... 4", "-", "2 (50%)", "-"]
    assert "elu(0.5)" in "   ".join(second)
    assert "tanh" in "   ".join(third)
    assert found["first"] is found[0] is next(iter(found))
    assert repr(found[0]).splitlines()[1].split() == repr(found[:1]).splitlines()[1].split()
    with pytest.raises(KeyError, match="'dense': the activations are those of first, activation_1, dense_2"):
        found["dense"]
    with pytest.raises(IndexError):
        found[3]


def test_memory_does_not_grow() -> None:
    """50,000 and 400,000 rows of 64 numbers, none of them stored, through 300 units: the peak stays where it is."""
    net = cr.Network([cr.Input(64), cr.Dense(300, "tanh"), cr.Dense(3, "softmax")], dtype="float64")
    row = np.random.default_rng(0).normal(size=(1, 64)).astype("float32")
    peaks = []
    for n in (50_000, 400_000):
        X = np.broadcast_to(row, (n, 64))
        tracemalloc.start()
        (r, _) = net.activation_ranges(X)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert r.rows == n
        assert_close(r.z_mean, net.W[0].astype(float) @ row[0], 1e-5, atol=1e-6)
        assert float(r.z_deviation.max()) < 1e-6
    assert peaks[1] < peaks[0] + 2**20
    assert peaks[1] < 64 * 2**20


def test_inputs_of_any_kind() -> None:
    """Read-only, strided, integer, and a tuple or dict for several inputs."""
    net = cr.Network([cr.Input(3), cr.Dense(4, "tanh")], dtype="float64")
    X = np.arange(24).reshape(8, 3)
    X.flags.writeable = False
    wide = np.zeros((16, 6))
    wide[::2, ::-2] = X
    a, b = net.activation_ranges(X)[0], net.activation_ranges(wide[::2, ::-2])[0]
    assert np.array_equal(a.z_low, b.z_low)
    p, q = cr.Input(3, name="p"), cr.Input(2, name="q")
    two = cr.Network(inputs=[p, q], outputs=cr.Dense(2, "relu")(cr.concat(p, q)))
    given = two.activation_ranges((X, X[:, :2]))[0], two.activation_ranges({"q": X[:, :2], "p": X})[0]
    assert np.array_equal(given[0].low, given[1].low)


def test_bad_input() -> None:
    net = cr.Network([cr.Input(3), cr.Dense(4, "tanh")])
    X = np.ones((5, 3))
    for value in (math.nan, math.inf, 1e300):
        bad = X.copy()
        bad[3, 1] = value
        with pytest.raises(ValueError, match=r"\[X\] row 3 holds"):
            net.activation_ranges(bad)
    with pytest.raises(ValueError, match=r"X has shape \(5, 2\): expected \(n, 3\)"):
        net.activation_ranges(X[:, :2])
    with pytest.raises(ValueError, match="X has no rows"):
        net.activation_ranges(X[:0])
    with pytest.raises(TypeError, match="holds strings"):
        net.activation_ranges([["a", "b", "c"]])
    with pytest.raises(ValueError, match=r"there is no range"):
        cr.Network([cr.Input((2, 2)), cr.Flatten()]).activation_ranges(np.ones((1, 2, 2)))
    with pytest.raises(ValueError, match=r"standardize_1"):
        cr.Network([cr.Input(3), cr.Standardize(), cr.Dense(1)]).activation_ranges(X)
    net.W[0][...] = 3e38
    with pytest.raises(ValueError, match=r"\[dense_1\] z is not finite in row 4"):
        net.activation_ranges(np.concatenate([X[:4] / 100, X[:1] * 100]))
    p, q = cr.Input(3, name="p"), cr.Input(2, name="q")
    two = cr.Network(inputs=[p, q], outputs=cr.Dense(2)(cr.concat(p, q)))
    with pytest.raises(ValueError, match=r"\[q\] has 4 rows: the first input has 5"):
        two.activation_ranges((X, X[:4, :2]))


def test_while_it_is_fitted() -> None:
    """As predict: RuntimeError, and the fit goes on."""
    net = cr.Network([cr.Input(3), cr.Dense(4, "tanh"), cr.Dense(1)])
    X = np.random.default_rng(0).normal(size=(64, 3))
    inside, go_on = threading.Event(), threading.Event()
    seen: list[BaseException] = []

    class Wait(cr.Callback):
        def on_epoch_end(self, net: cr.Network, epoch: int, record: Any) -> None:
            inside.set()
            assert go_on.wait(30)

    thread = threading.Thread(target=lambda: net.fit(X, X[:, 0], epochs=2, callbacks=[Wait()]))
    thread.start()
    assert inside.wait(30)
    try:
        net.activation_ranges(X)
    except RuntimeError as error:
        seen.append(error)
    go_on.set()
    thread.join()
    assert len(seen) == 1
    assert net.activation_ranges(X)[0].rows == 64
