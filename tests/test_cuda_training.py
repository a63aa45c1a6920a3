# SPDX-License-Identifier: MIT
"""Whole trainings on device="cuda" beside the same on the CPU: by one code path, so with one history; and a data set that does not fit the card."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import apart
import cards
import chainrule as cr
import numpy as np
import pytest
from compare import assert_close

Array = np.ndarray[Any, np.dtype[Any]]
pytestmark = pytest.mark.gpu


def network(device: str, seed: int = 3, dtype: str = "float32") -> cr.Network:
    layers: list[cr.Layer] = [cr.Input(64), cr.Standardize(), cr.Dense(32, "relu"), cr.Dropout(0.2), cr.Dense(10, "softmax")]
    return cr.Network(layers, seed=seed, dtype=dtype, device=device)


def digits(n: int = 1797) -> tuple[Array, Array]:
    X, y = cr.datasets.load_digits()[:2]
    return X[:n].astype(np.float32), y[:n]


def bits(net: cr.Network) -> int:
    return zlib.crc32(np.asarray(net.flat_parameters).tobytes())


def both(**options: Any) -> tuple[list[cr.Network], list[cr.History]]:
    """The digits on both devices."""
    X, y = digits()
    nets = [network("cpu"), network("cuda")]
    return nets, [net.fit(X, y, **{"epochs": 3, "batch_size": 64, "optimizer": cr.Adam(0.003)} | options) for net in nets]


def assert_same(histories: list[cr.History], tolerance: float = 1e-4) -> None:
    one, other = histories
    assert one.stopped == other.stopped
    assert one.best_epoch == other.best_epoch
    assert list(one) == list(other)
    for name in one:
        assert_close(np.array(other[name]), np.array(one[name]), tolerance, atol=tolerance, what=name)


def test_the_digits() -> None:
    """Six epochs: losses within 1e-4, the same accuracy on the rows that were held out."""
    X, y = digits()
    X_train, y_train, X_test, y_test = cr.datasets.split(X, y, test=0.2)
    nets = [network("cpu"), network("cuda")]
    histories = [net.fit(X_train, y_train, epochs=6, batch_size=64, optimizer=cr.Adam(0.003), penalty=cr.L2(1e-4)) for net in nets]
    assert_same(histories)
    one, other = (net.evaluate(X_test, y_test) for net in nets)
    assert one["accuracy"] == other["accuracy"] > 0.9
    assert abs(one["loss"] - other["loss"]) < 1e-4


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_masks_are_the_same_bits(dtype: str, rate: float) -> None:
    X = np.random.default_rng(0).normal(size=(37, 11, 5)).astype(dtype)
    found = []
    for device in ("cpu", "cuda"):
        net = cr.Network([cr.Input((11, 5)), cr.Dropout(rate), cr.Dropout(rate)], seed=9, dtype=dtype, device=device)
        found.append([net.forward(X, training=True).tobytes() for _ in range(2)])
    assert found[0] == found[1]


def test_early_stopping() -> None:
    stop = cr.EarlyStopping(patience=2, min_delta=0.05)
    _, histories = both(epochs=30, validation=0.3, early_stopping=stop, optimizer=cr.Adam(0.02))
    assert histories[0].stopped == "early_stopping"
    assert_same(histories, 2e-3)  # 20 epochs at a large alpha


def test_early_stopping_restores_the_best() -> None:
    X, y = digits(300)
    net = network("cuda")
    history = net.fit(X, y, epochs=8, validation=(X[:50], 9 - y[:50]), early_stopping=cr.EarlyStopping(patience=3), optimizer=cr.Adam(0.01))
    best = history["validation_loss"][history.best_epoch]
    assert history.best_epoch < history.epochs - 1
    assert net.evaluate(X[:50], 9 - y[:50])["loss"] == pytest.approx(best, rel=1e-6)


def test_weights_of_samples_and_classes() -> None:
    _, y = digits()
    by_class = np.linspace(0.2, 2, 10)[y]
    nets, histories = both(sample_weight=by_class, validation=0.1)
    assert_same(histories)
    scores = [net.evaluate(*digits(), sample_weight=by_class) for net in nets]
    assert_close(scores[1]["loss"], scores[0]["loss"], 1e-4)


def test_callbacks_see_the_same() -> None:
    seen: list[list[Any]] = []

    class Look(cr.Callback):
        def __init__(self) -> None:
            self.seen: list[Any] = []
            seen.append(self.seen)

        def on_epoch_end(self, net: cr.Network, epoch: int, record: dict[str, float]) -> bool:
            self.seen.append((epoch, round(record["loss"], 3), net.predict(digits(3)[0]).argmax(axis=1).tolist()))
            net.b[0][0] = 0.5  # its own memory, wherever that is
            return epoch == 1

    X, y = digits(600)
    for device in ("cpu", "cuda"):
        net = network(device)
        assert net.fit(X, y, epochs=5, callbacks=[Look()]).stopped == "callback"
        assert float(net.b[0][0]) == 0.5
    assert seen[0] == seen[1]


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_sparse_rows(share: float) -> None:
    """So few numbers that the CPU multiplies them as they are; or more. The card makes rows dense, a batch at a time."""
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(1)
    X = sparse.random_array((300, 200), density=share, random_state=rng, format="csr", dtype=np.float32)
    y = rng.integers(0, 3, 300)
    histories, outputs = [], []
    for device in ("cpu", "cuda"):
        net = cr.Network([cr.Input(200), cr.Dense(16, "tanh"), cr.Dense(3, "softmax")], device=device)
        histories.append(net.fit(X, y, epochs=3, validation=0.2))
        outputs.append(net.predict(X))
        assert np.array_equal(net.predict(X.toarray()), outputs[-1]) or device == "cpu"
    assert_same(histories)
    assert_close(outputs[1], outputs[0], 1e-4, atol=1e-5)


@pytest.mark.parametrize("way", ["file", "copy", "move"])
def test_training_goes_on_elsewhere(way: str, tmp_path: Path) -> None:
    """Saved with its training state, copied or moved to the other device and back: the epochs that follow are those of one network."""
    import copy

    X, y = digits(400)
    options: dict[str, Any] = {"batch_size": 50, "optimizer": cr.Adam(0.003)}
    whole = network("cuda")
    whole.fit(X, y, epochs=4, **options)
    net = network("cuda")
    net.fit(X, y, epochs=2, **options)
    if way == "file":
        net.save(tmp_path / "net.safetensors", training_state=True)
        net = cr.load(tmp_path / "net.safetensors", device="cuda")
    elif way == "copy":
        net = copy.deepcopy(net)
    else:
        net.to("cpu").to("cuda:0")
    assert net.device == "cuda:0"
    net.fit(X, y, epochs=2, **options)
    assert bits(net) == bits(whole)


def test_batches_and_steps_of_ones_own() -> None:
    X, y = digits(200)
    found = []
    for device in ("cpu", "cuda"):
        net = network(device)
        net.adapt(X)
        net.fit(cr.Batches(lambda: ((X[i : i + 64], y[i : i + 64]) for i in range(0, 200, 64))), epochs=2, optimizer=cr.SGD(0.1))
        optimizer = cr.SGD(0.05, momentum=0.9)
        for _ in range(3):
            a = net.forward(X, training=True)
            net.backward(dz=(a - np.eye(10)[y]) / len(y))
            optimizer.step(net, penalty=cr.L2(1e-3))
        found.append(np.asarray(net.flat_parameters))
    assert np.linalg.norm(found[1] - found[0]) <= 1e-4 * np.linalg.norm(found[0])


def streamed(weighted: bool, dtype: str) -> list[Any]:
    """[launches, bits, losses] of a fit, and what the network predicts, with the memory that the environment gives the card."""
    X, y = digits()
    net = network("cuda", dtype=dtype)
    s = np.linspace(0.5, 1.5, len(y)) if weighted else None
    history = net.fit(X, np.eye(10)[y] if weighted else y, sample_weight=s, epochs=2, batch_size=100)
    launches = net._core.launches
    return [launches, bits(net), history["loss"], zlib.crc32(net.predict(X).tobytes())]


@pytest.mark.parametrize(("weighted", "dtype"), [(False, "float32"), (True, "float64")])
def test_a_data_set_that_does_not_fit_is_streamed(weighted: bool, dtype: str) -> None:
    """The same bits; and no batch is gathered on the card: fewer launches by one an epoch, batch and array."""
    if not cards.emulated():
        pytest.skip("plays a smaller card: needs an emulated one")
    little, plenty = (apart.run(streamed, weighted, dtype, env={"CHAINRULE_EMULATION_MEMORY": str(memory)}) for memory in (5_400_000, 1 << 30))
    epochs, batches = 2, -(-1797 // 100)
    assert plenty.pop(0) - little.pop(0) == epochs * batches * (3 if weighted else 2)
    assert little == plenty
