# SPDX-License-Identifier: MIT
"""Schedules of alpha: the core's one copy of the formulas against the formulas written out here."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Callable

import pytest
from chainrule import _core, schedules
from chainrule.schedules import Constant, Cosine, InverseScaling, OneCycle, Schedule, Step, WarmUp


def one_cycle(alpha: float, total: int, warm: float, start: float, end: float) -> Callable[[int], float]:
    def f(t: int) -> float:
        top = warm * total
        if t < top:
            return alpha / start + (alpha - alpha / start) * (1 - math.cos(math.pi * t / top)) / 2
        if t < total:
            return alpha / end + (alpha - alpha / end) * (1 + math.cos(math.pi * (t - top) / (total - top))) / 2
        return alpha / end

    return f


CASES: list[tuple[Schedule, Callable[[int], float]]] = [
    (Constant(0.1), lambda t: 0.1),
    (Constant(0.0), lambda t: 0.0),
    (Step(0.1, 3), lambda t: 0.1 * 0.1 ** (t // 3)),
    (Step(0.2, 1, factor=0.5, unit="epoch"), lambda t: 0.2 * 0.5**t),
    (Step(0.1, 2, factor=1), lambda t: 0.1),
    (Cosine(0.1, 10), lambda t: 0.05 * (1 + math.cos(math.pi * min(t, 10) / 10))),
    (Cosine(0.1, 7, alpha_end=0.02), lambda t: 0.02 + 0.04 * (1 + math.cos(math.pi * min(t, 7) / 7))),
    (Cosine(0.1, 1), lambda t: 0.1 if t == 0 else 0.0),
    (InverseScaling(0.3), lambda t: 0.3 / math.sqrt(t + 1)),
    (InverseScaling(0.3, power=0.0), lambda t: 0.3),
    (InverseScaling(0.3, power=2, unit="epoch"), lambda t: 0.3 / (t + 1) ** 2),
    (OneCycle(1.0, 20), one_cycle(1.0, 20, 0.3, 25, 1e4)),
    (OneCycle(0.5, 11, warm=0.25, divide_start=10, divide_end=100), one_cycle(0.5, 11, 0.25, 10, 100)),
    (OneCycle(0.5, 5, warm=0.0), one_cycle(0.5, 5, 0.0, 25, 1e4)),
    (WarmUp(Constant(0.4), 4), lambda t: 0.4 * min(1.0, (t + 1) / 4)),
    (WarmUp(0.4, 1), lambda t: 0.4),
    (WarmUp(Step(0.1, 3), 5), lambda t: 0.1 * (t + 1) / 5 if t < 5 else 0.1 * 0.1 ** ((t - 5) // 3)),
    (
        WarmUp(OneCycle(1.0, 20), 2),
        lambda t: 0.04 * (t + 1) / 2 if t < 2 else one_cycle(1.0, 20, 0.3, 25, 1e4)(t - 2),
    ),
]


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=lambda x: repr(x) if isinstance(x, Schedule) else "")
def test_formula(schedule: Schedule, formula: Callable[[int], float]) -> None:
    for t in [*range(40), 10**6]:
        value, expected = schedule(t), formula(t)
        assert abs(value - expected) <= 1e-14 * max(abs(expected), 1e-2), (t, value, expected)


def test_every_schedule_has_a_case() -> None:
    assert {type(s).type_name for s, _ in CASES} == set(schedules.KNOWN)


def test_hand_worked() -> None:
    assert [Step(1.0, 2, factor=0.5)(t) for t in range(5)] == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert Cosine(1.0, 4)(2) == pytest.approx(0.5, rel=1e-15)
    assert InverseScaling(1.0)(3) == 0.5
    assert [WarmUp(1.0, 4)(t) for t in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert OneCycle(1.0, 10)(3) == 1.0
    assert OneCycle(1.0, 10)(10) == 1e-4


def test_units() -> None:
    """Each part reads the clock of its own unit; where a warm-up and its base differ the base's clock is not shifted."""
    alpha = _core.schedule_alpha
    assert alpha(Step(1.0, 2, unit="step").spec(), 5, 0) == pytest.approx(0.01)
    assert alpha(Step(1.0, 2, unit="epoch").spec(), 5, 0) == 1.0
    assert alpha(Step(1.0, 2, unit="epoch").spec(), 0, 5) == pytest.approx(0.01)
    mixed = WarmUp(Step(1.0, 2, unit="epoch"), 10, unit="step")
    assert mixed(4, 0) == pytest.approx(0.5)
    assert mixed(10, 1) == 1.0
    assert mixed(10, 2) == pytest.approx(0.1)


