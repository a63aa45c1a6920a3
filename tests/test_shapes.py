# SPDX-License-Identifier: MIT
"""Pools, means and views where the collection of graphs does not go: exact results, ties, NaN, threads, what is refused; ``net.summary()``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from by_threads import assert_same_bits

Array = np.ndarray[Any, np.dtype[Any]]


def value(layer: cr.Layer, x: Array) -> Array:
    """What one layer makes of x."""
    found: Array = cr.Network([cr.Input(x.shape[1:]), layer], dtype="float64").predict(x)
    return found


def test_small_cases_by_hand() -> None:
    x = np.arange(12.0).reshape(1, 3, 4, 1)
    assert value(cr.MaxPool(2), x)[0, ..., 0].tolist() == [[5, 7]]
    assert value(cr.MaxPool(2, padding="same"), x)[0, ..., 0].tolist() == [[5, 7], [9, 11]]
    assert value(cr.AveragePool(2, padding="same"), x)[0, ..., 0].tolist() == [[2.5, 4.5], [8.5, 10.5]]
    assert value(cr.AveragePool(3, stride=2, padding=1), x)[0, ..., 0].tolist() == [[2.5, 4], [6.5, 8]]
    assert value(cr.GlobalAveragePool(), x).tolist() == [[5.5]]
    assert value(cr.MaxPool(3, stride=1), np.array([[[3.0], [1], [2], [9]]]))[0, :, 0].tolist() == [3, 9]
    assert np.array_equal(value(cr.Slice(-3, None, 2, axis=2), x), x[:, :, -3::2])
    assert np.array_equal(value(cr.Slice(0, 100), x), x)
    assert np.array_equal(value(cr.UpSample((2, 3)), x), x.repeat(2, axis=1).repeat(3, axis=2))
    assert value(cr.UpSample(), x[0]).shape == (3, 8, 1)
    assert value(cr.UpSample(2, "bilinear"), np.array([[[0.0], [4], [8]]]))[0, :, 0].tolist() == [0, 1, 3, 5, 7, 8]
    assert value(cr.UpSample((1, 3), "bilinear"), np.array([[[[3.0], [6]]]]))[0, 0, :, 0] == pytest.approx([3, 3, 4, 5, 6, 6], rel=1e-15)
    assert np.array_equal(value(cr.Transpose((3, 1, 2)), x), x.transpose(0, 3, 1, 2))
    assert np.array_equal(value(cr.Reshape((2, -1)), x), x.reshape(1, 2, 6))


def test_the_first_of_equal_maxima_gets_the_gradient() -> None:
    """Ties are common behind a relu; a constant image gives each window's first place all of dz."""
    net = cr.Network([cr.Input((4, 4, 2)), cr.MaxPool(2)], dtype="float64")
    net.forward(np.zeros((1, 4, 4, 2)))
    dx = net.backward(np.arange(1.0, 9).reshape(1, 2, 2, 2))
    expected = np.zeros((1, 4, 4, 2))
    expected[:, ::2, ::2] = np.arange(1.0, 9).reshape(1, 2, 2, 2)
    assert np.array_equal(dx, expected)


def test_a_nan_stays_in_its_windows() -> None:
    x = np.zeros((2, 4, 4, 3))
    x[0, 1, 1, 0] = np.nan
    z = value(cr.MaxPool(2), x)
    assert np.isnan(z[0, 0, 0, 0])
    assert np.isnan(z).sum() == 1


def image_network(dtype: str = "float32") -> cr.Network:
    x = cr.Input((12, 12, 6))
    h = cr.MaxPool(3, stride=2, padding=1)(cr.Dense(24, "relu")(x))
    h = cr.AveragePool(2)(cr.Dense(32, "tanh")(h))
    h = cr.Flatten()(cr.Transpose()(cr.Slice(0, 24)(h)))
    return cr.Network(inputs=x, outputs=cr.Dense(5, "softmax")(h), seed=3, dtype=dtype)


def test_threads_change_no_bit(rng: np.random.Generator) -> None:
    """1, 2, 3 and 7 threads, each of which worked: one result."""
    X, y = rng.normal(size=(300, 12, 12, 6)).astype(np.float32), rng.integers(0, 5, 300)
    assert_same_bits(image_network, lambda net: net.fit(X, y, epochs=1, batch_size=128), X)


# ---- what is refused --------------------------------------------------------------------------------------------------------------------


def chain(*layers: cr.Layer, shape: Any = (6, 8, 3)) -> cr.Network:
    return cr.Network([cr.Input(shape), *layers])


