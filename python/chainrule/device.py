# SPDX-License-Identifier: MIT
"""Where a network computes: "cpu", or a CUDA device; and the blocks of one that lies on such a device."""

from __future__ import annotations

import importlib.util
import math
import re
import warnings
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
    """Load the library for CUDA if none is loaded yet; return what ``build_info()["cuda"]`` says of it."""
    if _core.device_library() is None:
        _core.load_device_library(str(_find(device)))
        if (_core.device_library() or {})["emulated"]:
            warnings.warn("device='cuda' is emulated on the CPU in this build: for tests, not for work", RuntimeWarning, stacklevel=6)
    library: dict[str, Any] | None = _core.device_library()
    assert library is not None
    return library


def _find(device: str) -> Path:
    """Beside the core, where one build made both; else in the package chainrule-cuda."""
    own = Path(_core.__file__).parent / _LIBRARY
    if own.is_file():
        return own
    package = importlib.util.find_spec("chainrule_cuda")
    for folder in (package.submodule_search_locations or []) if package else []:
        if (Path(folder) / _LIBRARY).is_file():
            return Path(folder) / _LIBRARY
    raise RuntimeError(f"[network] device is {device!r}, but this build runs on the CPU alone: install chainrule[cuda], or use device='cpu'")


class DeviceArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Part of a block of a network on a CUDA device: ``net.W[k]``, ``net.flat_parameters`` and the like there.

    Writing into it (``net.W[0][...] = w``, ``net.W[0] *= 2``) writes to the device. Whatever computes with it works on a copy in the host's memory,
    of which ``numpy()`` gives one. CuPy, PyTorch, Numba and JAX see the device's memory itself, by ``__cuda_array_interface__``.
    """

    def __init__(self, core: Any, block: str, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: str) -> None:
        self._core, self._block, self._offset = core, block, offset
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
        values: Array = self._core.read(self._block, self._offset, self.size)
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
        return DeviceArray(self._core, self._block, self._offset + offset, shape, self.dtype, self.device)

    def _fixed(self) -> Array:
        """A copy that cannot be written to: what is written there would be lost."""
        values = self.numpy()
        values.flags.writeable = False
        return values

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
            self._core.write(self._block, part._offset, values)
            return
        values = self.numpy()
        values[key] = value
        self._core.write(self._block, self._offset, values)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        address = self._core.address(self._block) + self._offset * self.dtype.itemsize
        return {"shape": self.shape, "typestr": self.dtype.str, "data": (address if self.size else 0, False), "version": 3, "strides": None}

    def __repr__(self) -> str:
        return f"{self.numpy()!r} on {self.device}"


def views(net: Structure, block: str) -> DeviceArray:
    """Return a block of a network on a device as one vector."""
    return DeviceArray(net._core, block, 0, (sum(t["size"] for t in net._table),), net.dtype, net.device)
