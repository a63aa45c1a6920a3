# SPDX-License-Identifier: MIT
"""Convolutions where the collection of graphs does not go: random geometries beside the twin, bits by threads, what is refused."""

from __future__ import annotations

from typing import Any

import chainrule as cr
import numpy as np
import pytest
from by_threads import assert_same_bits
from chainrule import reference
from compare import assert_close
from graph_parts import CHUNKS_UP_TO


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


def random_transpose(rng: np.random.Generator) -> tuple[tuple[int, ...], cr.ConvTranspose2D]:
    """The same for a transposed convolution: small images, which grow."""
    _, layer = random_case(rng)
    depthwise = layer.groups == layer.filters
    shape = (*(int(v) for v in rng.integers(1, 7, size=2)), layer.groups * (1 if depthwise else int(rng.integers(1, 12))))
    options = {k: v for k, v in layer.spec().items() if k not in ("type", "padding", "trainable")}
    padding: Any = ["same", "valid", "numbers"][rng.integers(3)]
    if padding == "numbers":
        full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(shape, layer.stride, layer.kernel, layer.dilation, strict=False)]  # type: ignore[arg-type]
        padding = tuple((int(rng.integers(0, (f + 1) // 2)), int(rng.integers(0, (f + 1) // 2))) for f in full)
    return shape, cr.ConvTranspose2D(**options, padding=padding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(90))
def test_random_geometries(seed: int, dtype: str) -> None:
    """z, dx, dW and db of two images; the last third are transposed."""
    rng = np.random.default_rng(seed)
    shape, layer = random_case(rng) if seed < 60 else random_transpose(rng)
    net = cr.Network([cr.Input(shape), layer], dtype=dtype, seed=seed)
    x = rng.normal(size=(2, *shape)).astype(dtype)
    name = f"{layer.type}_1"
    spec = net.spec["layers"][name]
    w, b = net.parameters[f"{name}.W"], net.parameters[f"{name}.b"]
    b[...] = rng.normal(size=b.shape)
    z = reference.convolutions.forward(x, w, b, spec)
    dz = rng.normal(size=z.shape).astype(dtype)
    a, dx = net.forward(x), net.backward(dz=dz)
    expected = (z, *reference.convolutions.backward(dz, x, w, spec))
    for found, twin in zip((a, dx, net.gradients[f"{name}.W"], net.gradients[f"{name}.b"]), expected, strict=True):
        tol = (1e-5 if dtype == "float32" else 1e-12) * max(1.0, float(np.abs(twin).max()))
        assert_close(found, twin, 0.0, atol=tol, dtype=dtype)


def test_a_transpose_is_the_transpose() -> None:
    """<W * x, y> = <x, W^T * y> for the layers with the same W; the sizes that PyTorch gives for padding=1, output_padding=1."""
    rng = np.random.default_rng(2)
    down = cr.Network([cr.Input((8, 6, 3)), cr.Conv2D(5, 3, stride=2, padding=((1, 0), (1, 0)), bias=False)], dtype="float64")
    up = cr.Network([cr.Input((4, 3, 5)), cr.ConvTranspose2D(3, 3, stride=2, padding=((1, 0), (1, 0)), bias=False)], dtype="float64")
    assert down.output_shapes == [(4, 3, 5)]
    assert up.output_shapes == [(8, 6, 3)]
    up.flat_parameters[...] = down.flat_parameters
    x, y = rng.normal(size=(2, 8, 6, 3)), rng.normal(size=(2, 4, 3, 5))
    assert_close(np.sum(down.predict(x) * y), np.sum(x * up.predict(y)), 1e-12)


def test_a_transposed_convolution_has_its_own_numbers(tmp_path: Any) -> None:
    """Multiply-adds, formulas, a file, a batch norm behind it, which prediction leaves where it is."""
    net = cr.Network([cr.Input((4, 5, 3)), cr.ConvTranspose2D(6, 3, stride=2, groups=3), cr.BatchNorm(), cr.Activation("relu")], seed=0)
    line = net.summary().lines[1]
    assert (line.shape, line.parameters, line.multiply_adds) == ((8, 10, 6), 3 * 9 * 2 + 6, 4 * 5 * 3 * 9 * 2)
    assert net.W[0].shape == (3, 3, 3, 2)
    assert "W[0].T * a[0] + b[0]" in str(net)
    assert "W^{(1)T} *" in net.formula("latex")
    x = np.random.default_rng(0).normal(size=(40, 4, 5, 3)).astype("float32")
    net.fit(x, net.predict(x), epochs=1)
    assert_close(net.predict(x), net.forward(x), 1e-6, atol=1e-6, dtype="float32")
    net.save(tmp_path / "up.safetensors")
    assert np.array_equal(cr.load(tmp_path / "up.safetensors").predict(x), net.predict(x))


def image_network(wide: bool) -> cr.Network:
    hidden = 1000 if wide else 20
    return cr.Network(
        [
            cr.Input((12, 12, 3)),
            cr.Conv2D(9, 3, "relu"),
            cr.MaxPool(2),
            cr.Conv2D(20, 3, "tanh", groups=1, stride=2),
            cr.Conv2D(20, 3, groups=20),
            cr.Conv2D(32, 1, "relu"),
            cr.ConvTranspose2D(17, 3, "relu", stride=2),
            cr.MaxPool(2),
            cr.UpSample((1, 2)),
            cr.UpSample((2, 1), "bilinear"),
            cr.Flatten(),
            cr.Dense(hidden, "relu"),
            cr.Dense(4, "softmax"),
        ],
        seed=3,
    )


@pytest.mark.parametrize("wide", [False, True])
def test_the_same_bits_for_any_number_of_threads(wide: bool) -> None:
    """By chunks, and by layers (more than 262,144 parameters)."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 12, 12, 3)).astype("float32"), rng.integers(0, 4, 300)
    assert (image_network(wide).flat_parameters.size > CHUNKS_UP_TO) == wide
    assert_same_bits(lambda: image_network(wide), lambda net: net.fit(X, y, epochs=1, batch_size=128, optimizer="adam"), X)


def test_late_gradients_are_the_same() -> None:
    """A step of SGD that writes dW straight into the velocity, cut into tiles of W."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 12, 12, 3)), rng.integers(0, 4, 40)
    net = cr.Network.from_spec(image_network(True).spec, seed=3, dtype="float64")
    expected = net.flat_parameters - 0.1 * net.loss_and_gradient(X, y)[1]
    net.fit(X, y, epochs=1, batch_size=40, shuffle=False, optimizer=cr.SGD(0.1, momentum=0.9))
    assert_close(net.flat_parameters, expected, 1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "layer", [cr.Conv2D(10, 3, "identity"), cr.Conv2D(6, 3, groups=3, bias=False), cr.Conv2D(3, (1, 2), groups=3), cr.Conv2D(5, 1)]
)
def test_batch_norm_goes_into_the_convolution_before_it(layer: cr.Conv2D) -> None:
    """From 16 pixels on prediction multiplies it into W and b: other roundings than the two one after the other, the same values."""
    rng = np.random.default_rng(1)
    net = cr.Network([cr.Input((6, 7, 3)), layer, cr.BatchNorm(), cr.Activation("tanh")], seed=0, dtype="float64")
    for name, a in [*net.parameters.items(), *net.state.items()]:
        a[...] = rng.uniform(0.5, 2, a.shape) if name.endswith("variance") else rng.normal(size=a.shape)
    x = rng.normal(size=(40, 6, 7, 3))
    apart, folded = net.forward(x), net.predict(x)
    assert_close(folded, apart, 1e-11, atol=1e-12)
    assert not np.array_equal(folded, apart)


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
    refused(r"\[conv_transpose2d_1\] padding leaves out 8 numbers of 7 on an axis of the input", lambda: cr.ConvTranspose2D(4, 3, padding=4))
    refused(r"\[conv_transpose2d_1\] 6 channels do not divide into 4 groups", lambda: cr.ConvTranspose2D(4, 3, groups=4))
    refused(r"\[conv_transpose2d_1\] input is .*: expected known sizes", lambda: cr.ConvTranspose2D(4, 3), cr.Input((None, 5, 6)))
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
