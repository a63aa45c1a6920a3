# SPDX-License-Identifier: MIT
"""Fits with several numbers of threads, in each of which every thread worked: what the tests of bits share."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np

THREADS = (1, 2, 3, 7)


def bits(net: cr.Network) -> str:
    """Every bit of the parameters and of the training state, short enough to read."""
    state = net._core.training_state()
    blocks = [net.flat_parameters, *(state[k] for k in ("v", "m") if k in state)]
    return " ".join(f"{zlib.crc32(np.ascontiguousarray(b).tobytes()):08x}" for b in blocks)


def fits_with_all(make: Callable[[], cr.Network], fit: Callable[[cr.Network], cr.History], n_threads: int) -> list[cr.Network]:
    """Fits fresh networks with that many threads until each thread has worked in one of them: on a busy machine one may come too late."""
    cr.set_num_threads(n_threads)
    end = time.monotonic() + 40
    nets: list[cr.Network] = []
    worked = np.zeros(n_threads, dtype=bool)
    while not worked.all():
        assert time.monotonic() < end, f"of {n_threads} threads only {worked.nonzero()[0]} ever worked: this proves nothing"
        net = make()
        history = fit(net)
        assert net.last_fit is history
        worked |= np.asarray(history.chunks_by_thread) > 0
        nets.append(net)
    return nets


def assert_same_bits(make: Callable[[], cr.Network], fit: Callable[[cr.Network], cr.History], x: Any) -> None:
    """One result of training, of its losses and of predicting x, whatever the number of threads."""
    before, found = cr.num_threads(), set()
    try:
        for n_threads in THREADS:
            for net in fits_with_all(make, fit, n_threads):
                assert net.last_fit is not None
                found.add((bits(net), *net.last_fit["loss"], zlib.crc32(net.predict(x).tobytes())))
    finally:
        cr.set_num_threads(before)
    assert len(found) == 1, found
