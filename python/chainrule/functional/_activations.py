# SPDX-License-Identifier: MIT
"""Three functions for each activation of the core's registry, made at import (no name is spelled here); softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from .. import _core, reference
from ._arrays import FloatArray, floats, number

REGISTRY: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in _core.activations()}
ACTIVATIONS: tuple[str, ...] = tuple(REGISTRY)


def parameter(who: str, name: str, p: float | None) -> float:
    default = REGISTRY[name]["parameter"] if name in REGISTRY else None
    if default is None:
        if p is not None:
            raise ValueError(f"[{who}] {name} takes no parameter, but p is {p}")
        return 0.0
    return float(default) if p is None else number(who, "p", p)


def _document(function: Any, name: str, suffix: str, text: str) -> Callable[..., Any]:
    """Give a made function its name, and its docstring around the formula, which stands in the twin."""
    twin = reference.ACTIVATIONS.get(name)
    p = "" if REGISTRY[name]["parameter"] is None else f"p : float, optional\n    The parameter of g, by default {REGISTRY[name]['parameter']:g}.\n"
    function.__name__ = function.__qualname__ = name + suffix
    function.__doc__ = text.format(name=name, equation=twin.equation if twin else "g(z)", p=p)
    result: Callable[..., Any] = function
    return result


_FORWARD = """a = g(z), elementwise, with {equation}.

Parameters
----------
z : array_like
    Any shape.
{p}
Returns
-------
ndarray
    a, in the shape of z.

Raises
------
TypeError
    If z is not made of real numbers.
"""
_DERIVATIVES = """g'(z) and g''(z), elementwise, of {equation}. At a kink: those from the left.

Parameters
----------
z : array_like
    Any shape.
{p}
Returns
-------
(ndarray, ndarray)
    g' and g'', each in the shape of z.

Raises
------
TypeError
    If z is not made of real numbers.
"""
_BACKWARD = """Backward of {name}: forward was a = g(z), so dz = da g'(z), with {equation}.

Parameters
----------
da, z : array_like
    dL/da and z, of the same shape.
{p}
Returns
-------
ndarray
    dz = dL/dz.

Raises
------
TypeError
    If an argument is not made of real numbers.
ValueError
    If the shapes differ.
"""


def _make_activation(name: str) -> dict[str, Callable[..., Any]]:
    def forward(z: npt.ArrayLike, p: float | None = None) -> FloatArray:
        (array,) = floats(name, z=z)
        return _core.kernel_activation_forward(name, array, parameter(name, name, p))

    def derivatives(z: npt.ArrayLike, p: float | None = None) -> tuple[FloatArray, FloatArray]:
        (array,) = floats(f"{name}_derivatives", z=z)
        return _core.kernel_activation_derivatives(name, array, parameter(f"{name}_derivatives", name, p))

    def backward(da: npt.ArrayLike, z: npt.ArrayLike, p: float | None = None) -> FloatArray:
        who = f"{name}_backward"
        gradient, array = floats(who, da=da, z=z)
        return _core.kernel_activation_backward(name, gradient, array, parameter(who, name, p))

    made = (("", forward, _FORWARD), ("_derivatives", derivatives, _DERIVATIVES), ("_backward", backward, _BACKWARD))
    return {name + suffix: _document(function, name, suffix, text) for suffix, function, text in made}


MADE = {key: function for name in ACTIVATIONS for key, function in _make_activation(name).items()}


def softmax(z: npt.ArrayLike) -> FloatArray:
    """a_m = exp(z_m - max z) / sum_l exp(z_l - max z), over the last axis.

    Parameters
    ----------
    z : array_like
        (..., K).

    Returns
    -------
    ndarray
        a, in the shape of z; rows sum to 1.

    Raises
    ------
    ValueError
        If z is a scalar.

    """
    (array,) = floats("softmax", z=z)
    return _core.kernel_softmax_forward(array)


def softmax_backward(da: npt.ArrayLike, a: npt.ArrayLike) -> FloatArray:
    """Backward of softmax: forward was a = softmax(z), so dz_m = a_m (da_m - sum_l a_l da_l).

    Parameters
    ----------
    da, a : array_like
        dL/da and what softmax returned, both (..., K).

    Returns
    -------
    ndarray
        dz = dL/dz.

    Raises
    ------
    ValueError
        If the shapes differ.

    """
    gradient, array = floats("softmax_backward", da=da, a=a)
    return _core.kernel_softmax_backward(gradient, array)
