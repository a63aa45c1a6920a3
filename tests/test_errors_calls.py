# SPDX-License-Identifier: MIT
"""Bad arguments of fit and of the textbook's calls: named, and the network stays as it was and usable."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from refusal import X, Y, chain, refused, two, works

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card


class Raises(cr.Callback):
    """Raises in one of its methods."""

    def __init__(self, where: str) -> None:
        setattr(self, where, self.fail)

    def fail(self, *_: Any) -> None:
        raise ArithmeticError("of the user")


FIT: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"epochs": -1}, ValueError, r"\[fit\] epochs is -1: expected an integer >= 0"),
    ({"epochs": 2.0}, TypeError, r"\[fit\] epochs is 2.0: expected an integer"),
    ({"epochs": True}, TypeError, r"\[fit\] epochs is True"),
    ({"batch_size": 0}, ValueError, r"\[fit\] batch_size is 0: expected an integer >= 1"),
    ({"batch_size": -3}, ValueError, r"batch_size is -3"),
    ({"batch_size": "32"}, TypeError, r"batch_size is '32'"),
    ({"batch_size": np.ones(2)}, TypeError, r"batch_size is array"),
    ({"validation": 0}, ValueError, r"\[fit\] validation is 0: expected a fraction between 0 and 1"),
    ({"validation": 1}, ValueError, r"validation is 1: expected a fraction"),
    ({"validation": 1.5}, ValueError, r"validation is 1.5"),
    ({"validation": -1.0}, ValueError, r"validation is -1.0"),
    ({"validation": np.nan}, ValueError, r"validation is nan"),
    ({"validation": 0.99}, ValueError, r"validation=0.99 of 8 rows leaves none to train on"),
    ({"validation": True}, TypeError, r"validation is a bool: expected \(X, y\), \(X, y, sample_weight\) or a fraction"),
    ({"validation": X}, TypeError, r"validation is a ndarray"),
    ({"validation": (X,)}, TypeError, r"validation is a tuple: expected \(X, y\)"),
    ({"validation": (X[:, :1], Y)}, ValueError, r"X has shape \(8, 1\): expected \(n, 3\)"),
    ({"validation": (X, Y + 7)}, ValueError, r"row 0 has the label 7"),
    ({"validation": (X, Y, np.ones(3))}, ValueError, r"\[sample_weight\] has shape \(3,\)"),
    ({"early_stopping": 5}, TypeError, r"\[fit\] early_stopping is 5: expected an EarlyStopping"),
    ({"early_stopping": cr.EarlyStopping(monitor="validation_f1")}, ValueError, r"monitor is 'validation_f1': expected one of loss"),
    ({"optimizer": "adagrad"}, ValueError, r"unknown optimizer 'adagrad': expected one of sgd, rmsprop, adam, adamw"),
    ({"optimizer": 0.1}, TypeError, r"optimizer is 0.1: expected one of SGD, RMSprop, Adam, AdamW"),
    ({"optimizer": cr.SGD}, TypeError, r"optimizer is <class"),
    ({"penalty": 0.1}, TypeError, r"penalty is 0.1: expected L2, L1, ElasticNet"),
    ({"penalty": "l2"}, TypeError, r"penalty is 'l2'"),
    ({"penalty": cr.L2(1, layers=["dense_9"])}, ValueError, r"names the layer 'dense_9': expected one of \['input_1', 'dense_1', 'dense_2'\]"),
    ({"loss": "mse"}, ValueError, r"unknown loss 'mse': expected one of cross_entropy, binary_cross_entropy, squared_error"),
    ({"loss": cr.CrossEntropy}, TypeError, r"loss is <class"),
    ({"loss": 3}, TypeError, r"loss is 3"),
    ({"loss_weights": -1}, ValueError, r"\[loss_weights\] got -1: expected finite numbers >= 0"),
    ({"loss_weights": np.nan}, ValueError, r"\[loss_weights\] got nan"),
    ({"loss_weights": "much"}, TypeError, r"\[loss_weights\] got 'much'"),
    ({"loss_weights": (1, 2)}, TypeError, r"\[loss_weights\] got \(1, 2\)"),
    ({"callbacks": [print]}, TypeError, r"\[fit\] <built-in function print> is no Callback"),
    ({"callbacks": [cr.Callback]}, TypeError, r"is no Callback: expected an instance"),
    ({"callbacks": None}, TypeError, r"\[fit\] callbacks is None: expected a list of callbacks"),
    ({"callbacks": cr.Callback()}, TypeError, r"\[fit\] callbacks is .*: expected a list of callbacks"),
    ({"callbacks": [cr.Callback(), Raises("on_fit_begin")]}, ArithmeticError, "of the user"),
    ({"epochs": 0, "callbacks": [Raises("on_fit_end")]}, ArithmeticError, "of the user"),
    ({"loss": lambda y, a: None}, TypeError, r"\[dense_2\] the loss returned something else than \(value, da\)"),
    ({"loss": lambda y, a: (1.0, a[:, :1])}, ValueError, r"\[dense_2\] the loss returned da of shape \(8, 1\): expected \(8, 3\)"),
    ({"loss": lambda y, a: (1.0, "da")}, ValueError, r"\[dense_2\] the loss returned da of shape"),
    ({"loss": lambda y, a: ("low", a)}, TypeError, r"\[dense_2\] the loss returned the value low: expected a number"),
    ({"loss": lambda y, a: (None, a)}, TypeError, r"the loss returned the value None"),
    ({"loss": lambda y, a: 1 / 0}, ZeroDivisionError, "division by zero"),
    ({"loss": lambda y, a: (np.nan, a)}, cr.DivergenceError, r"\[dense_2\] .*the loss of step 1 is not finite"),
    ({"loss": lambda y, a: (1.0, a * np.inf)}, cr.DivergenceError, r"the gradient of step 1 is not finite"),
]


@pytest.mark.parametrize(("options", "error", "message"), FIT, ids=[f"{i}-{next(iter(o))}" for i, (o, _, _) in enumerate(FIT)])
def test_arguments_of_fit(options: dict[str, Any], error: type[Exception], message: str) -> None:
    net = chain()
    late = isinstance(options.get("early_stopping"), cr.EarlyStopping)  # heard of after the first epoch
    with refused(net, error, message):
        net.fit(X, Y, **{"epochs": 2, "optimizer": cr.SGD(0.0 if late else 0.01)} | options)
    if "loss" in options or "loss_weights" in options:
        # a gradient that is not finite is an error here, and no divergence
        expected = ValueError if error is cr.DivergenceError else error
        for f in (net.gradient, net.loss_and_gradient):
            with refused(net, expected, "not finite" if error is cr.DivergenceError else message):
                f(X, Y, **options)
    if "penalty" in options:
        for f in (net.gradient, net.loss_and_gradient):
            with refused(net, error, message):
                f(X, Y, **options)


def test_a_callback_that_raises_late() -> None:
    """The network keeps the epochs that were committed, and is let go."""
    net, twin = chain(), chain()
    with pytest.raises(ArithmeticError, match="of the user") as kept:
        net.fit(X, Y, epochs=5, callbacks=[Raises("on_epoch_end")])
    twin.fit(X, Y, epochs=1)
    assert np.array_equal(net.flat_parameters, twin.flat_parameters)
    assert net.last_fit is not None
    assert net.last_fit.stopped == "error"
    works(net)
    del kept


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cr.Batches(5), TypeError, r"\[Batches\] got int: expected an iterable"),
        (lambda: cr.Batches([X]), TypeError, r"\[Batches\] a batch is no tuple"),
        (lambda: cr.Batches([(X,)]), TypeError, r"\[Batches\] a batch is no tuple: expected \(x, y\)"),
        (lambda: cr.Batches([]), ValueError, r"\[Batches\] an epoch brought no rows"),
        (lambda: cr.Batches([(X[:0], Y[:0])]), ValueError, r"\[Batches\] an epoch brought no rows"),
        (lambda: cr.Batches([(X[:, 1:], Y)]), ValueError, r"\[input_1\] X has shape \(8, 2\)"),
        (lambda: cr.Batches([(X, Y + 3)]), ValueError, r"row 0 has the label 3"),
        (lambda: cr.Batches([(X, Y, -np.ones(8))]), ValueError, r"\[sample_weight\] row 0 is -1.0"),
        (lambda: cr.Batches(lambda: 1 / 0), ZeroDivisionError, "zero"),
    ],
)
def test_wrong_batches(make: Callable[[], cr.Batches], error: type[Exception], message: str) -> None:
    net = chain()
    with refused(net, error, message):
        net.fit(make(), epochs=2)


def test_batches_bring_their_own() -> None:
    net = chain()
    good = cr.Batches([(X, Y)])
    with refused(net, ValueError, "Batches bring their own y"):
        net.fit(good, Y)
    with refused(net, ValueError, "Batches bring their own y and sample_weight"):
        net.fit(good, sample_weight=np.ones(8))
    with refused(net, ValueError, "validation by a fraction needs arrays"):
        net.fit(good, validation=0.5)
    standard = cr.Network([cr.Input(3), cr.Standardize(name="norm"), cr.Dense(3, "softmax")])
    with refused(standard, ValueError, r"\[norm\] cannot learn from Batches: call net.adapt\(X\) first"):
        standard.fit(good)


def test_used_before_fit() -> None:
    """Standardize has learned nothing yet: every use says so, and names it."""
    net = cr.Network([cr.Input(3), cr.Standardize(name="norm"), cr.Dense(3, "softmax")])
    message = r"\[norm\] has learned no mean and scale yet: call fit, or adapt\(X\),"
    for f in (net.predict, net.forward, lambda x: list(net.transitions(x))):
        with refused(net, ValueError, message):
            f(X)
    for f in (net.evaluate, net.gradient, net.loss_and_gradient, net.check_gradient):
        with refused(net, ValueError, message):
            f(X, Y)
    net.adapt(X)
    works(net)


# ---- the textbook's calls -----------------------------------------------------------------------------------------------------------------


def test_forward_and_backward() -> None:
    net = chain()
    with refused(net, RuntimeError, r"\[backward\] there was no forward to go back from"):
        net.backward(np.zeros((8, 3)))
    for da, message in [
        (np.zeros((8, 2)), r"\[backward\] da does not have the shape of the output: expected \(n, 3\) with n = 8"),
        (np.zeros((7, 3)), r"with n = 8"),
        (np.zeros(3), r"da does not have the shape"),
        (1.0, r"da does not have the shape"),
        (np.zeros((8, 3, 1)), r"da does not have the shape"),
    ]:
        net.forward(X)
        with refused(net, ValueError, message):
            net.backward(da)
        net.forward(X)
        with refused(net, ValueError, message.replace("da", "dz")):
            net.backward(dz=da)
    for options in ({}, {"da": np.zeros((8, 3)), "dz": np.zeros((8, 3))}):
        net.forward(X)
        with refused(net, ValueError, r"\[backward\] expected either da or dz"):
            net.backward(**options)
    net.forward(X)
    with refused(net, ValueError, r"\[backward\] a delta is not finite"):
        net.backward(np.full((8, 3), np.nan))
    net.clear_gradients()
    both = two()
    both.forward((X, np.zeros((8, 5, 2))))
    with refused(both, ValueError, r"\[backward\] got ndarray: expected a tuple or dict for \['p', 'h'\]"):
        both.backward(np.zeros((8, 3)))


@pytest.mark.parametrize(
    "write",
    [
        lambda net: net.fit(X, Y, epochs=1),
        lambda net: cr.SGD(0.1).step(net),
        lambda net: net.adapt(X),
        lambda net: net.backward(np.zeros((8, 3))),
    ],
    ids=["fit", "step", "adapt", "backward"],
)
def test_backward_after_a_write(write: Any) -> None:
    """Old z and a with a new W are the gradient of nothing: whoever writes W or a layer's state ends what forward has kept."""
    net = chain()
    net.forward(X)
    write(net)
    with refused(net, RuntimeError, r"\[backward\] there was no forward to go back from"):
        net.backward(np.zeros((8, 3)))


