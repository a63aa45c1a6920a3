# SPDX-License-Identifier: MIT
"""Contract 8: a step whose loss or delta is not finite is not committed; if W itself overflows it is again that of the epoch's start."""

from __future__ import annotations

import copy
import math
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close
from graph_parts import CHUNKS_UP_TO

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card

Array = np.ndarray[Any, np.dtype[Any]]
WAYS = ["chunks", pytest.param("layers", marks=pytest.mark.cpu)]  # a card has one way


def network(way: str = "chunks", first: str = "tanh", bias: bool = True) -> cr.Network:
    """By chunks, or wide enough to go by layers. Without biases x = 0 gives z = 0 everywhere: a finite loss whatever W is."""
    width = 30 if way == "chunks" else 520
    widths = [(width, first), (width, "relu"), (3, "softmax")]
    return cr.Network([cr.Input(8), *(cr.Dense(units, g, bias=bias) for units, g in widths)])


def data(n: int = 400) -> tuple[Array, Array]:
    """A problem that can be learned."""
    x = np.random.default_rng(4).normal(size=(n, 8)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)


def assert_usable(net: cr.Network, x: Array, y: Array) -> None:
    """All finite, and training with a small alpha lowers the loss."""
    assert np.isfinite(net.flat_parameters).all()
    assert all(np.isfinite(v).all() for v in net._core.training_state().values() if isinstance(v, np.ndarray))
    history = net.fit(x, y, epochs=15, batch_size=100, optimizer=cr.SGD(0.05, momentum=0.9))
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch_size", [100, 64])
def test_a_loss_that_is_not_finite_is_no_step(way: str, batch_size: int) -> None:
    """Row 250 is finite, its z is not: the steps before it are kept, to the bit, and named is the layer where it happened."""
    x, y = data()
    bad = x.copy()
    bad[250] = 3e38
    whole = 250 // batch_size * batch_size
    net, clean = network(way, "relu"), network(way, "relu")
    options: dict[str, Any] = {"batch_size": batch_size, "shuffle": False, "optimizer": cr.SGD(0.05, momentum=0.9), "penalty": cr.L2(1e-3)}
    net.fit(x, y, epochs=2, **options)
    clean.fit(x, y, epochs=2, **options)
    with pytest.raises(cr.DivergenceError, match="dense_1") as caught:
        net.fit(bad, y, epochs=5, **options)
    clean.fit(x[: whole - batch_size], y[: whole - batch_size], epochs=1, **options)
    objective = clean.gradient(x[whole - batch_size : whole], y[whole - batch_size : whole], penalty=options["penalty"]).loss
    clean.fit(x[whole - batch_size : whole], y[whole - batch_size : whole], epochs=1, **options)
    assert net.flat_parameters.tobytes() == clean.flat_parameters.tobytes()
    assert caught.value.epoch == 2
    assert caught.value.layer == "dense_1"
    assert_close(caught.value.last_loss, objective, 1e-5)
    assert "epoch 2" in str(caught.value)
    assert net.last_fit is not None
    assert net.last_fit.stopped == "error"
    assert not net.flat_gradients.any()
    assert_usable(net, x, y)


def test_the_first_layer_that_is_not_finite_is_named() -> None:
    """tanh keeps dense_1 in bounds; dense_2 sums 3e38 over its inputs."""
    x, y = data()
    net = network()
    before = net.flat_parameters.copy()
    net.W[0] = 3.0
    net.W[1] = 3e38
    kept = net.flat_parameters.copy()
    with pytest.raises(cr.DivergenceError) as caught:
        net.fit(np.abs(x), y, epochs=1)
    assert caught.value.layer == "dense_2"
    assert caught.value.epoch == 0
    assert math.isnan(caught.value.last_loss)
    assert "no finite loss" in str(caught.value)
    assert np.array_equal(net.flat_parameters, kept)
    net.flat_parameters[...] = before
    assert_usable(net, x, y)


