# SPDX-License-Identifier: MIT
"""Small networks, and the assertion that a call is refused without loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import chainrule as cr
import numpy as np
import pytest

Array = np.ndarray[Any, np.dtype[Any]]
rng = np.random.default_rng(5)
X, Y = rng.normal(size=(8, 3)), np.array([0, 1, 2, 0, 1, 2, 0, 1])
T = rng.normal(size=(8, 2))


def chain(**options: Any) -> cr.Network:
    """3-4-3, softmax."""
    return cr.Network([cr.Input(3), cr.Dense(4, "tanh"), cr.Dense(3, "softmax")], **options)


def two() -> cr.Network:
    """Two inputs, two outputs."""
    a, b = cr.Input(3, name="a"), cr.Input((None, 2), name="b")
    h = cr.Dense(2, name="h")(b)
    return cr.Network(inputs=[a, b], outputs=[cr.Dense(3, "softmax", name="p")(a), h])


def regression() -> cr.Network:
    """3-2, identity."""
    return cr.Network([cr.Input(3), cr.Dense(2)])


def works(net: cr.Network) -> None:
    """The network predicts and fits."""
    x = tuple(rng.normal(size=(4, *(2 if d is None else d for d in shape))) for shape in net.input_shapes)
    x = x if len(x) > 1 else x[0]
    a = net.predict(x)
    several = isinstance(a, tuple)
    net.fit(x, a, loss=("squared_error",) * len(a) if several else "squared_error", epochs=1, optimizer="sgd")
    assert all(np.isfinite(v).all() for v in (a if several else (a,)))


@contextmanager
def refused(net: cr.Network, error: type[Exception] | tuple[type[Exception], ...], message: str) -> Iterator[None]:
    """The error, the weights as they were, and the network works while the traceback still holds what it held."""
    before, adapted = net.flat_parameters.copy(), {k: v.copy() for k, v in net.state.items()}
    with pytest.raises(error, match=message) as kept:
        yield
    assert np.array_equal(net.flat_parameters, before)
    assert all(np.array_equal(net.state[k], v) for k, v in adapted.items())
    if net._core.unlearned is None:
        works(net)
    del kept


def put(a: Array, at: Any, value: Any) -> Array:
    """A copy with one element changed."""
    a = np.array(a)
    a[at] = value
    return a
