# SPDX-License-Identifier: MIT
"""Normalisation beyond what the graphs of graphs.py hold: what batch norm learns and when, its errors, PyTorch's numbers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule.reference import norms
from compare import assert_close, central_difference
from graphs import Array


def chain(*more: cr.Layer, dtype: str = "float64", features: int = 5) -> cr.Network:
    """Dense, batch norm, tanh, what else comes, Dense."""
    norm = cr.BatchNorm(0.25, name="norm")
    return cr.Network([cr.Input(features), cr.Dense(6, name="first"), norm, cr.Activation("tanh"), *more, cr.Dense(3)], seed=3, dtype=dtype)


def rows(rng: np.random.Generator, n: int, net: cr.Network) -> tuple[Array, Array]:
    """x and y of n rows."""
    return rng.normal(size=(n, 5)).astype(net.dtype), rng.normal(size=(n, 3)).astype(net.dtype)


def running(net: cr.Network) -> tuple[Array, Array]:
    """Copies of mean and variance."""
    return net.state["norm.mean"].copy(), net.state["norm.variance"].copy()


LOSS: dict[str, Any] = {"loss": "squared_error"}


# ---- the reference itself ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", [{"type": "layer_norm"}, {"type": "rms_norm"}, {"type": "group_norm", "groups": 2}, {"type": "batch_norm"}])
def test_reference_by_central_differences(rng: np.random.Generator, kind: dict[str, Any], given: bool) -> None:
    if given and kind["type"] != "batch_norm":
        pytest.skip("running statistics are batch norm's")
    attributes = {**kind, "eps": 0.1}
    x, dy, gain, bias = rng.normal(size=(3, 2, 4)), rng.normal(size=(3, 2, 4)), rng.normal(size=4), rng.normal(size=4)
    more = {"mean": rng.normal(size=4), "variance": rng.uniform(0.5, 2, 4)} if given else {}
    dx, dgain, dbias = norms.backward(dy, x, attributes, gain, **more)
    for found, at, f in (
        (dx, x, lambda v: norms.forward(v, attributes, gain, bias, **more)),
        (dgain, gain, lambda v: norms.forward(x, attributes, v, bias, **more)),
        (dbias, bias, lambda v: norms.forward(x, attributes, gain, v, **more)),
    ):
        assert_close(found, central_difference(lambda v, f=f: float((f(v) * dy).sum()), at), 1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("layer", "theirs", "shape"),
    [
        (cr.LayerNorm(), lambda t: t.nn.LayerNorm(6), (4, 6)),
        (cr.RMSNorm(eps=1e-6), lambda t: t.nn.RMSNorm(6, eps=1e-6), (4, 3, 6)),
        (cr.GroupNorm(3), lambda t: t.nn.GroupNorm(3, 6), (4, 5, 2, 6)),
        (cr.BatchNorm(), lambda t: t.nn.BatchNorm1d(6), (4, 6)),
        (cr.BatchNorm(0.3), lambda t: t.nn.BatchNorm2d(6, momentum=0.3), (4, 5, 2, 6)),
    ],
)
def test_pytorch(rng: np.random.Generator, layer: cr.Layer, theirs: Callable[[Any], Any], shape: tuple[int, ...]) -> None:
    """Values, gradients, and what batch norm learns; PyTorch's channels come first."""
    torch = pytest.importorskip("torch")
    net = cr.Network([cr.Input(shape[1:]), layer], dtype="float64")
    other = theirs(torch).double()
    x, dy = rng.normal(size=shape), rng.normal(size=shape)
    for (name, a), parameter in zip(net.parameters.items(), other.parameters(), strict=True):
        a[...] = rng.normal(size=a.shape)
        parameter.data = torch.tensor(a.copy())
        assert name.endswith((".gain", ".bias"))
    last = len(shape) - 1
    first, back = ((0, last, *range(1, last)), (0, *range(2, len(shape)), 1)) if "group" in layer.type or "batch" in layer.type else ((), ())
    value = torch.tensor(x.transpose(first) if first else x, requires_grad=True)
    expected = other(value)
    expected.backward(torch.tensor(dy.transpose(first) if first else dy))
    as_ours = lambda t: t.detach().numpy().transpose(back) if back else t.detach().numpy()  # noqa: E731
    assert_close(net.forward(x, training=True), as_ours(expected), 1e-10, atol=1e-12)
    assert_close(net.backward(dy), as_ours(value.grad), 1e-9, atol=1e-11)
    for ours, parameter in zip(net.gradients.values(), other.parameters(), strict=True):
        assert_close(ours, parameter.grad.numpy(), 1e-9, atol=1e-11)
    cr.SGD(0.125).step(net)
    if net.state:
        mean, variance = net.state.values()
        assert_close(mean, other.running_mean.numpy(), 1e-12)
        assert_close(variance, other.running_var.numpy(), 1e-12)


