# SPDX-License-Identifier: MIT
"""Fixtures that every test file may use."""

from __future__ import annotations

import zlib

import numpy as np
import pytest


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own name: the same numbers alone, in any order and in any worker."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