def test_gradients_by_sample() -> None:
    net = chain()
    own = {"loss": lambda y, a: (0.0, a)}
    for options, message in [
        (own, r"\[gradient\] a callable loss sees the whole batch: it has no gradient per sample"),
        ({"penalty": cr.L2(0.1)}, r"\[gradient\] per_sample=True gives the gradients of L_i alone: expected no penalty and no sample_weight"),
        ({"sample_weight": np.ones(8)}, r"expected no penalty and no sample_weight"),
    ]:
        with refused(net, ValueError, message):
            net.gradient(X, Y, per_sample=True, **options)


def test_optimizer_step() -> None:
    net = chain()
    for what in ("abc", None):
        with pytest.raises(TypeError, match=rf"\[SGD\] step: net is {what!r}: expected a Network"):
            cr.SGD(0.1).step(what)  # type: ignore[arg-type]
    before = net.flat_parameters.copy()
    cr.SGD(0.1).step(net)  # no backward: a step along nothing
    assert np.array_equal(net.flat_parameters, before)
    with refused(net, TypeError, "penalty is 3"):
        cr.SGD(0.1).step(net, penalty=3)
    with refused(net, ValueError, "names the layer 'nobody'"):
        cr.Adam().step(net, penalty=cr.L2(1, layers="nobody"))
    net.flat_gradients[:] = np.nan
    with pytest.raises(cr.DivergenceError, match=r"\[step\] the gradients are not finite: clear them"):
        cr.SGD(0.1).step(net)
    net.clear_gradients()
    works(net)


