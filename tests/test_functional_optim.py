# SPDX-License-Identifier: MIT
"""Optimizers, penalties, dropout and the small kernels of chainrule.functional against the NumPy twin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chainrule import _core, functional
from chainrule import reference as ref
from compare import assert_close

DTYPES = [np.float32, np.float64]
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}
SIZES = [0, 1, 3, 7, 8, 9, 16, 33]

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def close(actual: Any, expected: Any, dtype: Any, factor: float = 1.0, **options: Any) -> None:
    assert_close(actual, expected, 16 * factor * EPS[dtype], atol=8 * factor * EPS[dtype], dtype=dtype, **options)


# ---- optimizers and penalties ----------------------------------------------------------------------------------------

UPDATES: dict[str, dict[str, Any]] = {
    "sgd": {"alpha": 0.1},
    "sgd momentum": {"alpha": 0.1, "mu": 0.9},
    "sgd nesterov": {"alpha": 0.1, "mu": 0.9, "nesterov": True},
    "rmsprop": {"alpha": 0.01, "rho": 0.9, "eps": 1e-8},
    "adam": {"alpha": 0.01, "mu": 0.9, "rho": 0.999, "eps": 1e-8, "t": 3},
    "adam eps_hat": {"alpha": 0.01, "mu": 0.9, "rho": 0.999, "eps": 1e-3, "t": 2, "eps_hat": True},
    "adam decay": {"alpha": 0.01, "mu": 0.9, "rho": 0.99, "eps": 1e-8, "t": 1, "decay": 0.002},
}
EXTRAS: list[dict[str, Any]] = [{}, {"l2": 0.1}, {"l1": 0.2}, {"clip": 0.3, "l1": 0.1, "l2": 0.05}, {"threshold": 0.4}]


@by_dtype
@pytest.mark.parametrize("extra", EXTRAS, ids=str)
@pytest.mark.parametrize("case", list(UPDATES))
def test_update(case: str, extra: dict[str, Any], dtype: Any, rng: np.random.Generator) -> None:
    kernel, options = case.split()[0], {**UPDATES[case], **extra}
    for n in SIZES:
        w, m = (rng.normal(size=n).astype(dtype) for _ in range(2))
        w[: n // 3] = 0
        v = (m if kernel == "sgd" else m * m).astype(dtype)
        for slots in (1, 3):
            g = rng.normal(size=(slots, n)).astype(dtype)
            given = dict(options)
            moments = (m, v) if kernel == "adam" else (None, v if kernel != "sgd" or "mu" in options else None)
            kept = [x for x in moments if x is not None]
            expected = list(getattr(ref, kernel)(w, g.astype(float).sum(axis=0), *kept, **options))
            if "t" in given:
                t = given.pop("t")
                given |= {"c1": 1 - given["mu"] ** t, "c2": 1 - given["rho"] ** t}
            found_w, found_m, found_v, sums = _core.kernel_update(kernel, w, g, *moments, **given)
            close(found_w, expected[0], dtype, 4)
            if kernel == "adam":
                close(found_m, expected[1], dtype, 4)
            if moments[1] is not None:
                close(found_v, expected[-1], dtype, 8)
            if options.get("l1") or options.get("l2"):
                assert_close(sums[0], np.abs(w.astype(float)).sum(), 64 * EPS[dtype])
                assert_close(sums[1], (w.astype(float) ** 2).sum(), 64 * EPS[dtype])
            else:
                assert sums[:2] == (0.0, 0.0)
            assert sums[2] is True


@by_dtype
@pytest.mark.parametrize("case", list(UPDATES))
def test_update_says_when_w_is_no_longer_finite(case: str, dtype: Any) -> None:
    kernel, options = case.split()[0], dict(UPDATES[case])
    options.pop("t", None)
    for n in (1, 8, 19):
        for at in {0, n - 1}:
            for bad in (np.nan, np.inf, -np.inf):
                w, g = np.ones(n, dtype=dtype), np.ones((1, n), dtype=dtype)
                w[at] = bad
                m = np.zeros(n, dtype=dtype) if kernel == "adam" else None
                v = np.zeros(n, dtype=dtype) if kernel != "sgd" or "mu" in options else None
                assert _core.kernel_update(kernel, w, g, m, v, **options)[3][2] is False, (n, at, bad)


@by_dtype
def test_update_says_when_w_overflows(dtype: Any) -> None:
    largest = np.finfo(dtype).max
    for n in (1, 8, 19):
        w, g = np.ones(n, dtype=dtype), np.ones((1, n), dtype=dtype)
        w[-1], g[0, -1] = largest, -largest
        new_w, _, _, sums = _core.kernel_update("sgd", w, g, None, None, alpha=0.5)
        assert np.isinf(new_w[-1])
        assert sums[2] is False


@by_dtype
def test_steps(dtype: Any, rng: np.random.Generator) -> None:
    w, g, m = (rng.normal(size=(3, 5)).astype(dtype) for _ in range(3))
    v = m * m
    found: Any = functional.sgd(w, g, alpha=0.1)
    assert found[1] is None
    close(found[0], ref.sgd(w, g, alpha=0.1)[0], dtype)
    nesterov: dict[str, Any] = {"alpha": 0.1, "nesterov": True, "l2": 0.1}
    soft: dict[str, Any] = {"alpha": 0.1, "t": 2, "threshold": 0.2}
    first: dict[str, Any] = {"alpha": 0.1, "t": 1, "eps_hat": True}
    decayed: dict[str, Any] = {"alpha": 0.1, "t": 2, "lam": 0.3}
    pairs = [
        (functional.sgd(w, g, m, alpha=0.1, momentum=0.9), ref.sgd(w, g, m, alpha=0.1, mu=0.9)),
        (functional.sgd(w, g, momentum=0.9, **nesterov), ref.sgd(w, g, mu=0.9, **nesterov)),
        (functional.rmsprop(w, g, v, alpha=0.1), ref.rmsprop(w, g, v, alpha=0.1)),
        (functional.adam(w, g, m, v, **soft), ref.adam(w, g, m, v, **soft)),
        (functional.adam(w, g, **first), ref.adam(w, g, 0 * m, 0 * m, **first)),
        (functional.adamw(w, g, m, v, **decayed), ref.adamw(w, g, m, v, **decayed)),
    ]
    for result, expected in pairs:
        assert len(result) == len(expected)
        for x, y in zip(result, expected, strict=True):
            close(x, y, dtype, 4)
            assert not any(np.shares_memory(x, given) for given in (w, g, m, v))


def test_step_errors() -> None:
    w = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"\[sgd\] g is \(3, 2\) but w is \(2, 3\): expected the same shape"):
        functional.sgd(w, w.T, alpha=0.1)
    with pytest.raises(ValueError, match=r"\[adamw\] m is \(6,\) but w is \(2, 3\)"):
        functional.adamw(w, w, np.ones(6), alpha=0.1, t=1)
    with pytest.raises(ValueError, match=r"\[rmsprop\] alpha is nan"):
        functional.rmsprop(w, w, alpha=math.nan)
    with pytest.raises(ValueError, match=r"\[adam\] t is 0"):
        functional.adam(w, w, alpha=0.1, t=0)


@by_dtype
@pytest.mark.parametrize("n", [*SIZES, 1023, 1025, 5000])
def test_reductions(n: int, dtype: Any, rng: np.random.Generator) -> None:
    x = rng.normal(size=n).astype(dtype)
    assert_close(_core.kernel_sum_square(x), (x.astype(float) ** 2).sum(), 128 * EPS[dtype])
    assert_close(_core.kernel_sum_abs(x), np.abs(x.astype(float)).sum(), 128 * EPS[dtype])
    assert _core.kernel_all_finite(x) is True
    for at in {0, n // 2, n - 1} if n else ():
        for bad in (np.nan, np.inf, -np.inf):
            y = x.copy()
            y[at] = bad
            assert _core.kernel_all_finite(y) is False
    slots = rng.normal(size=(4, n)).astype(dtype)
    close(_core.kernel_sum_slots(slots), slots.astype(float).sum(axis=0), dtype)


@by_dtype
def test_penalty(dtype: Any, rng: np.random.Generator) -> None:
    for n in SIZES:
        w = rng.normal(size=n).astype(dtype)
        w[::3] = 0
        for l1, l2 in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7)):
            value, gradient = functional.penalty(w, l1, l2)
            expected, d = ref.penalty(w, l1, l2)
            assert_close(value, expected, 32 * EPS[dtype])
            close(gradient, d, dtype)
    w = np.array([-0.0, 0.0], dtype=dtype)
    assert_close(functional.penalty(w, l1=1.0)[1], np.zeros(2), 0.0, dtype=dtype)


# ---- dropout and the small kernels -----------------------------------------------------------------------------------


@by_dtype
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.999])
def test_dropout(rate: float, dtype: Any, rng: np.random.Generator) -> None:
    """The mask itself, element by element: it is the same on every device and for any chunks."""
    for n in (*SIZES, 100):
        x, into = (rng.normal(size=n).astype(dtype) for _ in range(2))
        for seed, step, stream in ((0, 0, 0), (2**63 + 12345, 7, 2**24 - 1)):
            expected = ref.dropout(x, rate, seed, step, stream)
            close(functional.dropout(x, rate, seed, step, stream), expected, dtype)
            assert_close(functional.dropout(x, rate, seed, step, stream) == 0, expected == 0, 0.0)
            for first in (1, 2, 3, 4, 2**34 + 3):
                expected = ref.dropout(x, rate, seed, step, stream, first)
                close(_core.kernel_dropout(x, first, rate, seed, step, stream), expected, dtype)
                close(_core.kernel_dropout(x, first, rate, seed, step, stream, into), into + expected, dtype)


def test_dropout_threshold() -> None:
    """u_e >= rate 2^32 is kept, to the last bit."""
    word = int(ref.uniform_words(0, 1, 5, 6, 7)[0])
    assert functional.dropout([1.0], word / 2**32, 5, 6, 7)[0] == 1 / (1 - word / 2**32)
    assert functional.dropout([1.0], (word + 1) / 2**32, 5, 6, 7)[0] == 0.0


def test_dropout_errors() -> None:
    for rate in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"\[dropout\] rate is .*: expected 0 <= rate < 1"):
            functional.dropout([1.0], rate)
    with pytest.raises(ValueError, match=r"\[dropout\] seed is -1: expected 0 <= seed < 2\^64"):
        functional.dropout([1.0], 0.5, seed=-1)
    with pytest.raises(ValueError, match=r"\[dropout\] stream"):
        functional.dropout([1.0], 0.5, stream=2**24)


@by_dtype
@pytest.mark.parametrize("columns", SIZES)
def test_standardize(columns: int, dtype: Any, rng: np.random.Generator) -> None:
    x, into = (rng.normal(size=(4, 2, columns)).astype(dtype) for _ in range(2))
    mean, scale = rng.normal(size=columns).astype(dtype), rng.uniform(0.5, 2, size=columns).astype(dtype)
    close(functional.standardize(x, mean, scale), ref.standardize_forward(x, mean, scale), dtype)
    close(functional.standardize_backward(x, scale), ref.standardize_backward(x, scale), dtype)
    close(_core.kernel_standardize_backward(x, scale, into), into + ref.standardize_backward(x, scale), dtype)
    with pytest.raises(ValueError, match=r"\[standardize\] x is \(4, 2, \d+\) but mean is"):
        functional.standardize(x, np.ones(columns + 1), np.ones(columns + 1))
    with pytest.raises(ValueError, match=r"\[standardize_backward\] dy is"):
        functional.standardize_backward(x, np.ones(columns + 1))


@by_dtype
@pytest.mark.parametrize("columns", SIZES)
def test_sums_and_products(columns: int, dtype: Any, rng: np.random.Generator) -> None:
    for rows in (0, 1, 5, 40):
        x, other, into = (rng.normal(size=(rows, columns)).astype(dtype) for _ in range(3))
        tol = {"atol": 4 * max(1, rows) * EPS[dtype], "dtype": dtype}
        assert_close(_core.kernel_column_sum(x), x.astype(float).sum(axis=0), 8 * EPS[dtype], **tol)
        begin = rng.normal(size=columns).astype(dtype)
        assert_close(_core.kernel_column_sum(x, begin), begin + x.astype(float).sum(axis=0), 8 * EPS[dtype], **tol)
        assert_close(_core.kernel_add(x), x, 0.0)
        assert_close(_core.kernel_add(x, into), into + x, 0.0)
        assert_close(_core.kernel_multiply(x, other), x * other, 0.0)
        close(_core.kernel_multiply(x, other, into), into + x.astype(float) * other, dtype)
