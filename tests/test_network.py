# SPDX-License-Identifier: MIT
"""The textbook, callable: a network worked out by hand, and the identities of NOTATION.md on chains."""

from __future__ import annotations

import copy
import pickle

import chainrule as cr
import numpy as np
import pytest
from chainrule import reference
from compare import assert_close

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card


def small(**options: object) -> cr.Network:
    """A chain of three transitions."""
    return cr.Network([cr.Input(4), cr.Dense(7, "tanh"), cr.Dense(5, "relu"), cr.Dense(3, "softmax")], **options)  # type: ignore[arg-type]


def test_worked_by_hand() -> None:
    """2-2-1, sigmoid then identity, squared error, one row x = (1, 2), y = 1.

    W[0] = [[0.1, 0.2], [0.3, -0.4]], b[0] = (0, 0.1):  z[1] = (0.1 + 0.4, 0.3 - 0.8 + 0.1) = (0.5, -0.4)
    a[1] = sigmoid(z[1]) = (0.622459331, 0.401312340)
    W[1] = [[0.5, -0.6]], b[1] = 0.2:                   z[2] = 0.311229666 - 0.240787404 + 0.2 = 0.270442262 = a[2]
    L = 1/2 (1 - 0.270442262)^2 = 0.266127247
    delta[2] = a[2] - y = -0.729557738;  dW[1] = delta[2] a[1] = (-0.454120022, -0.292780523);  db[1] = -0.729557738
    delta[1] = W[1]^T delta[2] a (1 - a) = (-0.364778869 * 0.235003712, 0.437734643 * 0.240260746) = (-0.085724388, 0.105170452)
    dW[0] = delta[1] x^T = [[-0.085724388, -0.171448776], [0.105170452, 0.210340904]]
    One step of SGD with alpha = 0.5: W[1] = (0.5 + 0.227060011, -0.6 + 0.146390262)
    """
    net = cr.Network([cr.Input(2), cr.Dense(2, "sigmoid"), cr.Dense(1)], dtype="float64")
    net.W[0] = [[0.1, 0.2], [0.3, -0.4]]
    net.b[0][:] = (0, 0.1)
    net.W[1] = [[0.5, -0.6]]
    net.b[1] = [0.2]
    x, y = np.array([[1.0, 2.0]]), np.array([1.0])
    first, second, third = net.transitions(x)
    assert first.z is None
    assert second.z is not None
    assert third.z is not None
    assert_close(second.z, [[0.5, -0.4]], 1e-12)
    assert_close(second.a, [[0.622459331, 0.401312340]], 1e-8)
    assert_close(third.a, [[0.270442262]], 1e-8)
    g = net.gradient(x, y)
    assert_close(g.loss, 0.266127247, 1e-8)
    assert g.delta[0] is None
    assert_close(g.delta[2], [[-0.729557738]], 1e-8)
    assert_close(g.W[1], [[-0.454120022, -0.292780523]], 1e-8)
    assert_close(g.b[1], [-0.729557738], 1e-8)
    assert_close(g.delta[1], [[-0.085724388, 0.105170452]], 1e-7)
    assert_close(g.W[0], [[-0.085724388, -0.171448776], [0.105170452, 0.210340904]], 1e-7)
    net.fit(x, y, optimizer=cr.SGD(0.5), epochs=1)
    assert_close(net.W[1], [[0.727060011, -0.453609738]], 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_formulas_hold(rng: np.random.Generator, dtype: str) -> None:
    """z[k+1] = a[k] W[k]^T + b[k]; dW[k] = delta[k+1]^T a[k]; db[k] = sum of delta[k+1]."""
    net = small(dtype=dtype)
    tol = 1e-5 if dtype == "float32" else 1e-13
    x, y = rng.normal(size=(11, 4)), rng.integers(0, 3, 11)
    t = list(net.transitions(x))
    assert [s.k for s in t] == [0, 1, 2, 3]
    assert_close(t[0].a, x, 1e-6, dtype=dtype)
    g = net.gradient(x, y)
    for k in range(3):
        z, d = t[k + 1].z, g.delta[k + 1]
        assert z is not None
        assert d is not None
        assert_close(z, t[k].a @ net.W[k].T + net.b[k], tol, atol=tol, dtype=dtype)
        assert_close(g.W[k], d.T @ t[k].a, tol, atol=tol, dtype=dtype)
        assert_close(g.b[k], d.sum(0), tol, atol=tol, dtype=dtype)
    assert_close(t[1].a, np.tanh(t[1].z), tol, atol=tol, dtype=dtype)
    assert_close(net.predict(x), t[3].a, tol, atol=tol, dtype=dtype)


def activation_names() -> list[str]:
    """Every activation of the registry."""
    return [entry["name"] for entry in cr.activations()]


@pytest.mark.parametrize("name", activation_names())
@pytest.mark.parametrize("loss", cr.losses.KNOWN)
def test_gradient_of_every_pair(rng: np.random.Generator, name: str, loss: str) -> None:
    """Every activation inside, every loss over softmax, sigmoid and the activation itself where it fits: central differences and the twin."""
    x = rng.normal(size=(9, 3))
    outputs = {
        "cross_entropy": ["softmax", "sigmoid"],
        "binary_cross_entropy": ["sigmoid"],
        "squared_error": [name, "softmax"],
        "poisson": ["exp", "softplus"],
    }.get(loss, [name])
    for output in outputs:
        net = cr.Network([cr.Input(3), cr.Dense(6, name), cr.Dense(4, name), cr.Dense(3, output)], dtype="float64", seed=3)
        if name == "exp":
            net.flat_parameters[...] /= 8  # exp exp exp z of ordinary weights is 1e180
        y = rng.dirichlet(np.ones(3), size=9)
        check = net.check_gradient(x, y, loss=loss)
        assert check < 1e-6, check
        assert check.checked >= 50
        value, expected = reference.network_loss_and_gradient(net.spec, net.parameters, x, y, loss)
        g = net.gradient(x, y, loss=loss)
        assert_close(g.loss, value, 1e-12)
        for key, d in expected.items():
            assert_close(g.parameters[key], d, 1e-10, atol=1e-12, what=key)


@pytest.mark.cpu
def test_views_write_through(rng: np.random.Generator) -> None:
    """W[k] is the network's own memory, and stays so after fit and reset."""
    net = small()
    W = net.W[0]
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    net.fit(x, y, epochs=2)
    assert np.shares_memory(W, net.flat_parameters)
    W[...] = 0
    net.b[0][...] = 0
    assert_close(next(iter(list(net.transitions(x))[1:])).a, np.zeros((20, 7)), 0, dtype="float32")
    net.flat_parameters[...] = 0
    assert_close(net.predict(x), np.full((20, 3), 1 / 3), 1e-6, dtype="float32")


def test_flat_order() -> None:
    """Layers in order of first use, W row-major before b."""
    net = small()
    expected = np.concatenate([np.concatenate([net.W[k].ravel(), net.b[k]]) for k in range(3)])
    assert np.array_equal(net.flat_parameters, expected)
    assert list(net.parameters) == ["dense_1.W", "dense_1.b", "dense_2.W", "dense_2.b", "dense_3.W", "dense_3.b"]


def test_own_loop_equals_gradient(rng: np.random.Generator) -> None:
    """forward, backward(dz=) and step do what fit's step does."""
    net = small(dtype="float64")
    twin = copy.deepcopy(net)
    x, y = rng.normal(size=(16, 4)), rng.integers(0, 3, 16)
    a = net.forward(x)
    dz = (a - np.eye(3)[y]) / 16
    dx = net.backward(dz=dz)
    g = net.gradient(x, y)
    assert_close(net.flat_gradients, g.flat, 1e-12, atol=1e-15)
    d = g.delta[1]
    assert d is not None
    assert_close(dx, d @ net.W[0], 1e-12, atol=1e-15)
    cr.SGD(0.1).step(net)
    assert not net.flat_gradients.any()
    twin.fit(x, y, optimizer=cr.SGD(0.1), epochs=1, batch_size=None)
    assert_close(net.flat_parameters, twin.flat_parameters, 1e-12, atol=1e-15)


def test_backward_adds_and_can_leave_parameters_alone(rng: np.random.Generator) -> None:
    """Two backwards add; parameters=False gives dx alone."""
    net = small(dtype="float64")
    x = rng.normal(size=(5, 4))
    da = rng.normal(size=(5, 3))
    net.forward(x)
    dx = net.backward(da)
    once = net.flat_gradients.copy()
    net.forward(x)
    assert_close(net.backward(da, parameters=False), dx, 1e-14)
    assert np.array_equal(net.flat_gradients, once)
    net.forward(x)
    net.backward(da)
    assert_close(net.flat_gradients, 2 * once, 1e-13, atol=1e-15)
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(da)


def test_dropout_in_the_own_loop(rng: np.random.Generator) -> None:
    """training=True draws the masks of the next step; backward uses the same ones."""
    net = cr.Network([cr.Input(6), cr.Dropout(0.5), cr.Dense(2)], dtype="float64", seed=5)
    x = rng.normal(size=(40, 6))
    masked = reference.dropout(x, 0.5, 5, 0, reference.stream_of("dropout_1"))
    assert_close(net.forward(x, training=True), masked @ net.W[0].T + net.b[0], 1e-12, atol=1e-14)
    dx = net.backward(np.ones((40, 2)))
    assert_close(dx, (masked != 0) * 2 * net.W[0].sum(0), 1e-12)
    assert_close(net.forward(x), x @ net.W[0].T + net.b[0], 1e-12, atol=1e-14)


def test_per_sample_gradients(rng: np.random.Generator) -> None:
    """Row i is the gradient of L_i alone; their mean is the gradient."""
    net = small(dtype="float64")
    x, y = rng.normal(size=(6, 4)), rng.integers(0, 3, 6)
    each = net.gradient(x, y, per_sample=True)
    assert each.W[0].shape == (6, 7, 4)
    for i in range(6):
        assert_close(each.flat[i], net.gradient(x[i : i + 1], y[i : i + 1]).flat, 1e-11, atol=1e-14)
    assert_close(each.flat.mean(0), net.gradient(x, y).flat, 1e-11, atol=1e-14)


def test_scipy_finds_the_optimum_of_softmax_regression(rng: np.random.Generator) -> None:
    """loss_and_gradient is what scipy.optimize.minimize(jac=True) wants."""
    optimize = pytest.importorskip("scipy.optimize")
    net = cr.Network([cr.Input(4), cr.Dense(3, "softmax")], dtype="float64")
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    found = optimize.minimize(lambda w: net.loss_and_gradient(x, y, w, penalty=cr.L2(0.1)), net.flat_parameters.copy(), jac=True, tol=1e-12)
    value, g = net.loss_and_gradient(x, y, found.x, penalty=cr.L2(0.1))
    assert np.abs(g).max() < 1e-6
    assert value < np.log(3)
    with pytest.raises(ValueError, match="theta"):
        net.loss_and_gradient(x, y, found.x[:-1])


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies(rng: np.random.Generator, copier: object) -> None:
    """Pickle and deepcopy give an equal, independent network."""
    net = small()
    x = rng.normal(size=(8, 4))
    other = copier(net)  # type: ignore[operator]
    assert np.array_equal(other.predict(x), net.predict(x))
    other.W[0][...] = 0
    assert net.W[0].any()


def test_graphs_have_no_index_k() -> None:
    """W[k], b[k], transitions exist for chains."""
    x = cr.Input(3)
    net = cr.Network(inputs=x, outputs=cr.Dense(3)(x) + x)
    for access in (lambda: net.W, lambda: net.b, lambda: list(net.transitions(np.zeros((1, 3))))):
        with pytest.raises(ValueError, match=r"net\.parameters"):
            access()


def test_one_row_and_many_rows_agree(rng: np.random.Generator) -> None:
    """A row's prediction does not depend on its company beyond rounding, and a NaN stays in its own row."""
    net = small()
    x = rng.normal(size=(700, 4)).astype("float32")
    whole = net.predict(x)
    one = np.concatenate([net.predict(x[i : i + 1]) for i in range(50)])
    assert_close(one, whole[:50], 1e-5, atol=1e-6)
    x[3, 1] = np.nan
    out = net.predict(x)
    assert np.isnan(out[3]).all()
    assert np.array_equal(np.delete(out, 3, 0), np.delete(whole, 3, 0))


def test_initialisers_follow_the_activation() -> None:
    """He for relu, LeCun for selu, Glorot for tanh (contract 19): the spread of 512 x 512 weights."""
    for activation, std in [
        ("relu", np.sqrt(2 / 512)),
        ("selu", np.sqrt(1 / 512)),
        ("tanh", np.sqrt(2 / 1024)),
        ("softmax", np.sqrt(2 / 1024)),
    ]:
        net = cr.Network([cr.Input(512), cr.Dense(512, activation)], seed=1)
        assert_close(net.W[0].std(), std, 0.01, dtype="float32")
        assert abs(net.W[0].mean()) < 4 * std / 512
    a, b, c = (cr.Network([cr.Input(9), cr.Dense(9)], seed=s).W[0] for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
