# SPDX-License-Identifier: MIT
"""What fit and its parts let a caller decide: the order of the rows, the number of threads; and what they report of it."""

from __future__ import annotations

from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import _core


def chain(dtype: str = "float64") -> cr.Network:
    return cr.Network([cr.Input(3), cr.Dense(4, "tanh"), cr.Dense(1)], seed=1, dtype=dtype)


def test_a_function_decides_the_order(rng: np.random.Generator) -> None:
    """Epochs in an order of one's own are epochs over rows that lie in that order."""
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    orders = [rng.permutation(20) for _ in range(3)]
    calls: list[int] = []

    def order(n: int) -> Any:
        calls.append(n)
        return orders[len(calls) - 1]

    net, twin = chain(), chain()
    net.fit(x, y, epochs=3, batch_size=6, shuffle=order, optimizer=cr.SGD(0.1, momentum=0.5))
    for rows in orders:
        twin.fit(x[rows], y[rows], epochs=1, batch_size=6, shuffle=False, optimizer=cr.SGD(0.1, momentum=0.5))
    assert calls == [20, 20, 20]
    np.testing.assert_array_equal(net.flat_parameters, twin.flat_parameters)
    assert not np.array_equal(net.flat_parameters, chain().flat_parameters)


def test_the_order_counts_within_the_rows_that_train(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(20, 3)), rng.normal(size=20)
    calls: list[int] = []

    def order(n: int) -> Any:
        calls.append(n)
        return np.arange(n)

    net, twin = chain(), chain()
    net.fit(x, y, epochs=2, batch_size=4, shuffle=order, validation=0.25)
    twin.fit(x, y, epochs=2, batch_size=4, shuffle=False, validation=0.25)
    assert calls == [15, 15]
    np.testing.assert_array_equal(net.flat_parameters, twin.flat_parameters)


@pytest.mark.parametrize("validation", [None, 0.25])
@pytest.mark.parametrize("order", [[0, 1], [0.0, 1.0, 2.0], [[0], [1], [2]], "012", [0, 1, 3], [0, 1, -1]])
def test_an_order_that_is_none_is_refused(order: Any, validation: float | None) -> None:
    net = chain()
    before = net.flat_parameters.copy()
    with pytest.raises(ValueError, match=r"shuffle\(3\) returned"):
        net.fit(
            np.eye(3 if validation is None else 4, 3),
            np.ones(3 if validation is None else 4),
            batch_size=2,
            shuffle=lambda n: order,
            validation=validation,
        )
    np.testing.assert_array_equal(net.flat_parameters, before)


def test_history_tells_the_penalties_part() -> None:
    net = chain()
    penalty = 0.5 * 0.3 * sum(float((w**2).sum()) for w in net.W)
    history = net.fit(np.eye(3), np.ones(3), epochs=2, batch_size=None, penalty=cr.L2(0.3))
    assert history["penalty"][0] == pytest.approx(penalty, rel=1e-12)
    plain = chain().fit(np.eye(3), np.ones(3), epochs=2, batch_size=None)
    assert history["loss"][0] - history["penalty"][0] == pytest.approx(plain["loss"][0], rel=1e-12)
    assert "penalty" not in plain


def test_objective_is_the_loss_and_gradient_of_any_parameters(rng: np.random.Generator) -> None:
    net, x, y = chain(), rng.normal(size=(9, 3)), rng.normal(size=9)
    objective = net.objective(x, y, penalty=cr.L2(0.1))
    for _ in range(2):
        theta = rng.normal(size=net.flat_parameters.size)
        value, gradient = objective(theta)
        expected = net.loss_and_gradient(x, y, theta, penalty=cr.L2(0.1))
        assert value == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])
    with pytest.raises(ValueError, match=r"theta has shape \(3,\)"):
        objective(np.zeros(3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_rows_go_straight_to_the_core(dtype: str, rng: np.random.Generator) -> None:
    net = chain(dtype)
    x = rng.normal(size=(5, 3)).astype("float32")
    for given in (x, x.astype("float64")):
        out = net._direct_finite(given)
        assert out.dtype == net.dtype
        np.testing.assert_array_equal(out, net.predict(given))
    for bad in (np.nan, np.inf):
        x[2, 1] = bad
        assert net._direct_finite(x) is None
        assert net._direct_finite(x.astype("float64")) is None
    for other in (
        np.ones((1 << 18, 3)),
        np.ones((5, 3), int),
        np.ones((5, 4)),
        np.ones((5, 3), order="F"),
        np.ones(3),
        [[1.0, 2.0, 3.0]],
        np.ones((0, 3)),
    ):
        assert net._direct_finite(other) is None


@pytest.mark.parametrize("rows", [1, 5, 40])
def test_images_go_straight_to_the_core(rows: int, rng: np.random.Generator) -> None:
    """Values of several axes do too, in and out, once every Standardize has learned; the bits are those of the other way."""
    layers = [cr.Input((6, 5, 2)), cr.Standardize(name="norm"), cr.Conv2D(3, 3, "relu"), cr.BatchNorm(), cr.MaxPool(2)]
    net = cr.Network(layers, dtype="float64", seed=1)
    x = rng.normal(size=(rows, 6, 5, 2))
    assert net._direct(x) is None
    with pytest.raises(ValueError, match=r"\[norm\] has learned no mean and scale yet"):
        net.predict(x)
    net.adapt(x)
    expected = net._core.predict([x])[0]
    assert expected.shape == (rows, 3, 2, 3)
    for out in (net._direct(x), net._direct_finite(x), net.predict(np.asfortranarray(x))):
        np.testing.assert_array_equal(out, expected, strict=True)
    for other in (x.reshape(rows, 5, 6, 2), x.reshape(rows, -1), x[None], x[0], np.asfortranarray(x), x[..., ::-1], x[:0]):
        assert net._direct(other) is None


def test_a_thread_may_limit_its_own_threads() -> None:
    everywhere = cr.num_threads()
    try:
        assert _core.limit_threads(3) == 0
        assert cr.num_threads() == 3
        assert _core.limit_threads(1) == 3
        x, y = np.ones((4000, 64)), np.arange(4000) % 10
        net = cr.Network([cr.Input(64), cr.Dense(100, "relu"), cr.Dense(10, "softmax")])
        net.fit(x, y, epochs=1, batch_size=1000)
        assert net.last_fit is not None
        assert len(net.last_fit.chunks_by_thread) == 1
    finally:
        _core.limit_threads(0)
    assert cr.num_threads() == everywhere
    with pytest.raises(ValueError, match=r"\[limit_threads\] n is -1"):
        _core.limit_threads(-1)
