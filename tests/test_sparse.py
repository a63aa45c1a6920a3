# SPDX-License-Identifier: MIT
"""Sparse inputs: SciPy's matrices give what their dense twins give; malformed ones are refused by name and never crash."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apart
import chainrule as cr
import numpy as np
import pytest
from chainrule import intake
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_rows import Array, csr, replaced, sparse
from test_arrays import DTYPES, LABELS, PLAIN, N, assert_equal, network, results

FORMATS = ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [f"{f}_{c}" for f in FORMATS for c in ("array", "matrix")])
def test_formats(kind: str, dtype: str) -> None:
    """Every method that takes X takes each of SciPy's formats."""
    s = 1.0 + PLAIN[:, 0]
    assert_equal(results(dtype, getattr(sparse, kind)(PLAIN), LABELS, s), results(dtype, PLAIN, LABELS, s))


@pytest.mark.parametrize("kind", ["?", "f2", "f4", "f8", ">f8", "longdouble", "i1", "i2", ">i4", "i8", "u1", "<u2", "u4", "u8"])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_types_of_numbers_and_indices(kind: str, index: Any) -> None:
    """Any bool, integer or float with either width of index."""
    dense = PLAIN.astype(kind)
    x = sparse.csr_array(PLAIN)
    x = csr(x.data.astype(kind), x.indices.astype(index), x.indptr.astype(index))
    for dtype in DTYPES:
        assert_equal(results(dtype, x, LABELS, None), results(dtype, dense, LABELS, None))


def test_arrays_in_any_memory(tmp_path: Path) -> None:
    """Read-only, with gaps, unaligned and mapped arrays; index types that differ; rows that begin in the middle of the stored numbers."""
    x = sparse.csr_array(PLAIN)
    expected = results("float32", PLAIN, LABELS, None)
    parts = {"data": x.data, "indices": x.indices, "indptr": x.indptr}

    def frozen(a: Array) -> Array:
        a = a.copy()
        a.flags.writeable = False
        return a

    def unaligned(a: Array) -> Array:
        raw = np.zeros(a.nbytes + 1, dtype=np.uint8)
        raw[1:].view(a.dtype)[...] = a
        return raw[1:].view(a.dtype)

    def mapped(a: Array) -> Array:
        path = tmp_path / f"{a.dtype}{len(a)}"
        a.tofile(path)
        return np.memmap(path, dtype=a.dtype, mode="r")

    for make in (frozen, unaligned, mapped, lambda a: np.repeat(a, 2)[::2], lambda a: a.astype(a.dtype.newbyteorder(">"))):
        assert_equal(results("float32", csr(**{k: make(a) for k, a in parts.items()}), LABELS, None), expected)
    for a, b in (("u4", "i8"), ("i4", "i8"), ("i2", "u8")):
        assert_equal(results("float32", csr(x.data, x.indices.astype(a), x.indptr.astype(b)), LABELS, None), expected)
    later = csr(np.append([9.0], x.data), np.append([-5], x.indices), x.indptr + 1)
    assert_equal(results("float32", later, LABELS, None), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_order_and_repetitions(dtype: str) -> None:
    """Columns in any order; what is stored twice adds; stored zeros are zeros."""
    x = sparse.csr_array(PLAIN)
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(x.indptr[:-1], x.indptr[1:], strict=True)])
    backwards = csr(x.data[order], x.indices[order], x.indptr)
    assert_equal(results(dtype, backwards, LABELS, None), results(dtype, PLAIN, LABELS, None))
    thrice = csr(np.stack([x.data - 1, x.data * 0, x.data * 0 + 1], axis=1).ravel(), np.repeat(x.indices, 3), 3 * x.indptr)
    assert_equal(results(dtype, thrice, LABELS, None), results(dtype, PLAIN, LABELS, None))


def test_ranges_of_activations() -> None:
    """Some rows at a time are taken out of the matrix."""
    net = network("float64")
    assert str(net.activation_ranges(GOOD)) == str(net.activation_ranges(PLAIN))
    rows = intake.Csr(GOOD, "X")
    assert [rows[a:b].shape for a, b in ((0, 1), (30, 50), (7, 3), (None, None))] == [(1, 3), (10, 3), (0, 3), (N, 3)]
    assert np.array_equal(net.predict(rows[5:9]), net.predict(PLAIN[5:9]))


