# SPDX-License-Identifier: MIT
"""Bad data: a ValueError or TypeError that names the argument, what came and what was expected; nothing trained is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import intake
from refusal import T, X, Y, chain, put, refused, regression, two

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card

WRONG_X: list[tuple[Any, str]] = [
    (X[:, :2], r"\[input_1\] X has shape \(8, 2\): expected \(n, 3\)"),
    (X[0], r"\[input_1\] X has shape \(3,\): expected \(n, 3\)"),
    (X[:, None], r"\[input_1\] X has shape \(8, 1, 3\): expected \(n, 3\)"),
    (np.zeros((8, 0)), r"\[input_1\] X has shape \(8, 0\): expected \(n, 3\)"),
    (3.5, r"X is a single number: expected an array whose first axis counts the samples"),
    ([[1.0, 2.0, 3.0], [1.0]], r"\[X\] is no array: .*inhomogeneous"),
    ((X, X), r"\[input_1\] X has shape \(2, 8, 3\): expected \(n, 3\)"),
    ({"wrong": X}, r"\[X\] is a dict with the keys \['wrong'\]: expected \['input_1'\]"),
]


METHODS = ["predict", "forward", "transitions", "adapt", "fit", "gradient", "loss_and_gradient", "evaluate", "check_gradient"]


@pytest.mark.parametrize(("x", "message"), WRONG_X, ids=range(len(WRONG_X)))
@pytest.mark.parametrize("method", METHODS)
def test_wrong_x(method: str, x: Any, message: str) -> None:
    net = chain()
    f = getattr(net, method)
    with refused(net, ValueError, message):
        list(f(x)) if method == "transitions" else f(x) if method in METHODS[:4] else f(x, Y)


def test_wrong_inputs_of_several() -> None:
    net = two()
    a, b, y = X, np.zeros((8, 5, 2)), (Y, np.zeros((8, 5, 2)))
    for given, message in [
        (a, r"\[X\] got ndarray: expected a tuple or dict for \['a', 'b'\]"),
        ((a,), r"\[X\] got 1 values: expected a tuple or dict for \['a', 'b'\]"),
        ({"a": a}, r"\[X\] is a dict with the keys \['a'\]: expected \['a', 'b'\]"),
        ((a, b[:7]), r"\[b\] has 7 rows: the first input has 8"),
        ((a, b[..., :1]), r"\[b\] b has shape \(8, 5, 1\): expected \(n, None, 2\)"),
        ((a, X), r"\[b\] b has shape \(8, 3\): expected \(n, None, 2\)"),
        ((a, b[:, :0]), r"\[b\] b has length 0 along the open axis: expected at least 1"),
    ]:
        with refused(net, ValueError, message):
            net.predict(given)
        with refused(net, ValueError, message):
            net.fit(given, y)
    with refused(net, ValueError, r"\[h\] y of h has length 4 along the open axis: another input has 5"):
        net.fit((a, b), (Y, np.zeros((8, 4, 2))))
    for given, message in [
        (Y, r"\[y\] got ndarray: expected a tuple or dict for \['p', 'h'\]"),
        ({"p": Y, "q": T}, r"\[y\] is a dict with the keys \['p', 'q'\]: expected \['p', 'h'\]"),
        ((np.array([7] * 8), y[1]), r"\[y of p\] row 0 has the label 7: expected integers 0 to 2"),
        ((Y[:5], y[1]), r"\[p\] y of p has 5 rows: X has 8"),
    ]:
        with refused(net, ValueError, message):
            net.fit((a, b), given)
    with refused(net, ValueError, r"\[loss\] got str: expected a tuple or dict for \['p', 'h'\]"):
        net.fit((a, b), y, loss="squared_error")
    with refused(net, ValueError, r"\[loss_weights\] got 3 values: expected a tuple or dict"):
        net.fit((a, b), y, loss_weights=(1, 2, 3))
    with refused(net, ValueError, r"\[sample_weight\] has shape \(8, 2\): expected one weight a row, \(8,\)"):
        net.fit((a, b), y, sample_weight=(np.ones(8), np.ones((8, 2))))


WRONG_Y: list[tuple[Any, Any, str | None, type[Exception], str]] = [
    (chain, put(Y, 3, -1), None, ValueError, r"\[y\] row 3 has the label -1: expected integers 0 to 2, the output has 3 columns"),
    (chain, put(Y, 6, 3), None, ValueError, r"\[y\] row 6 has the label 3: expected integers 0 to 2"),
    (chain, put(Y, 6, 2**33), None, ValueError, r"row 6 has the label 8589934592"),
    (chain, put(Y.astype("u8"), 6, 2**64 - 1), None, ValueError, r"row 6 has the label 18446744073709551615"),
    (chain, Y.astype(float), None, ValueError, r"\[y\] has shape \(8,\), dtype float64: expected integer labels \(n,\) or probabilities \(n, 3\)"),
    (chain, np.full((8, 3), 0.4), None, ValueError, r"\[y\] row 0 is \[0.4 0.4 0.4\]: expected probabilities >= 0 whose sum is 1 within 1e-4"),
    (chain, put(np.full((8, 3), 1 / 3), (5, 1), np.nan), None, ValueError, r"\[y\] row 5 is .*nan.*: expected probabilities"),
    (chain, put(np.eye(3)[Y], 4, (1.5, -0.5, 0)), None, ValueError, r"row 4 is .*: expected probabilities >= 0"),
    (chain, np.eye(2)[Y % 2], None, ValueError, r"\[y\] has shape \(8, 2\), dtype float64: expected integer labels"),
    (chain, Y[:7], None, ValueError, r"\[dense_2\] y has 7 rows: X has 8"),
    (chain, Y[:, None, None], None, ValueError, r"\[dense_2\] y has shape \(8, 1, 1\): expected \(n,"),
    (chain, Y.reshape(4, 2), None, ValueError, r"y has 4 rows: X has 8"),
    (chain, 1, None, ValueError, r"\[y\] is a single number"),
    (chain, 9, None, ValueError, r"\[y\] is a single number"),
    (chain, None, None, ValueError, r"\[y\] is None: expected the targets"),
    (chain, Y, "squared_error", ValueError, r"\[dense_2\] y has shape \(8,\): expected \(n, 3\)"),
    (chain, np.eye(3)[Y] * 2, "binary_cross_entropy", ValueError, r"\[y\] holds values from 0.0 to 2.0: expected values in \[0, 1\]"),
    (chain, -np.eye(3)[Y], "binary_cross_entropy", ValueError, r"\[y\] holds values from -1.0 to"),
    (regression, T[:, :1], None, ValueError, r"\[dense_1\] y has shape \(8, 1\): expected \(n, 2\)"),
    (regression, T[:, 0], None, ValueError, r"\[dense_1\] y has shape \(8,\): expected \(n, 2\)"),
    (regression, put(T, (2, 1), np.nan), None, ValueError, r"\[y\] row 2 holds -?nan: expected finite numbers that float32 can hold"),
    (regression, put(T, (7, 0), -np.inf), None, ValueError, r"\[y\] row 7 holds -inf"),
    (regression, put(T, (1, 0), 1e39), None, ValueError, r"\[y\] row 1 holds inf: expected finite numbers that float32 can hold"),
    (regression, [["a", "b"]] * 8, None, TypeError, r"\[y\] holds strings"),
    (regression, {"dense_9": T}, None, ValueError, r"\[y\] is a dict with the keys \['dense_9'\]: expected \['dense_1'\]"),
]


@pytest.mark.parametrize(("make", "y", "loss", "error", "message"), WRONG_Y, ids=range(len(WRONG_Y)))
def test_wrong_y(make: Callable[[], cr.Network], y: Any, loss: str | None, error: type[Exception], message: str) -> None:
    net = make()
    for f in (net.fit, net.gradient, net.loss_and_gradient):
        with refused(net, error, message):
            f(X, y, loss=loss)
    if "finite" not in message and "row 7" not in message:  # evaluate's answer to NaN is NaN
        with refused(net, error, message):
            net.evaluate(X, y, loss=loss)
    with refused(net, error, message):
        net.fit(X, np.eye(3)[Y] if make is chain else T, validation=(X, y), loss=loss)


@pytest.mark.parametrize(
    ("value", "held"), [(np.nan, "-?nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e300, "inf"), (np.longdouble("1e4000"), "inf")], ids=str
)
@pytest.mark.parametrize("up_front", [True, False])
def test_numbers_that_are_not_finite(monkeypatch: pytest.MonkeyPatch, up_front: bool, value: Any, held: str) -> None:
    """fit, gradient and adapt name the row, whether all is looked at first or while rows are gathered; predict keeps a NaN in its row."""
    if not up_front:
        monkeypatch.setattr(intake, "CHECKED_UP_FRONT", 0)
    x, t = put(X.astype(type(value)), (5, 1), value), put(T.astype(type(value)), (6, 0), value)
    net = regression()
    message = rf"row 5 holds {held}: expected finite numbers that float32 can hold"
    for options in ({"batch_size": None}, {"shuffle": False, "batch_size": 8}, {"epochs": 0, "validation": (x, T)}):
        good = X if "validation" in options else x
        if up_front or "validation" not in options:
            with refused(net, ValueError, r"\[X\] " + message):
                net.fit(good, T, **options)
    with refused(net, ValueError, r"\[y\] row 6 holds"):
        net.fit(X, t, batch_size=None)
    for f in (lambda: net.gradient(x, T), lambda: net.loss_and_gradient(x, T), lambda: net.fit(cr.Batches([(x, T)]))):
        with refused(net, ValueError, r"\[X\] " + message):
            f()
    with refused(net, ValueError, r"\[y\] row 6 holds"):
        net.gradient(X, t)
    standard = cr.Network([cr.Input(3), cr.Standardize(), cr.Dense(2)])
    for f in (lambda: standard.adapt(x), lambda: standard.fit(x, T)):
        with refused(standard, ValueError, message):
            f()
    good, out = net.predict(X), net.predict(x)
    assert not np.isfinite(out[5]).any()
    assert np.array_equal(np.delete(out, 5, 0), np.delete(good, 5, 0))
    assert not np.isfinite(net.evaluate(x, T)["loss"])
    standard.adapt(X)
    assert np.isfinite(standard.state["standardize_1.mean"]).all()


@pytest.mark.parametrize(
    ("s", "error", "message"),
    [
        (put(np.ones(8), 4, -1), ValueError, r"\[sample_weight\] row 4 is -1.0: expected finite numbers >= 0"),
        (put(np.ones(8), 4, np.nan), ValueError, r"\[sample_weight\] row 4 is nan"),
        (put(np.ones(8), 4, np.inf), ValueError, r"\[sample_weight\] row 4 is inf"),
        (np.zeros(8), ValueError, r"\[sample_weight\] is 0 everywhere: expected a positive sum"),
        (np.ones(7), ValueError, r"\[sample_weight\] has shape \(7,\): expected one weight a row, \(8,\)"),
        (np.ones((8, 2)), ValueError, r"\[sample_weight\] has shape \(8, 2\): expected one weight a row, \(8,\)"),
        (1.0, ValueError, r"\[sample_weight\] is a single number"),
        (-1.0, ValueError, r"\[sample_weight\] is a single number"),
        ("heavy", TypeError, r"\[sample_weight\] holds strings"),
        ({"dense_7": np.ones(8)}, ValueError, r"\[sample_weight\] is a dict with the keys \['dense_7'\]: expected \['dense_2'\]"),
    ],
)
def test_wrong_sample_weight(s: Any, error: type[Exception], message: str) -> None:
    net = chain()
    for f in (net.fit, net.gradient, net.loss_and_gradient, net.evaluate):
        with refused(net, error, message):
            f(X, Y, sample_weight=s)


def test_empty_data_one_row_and_large_batches() -> None:
    net = chain()
    for f, name in ((net.fit, "fit"), (net.gradient, "gradient"), (net.evaluate, "evaluate"), (net.loss_and_gradient, "gradient")):
        with refused(net, ValueError, rf"\[{name}\] X has no rows"):
            f(X[:0], Y[:0])
    for f, name in ((net.forward, "forward"), (net.adapt, "adapt"), (lambda x: list(net.transitions(x)), "transitions")):
        with refused(net, ValueError, rf"\[{name}\] X has no rows"):
            f(X[:0])
    with refused(net, ValueError, r"the validation data has no rows"):
        net.fit(X, Y, validation=(X[:0], Y[:0]))
    assert net.predict(X[:0]).shape == (0, 3)
    assert net.predict(np.zeros((0, 3), dtype="f4")).shape == (0, 3)
    one, other = chain(), chain()
    one.fit(X[:1], Y[:1], batch_size=10**30, epochs=1, validation=(X[:1], Y[:1]))
    other.fit(X[:1], Y[:1], batch_size=1, epochs=1)
    assert np.array_equal(one.flat_parameters, other.flat_parameters)
    one, other = chain(), chain()
    one.fit(X, Y, batch_size=9, epochs=2)
    other.fit(X, Y, batch_size=None, epochs=2)
    assert np.array_equal(one.flat_parameters, other.flat_parameters)
