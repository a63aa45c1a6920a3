# SPDX-License-Identifier: MIT
"""chainrule.functional and the kernels behind it against the NumPy twin.

Derivatives by central differences. Cases come from the registry.
"""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from chainrule import _core, functional
from chainrule import reference as ref
from compare import assert_close

DTYPES = [np.float32, np.float64]
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}
SIZES = [0, 1, 3, 7, 8, 9, 16, 33]
REGISTRY = _core.activations()
NAMES = [entry["name"] for entry in REGISTRY]
ENTRY = {entry["name"]: entry for entry in REGISTRY}
# In units of EPS. The error is relative, but what passes through 0 or cancels (gelu', or g' from a = g(z)) has an absolute
# part: the worst of 45,000 points of any function was 2.5 EPS where |value| <= 1.
RTOL, ATOL = 6, 4

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
by_name = pytest.mark.parametrize("name", NAMES)


def call(name: str, suffix: str = "") -> Any:
    return getattr(functional, name + suffix)


def close(actual: Any, expected: Any, dtype: Any, factor: float = 1.0, **options: Any) -> None:
    assert_close(actual, expected, factor * RTOL * EPS[dtype], atol=factor * ATOL * EPS[dtype], dtype=dtype, **options)


# ---- the registry ----------------------------------------------------------------------------------------------------


def test_registry_and_twin_agree() -> None:
    assert NAMES[0] == "identity"
    assert sorted(NAMES) == sorted(ref.ACTIVATIONS)
    for entry in REGISTRY:
        twin = ref.ACTIVATIONS[entry["name"]]
        assert entry["init"] == twin.init, entry
        assert entry["parameter"] == twin.parameter, entry
        assert entry["kinks"] == twin.kinks, entry


def test_names() -> None:
    assert set(functional.ACTIVATIONS) == set(NAMES)
    for name in functional.__all__:
        if name == "ACTIVATIONS":
            continue
        function = getattr(functional, name)
        assert name in dir(functional)
        assert "Returns" in function.__doc__, name
        assert function.__name__ == name
        assert pickle.loads(pickle.dumps(function)) is function
    for name in NAMES:
        assert {name, name + "_derivatives", name + "_backward"} <= set(functional.__all__)
        assert ref.ACTIVATIONS[name].equation in call(name).__doc__
    with pytest.raises(AttributeError, match="sigmod"):
        _ = functional.sigmod


# ---- activations -----------------------------------------------------------------------------------------------------


@by_dtype
@by_name
def test_activation_sizes(name: str, dtype: Any, rng: np.random.Generator) -> None:
    for n in SIZES:
        z, da = (rng.normal(scale=3, size=n).astype(dtype) for _ in range(2))
        close(call(name)(z), ref.activation_forward(name, z), dtype, what=f"g {n}")
        expected = ref.activation_derivatives(name, z)
        for i, found in enumerate(call(name, "_derivatives")(z)):
            close(found, expected[i], dtype, what=f"derivative {i + 1} of {n}")
        close(call(name, "_backward")(da, z), da * expected[0], dtype, 4, what=f"backward {n}")


@by_dtype
@by_name
def test_activation_extremes(name: str, dtype: Any) -> None:
    z = np.array([150, -150, 1e4, -1e4, 1e-45, -1e-45, 5e-324, 88, -88, 104, -104, 709, -746, 20, -20, 0], dtype=dtype)
    da = np.ones_like(z)

    def limited(value: Any) -> Any:  # exp of it may be more than float32 can hold
        with np.errstate(over="ignore"):
            return np.where(np.isinf(value.astype(dtype)), np.copysign(np.inf, value), value)

    close(call(name)(z), limited(ref.activation_forward(name, z)), dtype)
    smooth = np.array([v not in ENTRY[name]["kinks"] for v in z])
    for found, expected in zip(call(name, "_derivatives")(z), ref.activation_derivatives(name, z), strict=True):
        close(found[smooth], limited(expected)[smooth], dtype)
    # from a = g(z) the denormals next to a kink are on its other side
    smooth &= np.abs(z) > np.finfo(dtype).tiny
    close(call(name, "_backward")(da, z)[smooth], limited(ref.activation_backward(name, da, z))[smooth], dtype, 4)


@by_dtype
@by_name
def test_activation_keeps_small_numbers(name: str, dtype: Any) -> None:
    """Relative accuracy where g(z) is about z: exp(z) - 1 without care would keep no digit of it."""
    z = np.array([1e-3, -1e-3, 1e-6, -1e-6, 1e-12, -1e-12, 1e-30, -1e-30], dtype=dtype)
    assert_close(call(name)(z), ref.activation_forward(name, z), RTOL * EPS[dtype], dtype=dtype)