def test_it_is_only_read() -> None:
    """SciPy's methods sort and sum in place; nothing of that happens here."""
    x = sparse.csr_array((np.array([1.0, 2, 3, 4]), np.array([2, 0, 0, 1]), np.array([0, 2, 4])), shape=(2, 3))
    found = network("float32").predict(x)
    network("float32").fit(x, [0, 1], epochs=1)
    assert (x.data.tolist(), x.indices.tolist(), x.indptr.tolist()) == ([1, 2, 3, 4], [2, 0, 0, 1], [0, 2, 4])
    assert np.array_equal(found, network("float32").predict(x.toarray()))


def test_empty() -> None:
    """Rows without numbers, no rows, no numbers at all."""
    net = network("float32")
    x = PLAIN.copy()
    x[5:30] = 0
    assert_equal(results("float32", sparse.csr_array(x), LABELS, None), results("float32", x, LABELS, None))
    none = sparse.csr_array((N, 3))
    assert_equal(results("float32", none, LABELS, None), results("float32", none.toarray(), LABELS, None))
    assert net.predict(sparse.csr_array((0, 3))).shape == (0, 3)
    assert np.array_equal(net.predict(sparse.csr_array(PLAIN[4:5])), net.predict(PLAIN[4:5]))
    for call in (net.fit, net.evaluate, net.gradient):
        with pytest.raises(ValueError, match="X has no rows"):
            call(sparse.csr_array((0, 3)), LABELS[:0])


def two_inputs() -> cr.Network:
    """A wide input that is sparse and a narrow one beside it."""
    words, rest = cr.Input(30, name="words"), cr.Input(3, name="rest")
    h = cr.concat([cr.Dense(8, "tanh")(words), cr.Dense(4, "relu")(rest)])
    return cr.Network(inputs=[words, rest], outputs=cr.Dense(3, "softmax")(h), seed=1)


def test_sparse_beside_dense() -> None:
    """A tuple or dict of inputs; batches of one's own."""
    words = np.random.default_rng(0).integers(0, 2, size=(N, 30)).astype(float)
    x = sparse.csr_array(words)
    expected = two_inputs()
    expected.fit((words, PLAIN), LABELS, epochs=2, validation=0.25)
    for given_x in ((x, PLAIN), {"rest": sparse.coo_matrix(PLAIN), "words": x}, {"words": words, "rest": sparse.dok_array(PLAIN)}):
        net = two_inputs()
        net.fit(given_x, LABELS, epochs=2, validation=0.25)
        assert np.array_equal(net.flat_parameters, expected.flat_parameters)
        assert np.array_equal(net.predict(given_x), expected.predict((words, PLAIN)))
    batches = [((a, b), y) for a, b, y in ((words[i : i + 8], PLAIN[i : i + 8], LABELS[i : i + 8]) for i in range(0, N, 8))]
    net, twin = two_inputs(), two_inputs()
    net.fit(cr.Batches([((sparse.csr_array(a), b), y) for (a, b), y in batches]), epochs=2)
    twin.fit(cr.Batches(batches), epochs=2)
    assert np.array_equal(net.flat_parameters, twin.flat_parameters)
    with pytest.raises(ValueError, match=r"\[rest\] has 39 rows: the first input has 40"):
        net.predict((x, sparse.csr_array(PLAIN[1:])))


def test_one_column_and_several_axes() -> None:
    """(n, 1) goes to an input of one feature, (n, width) to no input of several axes."""
    net = cr.Network([cr.Input(1), cr.Dense(2)])
    assert np.array_equal(net.predict(sparse.csr_array(PLAIN[:, :1])), net.predict(PLAIN[:, 0]))
    image = cr.Network([cr.Input((3, 1)), cr.Flatten(), cr.Dense(2)])
    with pytest.raises(ValueError, match=r"X has shape \(40, 3\): expected \(n, 3, 1\)"):
        image.predict(sparse.csr_array(PLAIN))
    open_axis = cr.Network([cr.Input((None,)), cr.Activation("tanh")])
    assert np.array_equal(open_axis.predict(sparse.csr_array(PLAIN)), open_axis.predict(PLAIN))


