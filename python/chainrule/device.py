# SPDX-License-Identifier: MIT
"""Where a network computes: "cpu", or a CUDA device; and the blocks of one that lies on such a device."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule import _core

if TYPE_CHECKING:
    from chainrule.structure import Structure

__all__ = ["DeviceArray", "number", "require_library"]

Array = npt.NDArray[Any]

_LIBRARY = "libchainrule_cuda.so"


def number(device: Any) -> int:
    """Return -1 for "cpu", n for "cuda:n"; "cuda" is "cuda:0". The library for CUDA is loaded with the first of these.

    Raises
    ------
    ValueError
        `device` is something else.
    RuntimeError
        No library, no driver, no device: which of them, and what to do.
    """
    if isinstance(device, str) and device == "cpu":
        return -1
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device, flags=re.ASCII) if isinstance(device, str) else None
    if not match:
        raise ValueError(f"[network] device is {device!r}: expected 'cpu', 'cuda' or 'cuda:1'")
    require_library(device)
    return int(match[1] or 0)


def require_library(device: str = "cuda") -> dict[str, Any]:
    """Load the library for CUDA if none is loaded yet; return what ``build_info()["cuda"]`` says of it from then on."""
    if _core.device_library() is None:
        _core.load_device_library(str(_find(device)))
        if (_core.device_library() or {})["emulated"]:
            warnings.warn("device='cuda' is emulated on the CPU in this build: for tests, slow, and no card is used", RuntimeWarning, _level())
    library: dict[str, Any] | None = _core.device_library()
    assert library is not None
    return library


def _level() -> int:
    """The stack level of whoever called this package, for a warning of the caller."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == "chainrule":
        level, frame = level + 1, frame.f_back
    return level