# ---- what batch norm learns, and when ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_step_learns_the_statistics_of_its_batch(rng: np.random.Generator, dtype: str) -> None:
    net = chain(dtype=dtype)
    x, y = rows(rng, 13, net)
    mean, variance = running(net)
    assert np.array_equal(mean, np.zeros(6))
    assert np.array_equal(variance, np.ones(6))
    for first in range(0, 13, 5):  # the last batch is the smallest
        z = x[first : first + 5].astype(np.float64) @ net.W[0].T + net.b[0]
        mean, variance = norms.learn(mean, variance, z, 0.25)
        net.fit(x[first : first + 5], y[first : first + 5], optimizer=cr.SGD(0.1), epochs=1, batch_size=5, shuffle=False, **LOSS)
        for found, expected in zip(running(net), (mean, variance), strict=True):
            assert_close(found, expected.astype(dtype), 1e-5 if dtype == "float32" else 1e-12, dtype=dtype)


def test_prediction_takes_what_was_learned(rng: np.random.Generator) -> None:
    net = chain()
    x, y = rows(rng, 40, net)
    net.fit(x, y, optimizer=cr.SGD(0.05), epochs=3, batch_size=8, **LOSS)
    z = x @ net.W[0].T + net.b[0]
    h = np.tanh(norms.forward(z, net.spec["layers"]["norm"], net.parameters["norm.gain"], net.parameters["norm.bias"], *running(net)))
    expected = h @ net.W[1].T + net.b[1]
    assert_close(net.predict(x), expected, 1e-12, atol=1e-13)
    assert_close(net.predict(x[:1]), expected[:1], 1e-12, atol=1e-13)  # rows are independent then


def test_folding_into_the_layer_before(rng: np.random.Generator) -> None:
    """From 16 rows on prediction multiplies it into W and b: the same values, W as it was; not where the dense layer's own z is needed."""
    sparse = pytest.importorskip("scipy.sparse")
    x = cr.Input(40)
    shared, bare = cr.Dense(6), cr.Dense(6, bias=False)
    z = shared(x)
    outputs = [cr.Activation("silu")(cr.BatchNorm()(z)), cr.BatchNorm()(bare(x)), cr.BatchNorm(gain=False)(shared(cr.Dense(40)(x))), z]
    net = cr.Network(inputs=x, outputs=outputs, dtype="float64")
    for name, a in [*net.parameters.items(), *net.state.items()]:
        a[...] = rng.uniform(0.5, 2, a.shape) if name.endswith("variance") else rng.normal(size=a.shape)
    before = net.flat_parameters.copy()
    X = sparse.random(50, 40, 0.02, format="csr", random_state=1)
    by_row = [np.concatenate(a) for a in zip(*(net.predict(row) for row in X.toarray()[:, None]), strict=True)]
    for many in (net.predict(X.toarray()), net.predict(X)):
        for found, expected in zip(many, by_row, strict=True):
            assert_close(found, expected, 1e-11, atol=1e-12)
    assert np.array_equal(net.flat_parameters, before)


