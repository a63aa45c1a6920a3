# SPDX-License-Identifier: MIT
"""What can go wrong with device="cuda": one error each, which says what it is and what to do, and a network as it was. docs/cuda.md.

Each machine that the emulation plays (no driver, no card, an old one, little memory) is a process of its own.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import subprocess
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apart
import chainrule as cr
import numpy as np
import pytest
from test_fork import collect, in_child

Array = np.ndarray[Any, np.dtype[Any]]
CARDS = {"CHAINRULE_EMULATION_DEVICES": "1"}


def network(device: str = "cuda", width: int = 33, **options: Any) -> cr.Network:
    return cr.Network([cr.Input(64), cr.Dense(width, "relu"), cr.Dropout(0.2), cr.Dense(10, "softmax")], seed=3, device=device, **options)


def digits(n: int = 200) -> tuple[Array, Array]:
    X, y = cr.datasets.load_digits()[:2]
    return (X[:n] / 16).astype(np.float32), y[:n]


def said(call: Callable[[], Any]) -> list[str]:
    """[type, message] of what a call raises."""
    try:
        call()
    except Exception as error:
        return [type(error).__name__, str(error)]
    raise AssertionError("it was accepted")


def refused(device: str) -> list[list[str]]:
    """How a network on that device is refused: a new one, and one that was to move there and stays whole."""
    net = network("cpu")
    X, _ = digits(5)
    before = net.predict(X)
    answers = [said(lambda: network(device)), said(lambda: net.to(device))]
    assert net.device == "cpu"
    assert net.predict(X).tobytes() == before.tobytes()
    net.fit(*digits(50), epochs=1)
    return answers


def assert_refused(kind: str, message: str, device: str = "cuda", env: dict[str, str] | None = None) -> None:
    for name, words in apart.run(refused, device, env=env):
        assert name == kind
        assert message in words
        assert words.startswith(("[cuda", "[network]"))


def test_a_build_without_it() -> None:
    if importlib.util.find_spec("chainrule_cuda"):
        pytest.skip("chainrule-cuda is installed")
    words = "this build runs on the CPU alone: install chainrule[cuda], or use device='cpu'"
    assert_refused("RuntimeError", words, env={"CHAINRULE_CUDA_FOLDER": ""})


def test_a_folder_without_it(tmp_path: Path) -> None:
    words = f"CHAINRULE_CUDA_FOLDER is {str(tmp_path)!r}, where there is no libchainrule_cuda.so"
    assert_refused("RuntimeError", words, env={"CHAINRULE_CUDA_FOLDER": str(tmp_path)})


@pytest.mark.parametrize(
    ("code", "other"),
    [
        ("const void* chainrule_cuda_library(int abi) { return 0; }", ""),
        (
            'static struct { int abi; _Bool emulated; const char *version, *toolkit; void* rest[99]; } l = {0, 0, "0.0.9", "13.0"};'
            "const void* chainrule_cuda_library(int abi) { l.abi = abi; return &l; }",
            " but to 0.0.9",
        ),
        ("int other;", ""),
    ],
    ids=["contract", "release", "else"],
)
def test_a_library_of_another_version(code: str, other: str, tmp_path: Path) -> None:
    """One that knows another contract, one of another release with the same contract (device.h), and one that is something else."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no compiler")
    (tmp_path / "other.c").write_text(code)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(tmp_path / "libchainrule_cuda.so"), str(tmp_path / "other.c")], check=True)
    words = f"libchainrule_cuda.so does not belong to chainrule {cr.__version__}{other}: install chainrule-cuda=={cr.__version__}"
    assert_refused("RuntimeError", words, env={"CHAINRULE_CUDA_FOLDER": str(tmp_path)})


def test_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "libchainrule_cuda.so").write_text("no library")
    assert_refused("RuntimeError", "cannot be loaded: ", env={"CHAINRULE_CUDA_FOLDER": str(tmp_path)})


@pytest.mark.parametrize("device", ["gpu", "cuda:", "CUDA", "cuda:-1", "cuda:1.0", 0, None])
def test_what_is_no_device(device: Any) -> None:
    net = network("cpu")
    for call in (lambda: network(device), lambda: net.to(device)):
        assert said(call) == ["ValueError", f"[network] device is {device!r}: expected 'cpu', 'cuda' or 'cuda:1'"]


MACHINES = {
    "no driver": ({"DEVICES": "-1"}, "this machine has no NVIDIA driver for CUDA 13.0 (CUDA driver version is insufficient"),
    "no card": ({"DEVICES": "0"}, "the driver shows no CUDA device (no CUDA-capable device is detected): look at CUDA_VISIBLE_DEVICES"),
    "an old card": ({"CAPABILITY": "6.1"}, "cuda:0 (emulated card 0) has compute capability 6.1: chainrule-cuda needs 7.5 or later"),
    "no memory": ({"MEMORY": "100000"}, "[cuda:0] out of memory (cudaMalloc: out of memory)"),
}


def need_emulation() -> None:
    import cards

    if cards.missing() or not cards.emulated():
        pytest.skip("plays other machines: needs an emulated card")


@pytest.mark.gpu
@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_that_cannot(machine: str) -> None:
    need_emulation()
    settings, words = MACHINES[machine]
    assert_refused("RuntimeError", words, env={f"CHAINRULE_EMULATION_{name}": value for name, value in settings.items()})


@pytest.mark.gpu
def test_a_card_that_is_not_there() -> None:
    need_emulation()
    assert_refused("ValueError", "device is 'cuda:7': this machine has 1 device, 'cuda:0'", "cuda:7", CARDS)
    several = {"CHAINRULE_EMULATION_DEVICES": "3"}
    assert_refused("ValueError", "device is 'cuda:7': this machine has 3 devices, from 'cuda:0'", "cuda:7", several)


