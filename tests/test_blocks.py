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