@by_dtype
@by_name
def test_activation_tails(name: str, dtype: Any) -> None:
    """Values keep relative accuracy down to the smallest normal number: a log or a quotient may be taken of them.

    exp(-z^2 / 2) there multiplies the rounding of its argument by z^2, about 1,400 in float64: hence the bound.
    """
    z = np.linspace(-60, 60, 4001).astype(dtype)
    tiny = float(np.finfo(dtype).tiny)
    assert_close(call(name)(z), ref.activation_forward(name, z), 2048 * EPS[dtype], atol=tiny, dtype=dtype)


@by_dtype
@by_name
def test_activation_nan_and_infinities(name: str, dtype: Any) -> None:
    for n in (1, 5, 8, 19):
        for at in {0, n // 2, n - 1}:
            z = np.full(n, 0.5, dtype=dtype)
            z[at] = np.nan
            others = np.arange(n) != at
            for found in (call(name)(z), *call(name, "_derivatives")(z), call(name, "_backward")(np.ones_like(z), z)):
                # relu' and the like are constants, so that a NaN may also come out as one of them; it never spreads
                assert np.isfinite(found[others]).all(), (name, n, at)
            assert np.isnan(call(name)(z)[at]), (name, n, at)
    z = np.array([np.inf, -np.inf] * 9, dtype=dtype)
    found, expected = call(name)(z), ref.activation_forward(name, z)
    assert_close(found, expected, RTOL * EPS[dtype], dtype=dtype)


@by_name
def test_activation_central_differences(name: str) -> None:
    z = np.linspace(-9, 9, 145) + 0.01
    z = z[[all(abs(v - kink) > 1e-3 for kink in ENTRY[name]["kinks"]) for v in z]]
    h = 1e-5
    g1, g2 = call(name, "_derivatives")(z)
    assert_close(g1, (call(name)(z + h) - call(name)(z - h)) / (2 * h), 1e-8, atol=2e-9)
    above, below = call(name, "_derivatives")(z + h)[0], call(name, "_derivatives")(z - h)[0]
    assert_close(g2, (above - below) / (2 * h), 1e-8, atol=2e-9)
    assert_close(call(name, "_backward")(np.full_like(z, 2.0), z), 2 * g1, 1e-13, atol=1e-14)


@by_dtype
@pytest.mark.parametrize("name", [name for name in NAMES if ENTRY[name]["parameter"] is not None])
def test_activation_parameter(name: str, dtype: Any, rng: np.random.Generator) -> None:
    z = rng.normal(size=21).astype(dtype)
    p = 0.3125
    close(call(name)(z, p), ref.activation_forward(name, z, p), dtype)
    close(call(name, "_backward")(z, z, p), ref.activation_backward(name, z, z, p), dtype)
    for found, expected in zip(call(name, "_derivatives")(z, p), ref.activation_derivatives(name, z, p), strict=True):
        close(found, expected, dtype)
    found = functional.dense(z[:, None], np.ones((1, 1), dtype=dtype), activation=name, p=p)
    close(found[:, 0], ref.activation_forward(name, z, p), dtype)
    with pytest.raises(ValueError, match=r"\[" + name + r"\] p is nan"):
        call(name)(z, np.nan)


def test_activation_without_parameter() -> None:
    name = next(name for name in NAMES if ENTRY[name]["parameter"] is None)
    with pytest.raises(ValueError, match="takes no parameter"):
        call(name)(0.0, 1.0)


# ---- what comes in ---------------------------------------------------------------------------------------------------


@by_dtype
def test_shapes_and_strides(dtype: Any, rng: np.random.Generator) -> None:
    base = rng.normal(size=(4, 6, 10)).astype(dtype)
    views = [
        base, base.T, base[::2, ::3, ::-1], np.asfortranarray(base), base[:, :, 3], base[0, 0, 0], base[:0],
        np.broadcast_to(base[0, 0], (3, 10)), base.astype(base.dtype.newbyteorder(">")),
    ]  # fmt: skip
    for view in views:
        before = np.array(view)
        found = functional.sigmoid(view)
        close(found, ref.activation_forward("sigmoid", view), dtype)
        assert found.flags.c_contiguous
        assert found.flags.writeable
        assert found.dtype.isnative
        assert not np.shares_memory(found, view)
        assert np.array_equal(before, view)
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(dtype)
    close(functional.sigmoid(unaligned), ref.activation_forward("sigmoid", base.reshape(-1)), dtype)


def test_dtypes() -> None:
    for x in ([0, 1], [True, False], np.arange(3, dtype=np.int8), 1, [0.5], np.ones(2, dtype=np.uint64)):
        assert functional.tanh(x).dtype == np.float64
    assert functional.tanh(np.ones(2, dtype=np.float16)).dtype == np.float32
    assert functional.tanh(np.ones(2, dtype=np.longdouble)).dtype == np.float64
    assert functional.dense(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)).dtype == np.float32
    assert functional.dense(np.ones((1, 2), np.float32), np.ones((3, 2))).dtype == np.float64


