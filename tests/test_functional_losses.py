# SPDX-License-Identifier: MIT
"""The losses of chainrule.functional and the kernels behind them against the NumPy twin. Cases come from its registry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chainrule import _core, functional, losses
from chainrule import reference as ref
from compare import assert_close, central_difference

DTYPES = [np.float32, np.float64]
EPS = {np.float32: 2.0**-23, np.float64: 2.0**-52}
SIZES = [0, 1, 3, 7, 8, 9, 16, 33]
# id: (name, parameters); the registry's, and again where there are parameters
LOSSES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in ref.LOSSES} | {
    "huber of 0.3": ("huber", {"delta": 0.3}),
    "quantile of 1": ("quantile", {"q": (0.2,)}),
    "quantile of 3": ("quantile", {"q": (0.1, 0.5, 0.9)}),
}
WITH_LABELS = ["softmax_cross_entropy", "cross_entropy", "squared_error"]

by_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])
by_loss = pytest.mark.parametrize(("name", "parameters"), LOSSES.values(), ids=LOSSES)


def close(actual: Any, expected: Any, dtype: Any, factor: float = 1.0, **options: Any) -> None:
    assert_close(actual, expected, 16 * factor * EPS[dtype], atol=8 * factor * EPS[dtype], dtype=dtype, **options)


def outputs(name: str, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    """Arguments of that loss: z of any size, or a inside (0, 1)."""
    if name in ("cross_entropy", "binary_cross_entropy", "poisson"):
        return rng.uniform(0.02, 0.98, size=shape).astype(dtype)
    return rng.normal(scale=3, size=shape).astype(dtype)


def targets(name: str, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> Any:
    """y in [0, 1], or counts."""
    return (rng.poisson(2.0, size=shape) if name.endswith("poisson") else rng.uniform(size=shape)).astype(dtype)


def of_core(name: str, parameters: dict[str, Any]) -> tuple[float, ...]:
    """The parameters of that loss as the kernel takes them."""
    return losses.KNOWN[name](**parameters).parameters if name in losses.KNOWN else ()


def levels(parameters: dict[str, Any]) -> int:
    return len(parameters.get("q", (0.5,)))


# ---- losses ----------------------------------------------------------------------------------------------------------


@by_dtype
@by_loss
@pytest.mark.parametrize("columns", SIZES)
def test_loss_kernel(name: str, parameters: dict[str, Any], columns: int, dtype: Any, rng: np.random.Generator) -> None:
    """The kernel itself: the sum over rows, the gradient overwritten or added, with and without weights and labels."""
    core = of_core(name, parameters)
    for rows in (0, 1, 5, 8):
        x = outputs(name, (rows, columns * levels(parameters)), dtype, rng)
        y = targets(name, (rows, columns), dtype, rng)
        s, into = rng.uniform(size=rows).astype(dtype), rng.normal(size=x.shape).astype(dtype)
        labels = rng.integers(0, columns, size=rows).astype(np.int32) if columns else None
        for weights in (None, s):
            for target in (y, labels) if name in WITH_LABELS and labels is not None else (y,):
                given = (None, target) if target is labels else (target, None)
                expected, dx = ref.LOSSES[name](x, target, weights, 0.25, **parameters)
                value, found = _core.kernel_loss(name, x, *given, weights, 0.25, True, None, core)
                tol = 32 * EPS[dtype]
                assert isinstance(value, float)
                assert_close(value, expected, tol, atol=tol)
                close(found, dx, dtype, 8)
                close(_core.kernel_loss(name, x, *given, weights, 0.25, True, into, core)[1], into + dx, dtype, 8)
                alone, nothing = _core.kernel_loss(name, x, *given, weights, 0.25, False, None, core)
                assert nothing is None
                assert alone == value


@by_dtype
@by_loss
@pytest.mark.parametrize("columns", [3, 1100])
def test_loss(name: str, parameters: dict[str, Any], columns: int, dtype: Any, rng: np.random.Generator) -> None:
    """Rows that share a block of 1,024 elements, and rows that fill several."""
    x = outputs(name, (4, 2, columns * levels(parameters)), dtype, rng)
    y = rng.dirichlet(np.ones(columns), size=(4, 2))
    s = np.array([1.0, 0.0, 2.5, 0.5])
    function = getattr(functional, name)
    for weights in (None, s, np.repeat(s[:, None], 2, axis=1)):
        total = 8.0 if weights is None else 2 * s.sum()
        expected, dx = ref.LOSSES[name](x, y.astype(dtype), weights, 1 / total, **parameters)
        value, found = function(x, y, weights, **parameters)
        assert_close(value, expected / total, 32 * EPS[dtype])
        close(found, dx, dtype, 8)
        assert function(x, y, weights, gradient=False, **parameters) == value


@by_loss
def test_loss_central_differences(name: str, parameters: dict[str, Any], rng: np.random.Generator) -> None:
    x = outputs(name, (3, 4 * levels(parameters)), np.float64, rng)
    y = rng.dirichlet(np.ones(4), size=3)
    s = rng.uniform(size=3)
    function = getattr(functional, name)
    numeric = central_difference(lambda v: function(v, y, s, gradient=False, **parameters), x)
    assert_close(function(x, y, s, **parameters)[1], numeric, 1e-7, atol=1e-8)


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
    for name in set(ref.LOSSES) - {"softmax_cross_entropy", "cross_entropy"}:
        function = getattr(functional, name)
        for y in ([0, 1], [False, True], [0.0, 1.0]):
            assert function(x, y, gradient=False) == function(x, np.array([[0.0], [1.0]]), gradient=False)
    a = np.array([[0.25, 0.5], [0.5, 0.75]])
    assert functional.quantile(a, [0, 1], q=(0.1, 0.9), gradient=False) == functional.quantile(a, [[0], [1]], q=(0.1, 0.9), gradient=False)


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
def test_loss_of_nan_is_nan(name: str, parameters: dict[str, Any], dtype: Any) -> None:
    for columns in (1, 8, 19):
        for at in {0, columns // 2, columns - 1}:
            x = np.full((3, columns * levels(parameters)), 0.5, dtype=dtype)
            x[1, at] = np.nan
            value, dx = getattr(functional, name)(x, np.full((3, columns), 1 / columns), **parameters)
            assert math.isnan(value), (columns, at)
            assert np.isnan(dx[1, at])
            assert np.isfinite(dx[::2]).all()


@by_dtype
def test_derivatives_at_the_kinks(dtype: Any) -> None:
    """sign(0) = 0; Huber's parabola and line meet; q d and (q - 1) d by hand."""
    a, y = np.array([[1.0, 2.0, 3.0]], dtype=dtype), [[2.0, 2.0, 2.0]]
    value, da = functional.absolute_error(a, y)
    assert (value, da.tolist()) == (2.0, [[-1.0, 0.0, 1.0]])
    value, da = functional.huber(a, y, delta=1.0)
    assert (value, da.tolist()) == (1.0, [[-1.0, 0.0, 1.0]])
    value, da = functional.huber(4 * a, y, delta=1.0)  # d = 2, 6, 10
    assert (value, da.tolist()) == (16.5, [[1.0, 1.0, 1.0]])
    value, da = functional.quantile(a, [2.0], q=(0.25, 0.25, 0.75))
    assert (value, da.tolist()) == (0.25 + 0.25, [[-0.25, 0.0, 0.25]])