def _find(device: str) -> Path:
    """Where CHAINRULE_CUDA_FOLDER says; else beside the core, where one build made both; else in the package chainrule-cuda."""
    given = os.environ.get("CHAINRULE_CUDA_FOLDER")
    if given:
        if not (Path(given) / _LIBRARY).is_file():
            raise RuntimeError(f"[network] device is {device!r}, but CHAINRULE_CUDA_FOLDER is {given!r}, where there is no {_LIBRARY}")
        return Path(given) / _LIBRARY
    own = Path(_core.__file__).parent / _LIBRARY
    if own.is_file():
        return own
    package = importlib.util.find_spec("chainrule_cuda")
    for folder in (package.submodule_search_locations or []) if package else []:
        if (Path(folder) / _LIBRARY).is_file():
            return Path(folder) / _LIBRARY
    raise RuntimeError(f"[network] device is {device!r}, but this build runs on the CPU alone: install chainrule[cuda], or use device='cpu'")


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Numbers of a network on a CUDA device: ``net.W[k]``, ``net.flat_parameters`` and the like, and what it predicts from rows that lie there.

    Writing into it (``net.W[0][...] = w``, ``net.W[0] *= 2``) writes to the device. Whatever computes with it works on a copy in the host's memory,
    of which ``numpy()`` gives one. CuPy, PyTorch, JAX and Numba see the device's memory itself, by DLPack (``torch.from_dlpack(a)``) and by
    ``__cuda_array_interface__``; it lives as long as they do.
    """

    def __init__(self, memory: Any, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> None:
        self._memory, self._offset = memory, offset
        self.shape, self.dtype, self.device = shape, dtype, device

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self.size * self.dtype.itemsize

    @property
    def T(self) -> Array:
        """A transposed copy in the host's memory."""
        return self._fixed().T

    def numpy(self) -> Array:
        """Return a copy in the host's memory."""
        values: Array = self._memory.read(self._offset, self.size)
        return values.reshape(self.shape)

    copy = numpy

    def astype(self, dtype: npt.DTypeLike) -> Array:
        """Return a copy in the host's memory, of that dtype."""
        return self.numpy().astype(dtype)

    def reshape(self, *shape: Any) -> DeviceArray:
        """Return a view of the same memory with another shape."""
        wanted = np.broadcast_to(np.int8(0), self.shape).reshape(*shape).shape
        return self._view(0, wanted)

    def _view(self, offset: int, shape: tuple[int, ...]) -> DeviceArray:
        return DeviceArray(self._memory, self._offset + offset, shape, self.dtype, self.device)

    def _fixed(self) -> Array:
        """A copy that cannot be written to: what is written there would be lost."""
        values = self.numpy()
        values.flags.writeable = False
        return values

    def __getattr__(self, name: str) -> Any:
        """Whatever else an array can do (``any``, ``sum``, ``tobytes``), it does with a copy, which cannot be written to."""
        if name.startswith("_") or not callable(getattr(np.ndarray, name, None)):
            raise AttributeError(f"an array on a CUDA device has no {name!r}: numpy() gives a copy of it")
        return getattr(self._fixed(), name)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without an axis")
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("the array lies on a CUDA device: the host can only see a copy")
        return self.numpy() if dtype is None else self.astype(dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = None, **given: Any) -> Any:
        host = [x.numpy() if isinstance(x, DeviceArray) else x for x in inputs]
        if out is None:
            return getattr(ufunc, method)(*host, **given)
        room = tuple(x.numpy() if isinstance(x, DeviceArray) else x for x in out)
        getattr(ufunc, method)(*host, out=room, **given)
        for x, values in zip(out, room, strict=True):
            if isinstance(x, DeviceArray):
                x[...] = values
        return out[0] if len(out) == 1 else out

    def __getitem__(self, key: Any) -> Any:
        """Rows that lie together (``a[3]``, ``a[2:5]``, ``a[...]``) are a view; anything else is a copy, which cannot be written to."""
        if key is Ellipsis:
            return self
        if isinstance(key, slice) and self.shape:
            start, stop, step = key.indices(self.shape[0])
            if step == 1:
                return self._view(start * math.prod(self.shape[1:]), (max(0, stop - start), *self.shape[1:]))
        if isinstance(key, (int, np.integer)) and self.ndim > 1 and -self.shape[0] <= key < self.shape[0]:
            return self._view(int(key) % self.shape[0] * math.prod(self.shape[1:]), self.shape[1:])
        return self._fixed()[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        part = self[key]
        if isinstance(part, DeviceArray):
            values = np.empty(part.shape, self.dtype)
            values[...] = value
            self._memory.write(part._offset, values)
            return
        values = self.numpy()
        values[key] = value
        self._memory.write(self._offset, values)

    @property
    def _address(self) -> int:
        """Of the first number, once the network is done with what it was asked for; 0 where there is none."""
        return self._memory.address + self._offset * self.dtype.itemsize if self.size else 0

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (self._address, False), "version": 3, "strides": None, "stream": None}

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, int(self.device.removeprefix("cuda:"))

    def __dlpack__(self, *, stream: Any = None, max_version: Any = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> Any:
        """Return DLPack's capsule: the memory itself, or (``dl_device=(1, 0)``) a copy in the host's. The network is done with it: nobody waits."""
        if dl_device is not None and tuple(dl_device) == (1, 0) and copy is not False:
            return self.numpy().__dlpack__()
        if copy or (dl_device is not None and tuple(dl_device) != self.__dlpack_device__()):
            raise BufferError(f"an array on {self.device} is lent as it is, or copied to the host: expected copy=None, or dl_device=(1, 0)")
        return _core.lend_dlpack(self._address, self.shape, 8 * self.dtype.itemsize, self.__dlpack_device__()[1], self._memory)

    def __repr__(self) -> str:
        return f"{self.numpy()!r} on {self.device}"


def views(net: Structure, block: str) -> DeviceArray:
    """Return a block of a network on a device as one vector."""
    return DeviceArray(net._core.block(block), 0, (sum(t["size"] for t in net._table),), net.dtype, net.device)


def results(net: Structure, outputs: Sequence[tuple[Any, tuple[int, ...]]]) -> list[DeviceArray]:
    """Return what was predicted there, [(memory, shape)], as arrays."""
    return [DeviceArray(memory, 0, shape, net.dtype, net.device) for memory, shape in outputs]