def fits_too_large() -> list[Any]:
    """A loss that sees the whole batch, of too many rows for the card."""
    X = np.tile(digits(1000)[0], (20, 1))
    net = network(width=500)

    def loss(y: Array, a: Array) -> tuple[float, Array]:
        return float(((a - y) ** 2).sum()), 2 * (a - y)

    before = np.asarray(net.flat_parameters)
    target = np.zeros((len(X), 10), np.float32)
    answers = [said(lambda: net.fit(X, target, loss=loss, batch_size=None, epochs=2, optimizer="sgd"))]
    assert np.array_equal(before, net.flat_parameters)
    assert net._core.training_state()["epoch"] == 0
    net.fit(X[:200], target[:200], loss=loss, batch_size=50, epochs=2, optimizer="sgd")  # all is well with the network
    return answers


def has_no_room() -> list[Any]:
    """There is room for the network, and none for Adam's moments."""
    X, y = digits()
    wide = network(width=8000)
    before = np.asarray(wide.flat_parameters)
    answers = [said(lambda: wide.fit(X, y, optimizer="adam", epochs=1))]
    assert np.array_equal(before, wide.flat_parameters)
    assert np.isfinite(wide.predict(X[:50])).all()
    return answers


@pytest.mark.gpu
@pytest.mark.parametrize("work", [fits_too_large, has_no_room])
def test_a_fit_that_is_too_large(work: Callable[[], Any]) -> None:
    need_emulation()
    for name, words in apart.run(work, env={"CHAINRULE_EMULATION_MEMORY": str(10 << 20)}):
        assert name == "RuntimeError"
        assert words.startswith("[cuda:0] out of memory (")
        assert "are free; use a smaller batch_size, a smaller network, or device='cpu'" in words


def warned() -> list[list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network()
        network().to("cpu").to("cuda")
    return [[w.category.__name__, str(w.message), w.filename] for w in caught]


@pytest.mark.gpu
def test_an_emulation_says_so_once() -> None:
    need_emulation()
    ((kind, words, where),) = apart.run(warned)
    assert kind == "RuntimeWarning"
    assert words == "device='cuda' is emulated on the CPU in this build: for tests, slow, and no card is used"
    assert where == __file__


def forked() -> list[list[str]]:
    """What a child answers whose parent has used CUDA; it must not hang, and computes on the CPU."""
    X, y = digits()
    net = network()
    before = net.predict(X)

    def work() -> list[list[str]]:
        calls: list[Callable[[], Any]] = [
            lambda: net.predict(X),
            lambda: net.predict(X[:1]),
            lambda: net.fit(X, y, epochs=1),
            lambda: net.evaluate(X, y),
            lambda: net.gradient(X, y),
            lambda: net.forward(X),
            lambda: np.asarray(net.W[0]),
            lambda: net.W[0].__setitem__(..., 0),
            lambda: net.to("cpu"),
            lambda: net.save("none"),
            lambda: network(),
            lambda: cr._core.devices(),
        ]
        answers = [said(call) for call in calls]
        own = network("cpu")
        own.fit(X, y, epochs=1)
        answers.append(said(lambda: own.to("cuda")))
        del calls
        gc.collect()
        return answers

    answers: list[list[str]] = collect(in_child(work))
    assert np.array_equal(net.predict(X), before)
    return answers


@pytest.mark.gpu
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_refused() -> None:
    answers = apart.run(forked)
    assert len(answers) == 13
    for name, words in answers:
        assert name == "RuntimeError"
        assert "CUDA was used before this process was forked, and does not work in it: begin processes by multiprocessing's 'spawn'" in words


@pytest.mark.gpu
def test_a_network_that_is_fitted_stays_where_it_is() -> None:
    X, y = digits()
    net = network()
    answers: list[list[str]] = []

    class Move(cr.Callback):
        def on_epoch_end(self, net: cr.Network, epoch: int, record: dict[str, float]) -> None:
            answers.extend([said(lambda: net.to("cpu")), said(lambda: net.fit(X, y))])
            thread = threading.Thread(target=lambda: answers.extend([said(lambda: net.to("cpu")), said(lambda: net.predict(X))]))
            thread.start()
            thread.join()
            assert net.predict(X).shape == (len(X), 10)  # who fits may predict

    history = net.fit(X, y, epochs=2, callbacks=[Move()])
    assert history.epochs == 2
    assert net.device == "cuda:0"
    busy = "the network is being fitted"
    assert [(kind, busy in words) for kind, words in answers] == [("RuntimeError", True)] * 8
    assert np.isfinite(net.to("cpu").predict(X)).all()


@pytest.mark.gpu
def test_another_thread_cannot_move_it() -> None:
    X, y = digits()
    net, ended = network(), list[str]()
    thread = threading.Thread(target=lambda: ended.append(net.fit(X, y, epochs=10**6).stopped))
    thread.start()
    while net.last_fit is None or not net.last_fit.epochs:
        time.sleep(0.001)
    answers = [said(lambda: net.to("cpu")), said(lambda: net.predict(X)), said(lambda: net.save("none"))]
    net.stop()
    thread.join(30)
    assert ended == ["stop"]
    assert all(kind == "RuntimeError" and "the network is being fitted" in words for kind, words in answers)


@pytest.mark.gpu
def test_threads_predict_one_after_the_other() -> None:
    X, _ = digits()
    net = network()
    before = net.predict(X)
    wrong: list[Any] = []

    def work() -> None:
        for n in (200, 7, 93):
            a = net.predict(X[:n])
            if a.tobytes() != net.predict(X[:n]).tobytes() or not np.allclose(a, before[:n], atol=1e-6):
                wrong.append(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong
