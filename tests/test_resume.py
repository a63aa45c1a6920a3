# SPDX-License-Identifier: MIT
"""Contract 7: training state belongs to the network. 5 epochs, and 5 more, are 10 epochs bit for bit, whatever lies between them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chainrule as cr
import joblib
import numpy as np
import pytest
from compare import assert_close

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card

Array = np.ndarray[Any, np.dtype[Any]]


def network(dtype: str = "float32", width: int = 30, seed: int = 3) -> cr.Network:
    """Dropout on the input and between layers, and what Standardize has learned."""
    first = [cr.Input(12), cr.Standardize(), cr.Dropout(0.1)]
    rest = [cr.Dense(width, "relu"), cr.Dropout(0.3), cr.Dense(width, "tanh"), cr.Dense(3, "softmax")]
    return cr.Network([*first, *rest], seed=seed, dtype=dtype)


def data() -> tuple[Array, Array]:
    """150 rows: the last batch of 40 is short."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(150, 12)) * 3 + 1
    return x, (x[:, 0] > 1).astype(int) + (x[:, 1] > 1)


S = cr.schedules
OPTIMIZERS: dict[str, cr.SGD | cr.RMSprop | cr.Adam | cr.AdamW] = {
    "sgd": cr.SGD(S.InverseScaling(0.1)),
    "momentum": cr.SGD(S.Step(0.1, every=7, factor=0.8), momentum=0.9),
    "nesterov": cr.SGD(S.Step(0.1, every=2, factor=0.5, unit="epoch"), momentum=0.9, nesterov=True, clip_norm=0.7),
    "rmsprop": cr.RMSprop(S.Cosine(0.01, total=40)),
    "adam": cr.Adam(S.WarmUp(0.01, 9)),
    "adamw": cr.AdamW(S.OneCycle(0.02, total=40), lam=0.05),
}


def same(net: cr.Network, other: cr.Network) -> None:
    """Parameters, state and training state are equal bit for bit."""
    assert np.isfinite(net.flat_parameters).all()
    assert net.flat_parameters.tobytes() == other.flat_parameters.tobytes()
    assert {k: v.tobytes() for k, v in net.state.items()} == {k: v.tobytes() for k, v in other.state.items()}
    mine, yours = net._core.training_state(), other._core.training_state()
    assert mine.keys() == yours.keys()
    for key, value in mine.items():
        assert value.tobytes() == yours[key].tobytes() if isinstance(value, np.ndarray) else value == yours[key], key


def through_a_file(net: cr.Network, folder: Path) -> cr.Network:
    """save(training_state=True), load."""
    net.save(folder / "net.safetensors", training_state=True)
    return cr.load(folder / "net.safetensors")


def through_joblib(net: cr.Network, folder: Path) -> cr.Network:
    """joblib.dump, joblib.load."""
    joblib.dump(net, folder / "net.joblib")
    other: cr.Network = joblib.load(folder / "net.joblib")
    return other


BETWEEN: dict[str, Callable[[cr.Network, Path], cr.Network]] = {
    "nothing": lambda net, _: net,
    "pickle": lambda net, _: pickle.loads(pickle.dumps(net)),
    "deepcopy": lambda net, _: copy.deepcopy(net),
    "file": through_a_file,
    "joblib": through_joblib,
    "predict": lambda net, _: (net.predict(data()[0]), net.gradient(*data(), training=True), net)[-1],
}


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_twice_five_epochs_are_ten(tmp_path: Path, dtype: str, optimizer: str, between: str) -> None:
    """With schedule, shuffle, dropout, penalty and a batch that does not divide the rows."""
    x, y = data()
    options: dict[str, Any] = {"optimizer": OPTIMIZERS[optimizer], "penalty": cr.L2(1e-3), "batch_size": 40}
    whole, parts = network(dtype), network(dtype)
    expected = whole.fit(x, y, epochs=10, **options)
    first = parts.fit(x, y, epochs=5, **options)
    moved = BETWEEN[between](parts, tmp_path)
    second = moved.fit(x, y, epochs=5, **options)
    same(moved, whole)
    assert first["loss"] + second["loss"] == expected["loss"]
    assert moved.last_fit is second
    if moved is not parts:  # a copy shares nothing
        assert parts.flat_parameters.tobytes() != moved.flat_parameters.tobytes()
        assert not np.shares_memory(parts.flat_parameters, moved.flat_parameters)


@pytest.mark.cpu
def test_ten_times_one_epoch_by_layers() -> None:
    """The same where the network goes layer by layer, with validation by a fraction."""
    x, y = data()
    whole, parts = network(width=400), network(width=400)
    options: dict[str, Any] = {"optimizer": cr.Adam(1e-3), "batch_size": 50, "validation": 0.2}
    expected = whole.fit(x, y, epochs=6, **options)
    losses = []
    for _ in range(6):
        history = parts.fit(x, y, epochs=1, **options)
        losses.append((history["loss"][0], history["validation_loss"][0]))
    same(parts, whole)
    assert losses == list(zip(expected["loss"], expected["validation_loss"], strict=True))


