# SPDX-License-Identifier: MIT
"""Layers: immutable records that say what is computed. They hold no arrays; a network does."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, ClassVar

from chainrule._record import Record, record
from chainrule.graph import Node, call

__all__ = [
    "Activation",
    "Add",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "Layer",
    "Multiply",
    "Standardize",
    "StochasticDepth",
    "concat",
]


def _integer(who: str, name: str, value: Any, least: int) -> int:
    """Return an int, or raise naming the layer's parameter."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"[{who}] {name} is {value!r}: expected an integer >= {least}") from None
    if number < least:
        raise ValueError(f"[{who}] {name} is {number}: expected an integer >= {least}")
    if number >= 2**63:
        raise ValueError(f"[{who}] {name} is {number}: expected less than 2^63")
    return int(number)


def _real(who: str, name: str, value: Any, expected: str) -> float:
    """Return a float, or raise naming the layer's parameter."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(type(value), "__float__") or getattr(value, "ndim", 0) != 0:
        raise TypeError(f"[{who}] {name} is {value!r}: expected {expected}")
    return float(value)


def _flag(who: str, name: str, value: Any) -> bool:
    """Return a bool, or raise naming the layer's parameter."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's is no bool
        raise TypeError(f"[{who}] {name} is {value!r}: expected True or False")
    return bool(value)


class Layer(Record):
    """A layer of any kind. Two layers are the same only if they are the same object; calling one twice shares its weights."""

    type: ClassVar[str] = ""

    name: str | None

    def __call__(self, *nodes: Node) -> Node:
        """Use the layer on nodes of a graph; the result is a node."""
        return call(self, nodes)

    def spec(self) -> dict[str, Any]:
        """Return the layer's entry in the network's spec."""
        entries = {k: v for k, v in self._values().items() if k != "name" and v is not None}
        return {"type": self.type} | {k: list(v) if isinstance(v, tuple) else v for k, v in entries.items()}


@record
class Input(Layer):
    """The network's input x = a[0], of shape (n, *shape).

    Parameters
    ----------
    shape : int or tuple
        Shape of one sample; at most one axis may be ``None`` (its size is bound at each call).
    name : str, optional

    In a graph an Input is a node itself: ``h = cr.Dense(64)(cr.Input(10))``.
    """

    type: ClassVar[str] = "input"

    shape: int | tuple[int | None, ...]
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the shape."""
        given = self.shape if isinstance(self.shape, Sequence) else (self.shape,)
        shape = tuple(None if d is None else _integer(self.name or "input", "shape", d, 1) for d in given)
        self._set("shape", shape)

    def spec(self) -> dict[str, Any]:
        """Return the layer's entry in the network's spec."""
        assert isinstance(self.shape, tuple)
        return {"type": "input", "shape": list(self.shape)}

    @property
    def node(self) -> Node:
        """The one node that this input is."""
        node: Node = self.__dict__.setdefault("_node", Node(self, ()))
        return node

    def __add__(self, other: Node | Input) -> Node:
        return self.node + other

    def __mul__(self, other: Node | Input) -> Node:
        return self.node * other


@record
class Standardize(Layer):
    """y = (x - mean) / scale over the last axis.

    ``mean`` and ``scale`` (the standard deviation, 1 for a column that does not vary) are learned from the training rows before the first
    epoch, or by ``net.adapt(X)``, and are saved with the network. Unscaled inputs use only a sliver of an activation's range.
    """

    type: ClassVar[str] = "standardize"

    name: str | None = None


@record
class Dense(Layer):
    """z = x W^T + b over the last axis, a = g(z); W (units, n_in), b (units,).

    Parameters
    ----------
    units : int
        n_{k+1}, at least 1.
    activation : str
        g: a name of ``cr.activations()`` or "softmax".
    bias : bool
        Whether there is a b; it starts at 0.
    initializer : str, optional
        "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal" or "zeros". By default it
        follows the activation: He for the relu family, gelu, silu, elu and softplus, LeCun for selu, Glorot for the others.
    trainable : bool
        False freezes W and b.
    """

    type: ClassVar[str] = "dense"

    units: int
    activation: str = "identity"
    bias: bool = True
    initializer: str | None = None
    trainable: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters that the core would name less well."""
        self._set("units", _integer(self.name or "dense", "units", self.units, 1))
        if not isinstance(self.activation, str):
            raise TypeError(f"[{self.name or 'dense'}] activation is {self.activation!r}: expected a name, such as 'relu'")
        for flag in ("bias", "trainable"):
            self._set(flag, _flag(self.name or "dense", flag, getattr(self, flag)))


@record
class Activation(Layer):
    """a = g(z), elementwise or softmax over the last axis; ``parameter`` is the slope of leaky_relu or the alpha of elu."""

    type: ClassVar[str] = "activation"

    function: str
    parameter: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Make the parameter a float."""
        who = self.name or "activation"
        if not isinstance(self.function, str):
            raise TypeError(f"[{who}] function is {self.function!r}: expected a name, such as 'relu'")
        if self.parameter is not None:
            parameter = _real(who, "parameter", self.parameter, "a finite number")
            if not math.isfinite(parameter):
                raise ValueError(f"[{who}] parameter is {parameter}: expected a finite number")
            self._set("parameter", parameter)


@record
class Dropout(Layer):
    """y = m x / (1 - rate), m Bernoulli(1 - rate), in training; y = x otherwise (Srivastava et al., JMLR 15, 2014)."""

    type: ClassVar[str] = "dropout"

    rate: float
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the rate."""
        rate = _real(self.name or self.type, "rate", self.rate, "a number, 0 <= rate < 1")
        if not 0 <= rate < 1:
            raise ValueError(f"[{self.name or self.type}] rate is {rate}: expected 0 <= rate < 1")
        self._set("rate", rate)


@record
class StochasticDepth(Dropout):
    """y = m x / (1 - rate) with one m, Bernoulli(1 - rate), for all of a sample, in training; y = x otherwise (Huang et al., ECCV 2016).

    On the branch of a residual block: some samples take the way around it.
    """

    type: ClassVar[str] = "stochastic_depth"

    rate: float
    name: str | None = None


@record
class Flatten(Layer):
    """(n, ...) -> (n, m): the same memory, read as one row a sample."""

    type: ClassVar[str] = "flatten"

    name: str | None = None


@record
class Add(Layer):
    """z = x_1 + x_2 + ..., broadcasting over the axes of a sample (aligned at the right). The same as ``+`` on nodes."""

    type: ClassVar[str] = "add"

    name: str | None = None


@record
class Multiply(Layer):
    """z = x_1 x_2 ..., elementwise, broadcasting over the axes of a sample (aligned at the right). The same as ``*`` on nodes."""

    type: ClassVar[str] = "multiply"

    name: str | None = None


@record
class Concatenate(Layer):
    """z = [x_1, x_2, ...] along ``axis``, counted as in NumPy on (n, ...); the axis of the samples is not allowed."""

    type: ClassVar[str] = "concatenate"

    axis: int = -1
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the axis."""
        self._set("axis", _integer(self.name or "concatenate", "axis", self.axis, -(2**31)))


def concat(*nodes: Node | Input | Sequence[Node | Input], axis: int = -1) -> Node:
    """Join nodes along an axis: ``cr.concat(a, b)`` or ``cr.concat([a, b])``."""
    flat: list[Any] = []
    for node in nodes:
        flat.extend(node if isinstance(node, (list, tuple)) else [node])
    return call(Concatenate(axis), flat)