@by_dtype
def test_poisson_is_half_the_deviance(dtype: Any) -> None:
    """Exactly 0 where a = y, and with relative accuracy next to it: large counts would drown it in exp z - y z."""
    y = np.array([[0.0, 0.25, 1.0, 7.0, 1e4, 1e6]])
    z = np.log(np.maximum(y, 1e-30)).astype(dtype)
    assert_close(functional.exp_poisson(z[:, 2:3], y[:, 2:3], gradient=False), 0.0, 0.0)
    assert_close(functional.poisson(y.astype(dtype), y, gradient=False), 0.0, 0.0, atol=1e-30)
    z = (z + np.array([0, 0.5, -0.5, 0.25, 0.125, -0.125])).astype(dtype)
    for i in range(y.size):
        exact = float(np.exp(np.longdouble(z[0, i])) - y[0, i])
        if y[0, i] > 0:
            exact = float(y[0, i] * (np.expm1(z[0, i] - np.log(np.longdouble(y[0, i]))) - (z[0, i] - np.log(np.longdouble(y[0, i])))))
        assert_close(functional.exp_poisson(z[:, i : i + 1], y[:, i : i + 1], gradient=False), exact, 2e3 * EPS[dtype], atol=EPS[dtype])
    large = functional.exp_poisson(np.array([[80.0]], dtype=dtype), [[1e-30]], gradient=False)
    assert_close(large, np.exp(80.0), 64 * EPS[dtype])


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
    for y, q, message in (
        (np.ones((4, 3)), (0.1, 0.5, 0.9), r"\[quantile\] y is float64 \(4, 3\) but the output is \(4, 3\): expected \(4, 1\)$"),
        (np.ones((4, 1)), (0.1, 0.9), r"\[quantile\] the output is \(4, 3\): expected 2 columns for one of y, one for each level"),
        (np.ones((4, 1)), (0.1, 1.0), r"\[Quantile\] q is 1.0: expected a number in \(0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            functional.quantile(a, y, q=q)
    for name in ("poisson", "exp_poisson"):
        with pytest.raises(ValueError, match=rf"\[{name}\] y holds values from -1.0 to 1.0: expected values >= 0"):
            getattr(functional, name)(a, np.eye(4, 3) - np.eye(4, 3)[::-1])
    with pytest.raises(ValueError, match=r"\[sigmoid_binary_cross_entropy\] y holds values from 0.0 to 2.0: expected values in \[0, 1\]"):
        functional.sigmoid_binary_cross_entropy(a, 2 * np.eye(4, 3))
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
    for name, parameters, message in (("huber", (), "got 0 parameters: expected one"), ("quantile", (), "expected one for each level"),
                                      ("poisson", (1.0,), "got 1 parameters: expected none")):  # fmt: skip
        with pytest.raises(ValueError, match=rf"\[{name}\] .*{message}"):
            _core.kernel_loss(name, x, x, None, None, 1.0, True, None, parameters)
    with pytest.raises(ValueError, match=r"\[quantile\] the output is \(2, 3\): expected a multiple of the 2 levels"):
        _core.kernel_loss("quantile", x, x, None, None, 1.0, True, None, (0.1, 0.9))
    with pytest.raises(ValueError, match="into is"):
        _core.kernel_loss("cross_entropy", x, x, None, None, 1.0, True, np.ones((3, 3)))