@pytest.mark.parametrize("way", WAYS)
def test_a_delta_that_is_not_finite_is_no_step(way: str) -> None:
    """The loss is finite (x = 0, a[2] = 0), delta[2] = W^T delta[3] is not."""
    x, y = np.zeros((64, 8), dtype=np.float32), np.full((64, 3), -1000.0)
    width = 30 if way == "chunks" else 520
    net = cr.Network([cr.Input(8), cr.Dense(width), cr.Dense(width), cr.Dense(3)])
    assert (net.flat_parameters.size > CHUNKS_UP_TO) == (way == "layers")
    net.W[2] = 3e38
    kept = net.flat_parameters.copy()
    assert np.isfinite(net.evaluate(x, y)["loss"])
    with pytest.raises(cr.DivergenceError, match="gradient"):
        net.fit(x, y, epochs=1, optimizer=cr.SGD(1e-9, momentum=0.5))
    assert np.array_equal(net.flat_parameters, kept)
    assert net._core.training_state()["step"] == 0


CASES: dict[str, Any] = {
    "sgd": cr.SGD(1e6),
    "momentum": cr.SGD(1e6, momentum=0.9),
    "nesterov": cr.SGD(1e6, momentum=0.9, nesterov=True),
    "rmsprop": cr.RMSprop(3e38),
    "adam": cr.Adam(3e38),
    "adamw": cr.AdamW(1e30, lam=1e9),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_an_overflow_falls_back_to_the_start_of_the_epoch(way: str, case: str, device: str) -> None:
    """x = 0, so that the loss stays finite while the penalty's steps W <- W (1 - alpha lam) leave float32 after a few, in the middle of an epoch."""
    x, y = data()
    net = network(way, bias=False)
    net.fit(x, y, epochs=1, batch_size=100, optimizer=CASES[case].__class__(1e-4))
    start = net.flat_parameters.copy()
    with pytest.raises(cr.DivergenceError, match="start of the epoch") as caught:
        net.fit(0 * x, y, epochs=50, batch_size=100, optimizer=CASES[case], penalty=cr.L2(1e6))
    assert net.last_fit is not None
    assert net.last_fit.epochs == 0
    assert np.array_equal(net.flat_parameters, start)
    # a card multiplies lam w^2 before it sums in double, so that the penalty may leave float32 first
    assert caught.value.layer in [*net.spec["layers"], *(["penalty"] if device == "cuda" else [])]
    assert_usable(net, x, y)


@pytest.mark.parametrize("way", WAYS)
def test_an_overflow_in_a_later_epoch(way: str) -> None:
    """W <- W (1 - 1e3) a step: 1e12 after the first epoch of four steps, too much in the second. The first is kept."""
    x, y = data()
    options: dict[str, Any] = {"batch_size": 100, "penalty": cr.L2(1e3), "optimizer": cr.SGD(1.0)}
    net, clean = network(way, bias=False), network(way, bias=False)
    clean.fit(0 * x, y, epochs=1, **options)
    with pytest.raises(cr.DivergenceError) as caught:
        net.fit(0 * x, y, epochs=9, **options)
    assert caught.value.epoch == 1
    assert math.isfinite(caught.value.last_loss)
    assert net.last_fit is not None
    assert net.last_fit.epochs == 1
    assert np.abs(clean.flat_parameters).max() > 1e9
    assert np.array_equal(net.flat_parameters, clean.flat_parameters)
    assert net.fit(x, y, epochs=2, optimizer=cr.SGD(1e-3)).stopped == "epochs"


@pytest.mark.parametrize("way", WAYS)
def test_an_overflow_of_one_rows_step(way: str) -> None:
    """Batch 1 takes the step with the product itself: the overflow is seen, its layer named, the epoch's start put back."""
    x, y = data(20)
    net = network(way, "relu")
    net.fit(x, y, epochs=1, batch_size=1, optimizer=cr.SGD(1e-3, momentum=0.9))
    start = net.flat_parameters.copy()
    with pytest.raises(cr.DivergenceError, match=r"\[dense_[123]\] W overflowed: it is again what it was at the start of the epoch"):
        net.fit(1e-3 * x, y, epochs=2, batch_size=1, optimizer=cr.SGD(1e42, momentum=0.9))
    assert np.array_equal(net.flat_parameters, start)
    assert_usable(net, x, y)


def test_an_overflow_in_batches_of_ones_own() -> None:
    """cr.Batches: the same copy of the epoch's start."""
    x, y = data()
    pieces = cr.Batches([(0 * x[i : i + 100], y[i : i + 100]) for i in range(0, 400, 100)])
    net = network(bias=False)
    start = net.flat_parameters.copy()
    with pytest.raises(cr.DivergenceError):
        net.fit(pieces, epochs=9, optimizer=cr.SGD(1e15, momentum=0.9), penalty=cr.L2(1.0))
    assert np.array_equal(net.flat_parameters, start)
    assert_usable(net, x, y)


def test_an_overflow_in_a_step_of_ones_own() -> None:
    """optimizer.step(net): W is as it was before the step, and the next step is a sane one."""
    x, y = data()
    net = network()
    a = net.forward(x)
    net.backward(a)
    before = net.flat_parameters.copy()
    with pytest.raises(cr.DivergenceError, match="before the step"):
        cr.SGD(1e300, momentum=0.9).step(net)
    assert np.array_equal(net.flat_parameters, before)
    net.clear_gradients()
    a = net.forward(x)
    net.backward(a)
    cr.SGD(1e-3, momentum=0.9).step(net)
    assert_usable(net, x, y)
    bad = copy.deepcopy(net)
    bad.flat_gradients[3] = np.nan
    with pytest.raises(cr.DivergenceError, match="clear_gradients"):
        cr.SGD(1e-3).step(bad)
    assert np.array_equal(bad.flat_parameters, net.flat_parameters)


@pytest.mark.parametrize("rule", [cr.SGD(1e9), cr.SGD(1e9, momentum=0.9), cr.Adam(1e30), cr.RMSprop(1e30)])
def test_a_step_that_is_far_too_large(rule: Any) -> None:
    """The everyday case, squared error with a huge alpha: DivergenceError, finite weights, and a fresh start from smaller ones."""
    x, _ = data()
    net = cr.Network([cr.Input(8), cr.Dense(20, "relu"), cr.Dense(1)])
    with pytest.raises(cr.DivergenceError) as caught:
        net.fit(x, x[:, 0], epochs=200, batch_size=50, optimizer=rule)
    assert np.isfinite(net.flat_parameters).all()
    assert np.isfinite(caught.value.last_loss)
    assert caught.value.layer in net.spec["layers"]
    assert isinstance(caught.value, ArithmeticError)
    net.reset_training()
    net.flat_parameters[...] = cr.Network.from_spec(net.spec).flat_parameters
    assert net.fit(x, x[:, 0], epochs=5, optimizer=cr.SGD(0.01)).stopped == "epochs"


def test_infinite_values_of_a_callable_loss() -> None:
    """A loss of one's own that returns NaN, or a da that is not finite."""
    x, y = data()
    net = network()
    before = net.flat_parameters.copy()
    for value, d in ((float("nan"), 0.0), (1.0, np.inf)):
        with pytest.raises(cr.DivergenceError):
            net.fit(x, y, loss=lambda y, a, value=value, d=d: (value, np.full_like(a, d)), epochs=1)
        assert np.array_equal(net.flat_parameters, before)


def test_no_weights_are_lost_to_early_stopping() -> None:
    """The best weights belong to a fit that ends; one that diverges keeps the last finite ones, and says so."""
    x, _ = data()
    net = cr.Network([cr.Input(8), cr.Dense(20, "relu"), cr.Dense(1)])
    with pytest.raises(cr.DivergenceError, match="last finite weights"):
        net.fit(x, x[:, 0], epochs=500, optimizer=cr.SGD(1e9), early_stopping=cr.EarlyStopping(3), validation=0.2)
    assert np.isfinite(net.flat_parameters).all()


@pytest.mark.parametrize("optimizer", [cr.Adam(0.01), cr.RMSprop(0.01), cr.SGD(0.01, clip_norm=1.0)])
def test_a_squared_gradient_that_overflows_is_not_silent(optimizer: cr.optim.Optimizer) -> None:
    """g finite but g^2 not: an infinite moment, or a clip factor of 0, would stand still without a word."""
    net = cr.Network([cr.Input(1), cr.Dense(1, bias=False)])
    with pytest.raises(cr.DivergenceError, match="dense_1"):
        net.fit(np.full((4, 1), 1e13, "f4"), np.full(4, 1e10, "f4"), optimizer=optimizer, epochs=3, batch_size=None)
    assert np.isfinite(net.flat_parameters).all()
