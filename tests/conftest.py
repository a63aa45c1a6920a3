# SPDX-License-Identifier: MIT
"""Fixtures that every test file may use."""

from __future__ import annotations

import zlib

import cards
import numpy as np
import pytest


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: the same numbers alone, in any order and in any worker."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Where a network computes: tests that ask for it run on the CPU, and on a card where there is one."""
    name: str = request.param
    return name


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The marker gpu: leave a test out where there is no card, real or emulated."""
    if item.get_closest_marker("gpu") and cards.missing():
        pytest.skip(cards.missing())
