# SPDX-License-Identifier: MIT
"""The oracle itself: hand-worked numbers, published vectors, and central differences in float64.

Nothing here runs the C++.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from chainrule import reference as ref
from compare import assert_close, central_difference

NAMES = list(ref.ACTIVATIONS)


# ---- the comparator --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("actual", "expected", "options"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), {}),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), {}),
        (np.array([np.nan]), np.array([np.nan]), {}),
        (np.array([np.nan]), np.array([1.0]), {"equal_nan": True}),
        (np.array([1.0]), np.array([np.nan]), {"equal_nan": True}),
        (np.array([np.inf]), np.array([1.0]), {}),
        (np.array([1.0]), np.array([np.inf]), {}),
        (np.array([-np.inf]), np.array([np.inf]), {}),
        (np.array([1e300]), np.array([1.0]), {"product": ([[np.inf]], [1.0])}),
        (np.ones((2, 1)), np.ones(2), {}),
        (np.ones(1), np.ones(()), {}),
        (np.ones((0, 3)), np.ones((3, 0)), {}),
        (np.ones(2, dtype=np.float32), np.ones(2), {}),
        (np.ones(2), np.ones(2), {"dtype": np.float32}),
        (np.array([1.0, 1.1]), np.array([1.0, 1.0]), {}),
        (np.array([0.1]), np.array([0.0]), {"product": (np.full((1, 1), 1e-3), np.ones(1))}),
    ],
)
def test_comparator_fails(actual: Any, expected: Any, options: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        assert_close(actual, expected, 1e-3, **options)


def test_comparator_passes() -> None:
    assert_close(np.array([1.0005, np.inf]), np.array([1.0, np.inf]), 1e-3)
    assert_close(np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), 0.0, equal_nan=True)
    assert_close(np.array([1e-3]), np.array([0.0]), 1e-3, product=(np.full((1, 2), 1.0), np.ones(2)))
    assert_close(np.ones(2, dtype=np.float32), np.ones(2), 0.0, dtype=np.float32)


# ---- activations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_activation_derivatives(name: str) -> None:
    entry = ref.ACTIVATIONS[name]
    z = np.linspace(-12, 12, 481) + 0.013
    z = z[[all(abs(v - kink) > 1e-3 for kink in entry.kinks) for v in z]]
    g1, g2 = ref.activation_derivatives(name, z)
    h = 1e-5
    assert_close(g1, (ref.activation_forward(name, z + h) - ref.activation_forward(name, z - h)) / (2 * h), 1e-8, atol=1e-9)
    slope = (ref.activation_derivatives(name, z + h)[0] - ref.activation_derivatives(name, z - h)[0]) / (2 * h)
    assert_close(g2, slope, 1e-8, atol=1e-9)


# Phi(1) = 0.841344746068543 from any table of the normal distribution; the others by hand from the formula.
@pytest.mark.parametrize(
    ("name", "z", "a"),
    [
        ("sigmoid", math.log(3.0), 0.75),
        ("tanh", math.log(2.0), 0.6),
        ("relu", -2.0, 0.0),
        ("leaky_relu", -2.0, -0.02),
        ("elu", -math.log(2.0), -0.5),
        ("selu", -math.log(2.0), -0.5 * 1.0507009873554805 * 1.6732632423543772),
        ("softplus", 0.0, math.log(2.0)),
        ("gelu", 1.0, 0.8413447460685429),
        ("gelu_tanh", 1.0, 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * 1.044715))),
        ("silu", math.log(3.0), 0.75 * math.log(3.0)),
        ("exp", math.log(3.0), 3.0),
        ("identity", -2.5, -2.5),
    ],
)
def test_activation_by_hand(name: str, z: float, a: float) -> None:
    assert_close(ref.activation_forward(name, z), a, 4e-16)


@pytest.mark.parametrize("name", NAMES)
def test_activation_extremes(name: str) -> None:
    z = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 150.0, -150.0, 5e-324, -0.0])
    for values in (ref.activation_forward(name, z), *ref.activation_derivatives(name, z)):
        assert np.isnan(values[0]), name
        assert not np.isnan(values[1:]).any(), name
        assert np.isfinite(values[4 if name == "exp" else 3 :]).all(), name  # exp 1e4 is no float64


def test_softmax() -> None:
    assert_close(ref.softmax_forward([[0.0, math.log(3.0)]]), np.array([[0.25, 0.75]]), 2e-16)
    assert_close(ref.softmax_forward([[1e4, -1e4, 1e4]]), np.array([[0.5, 0.0, 0.5]]), 0.0)
    assert ref.softmax_forward(np.zeros((0, 3))).shape == (0, 3)
    assert ref.softmax_forward(np.zeros((3, 0))).shape == (3, 0)


def test_softmax_backward(rng: np.random.Generator) -> None:
    z, da = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    numeric = central_difference(lambda v: float((da * ref.softmax_forward(v)).sum()), z)
    assert_close(ref.softmax_backward(da, ref.softmax_forward(z)), numeric, 1e-8, atol=1e-9)


# ---- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize(("name", "parameters"), [*((name, {}) for name in ref.LOSSES), ("huber", {"delta": 0.3}), ("quantile", {"q": (0.1, 0.8)})])
def test_loss_gradient(name: str, parameters: dict[str, Any], labels: bool, rng: np.random.Generator) -> None:
    x = rng.uniform(0.1, 0.9, size=(4, 2, 3 * len(parameters.get("q", (0.5,)))))
    y = rng.integers(0, 3, size=(4, 2)) if labels else rng.dirichlet(np.ones(3), size=(4, 2))
    s = np.array([1.0, 0.0, 2.5, 0.5])
    value, dx = ref.LOSSES[name](x, y, s, 0.7, **parameters)
    assert_close(dx, central_difference(lambda v: 0.7 * ref.LOSSES[name](v, y, s, **parameters)[0], x), 1e-8, atol=1e-9)
    assert not dx[1].any()
    rows = [ref.LOSSES[name](x[i : i + 1, j : j + 1], y[i : i + 1, j : j + 1], **parameters)[0] for i in range(4) for j in range(2)]
    assert_close(value, np.dot(np.repeat(s, 2), rows), 1e-14)


def test_losses_by_hand() -> None:
    # softmax (0, log 3) = (1/4, 3/4); L = -log 3/4; dz = (1/4, 3/4 - 1)
    value, dz = ref.softmax_cross_entropy([[0.0, math.log(3.0)]], np.array([1]))
    assert_close(value, math.log(4 / 3), 1e-15)
    assert_close(dz, np.array([[0.25, -0.25]]), 1e-15)
    value, da = ref.cross_entropy([[0.25, 0.75]], np.array([1]))
    assert_close(value, math.log(4 / 3), 1e-15)
    assert_close(da, np.array([[0.0, -4 / 3]]), 1e-15)
    # sigmoid(log 3) = 3/4; L = -log 1/4; dz = 3/4; da = 1 / (1 - 3/4)
    value, dz = ref.sigmoid_binary_cross_entropy([[math.log(3.0)]], [[0.0]])
    assert_close(value, math.log(4.0), 1e-15)
    assert_close(dz, np.array([[0.75]]), 1e-15)
    value, da = ref.binary_cross_entropy([[0.75]], [[0.0]])
    assert_close(value, math.log(4.0), 1e-15)
    assert_close(da, np.array([[4.0]]), 1e-15)
    # 1/2 ((1 - 3)^2 + (0 - 1)^2) = 2.5
    value, da = ref.squared_error([[3.0, 1.0]], [[1.0, 0.0]])
    assert_close(value, 2.5, 0.0)
    assert_close(da, np.array([[2.0, 1.0]]), 0.0)
    value, da = ref.absolute_error([[3.0, 1.0, 2.0]], [[1.0, 1.0, 3.0]])
    assert_close(value, 3.0, 0.0)
    assert_close(da, np.array([[1.0, 0.0, -1.0]]), 0.0)
    # |d| = 2 and 1/2 at delta 1: 1 (2 - 1/2) + 1/8
    value, da = ref.huber([[3.0, 1.0]], [[1.0, 1.5]])
    assert_close(value, 1.625, 0.0)
    assert_close(da, np.array([[1.0, -0.5]]), 0.0)
    # y = (1, 2), levels 1/4 and 3/4: d = (1, -1, 2, 0): 1/4 + 1/4 + 1/2
    value, da = ref.quantile([[0.0, 2.0, 0.0, 2.0]], [[1.0, 2.0]], q=(0.25, 0.75))
    assert_close(value, 1.0, 0.0)
    assert_close(da, np.array([[-0.25, 0.25, -0.25, 0.0]]), 0.0)
    # a = 2, y = 1: 2 - 1 + log(1/2); a = 3, y = 0: 3
    value, da = ref.poisson([[2.0, 3.0]], [[1.0, 0.0]])
    assert_close(value, 4.0 - math.log(2.0), 1e-15)
    assert_close(da, np.array([[0.5, 1.0]]), 0.0)
    value, dz = ref.exp_poisson(np.log([[2.0, 3.0]]), [[1.0, 0.0]])
    assert_close(value, 4.0 - math.log(2.0), 1e-15)
    assert_close(dz, np.array([[1.0, 3.0]]), 1e-15)


def test_losses_extremes() -> None:
    z = np.array([[1e4, -1e4, 0.0]])
    assert_close(ref.softmax_cross_entropy(z, np.array([1]))[0], 2e4, 0.0)
    assert_close(ref.sigmoid_binary_cross_entropy(z, [[0.0, 1.0, 1.0]])[0], 2e4 + math.log(2), 1e-15)
    for dtype in (np.float32, np.float64):
        a = np.array([[0.0, 1.0]], dtype=dtype)
        for name in ("cross_entropy", "binary_cross_entropy"):
            value, da = ref.LOSSES[name](a, [[1.0, 0.0]])
            assert np.isfinite(value)
            assert np.isfinite(da).all()


# ---- random numbers --------------------------------------------------------------------------------------------------


# The known-answer vectors that are published with Random123 (kat_vectors, philox4x32 10).
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox(counter: list[int], key: list[int], expected: list[int]) -> None:
    assert ref.philox4x32_10(counter, key).tolist() == expected


# FNV-1a 32 of "", "a" and "foobar" is 811C9DC5, E40C292C and BF9CF968 (the vectors of its authors).
@pytest.mark.parametrize(("name", "stream"), [("", 0x1C9DC5 ^ 0x81), ("a", 0x0C292C ^ 0xE4), ("foobar", 0x9CF968 ^ 0xBF)])
def test_stream(name: str, stream: int) -> None:
    assert ref.stream_of(name) == stream


def test_uniform_words_do_not_depend_on_chunks() -> None:
    whole = ref.uniform_words(0, 37, 2**63 + 5, 3, 9)
    for cut in (1, 3, 4, 8, 36):
        parts = np.concatenate([ref.uniform_words(0, cut, 2**63 + 5, 3, 9), ref.uniform_words(cut, 37 - cut, 2**63 + 5, 3, 9)])
        assert parts.tolist() == whole.tolist()
    far = 2**34 + 3
    assert ref.uniform_words(far, 1, 1, 2, 3)[0] == ref.philox4x32_10([(far // 4) & 0xFFFFFFFF, (far // 4) >> 32, 2, 2 << 24 | 3], [1, 0])[3]


def test_dropout() -> None:
    y = ref.dropout(np.ones((500, 40)), 0.3, 1, 0, 0)
    assert set(np.unique(y)) == {0.0, 1 / 0.7}
    assert abs((y == 0).mean() - 0.3) < 5 * math.sqrt(0.21 / y.size)
    assert_close(ref.dropout(y, 0.0, 1, 0, 0), y, 0.0)


# ---- optimizers, penalties, schedules --------------------------------------------------------------------------------


def test_penalty(rng: np.random.Generator) -> None:
    w = rng.normal(size=7)
    assert_close(ref.penalty(w, 0.3, 0.2)[1], central_difference(lambda v: ref.penalty(v, 0.3, 0.2)[0], w), 1e-8, atol=1e-10)
    assert_close(ref.penalty([0.0, -0.0, 2.0], 1.0, 0.5)[1], np.array([0.0, 0.0, 2.0]), 0.0)
    assert_close(ref.soft_threshold([-1.0, 0.25, 0.5, 2.0], 0.5), np.array([-0.5, 0.0, 0.0, 1.5]), 0.0)


def test_updates_by_hand() -> None:
    # g = 2 + 0.5 * 2 (l2) = 3 at w = 2; v = 0.5 * 4 - 0.1 * 3 = 1.7
    w, v = ref.sgd([2.0], [2.0], [4.0], alpha=0.1, mu=0.5, l2=0.5)
    assert_close(v, np.array([1.7]), 1e-15)
    assert_close(w, np.array([3.7]), 1e-15)
    # Nesterov: w + 0.5 * 1.7 - 0.3
    assert_close(ref.sgd([2.0], [2.0], [4.0], alpha=0.1, mu=0.5, l2=0.5, nesterov=True)[0], np.array([2.55]), 1e-15)
    # v = 0.75 * 4 + 0.25 * 4 = 4; w = 2 - 0.1 * 2 / 2
    w, v = ref.rmsprop([2.0], [2.0], [4.0], alpha=0.1, rho=0.75, eps=0.0)
    assert_close(w, np.array([1.9]), 1e-15)
    # the first step of Adam from zero moments is alpha sign(g)
    w, _, _ = ref.adam([2.0, 2.0], [5.0, -1e-3], [0.0, 0.0], [0.0, 0.0], t=1, alpha=0.1, eps=0.0)
    assert_close(w, np.array([1.9, 2.1]), 1e-14)
    # AdamW takes alpha lam w away besides: 2 - 0.1 - 0.1 * 0.5 * 2
    w, _, _ = ref.adamw([2.0], [5.0], [0.0], [0.0], t=1, alpha=0.1, eps=0.0, lam=0.5)
    assert_close(w, np.array([1.8]), 1e-14)
    # both placings of eps agree where eps is 0
    moments = {"t": 3, "alpha": 0.1, "eps": 0.0}
    plain = ref.adam([2.0], [5.0], [0.3], [0.2], **moments)
    assert_close(ref.adam([2.0], [5.0], [0.3], [0.2], eps_hat=True, **moments)[0], plain[0], 1e-15)


def test_schedules() -> None:
    assert ref.constant(0.5)(7) == 0.5
    assert [ref.step(1.0, 0.5, 2)(t) for t in range(5)] == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert [ref.cosine(1.0, 4, 0.5)(t) for t in (0, 4, 9)] == [1.0, 0.5, 0.5]
    assert_close(ref.cosine(1.0, 4, 0.5)(2), 0.75, 1e-15)
    assert_close(ref.inverse_scaling(1.0, 0.5)(3), 0.5, 1e-15)
    cycle = ref.one_cycle(1.0, 10)
    assert_close([cycle(0), cycle(3), cycle(10), cycle(11)], np.array([1 / 25, 1.0, 1e-4, 1e-4]), 1e-13)
    assert_close(
        [ref.warm_up(ref.step(1.0, 0.5, 2), 4)(t) for t in range(8)],
        np.array([0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5]),
        1e-15,
    )
