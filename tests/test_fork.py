# SPDX-License-Identifier: MIT
"""Contract 14: after fork both processes go on. A network that another thread was fitting at the fork is refused in the child until reset_training().

Every scenario runs in a process of its own with a time limit: a hang is the failure to expect here.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import apart
import chainrule as cr
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
Array = np.ndarray[Any, np.dtype[Any]]


def problem(way: str, seed: int = 1) -> tuple[cr.Network, Array, Array]:
    """By chunks or by layers, large enough for two threads."""
    width = 60 if way == "chunks" else 520
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, width), dtype=np.float32)
    layers = [cr.Input(width), cr.Dense(width, "relu"), cr.Dropout(0.2), cr.Dense(width, "tanh"), cr.Dense(10, "softmax")]
    return cr.Network(layers, seed=seed), X, rng.integers(0, 10, len(X))


OPTIONS: dict[str, Any] = {"optimizer": cr.SGD(0.05, momentum=0.9), "batch_size": 300}


def digest(net: cr.Network) -> int:
    """Of the bits of all parameters."""
    return zlib.crc32(net.flat_parameters.tobytes())


def in_child(work: Callable[[], Any]) -> tuple[int, int]:
    """Forks; the child calls `work` and sends what it returns, or its traceback: (process, end of a pipe)."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    status = 1
    try:
        result = pickle.dumps(("ok", work()))
        status = 0
    except BaseException:
        result = pickle.dumps(("error", traceback.format_exc()))
    try:
        os.write(writing, result)
    finally:
        os._exit(status)


def collect(child: tuple[int, int]) -> Any:
    """What the child sent; an error if it failed or died."""
    process, reading = child
    with open(reading, "rb") as pipe:
        sent = pipe.read()
    _, status = os.waitpid(process, 0)
    assert sent, f"the child ended with status {status} and said nothing"
    kind, value = pickle.loads(sent)
    assert (kind, status) == ("ok", 0), value
    return value


def after_fit(way: str) -> list[int]:
    """Parent and child go on with the same network at once; both end at the same bits."""
    cr.set_num_threads(2)
    net, X, y = problem(way)
    net.fit(X, y, epochs=1, **OPTIONS)

    def work() -> int:
        net.predict(X)
        net.fit(X, y, epochs=2, **OPTIONS)
        return digest(net)

    children = [in_child(work) for _ in range(3)]
    mine = work()
    whole, _, _ = problem(way)
    whole.fit(X, y, epochs=3, **OPTIONS)
    return [digest(whole), mine, *(collect(child) for child in children)]


@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_fork_after_fit(way: str) -> None:
    """Training goes on in both, with a pool of its own in each, to the same bits; a child may fork again."""
    assert len(set(apart.run(after_fit, way))) == 1


def grandchildren() -> list[int]:
    """A child that works, forks, and works on."""
    cr.set_num_threads(2)
    net, X, y = problem("chunks")

    def work() -> int:
        net.fit(X, y, epochs=1, **OPTIONS)
        return digest(net)

    def generation() -> list[int]:
        first = work()
        child = in_child(lambda: [work(), work()])
        second, third = work(), work()
        assert collect(child) == [second, third]
        return [first, second, third]

    child = in_child(generation)
    mine = generation()
    assert collect(child) == mine
    return mine


def test_children_fork_too() -> None:
    """Two generations."""
    assert len(set(apart.run(grandchildren))) == 3


def during_fit(way: str) -> int:
    """The main thread forks while another fits. Returns the number of steps that were committed meanwhile."""
    cr.set_num_threads(2)
    net, X, y = problem(way)
    other, _, _ = problem(way, seed=2)
    before = other.predict(X[:700])
    full: dict[str, Any] = {**OPTIONS, "batch_size": None}  # a step is an epoch

    def refused(call: Callable[[], Any]) -> str:
        try:
            call()
        except RuntimeError as error:
            return str(error)
        raise AssertionError("it was accepted")

    def work() -> None:
        assert other.predict(X[:700]).tobytes() == before.tobytes()
        other.fit(X, y, epochs=1, **OPTIONS)
        calls: list[Callable[[], Any]] = [
            lambda: net.predict(X),
            lambda: net.predict(X[:1]),
            lambda: net.fit(X, y, epochs=1, **OPTIONS),
            lambda: net.evaluate(X, y),
            lambda: net.gradient(X, y),
            lambda: net.forward(X),
            lambda: pickle.dumps(net),
        ]
        for call in calls:
            assert "reset_training" in refused(call)
        net.reset_training()
        assert np.isfinite(net.predict(X)).all()
        net.fit(X, y, epochs=1, **OPTIONS)

    def accepts_at_once() -> None:
        net.reset_training()
        net.fit(X, y, epochs=1, **OPTIONS)

    ended: list[str] = []
    worker = threading.Thread(target=lambda: ended.append(net.fit(X, y, epochs=10**6, **full).stopped), daemon=True)
    worker.start()
    while net.last_fit is None:  # fit sets it once it holds the network
        time.sleep(0.001)
    children = []
    for i in range(5):
        time.sleep(0.011)
        children.append(in_child(accepts_at_once if i == 1 else work))
    for child in children:
        collect(child)
    net.stop()
    worker.join()
    assert ended == ["stop"]
    clean, _, _ = problem(way)
    steps = int(net._core.training_state()["step"])
    clean.fit(X, y, epochs=steps, **full)
    assert digest(net) == digest(clean)
    return steps