@pytest.mark.parametrize("bad", [[1j], ["a"], [None], np.array(["2020-01-01"], dtype="M8[D]"), [object()]])
def test_type_errors(bad: Any) -> None:
    for name in ("sigmoid", "softmax", "sigmoid_derivatives"):
        with pytest.raises(TypeError, match=rf"\[{name}\] z is .*: expected real numbers"):
            call(name)(bad)
    for function in (functional.squared_error, functional.cross_entropy):
        with pytest.raises(TypeError, match="expected real numbers"):
            function([[1.0]], bad)
    with pytest.raises(TypeError, match=r"\[dense\] W is"):
        functional.dense([[1.0]], [bad])


def test_border_takes_arrays_as_they_are_or_not_at_all() -> None:
    x = np.ones((3, 4))
    for wrong in (x.T, x[:, ::2], x.astype(np.float16), x.astype(int), x.astype(">f8"), [[1.0]], None):
        with pytest.raises(TypeError):
            _core.kernel_softmax_forward(wrong)
    with pytest.raises(TypeError):
        _core.kernel_softmax_backward(x, x.astype(np.float32))


def test_from_several_threads(rng: np.random.Generator) -> None:
    z = rng.normal(size=(200, 300))
    expected = functional.softmax(z)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(functional.softmax, [z] * 16):
            assert_close(found, expected, 0.0)


def test_large_arrays_are_computed_without_the_interpreter_lock() -> None:
    """A thread that ticks every millisecond goes on during a call of some 100 ms; with the lock held it could not."""
    a = np.ones((1500, 1500))
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.wait(0.001):
            ticks[0] += 1

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        before = ticks[0]
        functional.dense(a, a)
        during = ticks[0] - before
    finally:
        done.set()
        thread.join()
    assert during >= 5


# ---- softmax ---------------------------------------------------------------------------------------------------------


@by_dtype
@pytest.mark.parametrize("columns", SIZES)
def test_softmax(columns: int, dtype: Any, rng: np.random.Generator) -> None:
    for rows in ((5,), (0,), (2, 3), ()):
        z, da, into = (rng.normal(scale=2, size=(*rows, columns)).astype(dtype) for _ in range(3))
        a = functional.softmax(z)
        close(a, ref.softmax_forward(z), dtype)
        close(functional.softmax_backward(da, a), ref.softmax_backward(da, a), dtype)
        close(_core.kernel_softmax_backward(da, a, into), into + ref.softmax_backward(da, a), dtype)


@by_dtype
def test_softmax_extremes(dtype: Any) -> None:
    z = np.array([[1e4, -1e4, 1e4], [-1e4, -1e4, -1e4], [150, -150, 0], [-np.inf, 0, 0], [3e38, -3e38, 0]], dtype=dtype)
    close(functional.softmax(z), ref.softmax_forward(z), dtype)
    z = np.zeros((3, 17), dtype=dtype)
    z[1, 11] = np.nan
    found = functional.softmax(z)
    assert np.isnan(found[1]).all()
    close(found[::2], np.full((2, 17), 1 / 17), dtype)


# ---- dense -----------------------------------------------------------------------------------------------------------