def test_batches_of_ones_own() -> None:
    """cr.Batches counts steps and epochs as arrays do."""
    x, y = data()
    pieces = cr.Batches([(x[i : i + 40], y[i : i + 40]) for i in range(0, 150, 40)])
    nets = [network(), network(), network()]
    for net in nets:
        net.adapt(x)
    optimizer = OPTIMIZERS["nesterov"]
    nets[0].fit(x, y, optimizer=optimizer, epochs=4, batch_size=40, shuffle=False)
    nets[1].fit(pieces, optimizer=optimizer, epochs=4)
    for _ in range(2):
        nets[2].fit(pieces, optimizer=optimizer, epochs=2)
    same(nets[1], nets[0])
    same(nets[2], nets[0])


def anew(net: cr.Network) -> cr.Network:
    """A fresh network with the same parameters."""
    fresh = network(net.dtype.name)
    fresh.flat_parameters[...] = net.flat_parameters
    fresh._core.state[...] = net._core.state
    return fresh


@pytest.mark.parametrize(
    ("before", "after"),
    [("momentum", "adam"), ("adam", "momentum"), ("adam", "adamw"), ("rmsprop", "momentum"), ("sgd", "momentum"), ("momentum", "sgd")],
)
def test_another_optimizer_starts_anew(before: str, after: str) -> None:
    """Another type, or momentum where there was none: velocities, moments, step and epoch begin at 0."""
    x, y = data()
    net = network()
    net.fit(x, y, optimizer=OPTIMIZERS[before], epochs=2, batch_size=40)
    fresh = anew(net)
    for one in (net, fresh):
        one.fit(x, y, optimizer=OPTIMIZERS[after], epochs=2, batch_size=40)
    same(net, fresh)


def test_reset_training_starts_anew() -> None:
    """reset_training() keeps the weights and forgets the rest; without it the next fit continues."""
    x, y = data()
    net = network()
    net.fit(x, y, optimizer=OPTIMIZERS["adam"], epochs=2, batch_size=40)
    going_on, fresh = copy.deepcopy(net), anew(net)
    kept = net.flat_parameters.copy()
    net.reset_training()
    assert np.array_equal(net.flat_parameters, kept)
    for one in (net, fresh, going_on):
        one.fit(x, y, optimizer=OPTIMIZERS["adam"], epochs=2, batch_size=40)
    same(net, fresh)
    assert not np.array_equal(net.flat_parameters, going_on.flat_parameters)


def test_a_file_without_training_state_starts_anew(tmp_path: Path) -> None:
    """save() alone keeps weights and what Standardize has learned."""
    x, y = data()
    net = network()
    net.fit(x, y, optimizer=OPTIMIZERS["adam"], epochs=2, batch_size=40)
    net.save(tmp_path / "net")
    loaded, fresh = cr.load(tmp_path / "net"), anew(net)
    for one in (loaded, fresh):
        one.fit(x, y, optimizer=OPTIMIZERS["adam"], epochs=2, batch_size=40)
    same(loaded, fresh)


def test_other_hyper_parameters_continue() -> None:
    """A smaller alpha and another momentum take the velocity over: v <- mu v - alpha g."""
    x, y = data()
    net = cr.Network([cr.Input(12), cr.Dense(3, "softmax")], dtype="float64")
    net.fit(x, y, optimizer=cr.SGD(0.1, momentum=0.9), epochs=3, batch_size=None)
    v, w = net._core.training_state()["v"], net.flat_parameters.copy()
    assert np.abs(v).max() > 1e-3
    g = net.gradient(x, y).flat
    net.fit(x, y, optimizer=cr.SGD(0.01, momentum=0.5), epochs=1, batch_size=None)
    assert_close(net.flat_parameters, w + 0.5 * v - 0.01 * g, 1e-12, atol=1e-14)


def test_a_loop_of_ones_own_shares_the_state() -> None:
    """fit, then forward, backward, step: the velocity and the schedule go on."""
    x, y = data()
    optimizer = cr.SGD(S.Step(0.1, every=2, factor=0.5), momentum=0.9)
    whole, parts = (cr.Network([cr.Input(12), cr.Dense(8, "tanh"), cr.Dense(3, "softmax")], dtype="float64") for _ in range(2))
    whole.fit(x, y, optimizer=optimizer, epochs=6, batch_size=None)
    parts.fit(x, y, optimizer=optimizer, epochs=2, batch_size=None)
    for _ in range(2):
        dz = parts.forward(x, training=True)
        dz[np.arange(len(y)), y] -= 1
        parts.backward(dz=dz / len(y))
        optimizer.step(parts)
    parts.fit(x, y, optimizer=optimizer, epochs=2, batch_size=None)
    assert_close(parts.flat_parameters, whole.flat_parameters, 1e-11, atol=1e-13)