def test_only_a_committed_step_learns(rng: np.random.Generator) -> None:
    """A step given up leaves W and the statistics of the last one."""
    net, twin = chain(), chain()
    x, y = rows(rng, 30, net)
    calls = 0

    def faulty(y: Array, a: Array) -> tuple[float, Array]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("a fault of the user's own")
        return float(((a - y) ** 2).sum() / 2 / len(y)), (a - y) / len(y)

    with pytest.raises(RuntimeError, match="user's own"):
        net.fit(x, y, loss=faulty, optimizer=cr.SGD(0.1), epochs=1, batch_size=10, shuffle=False)
    twin.fit(x[:20], y[:20], optimizer=cr.SGD(0.1), epochs=1, batch_size=10, shuffle=False, **LOSS)
    assert_close(net.flat_parameters, twin.flat_parameters, 1e-12, atol=1e-14)
    for found, expected in zip(running(net), running(twin), strict=True):
        assert_close(found, expected, 1e-12)


def test_an_overflow_takes_back_what_the_epoch_learned(rng: np.random.Generator) -> None:
    net = chain(dtype="float32")
    x, y = rows(rng, 30, net)
    net.fit(x, y, optimizer=cr.SGD(0.01), epochs=1, batch_size=10, **LOSS)
    before, kept = net.flat_parameters.copy(), running(net)
    with pytest.raises(cr.DivergenceError, match="overflowed"):
        net.fit(x, 100 * y, optimizer=cr.SGD(3e38), epochs=2, batch_size=10, **LOSS)
    assert np.array_equal(net.flat_parameters, before)
    assert all(np.array_equal(a, b) for a, b in zip(running(net), kept, strict=True))


def test_a_loop_of_ones_own_learns_with_its_step(rng: np.random.Generator) -> None:
    net, twin = chain(), chain()
    x, y = rows(rng, 12, net)
    start = running(net)
    for _ in range(2):
        a = net.forward(x, training=True)
        assert all(np.array_equal(s, t) for s, t in zip(running(net), start, strict=True))
        net.backward((a - y) / len(x))
        assert all(np.array_equal(s, t) for s, t in zip(running(net), start, strict=True))
        cr.SGD(0.1).step(net)
        twin.fit(x, y, optimizer=cr.SGD(0.1), epochs=1, batch_size=None, **LOSS)
        start = running(net)
        for found, expected in zip(start, running(twin), strict=True):
            assert_close(found, expected, 1e-12)
    net.backward((net.forward(x, training=True) - y) / len(x))
    net.clear_gradients()  # and what they would have taught
    cr.SGD(0.1).step(net)
    net.gradient(x, y, training=True, **LOSS)
    net.check_gradient(x, y, **LOSS)
    net.forward(x)
    assert all(np.array_equal(s, t) for s, t in zip(running(net), start, strict=True))


def test_frozen(rng: np.random.Generator) -> None:
    """A frozen batch norm changes nothing of its own, and takes one row."""
    net = cr.Network([cr.Input(5), cr.Dense(6), cr.BatchNorm(trainable=False, name="norm"), cr.Dense(3)], dtype="float64")
    net.state["norm.mean"][...] = 0.5
    x, y = rows(rng, 9, net)
    net.fit(x, y, optimizer=cr.SGD(0.1), epochs=2, batch_size=4, **LOSS)
    assert np.array_equal(net.state["norm.mean"], np.full(6, 0.5))
    assert np.array_equal(net.parameters["norm.gain"], np.ones(6))


def test_files_pickles_and_more_epochs(rng: np.random.Generator, tmp_path: Path) -> None:
    """2 + 3 epochs are 5, through a file and a pickle."""
    net, twin = chain(cr.Dropout(0.3)), chain(cr.Dropout(0.3))
    x, y = rows(rng, 34, net)
    options: dict[str, Any] = {"optimizer": cr.Adam(0.01), "batch_size": 8, **LOSS}
    net.fit(x, y, epochs=5, **options)
    twin.fit(x, y, epochs=2, **options)
    twin.save(tmp_path / "net.safetensors", training_state=True)
    twin = pickle.loads(pickle.dumps(cr.load(tmp_path / "net.safetensors")))
    twin.fit(x, y, epochs=3, **options)
    assert np.array_equal(net.flat_parameters, twin.flat_parameters)
    assert all(np.array_equal(a, b) for a, b in zip(running(net), running(twin), strict=True))


