# SPDX-License-Identifier: MIT
"""Networks with convolutions on device="cuda": training, prediction and files as on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close
from graph_parts import Graph, assert_gradients, by_name, data
from graphs_conv import Parts, convolutions, sequences, transposed

pytestmark = pytest.mark.gpu

NETWORKS: dict[str, tuple[tuple[int, ...], list[cr.Layer]]] = {
    "images": (
        (8, 8, 1),
        [
            cr.Conv2D(6, 3, "relu", stride=2),
            cr.Conv2D(6, 3, "tanh", groups=6),
            cr.Conv2D(4, 1),
            cr.ConvTranspose2D(8, 3, "silu", stride=2, groups=2),
            cr.Conv2D(8, 2, "relu", dilation=2, groups=4, padding="valid"),
        ],
    ),
    "sequences": ((16, 4), [cr.Conv1D(6, 3, "tanh", padding="causal", dilation=2), cr.Conv1D(5, 2, "relu", stride=2, bias=False)]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", NETWORKS)
def test_training_is_the_same(case: str, dtype: str, tmp_path: Path) -> None:
    """Losses of two epochs in ragged batches; then what is predicted, also from a file that the card wrote and the CPU reads."""
    shape, layers = NETWORKS[case]
    X, y = cr.datasets.load_digits()[:2]
    X, y = (X[:100] / 16).astype(dtype).reshape(100, *shape), y[:100]
    found = []
    for device in ("cpu", "cuda"):
        net = cr.Network([cr.Input(shape), *layers, cr.Flatten(), cr.Dense(10, "softmax")], seed=3, dtype=dtype, device=device)
        history = net.fit(X, y, optimizer=cr.Adam(1e-3), epochs=2, batch_size=48)
        net.save(tmp_path / device)
        found.append((np.array(history["loss"]), np.asarray(net.predict(X[:7])), np.asarray(cr.load(tmp_path / device).predict(X[:7]))))
    tolerance = 1e-4 if dtype == "float32" else 1e-10
    for cpu, card in zip(*found, strict=True):
        assert_close(card, cpu, tolerance, atol=tolerance)


@pytest.mark.parametrize("parts", [convolutions, sequences, transposed])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_are_the_same(rng: np.random.Generator, parts: Callable[[], Parts], dtype: str) -> None:
    """Of every stride, dilation, padding and grouping, shared, frozen and added to."""
    graph = Graph(*parts())
    net = graph.network(dtype)
    x, y = data(net, graph.all_losses, rng, 5)
    options = {"loss": tuple(graph.all_losses), "loss_weights": tuple(graph.all_weights)}
    cpu = net.gradient(x, y, **options)
    expected = {name: np.array(g) for name, g in by_name(net, np.array(cpu.flat)).items()}
    net.to("cuda")
    card = net.gradient(x, y, **options)
    assert card.loss == pytest.approx(cpu.loss, rel=1e-5)
    assert_gradients(net, by_name(net, np.asarray(card.flat)), expected, "on the card")


def test_the_same_bits_in_every_run() -> None:
    """Chunks of a gradient's pixels are added in one order."""
    X, y = cr.datasets.load_digits()[:2]
    X, y = (X[:40] / 16).reshape(40, 8, 8, 1), y[:40]
    runs = []
    for _ in range(2):
        net = cr.Network(
            [cr.Input((8, 8, 1)), cr.Conv2D(5, 3, "relu"), cr.Conv2D(5, 3, groups=5), cr.Flatten(), cr.Dense(10, "softmax")], seed=3, device="cuda"
        )
        net.fit(X, y, optimizer=cr.Adam(), epochs=2, batch_size=16)
        runs.append(np.asarray(net.flat_parameters).tobytes())
    assert runs[0] == runs[1]