@pytest.mark.parametrize("schedule", [s for s, _ in CASES], ids=repr)
def test_spec_and_pickle(schedule: Schedule) -> None:
    assert schedules.from_spec(schedule.spec()) == schedule
    assert Schedule.from_spec(schedule.spec()).spec() == schedule.spec()
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.type_name = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: Constant(-1.0), ValueError, r"\[Constant\] alpha is -1.0: expected a finite number >= 0"),
        (lambda: Constant(math.nan), ValueError, "alpha is nan"),
        (lambda: Constant(math.inf), ValueError, "alpha is inf"),
        (lambda: Constant("0.1"), TypeError, r"alpha is '0.1': expected a number"),
        (lambda: Constant(True), TypeError, "alpha is True"),
        (lambda: Step(0.1, 0), ValueError, r"\[Step\] every is 0: expected a whole number >= 1"),
        (lambda: Step(0.1, 1.5), TypeError, "every is 1.5: expected a whole number"),
        (lambda: Step(0.1, 2**63), ValueError, "every is 9223372036854775808"),
        (lambda: Step(0.1, 1, factor=0), ValueError, r"factor is 0: expected a number in \(0, 1\]"),
        (lambda: Step(0.1, 1, factor=1.5), ValueError, "factor is 1.5"),
        (lambda: Step(0.1, 1, unit="batch"), ValueError, "unit is 'batch': expected one of step, epoch"),
        (lambda: Cosine(0.1, 5, alpha_end=-1), ValueError, "alpha_end is -1"),
        (lambda: InverseScaling(0.1, power=-1), ValueError, "power is -1"),
        (lambda: OneCycle(0.1, 5, warm=1.0), ValueError, r"warm is 1.0: expected a number in \[0, 1\)"),
        (lambda: OneCycle(0.1, 5, divide_end=0.5), ValueError, "divide_end is 0.5: expected a finite number >= 1"),
        (lambda: WarmUp(Constant(0.1), 0), ValueError, "steps is 0"),
        (lambda: WarmUp(WarmUp(Constant(0.1), 2), 2), ValueError, "base is a WarmUp"),
        (lambda: WarmUp("x", 2), TypeError, r"\[WarmUp\] base is 'x': expected a number or a schedule"),
        (lambda: schedules.get(None, "[SGD] alpha"), TypeError, r"\[SGD\] alpha is None"),
        (lambda: Constant(0.1)(-1), ValueError, "t is -1: expected at least 0"),
    ],
)
def test_refuses(build: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build()


COSINE = Cosine(0.1, 5).spec()
WARM = WarmUp(Cosine(0.1, 5), 3).spec()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "'type' is missing"),
        ({"type": "linear", "alpha": 1.0, "unit": "step"}, "unknown type 'linear': expected one of constant, step"),
        ({"type": 3}, "type is 3: expected a string"),
        ({"type": "constant"}, "'alpha' is missing"),
        ({"type": "constant", "alpha": "1"}, "alpha is '1': expected a number"),
        ({"type": "constant", "alpha": True}, "alpha is True"),
        ({"type": "constant", "alpha": math.nan}, "alpha is nan"),
        ({"type": "constant", "alpha": 10**400}, "alpha is too large"),
        (COSINE | {"total": 0}, "total is 0: expected at least 1"),
        (COSINE | {"total": 2.0}, "total is 2.0: expected an integer"),
        (COSINE | {"total": 2**64}, "total does not fit"),
        (Step(0.1, 1).spec() | {"factor": 1.5}, "factor is 1.5: expected 0 < factor <= 1"),
        (COSINE | {"unit": "batch"}, "unit is 'batch'"),
        (WARM | {"base": WARM}, "cannot stand before a warm-up"),
        (WARM | {"base": 0.1}, "base is 0.1: expected a dict"),
        (WARM | {"steps": -1}, "steps is -1"),
    ],
)
def test_core_refuses_what_a_file_may_hold(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _core.schedule_alpha(spec, 0, 0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"type": "linear"}, "unknown type 'linear': expected one of constant"),
        (COSINE | {"stop": 1}, r"'cosine' has no 'stop': it has alpha, total"),
        ({"type": "cosine", "alpha": 0.1}, "total"),
        (WARM | {"base": WARM}, "cannot stand before a warm-up"),
    ],
)
def test_from_spec_refuses(spec: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedules.from_spec(spec)
