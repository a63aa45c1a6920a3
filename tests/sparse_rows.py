# SPDX-License-Identifier: MIT
"""Sparse matrices for the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse")
Array = np.ndarray[Any, np.dtype[Any]]


def csr(data: Any, indices: Any, indptr: Any, shape: tuple[int, ...] = (40, 3)) -> Any:
    """A CSR matrix (by default of the shape of test_arrays.PLAIN) whose arrays nobody has checked."""
    return SimpleNamespace(format="csr", shape=shape, data=np.asarray(data), indices=np.asarray(indices), indptr=np.asarray(indptr))


def replaced(a: Array, at: int, value: Any) -> Array:
    """A copy of `a` with one entry another."""
    a = a.copy()
    a[at] = value
    return a


def wide(rows: int, width: int, density: float) -> tuple[Any, Array]:
    """Standard normal numbers in random places, and labels that depend on them."""
    rng = np.random.default_rng(0)
    x = sparse.random_array((rows, width), density=density, rng=rng, format="csr", dtype=np.float32, data_sampler=lambda size: rng.normal(size=size))
    return x, np.asarray(x @ rng.normal(size=(width, 3))).argmax(axis=1)
