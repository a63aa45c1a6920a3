# SPDX-License-Identifier: MIT
"""Convolutions where the collection of graphs does not go: random geometries beside the twin, bits by threads, what is refused."""

from __future__ import annotations

from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import reference
from compare import assert_close


def random_case(rng: np.random.Generator) -> tuple[tuple[int, ...], cr.Conv2D]:
    """An image's shape and a layer that fits it."""
    groups = int(rng.choice([1, 1, 2, 3]))
    depthwise = rng.random() < 0.3
    c = groups * int(rng.integers(1, 12))
    groups = c if depthwise else groups
    filters = c if depthwise and rng.random() < 0.7 else groups * int(rng.integers(1, 20))
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, most + 1, size=2)) for most in (4, 3, 3))
    padding: Any = rng.choice(np.array(["same", "valid", "numbers"]))
    if padding == "numbers":
        padding = tuple(tuple(int(v) for v in rng.integers(0, 5, size=2)) for _ in range(2))
    windows = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (int(rng.integers(w if padding == "valid" else max(1, w - 3), w + 9)) for w in windows)
    if not isinstance(padding, str):
        height, width = (max(s, w - sum(p)) for s, w, p in zip((height, width), windows, padding, strict=True))
    layer = cr.Conv2D(
        filters, kernel, stride=stride, dilation=dilation, padding=str(padding) if isinstance(padding, np.str_) else padding, groups=groups
    )
    return (height, width, c), layer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(60))
def test_random_geometries(seed: int, dtype: str) -> None:
    """z, dx, dW and db of two images."""
    rng = np.random.default_rng(seed)
    shape, layer = random_case(rng)
    net = cr.Network([cr.Input(shape), layer], dtype=dtype, seed=seed)
    x = rng.normal(size=(2, *shape)).astype(dtype)
    spec = net.spec["layers"]["conv2d_1"]
    w, b = net.parameters["conv2d_1.W"], net.parameters["conv2d_1.b"]
    b[...] = rng.normal(size=b.shape)
    z = reference.convolutions.forward(x, w, b, spec)
    dz = rng.normal(size=z.shape).astype(dtype)
    a, dx = net.forward(x), net.backward(dz=dz)
    expected = (z, *reference.convolutions.backward(dz, x, w, spec))
    for found, twin in zip((a, dx, net.gradients["conv2d_1.W"], net.gradients["conv2d_1.b"]), expected, strict=True):
        tol = (1e-5 if dtype == "float32" else 1e-12) * max(1.0, float(np.abs(twin).max()))
        assert_close(found, twin, 0.0, atol=tol, dtype=dtype)


def image_network(wide: bool) -> cr.Network:
    hidden = 300 if wide else 20
    return cr.Network(
        [
            cr.Input((12, 12, 3)),
            cr.Conv2D(9, 3, "relu"),
            cr.MaxPool(2),
            cr.Conv2D(20, 3, "tanh", groups=1, stride=2),
            cr.Conv2D(20, 3, groups=20),
            cr.Conv2D(32, 1, "relu"),
            cr.Flatten(),
            cr.Dense(hidden, "relu"),
            cr.Dense(4, "softmax"),
        ],
        seed=3,
    )


@pytest.mark.parametrize("wide", [False, True])
def test_the_same_bits_for_any_number_of_threads(wide: bool) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(70, 12, 12, 3)).astype("float32"), rng.integers(0, 4, 70)
    found = []
    before = cr.num_threads()
    try:
        for threads in (1, 2, 3):
            cr.set_num_threads(threads)
            net = image_network(wide)
            net.fit(X, y, epochs=2, batch_size=33, optimizer="adam")
            found.append((net.flat_parameters.copy(), net.predict(X)))
    finally:
        cr.set_num_threads(before)
    for parameters, a in found[1:]:
        assert np.array_equal(parameters, found[0][0])
        assert np.array_equal(a, found[0][1])


def test_a_network_of_convolutions_learns_and_comes_back_from_its_file(tmp_path: Any) -> None:
    X, y = cr.datasets.load_digits()
    X, y, X_test, y_test = cr.datasets.split(X, y)
    images = [a.reshape(-1, 8, 8, 1) for a in (X, X_test)]
    net = cr.Network(
        [
            cr.Input((8, 8, 1)),
            cr.Standardize(),
            cr.Conv2D(16, 3, "relu"),
            cr.MaxPool(2),
            cr.Conv2D(32, 3, "relu"),
            cr.Flatten(),
            cr.Dense(10, "softmax"),
        ],
        seed=0,
    )
    net.fit(images[0], y, epochs=8, optimizer="adam")
    assert net.evaluate(images[1], y_test)["accuracy"] > 0.97
    net.save(tmp_path / "cnn.safetensors")
    assert np.array_equal(cr.load(tmp_path / "cnn.safetensors").predict(images[1]), net.predict(images[1]))
    assert "W[0] * a[0] + b[0]" in str(net)
    assert net.W[1].shape == (32, 3, 3, 16)


def test_what_is_refused() -> None:
    image = cr.Input((5, 5, 6))

    def refused(match: str, layer: Any, x: Any = image) -> None:
        with pytest.raises(ValueError, match=match):
            cr.Network(inputs=x, outputs=layer()(x))

    refused(r"\[conv2d_1\] the kernel reaches over 7 .* only 5", lambda: cr.Conv2D(4, 7, padding="valid"))
    refused(r"\[conv2d_1\] 6 channels do not divide into 4 groups", lambda: cr.Conv2D(4, 3, groups=4))
    refused(r"\[conv2d_1\] input is \(n, 5\): expected images", lambda: cr.Conv2D(4, 3), cr.Input(5))
    refused(r"\[conv1d_1\] .* needs stride 1", lambda: cr.Conv1D(4, 3, stride=2), cr.Input((None, 2)))
    with pytest.raises(ValueError, match=r"filters is 4 and groups 3"):
        cr.Conv2D(4, 3, groups=3)
    with pytest.raises(ValueError, match=r"kernel is 0"):
        cr.Conv2D(4, 0)
    with pytest.raises(ValueError, match=r"padding is 'full'"):
        cr.Conv2D(4, 3, padding="full")
    with pytest.raises(ValueError, match=r"kernel is \(3, 3, 3\): expected one integer or 2"):
        cr.Conv2D(4, (3, 3, 3))
    with pytest.raises(TypeError, match=r"stride is 1.5"):
        cr.Conv2D(4, 3, stride=1.5)  # type: ignore[arg-type]
