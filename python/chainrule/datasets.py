# SPDX-License-Identifier: MIT
"""The digits that the package ships, a held-out test set, and a reader for idx files (the format of MNIST)."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# deflate cannot do better than 1032 : 1
_GZIP_RATIO = 1040


def load_digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """1,797 handwritten digits of 8 x 8 pixels.

    Returns
    -------
    X : array (1797, 64), float32
        Ink from 0 to 16, rows of the image one after the other.
    y : array (1797,), int64
        0 ... 9.

    Notes
    -----
    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository (1998),
    doi 10.24432/C50P49, its test part in the order in which scikit-learn has it. Licence: CC BY 4.0."""
    with np.load(Path(__file__).parent / "data" / "digits.npz", allow_pickle=False) as file:
        return file["x"].astype(np.float32), file["y"].astype(np.int64)


def split(
    X: npt.ArrayLike, y: npt.ArrayLike, test: float = 0.2, seed: int = 0
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """A test set drawn at random without replacement: (X_train, y_train, X_test, y_test).

    Parameters
    ----------
    X, y : array (n, ...) and array (n, ...)
    test : float, default 0.2
        Share of the rows that goes to the test set, in (0, 1); rounded, at least one row each side.
    seed : int, default 0
        The same seed and n give the same split.

    Raises
    ------
    ValueError
        X and y of different length, fewer than two rows, a share outside (0, 1).
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim == 0 or y.ndim == 0 or len(X) != len(y):
        raise ValueError(f"[split] X is {X.shape} and y is {y.shape}: expected as many rows in both")
    n = len(X)
    if n < 2:
        raise ValueError(f"[split] X has {n} rows: expected at least 2")
    if not 0 < test < 1:
        raise ValueError(f"[split] test is {test!r}: expected a number in (0, 1)")
    n_test = min(max(1, round(test * n)), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    held_out, rest = np.sort(order[:n_test]), np.sort(order[n_test:])
    return X[rest], y[rest], X[held_out], y[held_out]


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """An array from an idx file, compressed by gzip or not (seen from its first bytes, not from its name).

    The format: two zero bytes, a byte for the type (0x08 uint8, 0x09 int8, 0x0B int16, 0x0C int32, 0x0D float32, 0x0E
    float64), a byte for the number of axes, their sizes as 32-bit big-endian numbers, the values, big-endian, the last
    axis fastest.

    Returns
    -------
    array
        Of the file's type in the machine's byte order.

    Raises
    ------
    FileNotFoundError
    ValueError
        No idx file, truncated, damaged, or longer than its header says. The sizes are compared with the file's before
        anything is allocated.
    """
    import gzip
    import zlib

    name = os.fspath(path)
    size = os.stat(name).st_size
    with open(name, "rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not compressed:
            return _read(raw, name, size, exact=True)
        try:
            with gzip.open(raw, "rb") as file:
                return _read(file, name, size * _GZIP_RATIO, exact=False)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"[read_idx] {name}: damaged or truncated gzip data ({error})") from None


def _read(file: Any, name: str, largest: int, exact: bool) -> npt.NDArray[Any]:
    """`largest`: what the file may hold uncompressed; `exact`: it holds just that."""

    def refuse(why: str) -> NoReturn:
        raise ValueError(f"[read_idx] {name}: {why}")

    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _IDX_DTYPES:
        types = ", ".join(f"{t:02x}" for t in _IDX_DTYPES)
        refuse(f"begins with {magic.hex(' ') or 'nothing'}: expected 00 00, a type ({types}), a number of axes")
    ndim = magic[3]
    if not 1 <= ndim <= 32:
        refuse(f"has {ndim} axes: expected 1 to 32")
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        refuse("is truncated within its header")
    shape = tuple(int.from_bytes(header[4 * i : 4 * i + 4], "big") for i in range(ndim))
    dtype = np.dtype(_IDX_DTYPES[magic[2]])
    # Python's integers do not wrap round. A size of 0 beside huge ones would still overflow NumPy's strides.
    if math.prod(max(1, d) for d in shape) * dtype.itemsize >= 2**62:
        refuse(f"says it holds an array of {shape}: too large")
    expected, available = math.prod(shape) * dtype.itemsize, largest - 4 - 4 * ndim
    if expected > available or (exact and expected < available):
        held = f"{available} bytes of values" if exact else f"at most {available} bytes of values"
        refuse(f"holds {held}: an array of {shape} of {dtype.newbyteorder('=')} has {expected}")
    array = np.empty(shape, dtype=dtype)
    flat = array.reshape(-1).view(np.uint8)
    done = 0
    while done < expected:
        count = file.readinto(flat.data[done : done + (1 << 24)])
        if not count:
            refuse(f"is truncated: {done} of {expected} bytes of values")
        done += count
    if file.read(1):
        refuse(f"goes on after an array of {shape}")
    return array.astype(dtype.newbyteorder("="), copy=False)