@by_dtype
@pytest.mark.parametrize("n_out", [0, 1, 7, 33])
@pytest.mark.parametrize("n_in", [0, 1, 8, 33])
@pytest.mark.parametrize("rows", [(0,), (1,), (33,), (2, 3), ()])
def test_dense(rows: tuple[int, ...], n_in: int, n_out: int, dtype: Any, rng: np.random.Generator) -> None:
    a = rng.normal(size=(*rows, n_in)).astype(dtype)
    W, b = rng.normal(size=(n_out, n_in)).astype(dtype), rng.normal(size=n_out).astype(dtype)
    dz = rng.normal(size=(*rows, n_out)).astype(dtype)
    tol = 8 * EPS[dtype]
    assert_close(functional.dense(a, W), ref.dense_forward(a, W), tol, product=(a, W.T), dtype=dtype)
    with_bias = ref.dense_forward(a, W, b)
    assert_close(functional.dense(a, W, b), with_bias, tol, atol=4 * tol, product=(a, W.T), dtype=dtype)
    da, dW, db = functional.dense_backward(dz, a, W)
    expected = ref.dense_backward(dz, a, W)
    n = int(np.prod(rows))
    assert_close(da, expected[0], tol, product=(dz, W), dtype=dtype)
    assert_close(dW, expected[1], tol, product=(dz.reshape(n, n_out).T, a.reshape(n, n_in)), dtype=dtype)
    assert_close(db, expected[2], tol, atol=tol * max(1, n), dtype=dtype)


@by_dtype
@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_dense_activation(name: str, dtype: Any, rng: np.random.Generator) -> None:
    a, W, b = (rng.normal(size=size).astype(dtype) for size in ((9, 5), (11, 5), (11,)))
    z = ref.dense_forward(a, W, b)
    expected = ref.softmax_forward(z) if name == "softmax" else ref.activation_forward(name, z)
    close(functional.dense(a, W, b, activation=name), expected, dtype, 4)


def test_dense_is_cut_into_blocks(rng: np.random.Generator) -> None:
    a, W, dz = (rng.normal(size=size).astype(np.float32) for size in ((700, 900), (1000, 900), (700, 1000)))
    assert_close(functional.dense(a, W), a.astype(float) @ W.T, 1e-6, product=(a, W.T), dtype=np.float32)
    da, dW, _ = functional.dense_backward(dz, a, W)
    assert_close(da, dz.astype(float) @ W, 1e-6, product=(dz, W), dtype=np.float32)
    assert_close(dW, dz.T.astype(float) @ a, 1e-6, product=(dz.T, a), dtype=np.float32)


def test_dense_errors() -> None:
    expected = r"\[dense\] a is \(2, 3\) but W is \(4, 5\): expected a \(\.\.\., n_in\) and W \(n_out, n_in\)"
    with pytest.raises(ValueError, match=expected):
        functional.dense(np.ones((2, 3)), np.ones((4, 5)))
    with pytest.raises(ValueError, match=r"\[dense\] b is \(3,\) but W is \(4, 3\)"):
        functional.dense(np.ones((2, 3)), np.ones((4, 3)), np.ones(3))
    with pytest.raises(ValueError, match=r"\[dense_backward\] dz is \(2, 3\) but a is \(2, 3\) and W is \(4, 3\)"):
        functional.dense_backward(np.ones((2, 3)), np.ones((2, 3)), np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"\[dense\] unknown activation 'rellu': expected one of identity, .*softmax"):
        functional.dense(np.ones((2, 3)), np.ones((4, 3)), activation="rellu")
    with pytest.raises(ValueError, match=r"\[dense\] a is \(\)"):
        functional.dense(1.0, np.ones((4, 3)))
    with pytest.raises(ValueError, match="does not fit in 63 bits"):
        functional.dense(np.empty((2**40, 0)), np.empty((2**40, 0)))


@by_dtype
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
def test_gemm(transpose_a: bool, transpose_b: bool, dtype: Any, rng: np.random.Generator) -> None:
    for m, n, k in ((1, 1, 1), (3, 7, 5), (16, 17, 33), (65, 3, 8), (4, 5, 0), (0, 3, 2), (3, 0, 2)):
        a = rng.normal(size=(k, m) if transpose_a else (m, k)).astype(dtype)
        b = rng.normal(size=(n, k) if transpose_b else (k, n)).astype(dtype)
        c = rng.normal(size=(m, n)).astype(dtype)
        left, right = (a.T if transpose_a else a), (b.T if transpose_b else b)
        found = _core.kernel_gemm(transpose_a, transpose_b, 0.5, a, b, -2.0, c)
        expected = 0.5 * (left.astype(float) @ right) - 2.0 * c
        assert_close(found, expected, 8 * EPS[dtype], atol=16 * EPS[dtype], product=(left, right), dtype=dtype)
        # beta = 0 overwrites whatever was there
        found = _core.kernel_gemm(transpose_a, transpose_b, 1.0, a, b, 0.0, np.full_like(c, np.nan))
        assert_close(found, left.astype(float) @ right, 8 * EPS[dtype], product=(left, right), dtype=dtype)