@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_fork_while_another_thread_fits(way: str) -> None:
    """The parent's fit goes on to the bits of an undisturbed one. The child refuses that network until reset_training(); others work at once."""
    assert apart.run(during_fit, way) > 0


def from_a_callback(way: str) -> list[int]:
    """The thread that fits forks between two epochs: both processes are inside fit, and both finish it."""
    cr.set_num_threads(2)
    net, X, y = problem(way)
    clean, _, _ = problem(way)
    clean.fit(X, y, epochs=4, **OPTIONS)
    children: list[tuple[int, int]] = []
    pipes: list[int] = []

    class Forks(cr.Callback):
        def on_epoch_end(self, net: cr.Network, epoch: int, record: Mapping[str, float]) -> object:
            if epoch != 1:
                return None
            reading, writing = os.pipe()
            process = os.fork()
            if process:
                os.close(writing)
                children.append((process, reading))
            else:
                pipes.append(writing)
            net.predict(X)
            return None

    net.fit(X, y, epochs=4, callbacks=[Forks()], **OPTIONS)
    if pipes:
        net.predict(X)
        os.write(pipes[0], pickle.dumps(("ok", digest(net))))
        os._exit(0)
    return [digest(clean), digest(net), collect(children[0])]


@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_fork_from_a_callback(way: str) -> None:
    """Both processes finish the fit at the same bits."""
    assert len(set(apart.run(from_a_callback, way))) == 1


def from_a_loss() -> list[int]:
    """A loss of one's own forks in the middle of a step."""
    cr.set_num_threads(2)
    net, X, y = problem("layers")
    target = np.eye(10, dtype=np.float32)[y]
    forked: list[int] = []
    pipe: list[int] = []

    def loss(y: Array, a: Array) -> tuple[float, Array]:
        if not forked:
            reading, writing = os.pipe()
            pipe.extend((reading, writing))
            forked.append(os.fork())
        d = a - y
        return 0.5 * float((d * d).sum()) / len(y), d / len(y)

    net.fit(X, target, loss=loss, epochs=2, **OPTIONS)
    if forked[0] == 0:
        os.write(pipe[1], pickle.dumps(("ok", digest(net))))
        os._exit(0)
    os.close(pipe[1])
    return [digest(net), collect((forked[0], pipe[0]))]


def test_fork_in_the_middle_of_a_step() -> None:
    """The step goes on in both processes."""
    assert len(set(apart.run(from_a_loss))) == 1


def during_predict() -> int:
    """The main thread forks while others predict: the child fits and predicts at once."""
    cr.set_num_threads(2)
    net, X, y = problem("layers")
    done = threading.Event()

    def predict() -> None:
        while not done.is_set():
            net.predict(X)

    workers = [threading.Thread(target=predict) for _ in range(3)]
    for worker in workers:
        worker.start()

    def work() -> None:
        twins = [threading.Thread(target=net.predict, args=(X,)) for _ in range(4)]
        for twin in twins:
            twin.start()
        for twin in twins:
            twin.join()
        net.fit(X, y, epochs=1, **OPTIONS)
        assert np.isfinite(net.predict(X)).all()

    children = []
    for _ in range(5):
        time.sleep(0.005)
        children.append(in_child(work))
    done.set()
    for worker in workers:
        worker.join()
    for child in children:
        collect(child)
    net.fit(X, y, epochs=1, **OPTIONS)
    return len(children)


def test_fork_while_others_predict() -> None:
    """Readers that exist no more hold nothing up."""
    assert apart.run(during_predict) == 5


def interrupted_child() -> list[str]:
    """Ctrl-C reaches both, as in a terminal."""
    net, X, y = problem("layers")
    net.fit(X, y, epochs=1, **OPTIONS)

    def work() -> str:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with contextlib.suppress(KeyboardInterrupt):
            net.fit(X, y, epochs=10**6, **OPTIONS)
        assert net.last_fit is not None
        return net.last_fit.stopped

    child = in_child(work)
    return [work(), collect(child)]


def test_ctrl_c_after_a_fork() -> None:
    """Each process hears its own signal."""
    assert apart.run(interrupted_child) == ["interrupted", "interrupted"]


def predicted(net: cr.Network, X: Array) -> bytes:
    """Runs in a worker process: one epoch, then a prediction."""
    net.fit(X, np.zeros(len(X), dtype=int), epochs=1, **OPTIONS)
    return bytes(net.predict(X).data)


def other_processes(method: str) -> int:
    """A network goes to worker processes and comes back."""
    cr.set_num_threads(2)
    net, X, y = problem("chunks")
    net.fit(X, y, epochs=1, **OPTIONS)
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap(predicted, [(net, X)] * 3)
    return len({*found, predicted(net, X)})


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str) -> None:
    """Pickled networks give the same bits in every worker and here."""
    assert apart.run(other_processes, method) == 1
