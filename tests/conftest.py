# SPDX-License-Identifier: MIT
"""Fixtures that every test file may use, and on which devices its tests run."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any

import cards
import chainrule as cr
import numpy as np
import pytest

DEVICES = ["cpu"] if cards.missing() else ["cpu", "cuda"]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: the same numbers alone, in any order, in any worker and on any device."""
    name = re.sub(rf"\[({'|'.join(DEVICES)})\]|(?<=\[)({'|'.join(DEVICES)})-", "", request.node.nodeid)
    return np.random.default_rng(zlib.crc32(name.encode()))


@pytest.fixture(params=[d if d == "cpu" else pytest.param(d, marks=pytest.mark.gpu) for d in DEVICES])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where networks that name no device lie: the CPU, and a card where there is one. Files whose tests all run on both ask for it (usefixtures)."""
    name: str = request.param
    callables: list[Callable[..., Any]] = [cr.Network.__init__, cr.Network.from_spec.__func__, cr.load]  # type: ignore[attr-defined]
    for f in callables if name != "cpu" else []:
        monkeypatch.setattr(f, "__kwdefaults__", {**(f.__kwdefaults__ or {}), "device": name})
    return name


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, on a card, what the marker cpu says is the CPU's own."""
    mine = [i for i in items if i.get_closest_marker("cpu") and getattr(i, "callspec", None) and i.callspec.params.get("device", "cpu") != "cpu"]
    if mine:
        config.hook.pytest_deselected(items=mine)
        items[:] = [i for i in items if i not in set(mine)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker gpu: leave a test out where there is no card, real or emulated."""
    if item.get_closest_marker("gpu") and cards.missing():
        pytest.skip(cards.missing())