CALLS: list[Callable[[cr.Network, Any], Any]] = [
    lambda net, x: net.predict(x),
    lambda net, x: net.fit(x, LABELS),
    lambda net, x: net.fit(PLAIN, LABELS, validation=(x, LABELS)),
    lambda net, x: net.fit(cr.Batches([(x, LABELS)])),
    lambda net, x: net.evaluate(x, LABELS),
    lambda net, x: net.gradient(x, LABELS),
    lambda net, x: net.loss_and_gradient(x, LABELS),
    lambda net, x: net.check_gradient(x, LABELS),
    lambda net, x: net.forward(x),
    lambda net, x: list(net.transitions(x)),
]
GOOD = sparse.csr_array(PLAIN)
LAST = int(GOOD.indptr[-1])


ROW_7 = int(GOOD.indptr[7])
REFUSED: list[tuple[Any, type[Exception], str]] = [
    (sparse.csr_array((N, 4)), ValueError, r"\[input_1\] X has shape \(40, 4\): expected \(n, 3\)"),
    (sparse.coo_array(PLAIN[:, 0]), ValueError, r"\[X\] is a sparse csr_array of shape \(40,\): expected \(n, width\)"),
    (sparse.coo_array(np.ones((N, 3, 1))), ValueError, r"\[X\] is a sparse coo_array: "),
    (GOOD.astype(complex), TypeError, r"\[X\] holds complex numbers \(dtype complex128\)"),
    (csr(GOOD.data.astype(object), GOOD.indices, GOOD.indptr), TypeError, r"\[X\] holds Python objects"),
    (csr(GOOD.data.astype("M8[s]"), GOOD.indices, GOOD.indptr), TypeError, r"\[X\] holds dates"),
    (csr(GOOD.data, GOOD.indices.astype(float), GOOD.indptr), ValueError, r"indices has shape .* dtype float64: expected a vector of integers"),
    (csr(GOOD.data, GOOD.indices, GOOD.indptr > 0), ValueError, r"indptr has shape \(41,\), dtype bool: expected a vector of integers"),
    (csr(GOOD.data, GOOD.indices[:, None], GOOD.indptr), ValueError, r"indices has shape \(\d+, 1\)"),
    (csr(GOOD.data[None], GOOD.indices, GOOD.indptr), ValueError, r"data has shape \(1, \d+\), dtype float64: expected a vector of numbers"),
    (csr(GOOD.data, replaced(GOOD.indices, ROW_7, 3), GOOD.indptr), ValueError, r"\[X\] row 7 has a number in column 3: expected 0 to 2"),
    (csr(GOOD.data, replaced(GOOD.indices, ROW_7, -1), GOOD.indptr), ValueError, r"row 7 has a number in column -1: expected 0 to 2"),
    (csr(GOOD.data, replaced(GOOD.indices.astype("i8"), ROW_7, 2**32), GOOD.indptr), ValueError, r"row 7 has a number in column 4294967296"),
    (csr(GOOD.data, replaced(GOOD.indices.astype("u8"), ROW_7, 2**64 - 1), GOOD.indptr), ValueError, r"row 7 has a number in column -1"),
    (csr(GOOD.data, GOOD.indices, replaced(GOOD.indptr, 7, LAST)), ValueError, rf"row 7 goes from {LAST} to \d+ \(indptr\): expected a range within"),
    (csr(GOOD.data, GOOD.indices, replaced(GOOD.indptr, 0, -1)), ValueError, r"row 0 goes from -1 to \d+ \(indptr\)"),
    (csr(GOOD.data, GOOD.indices, replaced(GOOD.indptr, -1, LAST + 1)), ValueError, rf"row 39 goes from \d+ to {LAST + 1} \(indptr\)"),
    (csr(GOOD.data, GOOD.indices, replaced(GOOD.indptr.astype("i8"), -1, 2**62)), ValueError, r"row 39 goes from \d+ to 4611686018427387904"),
    (csr(GOOD.data, GOOD.indices, GOOD.indptr[:-1]), ValueError, r"\[X\] has 40 entries in indptr: expected 41, one more than rows"),
    (csr(GOOD.data, GOOD.indices, []), ValueError, r"indptr has shape \(0,\), dtype float64"),
    (csr(GOOD.data, GOOD.indices[:-1], GOOD.indptr), ValueError, rf"\[X\] has {LAST - 1} column indices and {LAST} values: expected as many"),
    (csr(GOOD.data[:-1], GOOD.indices, GOOD.indptr), ValueError, rf"\[X\] has {LAST} column indices and {LAST - 1} values: expected as many"),
    (csr([], np.zeros(0, "i4"), np.zeros(N + 1, "i4"), (N, 2**31)), ValueError, r"\[X\] is sparse and has 2147483648 columns: expected at most"),
    (csr([], np.zeros(0, "i4"), np.zeros(N + 1, "i4"), (-1, 3)), ValueError, r"of shape \(-1, 3\): expected \(n, width\)"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("x", "error", "message"), REFUSED, ids=[m for _, _, m in REFUSED])
def test_malformed(x: Any, error: type[Exception], message: str, dtype: str) -> None:
    """An exception that names what is wrong; the network is as it was."""
    net = network(dtype)
    before = net.flat_parameters.copy()
    for call in CALLS:
        with pytest.raises(error, match=message):
            call(net, x)
        assert np.array_equal(net.flat_parameters, before)


@pytest.mark.parametrize("limit", [intake.CHECKED_UP_FRONT, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_not_finite(value: float, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before training, or, in large data, while their row is gathered; predict keeps a NaN in its row."""
    monkeypatch.setattr(intake, "CHECKED_UP_FRONT", limit)
    x = csr(replaced(GOOD.data, ROW_7, value), GOOD.indices, GOOD.indptr)
    net = network("float32")
    for call in (CALLS[1], CALLS[2], CALLS[3], CALLS[5], CALLS[6]):
        with pytest.raises(ValueError, match=r"\[X\] row 7 holds .*(nan|inf): expected finite numbers that float32 can hold"):
            call(net, x)
    with pytest.raises(ValueError, match=r"\[X\] row 7 has a number in column 5"):
        net.fit(csr(GOOD.data, replaced(GOOD.indices, ROW_7, 5), GOOD.indptr), LABELS)
    if np.isnan(value):
        net = network("float32")
        rest = np.arange(N) != 7
        assert np.isnan(net.predict(x)[7]).all()
        assert np.array_equal(net.predict(x)[rest], net.predict(PLAIN)[rest])


def test_only_inputs_may_be_sparse() -> None:
    """The message says how to make a target or weight dense."""
    for y, s, who in ((GOOD, None, "y"), (LABELS, GOOD, "sample_weight")):
        with pytest.raises(TypeError, match=rf"\[{who}\] is a sparse csr_array: expected a dense array, such as its \.toarray\(\)"):
            network("float32").fit(PLAIN, y, sample_weight=s)


def test_scipy_is_not_imported() -> None:
    """What is needed is the three arrays."""
    code = """
import sys, types, numpy as np, chainrule as cr
x = types.SimpleNamespace(format="csr", shape=(2, 3), data=np.ones(2), indices=np.array([0, 2]), indptr=np.array([0, 1, 2]))
net = cr.Network([cr.Input(3), cr.Dense(2, "softmax")])
net.fit(x, [0, 1], epochs=1)
assert np.array_equal(net.predict(x), net.predict(np.eye(3)[[0, 2]]))
assert "scipy" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], env=apart.environment(), check=True)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 2**32), wild=st.floats(0, 0.2))
def test_never_a_crash(seed: int, wild: float) -> None:
    """Random arrays of indices: they work as the dense matrix does, or a ValueError says why not."""
    rng = np.random.default_rng(seed)
    n, stored = int(rng.integers(0, 6)), int(rng.integers(0, 12))
    kind = rng.choice(["i4", "i8"])
    indices = rng.integers(0, 3, stored).astype(kind)
    indptr = np.sort(rng.integers(0, stored + 1, n + 1)).astype(kind)
    strange = np.array([-1, 3, 2**31 - 1, -(2**31), stored + 1, 0])
    for a in (indices, indptr):
        at = rng.random(a.shape) < wild
        a[at] = rng.choice(strange, int(at.sum()))
    x = csr(rng.normal(size=stored), indices, indptr, (n, 3))
    net = network("float64")
    try:
        found = net.predict(x)
        if n:
            net.fit(x, LABELS[:n], epochs=1)
    except ValueError as error:
        assert str(error).startswith("[X] row ")  # noqa: PT017
        return
    dense = np.zeros((n, 3))
    for i in range(n):
        np.add.at(dense[i], indices[indptr[i] : indptr[i + 1]], x.data[indptr[i] : indptr[i + 1]])
    assert np.array_equal(found, network("float64").predict(dense))
