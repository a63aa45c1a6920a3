# SPDX-License-Identifier: MIT
"""device="cuda": the same network as on the CPU, by the kernels' own source, which the emulation executes (docs/cuda.md).

In ragged batches, both dtypes, with every optimizer; test_cuda_training.py has the options of `fit`, test_cuda_errors.py what goes wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close

pytestmark = pytest.mark.gpu
DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def network(device: str, dtype: str = "float32", dropout: float = 0.2) -> cr.Network:
    layers: list[cr.Layer] = [cr.Input(64), cr.Dense(33, "relu"), cr.Dropout(dropout), cr.Dense(17, "tanh"), cr.Dense(10, "softmax")]
    return cr.Network(layers, seed=3, dtype=dtype, device=device)


def digits(n: int = 500) -> tuple[Any, Any]:
    X, y = cr.datasets.load_digits()[:2]
    return X[:n] / 16, y[:n]


OPTIMIZERS: dict[str, tuple[cr.optim.Optimizer, Any]] = {
    "sgd": (cr.SGD(0.1), None),
    "momentum": (cr.SGD(0.1, momentum=0.9), cr.L2(1e-4)),
    "nesterov": (cr.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=0.5), [cr.L1(1e-5), cr.L2(1e-4, bias=True)]),
    "rmsprop": (cr.RMSprop(1e-3), cr.L1(1e-4, proximal=True)),
    "adam": (cr.Adam(1e-3), cr.L2(1e-4, per_sample=True)),
    "adamw": (cr.AdamW(1e-3, lam=0.01), None),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", OPTIMIZERS)
def test_training_is_the_same(case: str, dtype: str) -> None:
    """Losses, weights and accuracy of three epochs with dropout, in ragged batches."""
    X, y = digits()
    optimizer, penalty = OPTIMIZERS[case]
    found = []
    for device in ("cpu", "cuda"):
        net = network(device, dtype)
        history = net.fit(X.astype(dtype), y, optimizer=optimizer, penalty=penalty, epochs=3, batch_size=96)
        a = np.asarray(net.predict(X[:7].astype(dtype)))
        found.append((history["loss"], np.asarray(net.flat_parameters), net.evaluate(X.astype(dtype), y), a))
    (loss, w, scores, p), (cuda_loss, cuda_w, cuda_scores, cuda_p) = found
    tolerance = 100 * TOLERANCE[dtype]
    assert_close(np.array(cuda_loss), np.array(loss), tolerance)
    assert np.linalg.norm(cuda_w.astype(float) - w.astype(float)) <= tolerance * np.linalg.norm(w)
    assert cuda_scores["accuracy"] == pytest.approx(scores["accuracy"], abs=1 / 500)
    assert np.abs(cuda_p.astype(float) - p.astype(float)).max() <= tolerance


def test_the_same_bits_in_every_run() -> None:
    X, y = digits(200)
    runs = []
    for _ in range(2):
        net = network("cuda")
        net.fit(X, y, optimizer=cr.Adam(), epochs=2, batch_size=64)
        runs.append(np.asarray(net.flat_parameters).tobytes())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_the_same(dtype: str) -> None:
    X, y = digits(50)
    cpu, card = (network(device, dtype, 0.0).gradient(X.astype(dtype), y) for device in ("cpu", "cuda"))
    assert cpu.loss == pytest.approx(card.loss, rel=TOLERANCE[dtype])
    g = np.asarray(cpu.flat, float)
    assert np.linalg.norm(np.asarray(card.flat, float) - g) <= 10 * TOLERANCE[dtype] * np.linalg.norm(g)


def test_it_moves_there_and_back(tmp_path: Path) -> None:
    """With its weights; and a file that a network on the card wrote is read on the CPU."""
    X, _ = digits(20)
    net = network("cpu")
    before = np.asarray(net.predict(X))
    moved = net.to("cuda")
    assert moved.device == "cuda:0" or moved.device == "cuda"
    assert_close(np.asarray(moved.predict(X)).astype(float), before.astype(float), 1e-5, atol=1e-6)
    path = tmp_path / "net.safetensors"
    moved.save(path)
    assert_close(np.asarray(cr.load(path).predict(X)).astype(float), before.astype(float), 1e-5, atol=1e-6)
    assert np.array_equal(np.asarray(moved.to("cpu").predict(X)), before)


@pytest.mark.parametrize(("scale", "rate"), [(1e30, 1e30), (1, 1e38), (1, 1e15)])
def test_a_divergence_is_the_same(scale: float, rate: float) -> None:
    """The same words, and the last loss before it, of the same step."""
    X, y = digits(200)
    errors = []
    for device in ("cpu", "cuda"):
        net = cr.Network([cr.Input(64), cr.Dense(33, "relu"), cr.Dense(10, "softmax")], seed=3, device=device)
        with pytest.raises(cr.DivergenceError) as caught:
            net.fit(scale * X, y, optimizer=cr.SGD(rate), epochs=3, batch_size=50)
        assert np.isfinite(np.asarray(net.flat_parameters)).all()
        errors.append(caught.value)
    one, other = errors
    assert (one.epoch, one.layer, one.args[0]) == (other.epoch, other.layer, other.args[0])
    assert_close(other.last_loss, one.last_loss, 1e-4, equal_nan=True)


def test_tf32_has_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Factors of 10 bits: what comes out differs from the CPU's by about 2^-11, and by rounding alone without."""
    X, _ = digits(50)
    expected = np.asarray(network("cpu").predict(X))
    errors = {}
    for setting in ("0", "1"):
        monkeypatch.setenv("CHAINRULE_TF32", setting)
        errors[setting] = np.abs(np.asarray(network("cuda").predict(X)) - expected).max()
    assert errors["0"] <= 1e-6
    assert 1e-5 <= errors["1"] <= 1e-2
    monkeypatch.setenv("CHAINRULE_TF32", "yes")
    with pytest.raises(ValueError, match='CHAINRULE_TF32 is "yes": expected 0 or 1'):
        network("cuda")
