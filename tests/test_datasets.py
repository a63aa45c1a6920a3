# SPDX-License-Identifier: MIT
"""The shipped digits, the held-out test set, and idx files: good ones, damaged ones, hostile ones."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chainrule import datasets
from compare import assert_close

CODES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}


def idx(array: Any, code: int) -> bytes:
    a = np.asarray(array)
    values = a.astype(np.dtype(CODES[code]).newbyteorder(">")).tobytes()
    return bytes([0, 0, code, a.ndim]) + b"".join(struct.pack(">I", d) for d in a.shape) + values


def test_digits() -> None:
    X, y = datasets.load_digits()
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((1797, 64), np.float32, (1797,), np.int64)
    assert (X.min(), X.max()) == (0, 16)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert os.path.getsize(Path(datasets.__file__).parent / "data" / "digits.npz") < 100_000


def test_digits_are_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    X, y = datasets.load_digits()
    assert_close(X, theirs.data, 0.0, dtype=np.float32)
    assert_close(y, theirs.target, 0.0, dtype=np.int64)


def test_split() -> None:
    X, y = np.arange(20).reshape(10, 2), np.arange(10)
    a, b, c, d = datasets.split(X, y, test=0.3)
    assert (len(a), len(c)) == (7, 3)
    assert sorted([*b, *d]) == list(range(10))
    assert_close(np.concatenate([a, c])[:, 0], 2 * np.concatenate([b, d]), 0.0)
    assert_close(datasets.split(X, y, test=0.3)[3], d, 0.0)
    assert any(datasets.split(X, y, test=0.3, seed=s)[3].tolist() != d.tolist() for s in (1, 2, 3))
    assert len(datasets.split(X[:2], y[:2], test=0.01)[2]) == 1
    assert len(datasets.split(X[:2], y[:2], test=0.99)[0]) == 1


@pytest.mark.parametrize(
    ("X", "y", "test", "message"),
    [
        (np.ones((3, 2)), np.ones(4), 0.2, r"X is \(3, 2\) and y is \(4,\)"),
        (np.ones((1, 2)), np.ones(1), 0.2, "X has 1 rows"),
        (np.ones((3, 2)), np.ones(3), 1.0, "test is 1.0"),
        (np.ones((3, 2)), np.ones(3), float("nan"), "test is nan"),
        (np.float64(1), np.ones(3), 0.2, r"X is \(\)"),
    ],
)
def test_split_refuses(X: Any, y: Any, test: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.split(X, y, test)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(5,), (0,), (2, 3), (2, 0, 3), (2, 3, 4)])
def test_idx(tmp_path: Path, code: int, shape: tuple[int, ...], compressed: bool, rng: np.random.Generator) -> None:
    a = rng.integers(0, 100, shape).astype(CODES[code])
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(idx(a, code)) if compressed else idx(a, code))
    found = datasets.read_idx(path)
    assert_close(found, a, 0.0)
    assert found.dtype.isnative
    assert found.flags.writeable


def test_hand_written_idx(tmp_path: Path) -> None:
    """00 00 | 0b: int16 | 02: two axes | 2 | 1 | 0x0102 = 258 | 0xffff = -1."""
    path = tmp_path / "file"
    path.write_bytes(bytes.fromhex("00000b02 00000002 00000001 0102 ffff".replace(" ", "")))
    assert datasets.read_idx(path).tolist() == [[258], [-1]]


GOOD = idx(np.arange(6).reshape(2, 3), 0x08)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\0\0", "begins with 00 00"),
        (b"\x89PNG" + GOOD, "begins with 89 50 4e 47: expected 00 00, a type"),
        (b"\0\0\x07\x01" + b"\0" * 8, "begins with 00 00 07 01"),
        (b"\0\0\x08\x00", "has 0 axes"),
        (b"\0\0\x08\xff" + b"\0" * 2000, "has 255 axes"),
        (GOOD[:6], "truncated within its header"),
        (GOOD[:-1], r"holds 5 bytes of values: an array of \(2, 3\) of uint8 has 6"),
        (GOOD + b"\0", r"holds 7 bytes of values: an array of \(2, 3\) of uint8 has 6"),
        (b"\0\0\x0e\x04" + b"\xff" * 16 + b"\0" * 64, "too large"),
        (b"\0\0\x08\x04" + b"\xff" * 12 + b"\0" * 4, "too large"),
        (b"\0\0\x08\x01\x7f\xff\xff\xff" + b"\0" * 64, "holds 64 bytes of values"),
    ],
)
@pytest.mark.parametrize("compressed", [False, True])
def test_idx_refuses(tmp_path: Path, content: bytes, message: str, compressed: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if compressed else content)
    if compressed and message.startswith("holds"):
        message = "holds at most|is truncated: |goes on after"
    with pytest.raises(ValueError, match=message) as caught:
        datasets.read_idx(path)
    assert str(path) in str(caught.value)


def test_every_truncation(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (GOOD, gzip.compress(GOOD)):
        for length in range(len(content)):
            path.write_bytes(content[:length])
            with pytest.raises(ValueError, match="read_idx"):
                datasets.read_idx(path)


def test_a_flipped_bit_in_gzip_data_is_seen(tmp_path: Path) -> None:
    content, path = gzip.compress(GOOD, mtime=0), tmp_path / "file"
    for i in range(10, len(content)):  # behind gzip's header, whose bytes say nothing about the values
        damaged = bytearray(content)
        damaged[i] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="read_idx"):
            datasets.read_idx(path)


def test_nothing_is_allocated_for_a_lie(tmp_path: Path) -> None:
    """8 GB announced in a file of a few bytes: refused at once, plain and compressed."""
    import tracemalloc

    path = tmp_path / "file"
    lie = b"\0\0\x0e\x01\x40\x00\x00\x00"
    for content in (lie, gzip.compress(lie)):
        path.write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(ValueError, match="holds"):
                datasets.read_idx(path)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()


def test_missing_idx(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        datasets.read_idx(tmp_path / "none")
