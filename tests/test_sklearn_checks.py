# SPDX-License-Identifier: MIT
"""scikit-learn's own checks of an estimator: ours pass every one that scikit-learn's pass."""

from __future__ import annotations

import inspect
import warnings
from typing import Any
from unittest import SkipTest

import pytest
from chainrule import sklearn as ours
from sklearn import neural_network as theirs
from sklearn.utils.estimator_checks import estimator_checks_generator

ESTIMATORS = ("MLPClassifier", "MLPRegressor")


def checks(estimator: Any) -> dict[str, Any]:
    """The checks that apply to an estimator, by their name and arguments."""
    options = {"legacy": True} if "legacy" in inspect.signature(estimator_checks_generator).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(estimator_checks_generator(estimator, **options))
    return {f"{check.func.__name__}{sorted(check.keywords.items())}": (one, check) for one, check in found}


def outcome(one: Any, check: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check(one)
        except SkipTest:
            return "skipped"
        except Exception as error:
            return f"failed: {error!r}"
    return "passed"


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_check_that_theirs_pass(name: str) -> None:
    expected = checks(getattr(theirs, name)())
    found = checks(getattr(ours, name)())
    assert len(expected) >= 50  # 67 and 60 in scikit-learn 1.9.1
    assert set(expected) <= set(found), "a check does not apply to ours"
    worse = {}
    for key, given in found.items():
        result = outcome(*given)
        if result != "passed" and (key not in expected or result != outcome(*expected[key])):
            worse[key] = result
    assert not worse
