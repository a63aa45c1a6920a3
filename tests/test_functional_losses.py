# SPDX-License-Identifier: MIT
"""Losses, optimizers, penalties, dropout and the small kernels of chainrule.functional against the NumPy twin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chainrule import _core, functional
from chainrule import reference as ref
from compare import assert_close, central_difference

DTYPES = [np.float32, np.float64]
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}
SIZES = [0, 1, 3, 7, 8, 9, 16, 33]
LOSSES = list(ref.LOSSES)
WITH_LABELS = ["softmax_cross_entropy", "cross_entropy", "squared_error"]

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
by_loss = pytest.mark.parametrize("name", LOSSES)


def close(actual: Any, expected: Any, dtype: Any, factor: float = 1.0, **options: Any) -> None:
    assert_close(actual, expected, 16 * factor * EPS[dtype], atol=8 * factor * EPS[dtype], dtype=dtype, **options)


def outputs(name: str, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    """Arguments of that loss: z of any size, or a inside (0, 1)."""
    if name.startswith(("softmax", "sigmoid", "squared")):
        return rng.normal(scale=3, size=shape).astype(dtype)
    return rng.uniform(0.02, 0.98, size=shape).astype(dtype)


# ---- losses ----------------------------------------------------------------------------------------------------------


@by_dtype
@by_loss
@pytest.mark.parametrize("columns", SIZES)
def test_loss_kernel(name: str, columns: int, dtype: Any, rng: np.random.Generator) -> None:
    """The kernel itself: the sum over rows, the gradient overwritten or added, with and without weights and labels."""
    for rows in (0, 1, 5, 8):
        x = outputs(name, (rows, columns), dtype, rng)
        y = rng.uniform(size=(rows, columns)).astype(dtype)
        s, into = rng.uniform(size=rows).astype(dtype), rng.normal(size=(rows, columns)).astype(dtype)
        labels = rng.integers(0, columns, size=rows).astype(np.int32) if columns else None
        for weights in (None, s):
            for target in (y, labels) if name in WITH_LABELS and labels is not None else (y,):
                given = (None, target) if target is labels else (target, None)
                expected, dx = ref.LOSSES[name](x, target, weights, 0.25)
                value, found = _core.kernel_loss(name, x, *given, weights, 0.25, True)
                tol = 32 * EPS[dtype]
                assert isinstance(value, float)
                assert_close(value, expected, tol, atol=tol)
                close(found, dx, dtype, 8)
                close(_core.kernel_loss(name, x, *given, weights, 0.25, True, into)[1], into + dx, dtype, 8)
                alone, nothing = _core.kernel_loss(name, x, *given, weights, 0.25, False)
                assert nothing is None
                assert alone == value


@by_dtype
@by_loss
def test_loss(name: str, dtype: Any, rng: np.random.Generator) -> None:
    x = outputs(name, (4, 2, 3), dtype, rng)
    y = rng.dirichlet(np.ones(3), size=(4, 2))
    s = np.array([1.0, 0.0, 2.5, 0.5])
    function = getattr(functional, name)
    for weights in (None, s, np.repeat(s[:, None], 2, axis=1)):
        total = 8.0 if weights is None else 2 * s.sum()
        expected, dx = ref.LOSSES[name](x, y.astype(dtype), weights, 1 / total)
        value, found = function(x, y, weights)
        assert_close(value, expected / total, 32 * EPS[dtype])
        close(found, dx, dtype, 8)
        assert function(x, y, weights, gradient=False) == value


@by_loss
def test_loss_central_differences(name: str, rng: np.random.Generator) -> None:
    x = outputs(name, (3, 4), np.float64, rng)
    y = rng.dirichlet(np.ones(4), size=3)
    s = rng.uniform(size=3)
    function = getattr(functional, name)
    numeric = central_difference(lambda v: function(v, y, s, gradient=False), x)
    assert_close(function(x, y, s)[1], numeric, 1e-7, atol=1e-8)


@by_dtype
def test_labels_are_one_hot_rows(dtype: Any, rng: np.random.Generator) -> None:
    labels = rng.integers(0, 5, size=(6, 2))
    for name in WITH_LABELS:
        x = outputs(name, (6, 2, 5), dtype, rng)
        for given in (labels, labels.astype(np.uint8), labels.astype(">i8"), labels.tolist()):
            value, dx = getattr(functional, name)(x, given)
            expected, d = getattr(functional, name)(x, np.eye(5)[labels])
            assert_close(value, expected, 8 * EPS[dtype])
            close(dx, d, dtype)


def test_one_output_takes_flat_targets() -> None:
    x = np.array([[0.25], [0.5]])
    for name in ("binary_cross_entropy", "sigmoid_binary_cross_entropy", "squared_error"):
        function = getattr(functional, name)
        for y in ([0, 1], [False, True], [0.0, 1.0]):
            assert function(x, y, gradient=False) == function(x, np.array([[0.0], [1.0]]), gradient=False)


@by_dtype
def test_fused_losses_at_extreme_logits(dtype: Any) -> None:
    z = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [150, -150, 150], [1e-45, 0, -1e-45]], dtype=dtype)
    for name in ("softmax_cross_entropy", "sigmoid_binary_cross_entropy"):
        for y in (np.eye(3)[[1, 0, 2, 0]], np.full((4, 3), 1 / 3)):
            y = y.astype(dtype)
            total, d = ref.LOSSES[name](z, y, None, 0.25)
            value, dz = getattr(functional, name)(z, y)
            assert_close(value, total / 4, 16 * EPS[dtype])
            close(dz, d, dtype)
    value, dz = functional.softmax_cross_entropy(z, [1, 0, 2, 0])
    total, d = ref.softmax_cross_entropy(z, np.array([1, 0, 2, 0]), None, 0.25)
    assert_close(value, total / 4, 16 * EPS[dtype])
    close(dz, d, dtype)


@by_dtype
def test_losses_of_saturated_outputs_stay_finite(dtype: Any) -> None:
    a = np.array([[0.0, 1.0], [1e-45, 0.5]], dtype=dtype)
    for name in ("cross_entropy", "binary_cross_entropy"):
        for y in ([[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]):
            total, d = ref.LOSSES[name](a, np.array(y), None, 0.5)
            value, da = getattr(functional, name)(a, y)
            assert_close(value, total / 2, 64 * EPS[dtype])
            assert_close(da, d, 64 * EPS[dtype], dtype=dtype)


@by_dtype
@by_loss
def test_loss_of_nan_is_nan(name: str, dtype: Any) -> None:
    for columns in (1, 8, 19):
        for at in {0, columns // 2, columns - 1}:
            x = np.full((3, columns), 0.5, dtype=dtype)
            x[1, at] = np.nan
            value, dx = getattr(functional, name)(x, np.full((3, columns), 1 / columns))
            assert math.isnan(value), (columns, at)
            assert np.isnan(dx[1, at])
            assert np.isfinite(dx[::2]).all()


def test_loss_errors() -> None:
    a = np.full((4, 3), 1 / 3)
    for y, message in (
        (
            np.ones((4, 2)),
            r"\[cross_entropy\] y is float64 \(4, 2\) but the output is \(4, 3\): "
            r"expected \(4, 3\), or integer labels \(4,\)",
        ),
        (np.ones(4), r"y is float64 \(4,\) but the output is \(4, 3\)"),
        (np.ones(5, dtype=int), r"y is int64 \(5,\)"),
        ([0, 1, 2, 3], r"\[cross_entropy\] y has labels from 0 to 3: expected 0 \.\. 2"),
        ([0, 1, 2, -1], r"labels from -1 to 2"),
        ([0, 1, 2, 2**32], r"labels from 0 to 4294967296"),
    ):
        with pytest.raises(ValueError, match=message):
            functional.cross_entropy(a, y)
    for s, message in (
        (np.ones(3), r"\[cross_entropy\] sample_weight is \(3,\) but the output is \(4, 3\): expected \(4,\)"),
        ([1, 1, 1, -1], "negative or non-finite"),
        ([1, 1, 1, np.nan], "negative or non-finite"),
        (np.zeros(4), "sum to 0"),
    ):
        with pytest.raises(ValueError, match=message):
            functional.cross_entropy(a, [0, 1, 2, 0], s)
    with pytest.raises(ValueError, match="sum to 0"):
        functional.cross_entropy(a[:0], np.zeros(0, dtype=int))
    with pytest.raises(ValueError, match="the output is a scalar"):
        functional.squared_error(1.0, 1.0)
    with pytest.raises(ValueError, match=r"\[binary_cross_entropy\] y is int64 \(4,\) .*: expected \(4, 3\)$"):
        functional.binary_cross_entropy(a, [0, 1, 2, 0])


def test_border_checks_labels() -> None:
    x = np.ones((2, 3))
    for labels in ([0, 3], [-1, 0], [0, 1, 2]):
        with pytest.raises(ValueError, match="label"):
            _core.kernel_loss("cross_entropy", x, None, np.array(labels, dtype=np.int32), None, 1.0, True)
    for y, labels in ((None, None), (x, np.zeros(2, dtype=np.int32))):
        with pytest.raises(ValueError, match="expected y or labels"):
            _core.kernel_loss("cross_entropy", x, y, labels, None, 1.0, True)
    with pytest.raises(ValueError, match="expected one weight a row"):
        _core.kernel_loss("cross_entropy", x, x, None, np.ones(3), 1.0, True)
    with pytest.raises(ValueError, match="into is"):
        _core.kernel_loss("cross_entropy", x, x, None, None, 1.0, True, np.ones((3, 3)))


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
