# SPDX-License-Identifier: MIT
"""Convolutions, channels last: images (n, h, w, c) and sequences (n, T, c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from chainrule._record import record
from chainrule.layers import Layer, _flag, _integer

__all__ = ["Conv1D", "Conv2D", "ConvTranspose2D"]

Places = int | tuple[int, ...]


def _places(who: str, name: str, value: Any, axes: int, least: int) -> tuple[int, ...]:
    """One integer an axis; a single one stands for all."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
    if len(given) != axes:
        raise ValueError(f"[{who}] {name} is {value!r}: expected one integer or {axes}")
    return tuple(_integer(who, name, v, least) for v in given)


@record
class _Conv(Layer):
    """The parameters of all."""

    axes: ClassVar[int]

    filters: int
    kernel: Places
    activation: str = "identity"
    stride: Places = 1
    padding: str | int | Sequence[int | tuple[int, int]] = "same"
    dilation: Places = 1
    groups: int = 1
    bias: bool = True
    initializer: str | None = None
    trainable: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters; sizes become one an axis, padding before and after on each."""
        who = self.name or self.type
        for name in ("filters", "groups"):
            self._set(name, _integer(who, name, getattr(self, name), 1))
        for name in ("kernel", "stride", "dilation"):
            self._set(name, _places(who, name, getattr(self, name), self.axes, 1))
        if not isinstance(self.activation, str):
            raise TypeError(f"[{who}] activation is {self.activation!r}: expected a name, such as 'relu'")
        if self.filters % self.groups:
            raise ValueError(f"[{who}] filters is {self.filters} and groups {self.groups}: expected groups of equal size")
        modes = ("same", "valid", "causal") if self.axes == 1 else ("same", "valid")
        if isinstance(self.padding, str):
            if self.padding not in modes:
                raise ValueError(f"[{who}] padding is {self.padding!r}: expected {', '.join(map(repr, modes))} or numbers")
        else:
            self._set("padding", self._numbers(who))
        for flag in ("bias", "trainable"):
            self._set(flag, _flag(who, flag, getattr(self, flag)))

    def _numbers(self, who: str) -> tuple[int, ...]:
        """(before, after) on each axis, one after the other, from that itself (as in a spec), p, p an axis or ((before, after), ...)."""
        given: Any = self.padding
        if isinstance(given, (tuple, list)) and len(given) == 2 * self.axes and (self.axes > 1 or not isinstance(given[0], (tuple, list))):
            return _places(who, "padding", given, 2 * self.axes, 0)
        each = tuple(given) if isinstance(given, (tuple, list)) else (given,) * self.axes
        if len(each) != self.axes:
            raise ValueError(f"[{who}] padding is {given!r}: expected a number, or one or a pair for each of {self.axes} axes")
        return tuple(v for pair in each for v in _places(who, "padding", pair, 2, 0))


@record
class Conv2D(_Conv):
    """z[y, x, f] = b[f] + sum over ky, kx, c of W[f, ky, kx, c] X[s y + d ky - p, s x + d kx - p, c] on images (n, h, w, c); a = g(z).

    X is 0 outside of the image; s, d and p are stride, dilation and padding of each axis. W (filters, kernel, kernel, channels / groups),
    b (filters,).
    The output is (n, h', w', filters), h' = floor((h + padding - d (kernel - 1) - 1) / s) + 1.

    Parameters
    ----------
    filters : int
        Channels of the output.
    kernel : int or (int, int)
    activation : str
        g: a name of ``cr.activations()`` or "softmax" (over the filters).
    stride : int or (int, int)
    padding : "same", "valid", int, (int, int) or ((int, int), (int, int))
        "same": h' = ceil(h / stride), the odd zero behind; "valid": none; numbers: zeros on each side.
    dilation : int or (int, int)
        Pixels from one tap of the kernel to the next.
    groups : int
        Channels and filters are cut into so many groups, each of which sees its own alone; as many as channels: depthwise.
    bias, initializer, trainable, name
        As in :class:`Dense`; fan_in = kernel kernel channels / groups.

    Raises
    ------
    ValueError
        A kernel larger than the padded image, channels or filters that do not divide into the groups.

    References
    ----------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 86 (1998).
    """

    type: ClassVar[str] = "conv2d"
    axes: ClassVar[int] = 2


@record
class Conv1D(_Conv):
    """z[t, f] = b[f] + sum over k, c of W[f, k, c] X[s t + d k - p, c] on sequences (n, T, c); a = g(z). W (filters, kernel, channels / groups).

    Parameters are those of :class:`Conv2D` with one number for each; padding also "causal": d (kernel - 1) zeros before and none behind, so that z[t]
    sees nothing later than X[s t]. T may be open (``Input((None, c))``) where the stride is 1 and the output as long as the input.
    """

    type: ClassVar[str] = "conv1d"
    axes: ClassVar[int] = 1


@record
class ConvTranspose2D(_Conv):
    """z[s y + d ky - p, s x + d kx - p, f] = b[f] + sum over y, x, ky, kx, c of W[c, ky, kx, f] X[y, x, c] on images (n, h, w, c); a = g(z).

    What the derivative to X of :class:`Conv2D` makes of dz: with a stride images grow. W (c, kernel, kernel, filters / groups), b (filters,).
    The output is (n, h', w', filters), h' = (h - 1) s + d (kernel - 1) + 1 - padding.

    Parameters are those of :class:`Conv2D`; padding leaves out numbers of z on each side: "same" so many that h' = s h, the odd one behind (where a
    kernel is shorter than the stride, b alone stands between), "valid" none; numbers: so many on each side. PyTorch's ``padding=p, output_padding=q``
    is ``((p, p - q), (p, p - q))`` here. fan_in = kernel kernel c / (groups s s): what a number of z sees.

    Raises
    ------
    ValueError
        Padding that leaves nothing of z, channels or filters that do not divide into the groups.

    References
    ----------
    Zeiler, Krishnan, Taylor, Fergus, "Deconvolutional networks", CVPR 2010.
    Dumoulin, Visin, "A guide to convolution arithmetic for deep learning", 2016.
    """

    type: ClassVar[str] = "conv_transpose2d"
    axes: ClassVar[int] = 2
