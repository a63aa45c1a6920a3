# SPDX-License-Identifier: MIT
"""The frozen hyper-parameters beside the schedules, the history, early stopping and the errors."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import losses, optim, penalties, schedules
from chainrule.history import History

EXAMPLES: list[Any] = [
    cr.SGD(),
    cr.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=1.0),
    cr.SGD(schedules.WarmUp(schedules.Cosine(0.1, 10), 3)),
    cr.RMSprop(),
    cr.Adam(eps_hat=True),
    cr.AdamW(lam=0.1),
    cr.L2(1e-4),
    cr.L1(1e-4, layers=["dense_1", "dense_2"], proximal=True),
    cr.ElasticNet(0.1, 0.25, bias=True, per_sample=True),
    cr.CrossEntropy(),
    cr.BinaryCrossEntropy(),
    cr.SquaredError(),
    cr.AbsoluteError(),
    cr.Huber(delta=2),
    cr.Quantile(),
    cr.Quantile(q=[0.1, np.float32(0.5), 0.9]),
    cr.Poisson(),
]
MODULES = {optim.Optimizer: optim, penalties.Penalty: penalties, losses.Loss: losses}


@pytest.mark.parametrize("x", EXAMPLES, ids=repr)
def test_spec_pickle_frozen(x: Any) -> None:
    module = next(m for base, m in MODULES.items() if isinstance(x, base))
    assert module.from_spec(x.spec()) == x
    assert module.from_spec(x.spec()).spec() == x.spec()
    assert pickle.loads(pickle.dumps(x)) == x
    for field in dataclasses.fields(x):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(x, field.name, 1)
    with pytest.raises(ValueError, match="has no 'unheard'"):
        module.from_spec(x.spec() | {"unheard": 1})


@pytest.mark.parametrize("module", MODULES.values(), ids=lambda m: m.__name__)
def test_examples_cover_the_known(module: Any) -> None:
    assert set(module.KNOWN.values()) <= {type(x) for x in EXAMPLES}


def test_names() -> None:
    assert optim.get("adam") == cr.Adam()
    assert losses.get("cross_entropy") == cr.CrossEntropy()
    assert cr.SGD(0.5).spec()["alpha"] == {"type": "constant", "alpha": 0.5}
    with pytest.raises(ValueError, match="unknown optimizer 'adm': expected one of sgd, rmsprop, adam, adamw"):
        optim.get("adm")
    with pytest.raises(TypeError, match="optimizer is 3: expected one of SGD"):
        optim.get(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown loss 'mse': expected one of cross_entropy, binary_cross_entropy"):
        losses.get("mse")
    with pytest.raises(TypeError, match="loss is"):
        losses.get(cr.SquaredError)
    assert [losses.get(name).spec() for name in ("huber", "quantile")] == [{"type": "huber", "delta": 1.0}, {"type": "quantile", "q": [0.5]}]
    assert (cr.Quantile(0.25).q, cr.Quantile((0.1, 0.9)).levels, cr.Huber(2).parameters) == ((0.25,), 2, (2.0,))

    def own(y: Any, a: Any) -> Any:
        return 0.0, a

    assert losses.get(own) is own


def test_inferred_loss() -> None:
    pairs = {"softmax": cr.CrossEntropy(), "sigmoid": cr.BinaryCrossEntropy(), "identity": cr.SquaredError(), "exp": cr.Poisson()}
    for activation in [*(a["name"] for a in cr.activations()), "softmax"]:
        assert losses.infer(activation) == pairs.get(activation, cr.SquaredError())


def test_penalties() -> None:
    one, two = cr.L1(0.1), cr.L2(0.2)
    assert one.coefficients() == (0.1, 0.0)
    assert two.coefficients() == (0.0, 0.2)
    assert cr.ElasticNet(0.4, 0.25).coefficients() == pytest.approx((0.1, 0.3))
    assert one + two == (one, two)
    assert one + two + one == (one, two, one)
    assert penalties.get([one, two]) == (one, two)
    assert penalties.get(None) == ()
    assert penalties.get(one) == (one,)
    assert cr.L2(0.1, layers="dense_1").layers == ("dense_1",)
    assert cr.L2(0.1, layers=["a", "b"]).layers == ("a", "b")
    with pytest.raises(TypeError, match=r"penalty is 0.1: expected L2, L1, ElasticNet"):
        penalties.get([one, 0.1])


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: cr.SGD(-0.1), ValueError, r"\[SGD\] alpha is -0.1: expected a finite number >= 0"),
        (lambda: cr.SGD("0.1"), TypeError, r"\[SGD\] alpha is '0.1': expected a number or a schedule"),
        (lambda: cr.SGD(0.1, momentum=1.0), ValueError, r"momentum is 1.0: expected a number in \[0, 1\)"),
        (lambda: cr.SGD(0.1, nesterov=True), ValueError, r"nesterov is True and momentum is 0.0"),
        (lambda: cr.SGD(0.1, nesterov=1, momentum=0.9), TypeError, "nesterov is 1: expected True or False"),
        (lambda: cr.SGD(0.1, clip_norm=0), ValueError, "clip_norm is 0: expected a finite number > 0"),
        (lambda: cr.RMSprop(rho=-0.1), ValueError, "rho is -0.1"),
        (lambda: cr.RMSprop(eps=0), ValueError, "eps is 0: expected a finite number > 0"),
        (lambda: cr.Adam(beta1=1), ValueError, r"\[Adam\] beta1 is 1"),
        (lambda: cr.Adam(beta2=math.nan), ValueError, "beta2 is nan"),
        (lambda: cr.AdamW(lam=-1), ValueError, r"\[AdamW\] lam is -1"),
        (lambda: cr.Huber(0), ValueError, r"\[Huber\] delta is 0: expected a finite number > 0"),
        (lambda: cr.Huber("1"), TypeError, r"\[Huber\] delta is '1': expected a number"),
        (lambda: cr.Quantile(1.0), ValueError, r"\[Quantile\] q is 1.0: expected a number in \(0, 1\)"),
        (lambda: cr.Quantile((0.5, math.nan)), ValueError, r"\[Quantile\] q is nan"),
        (lambda: cr.Quantile(()), ValueError, r"\[Quantile\] q is \(\): expected at least one level"),
        (lambda: cr.Quantile("0.5"), TypeError, r"\[Quantile\] q is '0.5': expected a number"),
        (lambda: cr.L2(-1), ValueError, r"\[L2\] lam is -1: expected a finite number >= 0"),
        (lambda: cr.L2(np.ones(3)), TypeError, "lam is array"),
        (lambda: cr.L2(0.1, layers=[]), ValueError, "layers is empty"),
        (lambda: cr.L2(0.1, layers=[1]), TypeError, "layers holds 1"),
        (lambda: cr.L2(0.1, bias="yes"), TypeError, "bias is 'yes'"),
        (lambda: cr.ElasticNet(0.1, 1.5), ValueError, r"l1_ratio is 1.5: expected a number in \[0, 1\]"),
        (lambda: cr.EarlyStopping(patience=0), ValueError, "patience is 0"),
        (lambda: cr.EarlyStopping(min_delta=-1), ValueError, "min_delta is -1"),
        (lambda: cr.EarlyStopping(monitor=3), TypeError, "monitor is 3"),
    ],
)
def test_refuses(build: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


def test_numpy_scalars_are_numbers() -> None:
    assert cr.SGD(np.float32(0.5), momentum=np.float64(0.5), nesterov=np.bool_(True)).spec() == cr.SGD(0.5, momentum=0.5, nesterov=True).spec()
    assert type(cr.EarlyStopping(patience=np.int64(3)).patience) is int


def test_history() -> None:
    h = History()
    assert h.best_epoch is None
    assert repr(h) == "History(no epochs)"
    h.append({"loss": 3.0, "validation_loss": 2.0}, 0.5)
    h.append({"loss": 2.0, "validation_loss": 1.0}, 0.25)
    h.append({"loss": 1.0, "validation_loss": 1.5, "late": 7.0}, 0.25)
    h.stopped = "early_stopping"
    assert h["loss"] == [3.0, 2.0, 1.0]
    assert h["late"][2] == 7.0
    assert all(math.isnan(v) for v in h["late"][:2])
    assert (h.epochs, h.best_epoch, h.seconds) == (3, 1, [0.5, 0.25, 0.25])
    assert list(h) == ["loss", "validation_loss", "late"]
    assert "early_stopping" in repr(h)
    assert "validation_loss: 2 -> 1.5, 1 at epoch 1" in repr(h)
    with pytest.raises(KeyError, match="this history has loss, validation_loss, late"):
        h["accuracy"]
    again = pickle.loads(pickle.dumps(h))
    assert (dict(again)["loss"], again.best_epoch, again.stopped) == (h["loss"], 1, h.stopped)
    h.best_epoch = 2
    assert h.best_epoch == 2


def watched(rule: cr.EarlyStopping, values: list[float], name: str) -> tuple[list[bool], int | None, int]:
    """(improved, best epoch, epochs run)."""
    watch = rule.begin()
    improved = []
    for epoch, value in enumerate(values):
        improved.append(watch.update(epoch, {name: value}))
        if watch.stop:
            break
    return improved, watch.best_epoch, len(improved)


def test_early_stopping() -> None:
    rule = cr.EarlyStopping(patience=2)
    assert watched(rule, [3, 2, 2, 1, 1, 1, 0], "validation_loss") == ([True, True, False, True, False, False], 3, 6)
    assert watched(rule, [3, 2, 1], "loss") == ([True] * 3, 2, 3)
    assert watched(rule, [math.nan, math.nan, 1], "loss") == ([False, False], None, 2)
    assert watched(rule, [1, math.nan, 0.5], "loss") == ([True, False, True], 2, 3)
    wide = cr.EarlyStopping(patience=2, min_delta=0.5)
    assert watched(wide, [3, 2.6, 2.5, 2.4], "loss") == ([True, False, False], 0, 3)
    accuracy = cr.EarlyStopping(patience=1, monitor="validation_accuracy")
    assert watched(accuracy, [0.5, 0.75, 0.7], "validation_accuracy") == ([True, True, False], 1, 3)
    with pytest.raises(ValueError, match="monitor is 'validation_accuracy': expected one of loss"):
        watched(accuracy, [1.0], "loss")


def test_divergence_error() -> None:
    error = cr.DivergenceError("the loss is inf", 3, "dense_2", 0.5)
    assert isinstance(error, ArithmeticError)
    assert (error.epoch, error.layer, error.last_loss) == (3, "dense_2", 0.5)
    assert "[dense_2] the loss is inf (epoch 3; the last finite loss was 0.5)" in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.epoch) == (str(error), 3)
    assert "there was no finite loss before" in str(cr.DivergenceError("the loss is nan"))