REFUSED: list[tuple[Callable[[], object], type[Exception], str]] = [
    (lambda: cr.MaxPool(0), ValueError, r"\[max_pool\] size is 0: expected an integer >= 1"),
    (lambda: cr.MaxPool(2.0), TypeError, r"\[max_pool\] size is 2.0: expected an integer"),
    (lambda: cr.MaxPool((2, 2, 2), name="p"), ValueError, r"\[p\] size is \(2, 2, 2\): expected one number, or one for each"),
    (lambda: cr.AveragePool(2, stride=(1, 0)), ValueError, r"\[average_pool\] stride is 0"),
    (lambda: cr.AveragePool(2, padding="full"), ValueError, r"\[average_pool\] padding is 'full': expected 'valid', 'same'"),
    (lambda: cr.AveragePool(2, padding=-1), ValueError, r"\[average_pool\] padding is -1"),
    (lambda: chain(cr.MaxPool(7)), ValueError, r"\[max_pool_1\] the window has 7 places along axis 1 and the padded input 6 \(\(n, 6, 8, 3\)\)"),
    (lambda: chain(cr.MaxPool((2, 9))), ValueError, r"window has 9 places along axis 2 and the padded input 8"),
    (lambda: chain(cr.MaxPool(2, padding=2)), ValueError, r"padding is 2 and the window 2: expected less padding"),
    (lambda: chain(cr.MaxPool(2), shape=5), ValueError, r"input is \(n, 5\): expected \(n, T, channels\) or \(n, h, w, channels\)"),
    (lambda: chain(cr.MaxPool((2, 2)), shape=(5, 2)), ValueError, r"size holds 2 numbers: expected one, or 1, one for each axis of places"),
    (lambda: chain(cr.MaxPool(2), shape=(None, 2)), ValueError, r"input is \(n, None, 2\): expected known sizes"),
    (lambda: chain(cr.GlobalAveragePool(), shape=5), ValueError, r"\[global_average_pool_1\] input is \(n, 5\): expected \(n, T, channels\)"),
    (lambda: chain(cr.Mean(0)), ValueError, r"\[mean_1\] axis is 0 and the input is \(n, 6, 8, 3\): expected an axis after that of the samples"),
    (lambda: chain(cr.Mean(4)), ValueError, r"\[mean_1\] axis is 4"),
    (lambda: cr.Mean(1.5), TypeError, r"\[mean\] axis is 1.5: expected an integer"),
    (lambda: cr.UpSample(0), ValueError, r"\[up_sample\] size is 0: expected an integer >= 1"),
    (lambda: cr.UpSample(2, "cubic"), ValueError, r"\[up_sample\] mode is 'cubic': expected 'nearest' or 'bilinear'"),
    (lambda: chain(cr.UpSample((2, 2)), shape=(5, 2)), ValueError, r"\[up_sample_1\] size holds 2 numbers: expected one, or 1"),
    (lambda: chain(cr.UpSample(2), shape=(None, 2)), ValueError, r"\[up_sample_1\] input is \(n, None, 2\): expected known sizes"),
    (lambda: chain(cr.UpSample(2**31 - 1)), ValueError, r"\[up_sample_1\] output .* is too large"),
    (lambda: cr.Reshape((2, 0)), ValueError, r"\[reshape\] shape is \(2, 0\): expected axes of at least 1, at most one of them -1"),
    (lambda: cr.Reshape((-1, -1)), ValueError, r"\[reshape\] shape is \(-1, -1\)"),
    (lambda: cr.Reshape((2.5,)), TypeError, r"\[reshape\] shape is 2.5"),
    (lambda: chain(cr.Reshape((5, 7))), ValueError, r"\[reshape_1\] input is \(n, 6, 8, 3\), 144 numbers a sample: shape \(n, 5, 7\) has 35"),
    (lambda: chain(cr.Reshape((5, -1))), ValueError, r"144 numbers a sample: shape \(n, 5, -1\) needs a multiple of 5"),
    (lambda: chain(cr.Reshape(6), shape=(None, 6)), ValueError, r"\[reshape_1\] input is \(n, None, 6\): expected known sizes"),
    (lambda: chain(cr.Transpose((1, 2))), ValueError, r"\[transpose_1\] axes names 2 axes and the input is \(n, 6, 8, 3\): expected each of its 3"),
    (lambda: chain(cr.Transpose((1, 1, 2))), ValueError, r"\[transpose_1\] axes names axis 1 twice"),
    (lambda: chain(cr.Transpose((0, 1, 2))), ValueError, r"\[transpose_1\] axis is 0"),
    (lambda: cr.Transpose("12"), TypeError, r"\[transpose\] axes is '12': expected a tuple of integers"),
    (lambda: chain(cr.Slice(3, 3)), ValueError, r"\[slice_1\] of 3 places along axis -1 nothing is left \(\(n, 6, 8, 3\)\): expected start < stop"),
    (lambda: cr.Slice(step=0), ValueError, r"\[slice\] step is 0: expected an integer >= 1"),
    (lambda: chain(cr.Slice(0, 2, axis=1), shape=(None, 4)), ValueError, r"\[slice_1\] input is \(n, None, 4\): expected an axis 1 of known size"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "error", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused(build: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


# ---- summary ----------------------------------------------------------------------------------------------------------------------------


def test_summary_counts() -> None:
    x = cr.Input((None, 4), name="x")
    f = cr.Dense(4, "tanh", name="f", trainable=False)
    net = cr.Network(inputs=x, outputs=cr.Dense(2, bias=False)(cr.GlobalAveragePool()(f(f(x)))))
    found = net.summary()
    assert [tuple(line) for line in found.lines] == [
        ("x", "input", (None, 4), 0, 0),
        ("f", "dense, tanh, frozen", (None, 4), 20, 16),
        ("f", "dense, tanh; shared, see above, frozen", (None, 4), 0, 16),
        ("global_average_pool_1", "global average pool", (4,), 0, 0),
        ("dense_1", "dense", (2,), 8, 8),
    ]
    assert (found.parameters, found.trainable, found.multiply_adds, found.bytes) == (28, 8, 40, 112)
    assert str(found).splitlines()[-1] == "28 parameters, 20 of them frozen, 112 bytes; 40 multiply-adds a sample"
    assert image_network().summary().lines[2].multiply_adds == 0
    assert image_network().summary().lines[1][1:] == ("dense, relu", (12, 12, 24), 168, 12 * 12 * 6 * 24)
