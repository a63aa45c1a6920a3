# SPDX-License-Identifier: MIT
"""Networks with convolutions on device="cuda": training, prediction and files as on the CPU."""

from __future__ import annotations

from pathlib import Path

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close

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
