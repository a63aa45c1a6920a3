# SPDX-License-Identifier: MIT
"""Layers that change a value's shape: pools, means, and the same numbers in another shape or order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from chainrule._record import record
from chainrule.layers import Layer, _integer

__all__ = ["AveragePool", "GlobalAveragePool", "MaxPool", "Mean", "Reshape", "Slice", "Transpose", "UpSample"]

Places = int | tuple[int, ...]


def _integers(who: str, name: str, value: Any, least: int) -> tuple[int, ...]:
    """Return a tuple of ints from a sequence, or raise naming the layer's parameter."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise TypeError(f"[{who}] {name} is {value!r}: expected a tuple of integers >= {least}")
    return tuple(_integer(who, name, v, least) for v in value)


def places(who: str, name: str, value: Any, least: int) -> Places:
    """Return an int, or a tuple of one or two: one number for each axis of places."""
    if not isinstance(value, (tuple, list)):
        return _integer(who, name, value, least)
    if len(value) not in (1, 2):
        raise ValueError(f"[{who}] {name} is {value!r}: expected one number, or one for each of one or two axes of places")
    return _integers(who, name, value, least)


@record
class _Pool(Layer):
    """The parameters of a pool."""

    size: Places = 2
    stride: Places | None = None
    padding: str | Places = "valid"
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the windows."""
        who = self.name or self.type
        self._set("size", places(who, "size", self.size, 1))
        if self.stride is not None:
            self._set("stride", places(who, "stride", self.stride, 1))
        if isinstance(self.padding, str):
            if self.padding not in ("valid", "same"):
                raise ValueError(f"[{who}] padding is {self.padding!r}: expected 'valid', 'same', or places on each side")
        else:
            self._set("padding", places(who, "padding", self.padding, 0))


@record
class MaxPool(_Pool):
    """z = max of x over windows, channels last: (n, T, c) -> (n, T', c), (n, h, w, c) -> (n, h', w', c).

    With p places of padding before and after, T' = floor((T + 2 p - size) / stride) + 1. Places outside of the value are in no window. The
    gradient goes to the first of a window's largest numbers, in the order of memory (LeCun et al., Proc. IEEE 86, 1998, with max for mean).

    Parameters
    ----------
    size : int or tuple
        Places of a window along each axis; one number: the same along all.
    stride : int or tuple, optional
        From one window to the next; by default ``size``: windows side by side.
    padding : {"valid", "same"}, int or tuple
        "valid": none; "same": so much that T' = ceil(T / stride), an odd place at the end; numbers: places on each side, fewer than ``size``.
    name : str, optional

    Raises
    ------
    ValueError
        The window is larger than the padded input, the padding not smaller than the window, the input no (n, T, c) or (n, h, w, c).
    """

    type: ClassVar[str] = "max_pool"


@record
class AveragePool(_Pool):
    """z = mean of x over windows, of the places that lie inside of the value; parameters and shapes are those of :class:`MaxPool`."""

    type: ClassVar[str] = "average_pool"


@record
class GlobalAveragePool(Layer):
    """z = mean of x over all places: (n, T, c) -> (n, c), (n, h, w, c) -> (n, c) (Lin, Chen and Yan, ICLR 2014). T may be open."""

    type: ClassVar[str] = "global_average_pool"

    name: str | None = None


@record
class Mean(Layer):
    """z = mean of x along ``axis``, which is gone then; counted as in NumPy on (n, ...), the axis of the samples is not allowed.

    The axis may be the open one.
    """

    type: ClassVar[str] = "mean"

    axis: int
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the axis."""
        self._set("axis", _integer(self.name or self.type, "axis", self.axis, -(2**31)))


@record
class Reshape(Layer):
    """(n, ...) -> (n, *shape): the same memory, read with other axes.

    Parameters
    ----------
    shape : int or tuple
        Of one sample; at most one axis may be -1: what is left.
    name : str, optional
    """

    type: ClassVar[str] = "reshape"

    shape: int | tuple[int, ...]
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the shape."""
        who = self.name or self.type
        shape = self.shape if isinstance(self.shape, (tuple, list)) else (self.shape,)
        shape = _integers(who, "shape", shape, -1)
        if 0 in shape or shape.count(-1) > 1:
            raise ValueError(f"[{who}] shape is {shape}: expected axes of at least 1, at most one of them -1")
        self._set("shape", shape)


@record
class Transpose(Layer):
    """z is x with its axes in another order.

    Parameters
    ----------
    axes : tuple, optional
        For each axis of z the one of x, counted as in NumPy on (n, ...), that of the samples left out: ``Transpose((2, 1))`` makes (n, d, T) of
        (n, T, d). By default all axes of a sample in the opposite order.
    name : str, optional
    """

    type: ClassVar[str] = "transpose"

    axes: tuple[int, ...] | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the axes."""
        if self.axes is not None:
            self._set("axes", _integers(self.name or self.type, "axes", self.axes, -(2**31)))


@record
class Slice(Layer):
    """z = x[..., start:stop:step, ...] along ``axis``, counted as Python does: negative numbers from the end, beyond the end is the end.

    Parameters
    ----------
    start, stop : int, optional
        By default from the first to the last place.
    step : int
        At least 1.
    axis : int
        Counted as in NumPy on (n, ...); the axis of the samples is not allowed, nor an open one.
    name : str, optional
    """

    type: ClassVar[str] = "slice"

    start: int | None = None
    stop: int | None = None
    step: int = 1
    axis: int = -1
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        who = self.name or self.type
        for name in ("start", "stop", "axis"):
            if getattr(self, name) is not None:
                self._set(name, _integer(who, name, getattr(self, name), -(2**62)))
        self._set("step", _integer(who, "step", self.step, 1))


@record
class UpSample(Layer):
    """z[s y + a, s x + b] = x[y, x], 0 <= a, b < s: each place s times along each axis, (n, T, c) -> (n, s T, c), (n, h, w, c) -> (n, s h, s w, c).

    Parameters
    ----------
    size : int or tuple
        s; one number: the same along all axes of places.
    mode : {"nearest", "bilinear"}
        "bilinear": along each axis z[j] = (1 - t) x[i] + t x[i + 1], i + t = (j + 1/2) / s - 1/2, the places of pixels' middles, with x[0] before
        the first and the last behind it (PyTorch's ``align_corners=False``).
    name : str, optional
    """

    type: ClassVar[str] = "up_sample"

    size: Places = 2
    mode: str = "nearest"
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the size and the mode."""
        who = self.name or self.type
        self._set("size", places(who, "size", self.size, 1))
        if self.mode not in ("nearest", "bilinear"):
            raise ValueError(f"[{who}] mode is {self.mode!r}: expected 'nearest' or 'bilinear'")
