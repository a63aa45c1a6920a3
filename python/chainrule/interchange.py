# SPDX-License-Identifier: MIT
"""Arrays of somebody else's on a CUDA device (CuPy, PyTorch, JAX, Numba): seen without a copy, by DLPack or ``__cuda_array_interface__``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule import _core

if TYPE_CHECKING:
    from chainrule.structure import Structure

__all__ = ["CardArray", "lies_on_a_card", "seen"]

_CUDA, _MANAGED = 2, 13  # DLPack's kinds of device whose memory a card sees by its address
_KINDS = {0: "i", 1: "u", 2: "f", 6: "b"}  # by DLPack's codes


class CardArray:
    """An array in C order on the card of a network: what the core reads there, and what keeps it alive."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any], owner: Any) -> None:
        self.address, self.shape, self.dtype, self.owner = address, shape, dtype, owner

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes on the card."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> CardArray:
        """Rows [start, stop), in the same memory."""
        start, stop, _ = rows.indices(len(self))
        each = math.prod(self.shape[1:]) * self.dtype.itemsize
        return CardArray(self.address + start * each, (max(0, stop - start), *self.shape[1:]), self.dtype, self.owner)


def lies_on_a_card(x: Any) -> bool:
    """Whether `x` says that its memory is a CUDA device's."""
    if type(x) is np.ndarray:
        return False
    if hasattr(x, "__dlpack_device__"):
        return int(x.__dlpack_device__()[0]) in (_CUDA, _MANAGED)
    return hasattr(x, "__cuda_array_interface__")


def seen(net: Structure, x: Any, who: str) -> CardArray:
    """Return `x`, which ``lies_on_a_card``, as the core of `net` reads it: whatever its owner has asked for comes first.

    Raises
    ------
    ValueError
        It lies on another device than `net`, or not in C order.
    TypeError
        It holds something else than bool, integers or floating-point numbers.
    """
    if net.device == "cpu":
        raise ValueError(f"[{who}] lies on a CUDA device, the network on the CPU: move one of them (net.to('cuda'), or a copy in host memory)")
    if hasattr(x, "__dlpack__"):
        card = int(x.__dlpack_device__()[1])
        _same_card(net, card, who)
        got = _core.take_dlpack(x.__dlpack__(stream=net._core.stream))
        kind = _KINDS.get(got["code"]) if got["lanes"] == 1 else None
        bits = got["bits"]
        dtype = None if kind is None or bits not in (8, 16, 32, 64) else np.dtype(bool if kind == "b" else f"{kind}{bits // 8}")
        said = f"DLPack's type ({got['code']}, {bits} bits, {got['lanes']} lanes)"
        shape, strides = got["shape"], got["strides"]
        address, owner = got["address"], got["owner"]
    else:
        interface = x.__cuda_array_interface__
        if interface.get("mask") is not None:
            raise TypeError(f"[{who}] is a masked array: expected plain numbers (masked positions take a sample_weight of 0)")
        said, shape, address, owner = interface["typestr"], tuple(interface["shape"]), interface["data"][0], x
        dtype = np.dtype(said)
        strides = interface.get("strides")
        strides = strides and tuple(s / dtype.itemsize for s in strides)
        card = _core.card_of(address) if math.prod(shape) else _number(net)
        _same_card(net, card, who)
        stream = interface.get("stream", 1 if interface.get("version", 0) < 3 else None)  # before version 3: the default one, by custom
        if stream is not None:
            net._core.follow(stream)
    if dtype is None or dtype.kind not in "biuf" or not dtype.isnative:
        raise TypeError(f"[{who}] holds {said} on cuda:{card}: expected bool, integers or floating-point numbers")
    if not _in_c_order(shape, strides):
        raise ValueError(f"[{who}] lies on cuda:{card} with strides {strides} (in elements): expected an array in C order (contiguous)")
    if math.prod(shape) and _core.card_of(address) != card:
        raise ValueError(f"[{who}] says that it lies on cuda:{card}, but its memory is not there")
    return CardArray(address, shape, dtype, owner)


def rows(net: Structure, x: Any, who: str) -> CardArray:
    """Return `x` as an input of `net`: it is used as it is, so its dtype must be the network's."""
    array = seen(net, x, who)
    if array.dtype != net.dtype:
        raise TypeError(f"[{who}] is {array.dtype} on {net.device}: expected {net.dtype}, the network's, as it is used there without a copy")
    return array


def brought(net: Structure, x: Any, who: str) -> npt.NDArray[Any]:
    """Return a copy of `x` in host memory: targets and weights are looked at there, once."""
    array = seen(net, x, who)
    values: npt.NDArray[Any] = net._core.bring(array.address, array.nbytes).view(array.dtype)
    return values.reshape(array.shape)


def _number(net: Structure) -> int:
    return int(net.device.removeprefix("cuda:"))


def _same_card(net: Structure, card: int, who: str) -> None:
    if card < 0:
        raise ValueError(f"[{who}] says that it lies on a CUDA device, but its memory is the host's")
    if card != _number(net):
        raise ValueError(f"[{who}] lies on cuda:{card}, the network on {net.device}: move one of them (net.to('cuda:{card}'))")


def _in_c_order(shape: tuple[int, ...], strides: tuple[float, ...] | None) -> bool:
    if strides is None or 0 in shape:
        return True
    expected = 1
    for n, stride in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and stride != expected:
            return False
        expected *= n
    return True