def test_setting_weights() -> None:
    net = chain()
    for error, message, f in [
        (ValueError, r"\[0\] got shape \(3, 4\): expected \(4, 3\)", lambda: net.W.__setitem__(0, np.zeros((3, 4)))),
        (ValueError, r"\[1\] got shape \(4,\): expected \(3,\)", lambda: net.b.__setitem__(1, np.zeros(4))),
        (TypeError, r"complex128", lambda: net.W.__setitem__(0, np.zeros((4, 3), dtype=complex))),
        (TypeError, r"slice", lambda: net.W.__setitem__(slice(0, 2), 0)),
        (IndexError, "range", lambda: net.W.__setitem__(2, 0)),
        (ValueError, r"\[loss_and_gradient\] theta has shape \(3,\): expected \(31,\)", lambda: net.loss_and_gradient(X, Y, np.zeros(3))),
        (ValueError, r"theta \(float64\) holds something else than finite numbers", lambda: net.loss_and_gradient(X, Y, np.full(31, np.nan))),
        (ValueError, r"theta \(complex128\)", lambda: net.loss_and_gradient(X, Y, np.zeros(31, dtype=complex))),
        (ValueError, r"\[check_gradient\] entries is 0: expected at least 1", lambda: net.check_gradient(X, Y, entries=0)),
        (TypeError, "mappingproxy", lambda: operator.setitem(net.parameters, "dense_1.W", 0)),
    ]:
        with refused(net, error, message):
            f()
    unbiased = cr.Network([cr.Input(3), cr.Dense(3, bias=False)])
    assert unbiased.b[0] is None
    with pytest.raises(ValueError, match="layer 0 has no bias"):
        unbiased.b[0] = 1.0
    net.W[0] = 0.5
    net.W[-1] = np.ones((3, 4), dtype=int)
    assert (net.W[0] == 0.5).all()
    assert (net.W[1] == 1).all()
