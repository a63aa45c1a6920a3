# SPDX-License-Identifier: MIT
"""Arrays of every kind: what NumPy can read gives what the plain array gives, bit for bit; what it cannot is refused by name."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Array = np.ndarray[Any, np.dtype[Any]]
N = 40  # rows: a whole chunk and a part of one
PLAIN = np.random.default_rng(0).integers(0, 4, size=(N, 3)).astype(np.float64)  # values that every dtype holds
LABELS = np.random.default_rng(1).integers(0, 3, size=N)
PLAIN[:3] = 0  # the classes 0, 1, 2 all occur, and bool has both values
LABELS[:3] = (0, 1, 2)


class Column:
    """What a data frame is to NumPy."""

    def __init__(self, a: Array) -> None:
        self.a = a

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.a if dtype is None else self.a.astype(dtype)


class Subclass(np.ndarray):  # type: ignore[type-arg]
    """An ndarray by another name."""


def unaligned(a: Array) -> Array:
    """A copy whose elements lie at odd addresses."""
    raw = np.zeros(a.nbytes + 1, dtype=np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def field(a: Array) -> Array:
    """A field of a record array: the elements are 9 bytes apart, or more."""
    records = np.zeros(a.shape, dtype=[("byte", "u1"), ("f", a.dtype)])
    records["f"] = a
    return records["f"]


def gap(a: Array) -> Array:
    """Every second element of every axis of a larger array."""
    wide = np.full([2 * s for s in a.shape], 9, dtype=a.dtype)
    view = wide[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def frozen(a: Array) -> Array:
    """A read-only copy."""
    copy = a.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "list": lambda a: a.tolist(),
    "fortran": np.asfortranarray,
    "reversed rows": lambda a: a[::-1].copy()[::-1],
    "reversed columns": lambda a: a[..., ::-1].copy()[..., ::-1],
    "gaps": gap,
    "field": field,
    "unaligned": unaligned,
    "read-only": frozen,
    "data frame": Column,
    "subclass": lambda a: a.view(Subclass),
    "list of rows": list,
}
DTYPED = ["f2", "f4", "f8", ">f4", ">f8", "longdouble", ">i4", "<u2", "i1", "i2", "i4", "i8", "u1", "u4", "u8"]
LAYOUTS |= {name: lambda a, name=name: a.astype(name) for name in DTYPED}
DTYPES = ["float32", "float64"]


def network(dtype: str, *, standardize: bool = False) -> cr.Network:
    """3-5-3."""
    layers = [cr.Input(3), *([cr.Standardize()] if standardize else []), cr.Dense(5, "tanh"), cr.Dense(3, "softmax")]
    return cr.Network(layers, dtype=dtype, seed=3)


def results(dtype: str, x: Any, y: Any, s: Any) -> list[Array]:
    """What every method that takes data makes of it."""
    net = network(dtype)
    g = net.gradient(x, y, sample_weight=s)
    value, flat = net.loss_and_gradient(x, y, sample_weight=s)
    a = net.forward(x)
    measured = net.evaluate(x, y, sample_weight=s)
    found = [net.predict(x), np.array([*measured.values()]), g.flat, np.array([value, g.loss]), flat, a, net.backward(np.ones((N, 3)))]
    found += [t.a for t in net.transitions(x)]
    for shuffle, batch in ((True, 16), (False, 7), (False, None)):
        net = network(dtype, standardize=True)
        history = net.fit(x, y, sample_weight=s, epochs=2, batch_size=batch, shuffle=shuffle, validation=(x, y, s), optimizer=cr.SGD(0.1))
        found += [net.flat_parameters.copy(), np.array(history["validation_loss"]), *net.state.values()]
    return found


def assert_equal(found: list[Array], expected: list[Array]) -> None:
    """Bit for bit."""
    for i, (f, e) in enumerate(zip(found, expected, strict=True)):
        assert np.asarray(f).tobytes() == np.asarray(e).tobytes(), i


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_kinds_of_arrays(layout: str, dtype: str) -> None:
    """X, y and sample_weight in every number type and layout."""
    make = LAYOUTS[layout]
    s = 1.0 + PLAIN[:, 0]
    expected = results(dtype, PLAIN, LABELS, s)
    assert_equal(results(dtype, make(PLAIN), LABELS, make(s)), expected)
    if layout not in DTYPED[:6]:  # labels are integers
        assert_equal(results(dtype, PLAIN, make(LABELS), s), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_maps_and_zero_strides(tmp_path: Path, dtype: str) -> None:
    """A file is read in place; one row, broadcast, is that row N times."""
    for kind in ("f4", "f8", "u1"):
        mapped = np.memmap(tmp_path / kind, dtype=kind, mode="w+", shape=PLAIN.shape)
        mapped[...] = PLAIN
        labels = np.memmap(tmp_path / f"{kind}.y", dtype="i2", mode="w+", shape=LABELS.shape)
        labels[...] = LABELS
        assert_equal(results(dtype, mapped, labels, None), results(dtype, PLAIN, LABELS, None))
    row = np.broadcast_to(np.array([1.0, 2.0, 3.0], dtype=dtype), (N, 3))
    ones = np.broadcast_to(np.float32(1), (N,))
    assert row.strides[0] == ones.strides[0] == 0
    assert_equal(results(dtype, row, LABELS, ones), results(dtype, row.copy(), LABELS, ones.copy()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bool_and_one_hot(dtype: str) -> None:
    """bool is 0 and 1; integer one-hot rows are the labels; (n, 1) is (n,)."""
    x = PLAIN > 1
    assert_equal(results(dtype, x, LABELS, None), results(dtype, x.astype(float), LABELS, None))
    assert_equal(results(dtype, PLAIN, LABELS[:, None], None), results(dtype, PLAIN, LABELS, None))
    one_hot = np.eye(3, dtype=int)[LABELS]
    for y in (one_hot, one_hot.astype(bool), one_hot.astype(">f4"), np.asfortranarray(one_hot)):
        assert_equal(results(dtype, PLAIN, y, None), results(dtype, PLAIN, one_hot.astype(float), None))
    assert_close(network(dtype).gradient(PLAIN, one_hot).flat, network(dtype).gradient(PLAIN, LABELS).flat, 1e-5, atol=1e-6)
    for units, loss in ((1, "squared_error"), (1, "binary_cross_entropy"), (1, "huber"), (2, cr.Quantile((0.1, 0.9)))):
        net = cr.Network([cr.Input(3), cr.Dense(units, "sigmoid")], dtype=dtype)
        y = LABELS > 1
        assert np.array_equal(net.gradient(PLAIN, y, loss=loss).flat, net.gradient(PLAIN, y[:, None].astype("f8"), loss=loss).flat)


def test_one_feature_and_scalars() -> None:
    """(n,) is (n, 1) for an input of one feature; an input of shape () takes (n,)."""
    net = cr.Network([cr.Input(1), cr.Dense(2)])
    v = PLAIN[:, 0]
    assert np.array_equal(net.predict(v), net.predict(v[:, None]))
    x = cr.Input(())
    scalar = cr.Network(inputs=x, outputs=cr.Activation("tanh")(x), dtype="float64")
    assert_close(scalar.predict(v), np.tanh(v), 1e-15)
    with pytest.raises(ValueError, match=r"X has shape \(40, 1\): expected \(n,\)"):
        scalar.predict(v[:, None])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_arrays_are_only_read(dtype: str) -> None:
    """Nothing writes into what the user gave, also where it is used in place."""
    x, y, s = PLAIN.astype(dtype), LABELS.astype("i4"), np.ones(N, dtype=dtype)
    kept = x.copy(), y.copy(), s.copy()
    results(dtype, x, y, s)
    for a, b in zip((x, y, s), kept, strict=True):
        assert np.array_equal(a, b)
    out = network(dtype).predict(x)
    assert out.flags.writeable
    assert out.flags.owndata
    assert not np.shares_memory(out, x)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: PLAIN + 1j, r"holds complex numbers \(dtype complex128\)"),
    (lambda: PLAIN.astype("c8"), r"holds complex numbers \(dtype complex64\)"),
    (lambda: PLAIN.astype(object), r"holds Python objects \(dtype object\)"),
    (lambda: [[decimal.Decimal(1)] * 3] * N, r"holds Python objects"),
    (lambda: PLAIN.astype(str), r"holds strings \(dtype <U"),
    (lambda: PLAIN.astype("S3"), r"holds strings \(dtype \|S3\)"),
    (lambda: "digits", r"holds strings"),
    (lambda: PLAIN.astype("M8[s]"), r"holds dates"),
    (lambda: PLAIN.astype("m8[s]"), r"holds time spans"),
    (lambda: np.zeros((N, 3), dtype=[("a", "f4"), ("b", "f4")]), r"dtype \[\('a', '<f4'\)"),
    (lambda: None, r"holds Python objects"),
    (lambda: (row for row in PLAIN), r"holds Python objects"),
    (lambda: {1.0, 2.0}, r"holds Python objects"),
    (lambda: np.ma.masked_greater(PLAIN, 2), r"masked array: expected plain numbers"),
    (lambda: np.ma.masked_greater(PLAIN.astype("f4"), 2), r"masked array"),
    (lambda: np.ma.masked_greater(PLAIN, 99), r"masked array"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_other_types_are_refused(make: Callable[[], Any], message: str, dtype: str) -> None:
    """TypeError that names the argument, what came and what was expected."""
    net = network(dtype)
    before = net.flat_parameters.copy()
    for f in (net.predict, net.forward, lambda x: list(net.transitions(x)), net.adapt):
        with pytest.raises(TypeError, match=rf"\[X\] .*{message}"):
            f(make())
    for f in (net.fit, net.gradient, net.evaluate, net.loss_and_gradient, net.check_gradient):
        with pytest.raises(TypeError, match=rf"\[X\] .*{message}"):
            f(make(), LABELS)
    y = make()
    if y is not None:  # fit's y may be left out where Batches bring their own
        with pytest.raises(TypeError, match=rf"\[y\] .*{message}"):
            net.fit(PLAIN, y)
        with pytest.raises(TypeError, match=rf"\[sample_weight\] .*{message}"):
            net.fit(PLAIN, LABELS, sample_weight=make())
    net.forward(PLAIN)
    if y is not None:
        with pytest.raises(TypeError, match=rf"\[backward\] .*{message}"):
            net.backward(make())
    assert np.array_equal(net.flat_parameters, before)
    net.fit(PLAIN, LABELS, epochs=1)


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
kinds = st.sampled_from([np.dtype(d) for d in ("f4", "f8", ">f8", "f2", "i4", "u1", "i8", "?", "c8", "U2", "O", "M8[s]", "longdouble")])


@st.composite
def arrays(draw: st.DrawFn) -> Array:
    """Any shape, dtype and stride; often the right ones."""
    dtype = draw(kinds) if draw(st.booleans()) else np.dtype("f4")
    right = [(8, 3), (8,), (8, 1), (8, 2, 3), (0, 3), (1, 3)]
    shape = draw(shapes) if draw(st.booleans()) else right[draw(st.integers(0, len(right) - 1))]
    special = [0, 1, 2, 3, -1]
    if dtype.kind == "f":
        special += [np.nan, np.inf, 0.5, 6e4] + ([1e300] if dtype.itemsize > 4 else [])
    if dtype.kind in "u?":
        special.remove(-1)
    values = [special[draw(st.integers(0, len(special) - 1))] for _ in range(3)]
    a = np.resize(np.array(values).astype(dtype), shape) if np.prod(shape) else np.zeros(shape, dtype=dtype)
    view = draw(st.sampled_from(["as it is", "transposed", "reversed", "broadcast"]))
    if view == "transposed":
        return a.T
    if view == "reversed" and a.ndim:
        return a[::-1]
    return np.broadcast_to(a[:1], a.shape) if view == "broadcast" and a.ndim and len(a) else a


losses = st.sampled_from([None, *cr.losses.KNOWN, cr.Quantile((0.1, 0.9))])


@settings(max_examples=250, derandomize=True, deadline=None, database=None)
@given(x=arrays(), y=arrays(), s=st.none() | arrays(), loss=losses, wide=st.booleans())
def test_never_a_crash(x: Array, y: Array, s: Array | None, loss: Any, wide: bool) -> None:
    """Random arrays: they work, or a ValueError, a TypeError or (numbers too large) a DivergenceError says why. The network stays usable."""
    i = cr.Input((2, 3) if wide else 3)
    net = cr.Network(inputs=i, outputs=cr.Dense(3, "softmax")(cr.Flatten()(cr.Dense(4, "tanh")(i))))
    for f in (
        lambda: net.predict(x),
        lambda: net.evaluate(x, y, loss=loss, sample_weight=s),
        lambda: net.gradient(x, y, loss=loss, sample_weight=s),
        lambda: net.loss_and_gradient(x, y, loss=loss, sample_weight=s),
        lambda: net.fit(x, y, loss=loss, sample_weight=s, epochs=1, batch_size=3),
        lambda: net.forward(x),
        lambda: net.backward(y),
    ):
        try:
            f()
        except (ValueError, TypeError, cr.DivergenceError) as error:
            said = str(error)
        except RuntimeError as error:
            said = str(error)
            if "no forward" not in said:
                raise
        else:
            continue
        if not said.startswith("["):
            raise AssertionError(f"the message names neither layer nor argument: {said}")
    good = np.ones((8, *i.shape))
    assert np.isfinite(net.predict(good)).all()
    net.fit(good, LABELS[:8], epochs=1)
