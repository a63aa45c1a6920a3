# SPDX-License-Identifier: MIT
"""Contract 14: many threads predict on one network at once; fit, step and load are exclusive, and whoever comes second hears of it at once."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest

Array = np.ndarray[Any, np.dtype[Any]]


def problem(way: str) -> tuple[cr.Network, Array, Array]:
    """By chunks or by layers."""
    width = 60 if way == "chunks" else 520
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1200, width), dtype=np.float32)
    layers = [cr.Input(width), cr.Dense(width, "relu"), cr.Dropout(0.2), cr.Dense(width, "tanh"), cr.Dense(10, "softmax")]
    return cr.Network(layers, seed=1), X, rng.integers(0, 10, len(X))


@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_eight_threads_predict(way: str) -> None:
    """Each its own rows, many at once, of every size: the bits of one thread alone."""
    net, X, y = problem(way)
    parts = [X[i : i + n] for i, n in enumerate((1, 2, 17, 33, 64, 100, 511, 512, 513, 1100))]
    expected = [net.predict(x).tobytes() for x in parts]
    loss = net.evaluate(X, y)
    start = threading.Barrier(8)

    def work(seed: int) -> int:
        start.wait()
        wrong = 0
        for i in np.random.default_rng(seed).integers(0, len(parts), 15):
            wrong += net.predict(parts[i]).tobytes() != expected[i]
        return wrong + (net.evaluate(X, y) != loss)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [0] * 8
    net.fit(X, y, epochs=1)  # nobody is still counted as reading


def test_eight_networks_fit_at_once() -> None:
    """One pool for all: the bits of one after the other."""
    _, X, y = problem("chunks")

    def fit(i: int) -> bytes:
        net, _, _ = problem("layers" if i == 3 else "chunks")
        net.fit(X if i != 3 else problem("layers")[1], y, epochs=2, batch_size=100 + i, optimizer=cr.Adam(1e-3))
        return net.flat_parameters.tobytes()

    expected = [fit(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fit, range(8))) == expected


@contextmanager
def fitted_by_another_thread(net: cr.Network, X: Array, y: Array) -> Iterator[None]:
    """Inside, another thread fits `net` and does not end before it is left."""
    begun = threading.Event()
    ended: list[Any] = []

    class Begun(cr.Callback):
        def on_fit_begin(self, net: cr.Network, epochs: int) -> None:
            begun.set()

    def fit() -> None:
        try:
            ended.append(net.fit(X, y, epochs=10**6, callbacks=[Begun()]).stopped)
        except BaseException as error:
            ended.append(error)

    worker = threading.Thread(target=fit)
    worker.start()
    assert begun.wait(10)
    try:
        yield
        assert worker.is_alive()
    finally:
        net.stop()
        worker.join(10)
    assert ended == ["stop"]


USES: dict[str, Callable[[cr.Network, Array, Array], Any]] = {
    "fit": lambda net, X, y: net.fit(X, y, epochs=1),
    "predict": lambda net, X, y: net.predict(X),
    "predict one row": lambda net, X, y: net.predict(X[:1]),
    "predict converted": lambda net, X, y: net.predict(X.astype(float)),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "gradient": lambda net, X, y: net.gradient(X, y),
    "loss_and_gradient": lambda net, X, y: net.loss_and_gradient(X, y, np.zeros(net.flat_parameters.size)),
    "transitions": lambda net, X, y: list(net.transitions(X)),
    "forward": lambda net, X, y: net.forward(X),
    "step": lambda net, X, y: cr.SGD(0.1).step(net),
    "clear_gradients": lambda net, X, y: net.clear_gradients(),
    "reset_training": lambda net, X, y: net.reset_training(),
    "pickle": lambda net, X, y: pickle.dumps(net),
    "deepcopy": lambda net, X, y: copy.deepcopy(net),
}


@pytest.mark.parametrize("use", USES)
def test_during_a_fit_others_are_refused_at_once(use: str) -> None:
    """RuntimeError, without waiting and without a mark on the fit that runs."""
    net, X, y = problem("layers")
    with fitted_by_another_thread(net, X, y):
        for _ in range(3):
            start = time.perf_counter()
            with pytest.raises(RuntimeError, match=r"fitted|being"):
                USES[use](net, X, y)
            assert time.perf_counter() - start < 1
    USES[use](net, X, y)


def test_saving_during_a_fit_is_refused(tmp_path: Path) -> None:
    """A file of half a step would be worse than none."""
    net, X, y = problem("layers")
    with fitted_by_another_thread(net, X, y):
        for training_state in (False, True):
            with pytest.raises(RuntimeError, match="fitted"):
                net.save(tmp_path / "net", training_state=training_state)
        assert not list(tmp_path.iterdir())
    net.save(tmp_path / "net")


def test_a_step_waits_for_no_reader() -> None:
    """While another thread predicts, fit raises RuntimeError at once or begins; afterwards it works."""
    net, X, y = problem("layers")
    X = np.tile(X, (10, 1))
    done = threading.Event()
    said: set[str] = set()
    predictions = [0]

    def predict() -> None:
        while not done.is_set():
            try:
                net.predict(X)
                predictions[0] += 1
            except RuntimeError as error:
                said.add(str(error))

    worker = threading.Thread(target=predict)
    worker.start()
    refused: set[str] = set()
    deadline = time.perf_counter() + 10
    while not (refused and predictions[0]) and time.perf_counter() < deadline:
        try:
            net.fit(X[:32], y[:32], epochs=1)
        except RuntimeError as error:
            refused.add(str(error))
        time.sleep(0.003)
    done.set()
    worker.join()
    assert refused
    assert all("predicts" in message for message in refused)
    assert all("fitted" in message for message in said)
    assert predictions[0] > 0
    net.fit(X[:32], y[:32], epochs=1)


def test_a_callback_may_read_but_not_write(tmp_path: Path) -> None:
    """The thread that fits predicts, evaluates, saves and copies in its callbacks; a fit inside a fit is refused."""
    net, X, y = problem("chunks")
    seen: list[bytes] = []

    class Reads(cr.Callback):
        def on_epoch_end(self, net: cr.Network, epoch: int, record: Mapping[str, float]) -> object:
            seen.append(net.predict(X).tobytes())
            assert np.isfinite(net.evaluate(X, y)["loss"])
            net.gradient(X[:5], y[:5])
            net.save(tmp_path / f"{epoch}", training_state=True)
            assert copy.deepcopy(net).predict(X).tobytes() == seen[-1]
            for write in (lambda: net.fit(X, y), lambda: net.forward(X), lambda: cr.SGD(0.1).step(net)):
                with pytest.raises(RuntimeError, match="fitted"):
                    write()
            return None

    history = net.fit(X, y, epochs=3, callbacks=[Reads()], optimizer=cr.SGD(0.1))
    assert history.stopped == "epochs"
    assert len(set(seen)) == 3
    assert net.predict(X).tobytes() == seen[-1]
    assert cr.load(tmp_path / "1").predict(X).tobytes() == seen[1]
    plain, _, _ = problem("chunks")
    plain.fit(X, y, epochs=3, optimizer=cr.SGD(0.1))
    assert net.flat_parameters.tobytes() == plain.flat_parameters.tobytes()


def test_a_fit_that_fails_lets_go() -> None:
    """Whatever fit raises, before or after it holds the network, the next one works."""
    net, X, y = problem("chunks")
    wrong: list[dict[str, Any]] = [
        {"y": y[:5]},
        {"optimizer": "sdg"},
        {"penalty": cr.L2(0.1, layers=["dense_9"])},
        {"callbacks": [3]},
        {"validation": (X, y[:3])},
        {"X": np.where(X > 3, np.nan, X)},
        {"sample_weight": np.ones(3)},
        {"X": X[:, :-1]},
        {"batch_size": 0},
    ]
    for options in wrong:
        with pytest.raises((ValueError, TypeError)):
            net.fit(**{"X": X, "y": y, "epochs": 1, **options})
        assert net.fit(X, y, epochs=1).stopped == "epochs"
    with ThreadPoolExecutor(1) as pool:  # also for another thread
        assert pool.submit(net.fit, X, y, epochs=1).result().stopped == "epochs"
