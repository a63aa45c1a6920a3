# SPDX-License-Identifier: MIT
"""Blocks: what they put together, against the same written out; which samples stochastic depth leaves out; what depth does."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import chainrule as cr
import numpy as np
import pytest
from chainrule import blocks
from compare import assert_close

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))


def test_residual(rng: np.random.Generator) -> None:
    """x + F(x), also straight from an Input; S(x) + F(x)."""
    x = cr.Input(5)
    first, second, third = cr.Dense(5, "tanh"), cr.Dense(5), cr.Dense(4)
    h = blocks.residual(x, first, second)
    net = cr.Network(inputs=x, outputs=[h, blocks.residual(h, cr.Dense(4), shortcut=third)], dtype="float64")
    X = rng.normal(size=(7, 5))
    p = net.parameters
    a = X + np.tanh(X @ p["dense_1.W"].T) @ p["dense_2.W"].T
    shortcut, branch = a @ p["dense_3.W"].T, a @ p["dense_4.W"].T
    found = net.predict(X)
    assert_close(found[0], a, 1e-12, atol=1e-13)
    assert_close(found[1], shortcut + branch, 1e-12, atol=1e-13)


def size(outputs: cr.Node, x: cr.Input) -> int:
    """Parameters."""
    return int(cr.Network(inputs=x, outputs=outputs).flat_parameters.size)


def test_bottleneck() -> None:
    """Shapes, the weights of the formula, and those of the paper's ResNet-164 (He et al., ECCV 2016, table 2: 1.7 million)."""
    x = cr.Input((5, 6, 8))
    h = blocks.bottleneck(x, 3, expansion=3, stride=2)
    assert cr.Network(inputs=x, outputs=h).output_shapes == [(3, 3, 9)]
    assert size(h, x) == 3 * (8 + 9 * 3 + 9) + 8 * 9 + 2 * (8 + 3 + 3)
    assert size(blocks.bottleneck(x, 2), x) == 2 * (8 + 9 * 2 + 8) + 2 * (8 + 2 + 2)
    image = cr.Input((32, 32, 3))
    h = cr.Conv2D(16, 3, bias=False)(image)
    for filters in (16, 32, 64):
        for i in range(18):
            first = cr.Conv2D(4 * filters, 1, stride=1 if filters == 16 else 2, bias=False) if i == 0 else None
            h = blocks.bottleneck(h, filters, stride=2 if i == 0 and filters > 16 else 1, shortcut=first)
    h = cr.Dense(10, "softmax")(cr.GlobalAveragePool()(cr.Activation("relu")(cr.BatchNorm()(h))))
    assert round(size(h, image) / 1e6, 1) == 1.7


def test_dense_block_and_transition() -> None:
    """Shapes, the weights of the formulas, and those of the paper's DenseNet-BC (L = 100, k = 12; table 2: 0.8 million)."""
    x = cr.Input((5, 7, 8))
    d = blocks.dense_block(x, 3, 4, width=2)
    assert cr.Network(inputs=x, outputs=d).output_shapes == [(5, 7, 20)]
    assert size(d, x) == sum(2 * 4 * c + 9 * 2 * 4**2 + 2 * (c + 2 * 4) for c in (8, 12, 16))
    assert size(blocks.dense_block(x, 2, 4, width=0), x) == sum(9 * 4 * c + 2 * c for c in (8, 12))
    assert cr.Network(inputs=x, outputs=blocks.transition(d, 10)).output_shapes == [(2, 3, 10)]
    image = cr.Input((32, 32, 3))
    channels = 24
    h = cr.Conv2D(channels, 3, bias=False)(image)
    for block in range(3):
        h = blocks.dense_block(h, 16, 12)
        channels += 16 * 12
        if block < 2:
            channels //= 2
            h = blocks.transition(h, channels)
    h = cr.Dense(10, "softmax")(cr.GlobalAveragePool()(cr.Activation("relu")(cr.BatchNorm()(h))))
    assert size(h, image) == 769162


def test_stochastic_depth_leaves_out_samples(rng: np.random.Generator) -> None:
    """F of a sample is there as a whole, over 1 - rate, or not at all; in prediction it is always there."""
    x = cr.Input((2, 3))
    net = cr.Network(inputs=x, outputs=blocks.residual(x, cr.Dense(3), drop=0.25), dtype="float64", seed=4)
    X = rng.normal(size=(2000, 2, 3))
    branch = X @ net.parameters["dense_1.W"].T
    assert_close(net.predict(X), X + branch, 1e-12, atol=1e-13)
    found = net.forward(X, training=True) - X
    kept = np.abs(found).max(axis=(1, 2)) > 0
    assert_close(found[kept], branch[kept] / 0.75, 1e-9, atol=1e-12)
    assert abs(kept.mean() - 0.75) < 0.04  # four standard deviations


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"\[residual\] got no layers: expected those of F"):
        blocks.residual(cr.Input(3))
    with pytest.raises(ValueError, match=r"\[stochastic_depth\] rate is 1.0: expected 0 <= rate < 1"):
        blocks.residual(cr.Input(3), cr.Dense(3), drop=1.0)
    with pytest.raises(ValueError, match=r"\[bottleneck\] filters is 0"):
        blocks.bottleneck(cr.Input((4, 4, 3)), 0)
    with pytest.raises(TypeError, match=r"\[dense_block\] growth is 1.5"):
        blocks.dense_block(cr.Input((4, 4, 3)), 2, 1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"do not broadcast"):
        cr.Network(inputs=(y := cr.Input((4, 4, 3))), outputs=blocks.bottleneck(y, 3))
    with pytest.raises(ValueError, match=r"do not broadcast"):
        cr.Network(inputs=(x := cr.Input(3)), outputs=blocks.residual(x, cr.Dense(4)))


def test_vanishing_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    """The example's point, at a fifth of its training: delta vanishes through sigmoid and not through residual blocks, which learn."""
    example = importlib.import_module("vanishing_gradients")
    assert example.main(["--epochs", "6"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1:]}
    assert set(lines) == {"sigmoid", "tanh", "relu", "residual"}
    assert float(lines["sigmoid"][1]) < 1e-20
    assert 0.01 < float(lines["residual"][1]) < 100
    assert float(lines["residual"][2]) > 90 > 60 > float(lines["sigmoid"][2])