def test_weights_of_samples_do_not_enter_the_statistics(rng: np.random.Generator) -> None:
    net = chain()
    x, y = rows(rng, 10, net)
    net.fit(x, y, sample_weight=np.arange(10.0), optimizer=cr.SGD(0.1), epochs=1, batch_size=None, **LOSS)
    fresh = chain()
    mean, variance = norms.learn(*running(fresh), x @ fresh.W[0].T + fresh.b[0], 0.25)
    assert_close(net.state["norm.mean"], mean, 1e-12)
    assert_close(net.state["norm.variance"], variance, 1e-12)


def test_large_means_keep_their_variance(rng: np.random.Generator) -> None:
    """Squares are taken about the mean: in float32 a mean of 1000 leaves a variance of 1e-2 its digits."""
    net = cr.Network([cr.Input(3), cr.BatchNorm(1.0)], dtype="float32")
    x = (1000 + 0.1 * rng.normal(size=(5000, 3))).astype("float32")
    net.fit(x, x, optimizer=cr.SGD(1e-30), epochs=1, batch_size=None, **LOSS)
    assert_close(net.state["batch_norm_1.variance"], x.astype(float).var(axis=0, ddof=1).astype("float32"), 1e-4)


# ---- errors -----------------------------------------------------------------------------------------------------------------------------------


def test_one_row() -> None:
    net = chain()
    x, y = np.ones((9, 5)), np.ones((9, 3))
    error = r"\[norm\] got a batch of 1 row in training, which has no variance: expected at least 2 rows"
    for how in (
        lambda: net.fit(x[:1], y[:1], optimizer=cr.SGD(0.1), epochs=1, **LOSS),
        lambda: net.fit(x, y, optimizer=cr.SGD(0.1), epochs=1, batch_size=4, **LOSS),  # the last of 4, 4, 1
        lambda: net.forward(x[:1], training=True),
        lambda: net.gradient(x[:1], y[:1], training=True, **LOSS),
    ):
        before = net.flat_parameters.copy()
        with pytest.raises(ValueError, match=error):
            how()
        assert np.array_equal(net.flat_parameters, before)  # no step of the epoch was made
    assert net.forward(x[:1]).shape == (1, 3)
    image = cr.Network([cr.Input((2, 2, 3)), cr.BatchNorm()])
    assert np.isfinite(image.forward(np.arange(12.0).reshape(1, 2, 2, 3), training=True)).all()  # four positions


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: cr.LayerNorm(eps=0), ValueError, r"\[layer_norm\] eps is 0.0: expected a finite number > 0"),
        (lambda: cr.RMSNorm(eps="x", name="r"), TypeError, r"\[r\] eps is 'x': expected a number > 0"),
        (lambda: cr.GroupNorm(0), ValueError, r"\[group_norm\] groups is 0: expected an integer >= 1"),
        (lambda: cr.BatchNorm(1.5), ValueError, r"\[batch_norm\] momentum is 1.5: expected 0 <= momentum <= 1"),
        (lambda: cr.BatchNorm(gain=1), TypeError, r"\[batch_norm\] gain is 1: expected True or False"),
        (lambda: cr.Network([cr.Input((4, 6)), cr.GroupNorm(4)]), ValueError, r"groups is 4, which does not divide the 6 channels of \(n, 4, 6\)"),
        (lambda: cr.Network([cr.Input(()), cr.LayerNorm()]), ValueError, r"\[layer_norm_1\] input is \(n,\): expected a last axis"),
        (lambda: cr.Network([cr.Input((4, None)), cr.BatchNorm()]), ValueError, r"\[batch_norm_1\] input is \(n, 4, None\): expected a last axis"),
    ],
)
def test_errors(build: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_a_sample_has_no_gradient_of_its_own() -> None:
    net = chain()
    with pytest.raises(ValueError, match="a sample has no gradient of its own"):
        net.gradient(np.ones((4, 5)), np.ones((4, 3)), training=True, per_sample=True, **LOSS)
