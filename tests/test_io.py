# SPDX-License-Identifier: MIT
"""The model file: what comes back is what went in, every damage is a ValueError, a kill leaves the old file or the new one."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import io
from compare import assert_close

SPEC = {"format": 1, "layers": {"dense_2": {"type": "dense"}, "dense_1": {"type": "dense"}}, "nodes": [], "name": "ä"}
EXTRA = {"dtype": "float32", "seed": 2**64 - 1, "training": {"step": 3}}


def tensors() -> dict[str, Any]:
    return {"dense_2.W": np.arange(6, dtype=np.float32).reshape(2, 3), "dense_1.b": np.array([1.5, -2.5])}


def write(path: Path) -> bytes:
    io.save(path, tensors(), SPEC, EXTRA)
    return path.read_bytes()


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "m")
    found, spec, extra = io.load(tmp_path / "m")
    assert spec == SPEC
    assert extra == EXTRA
    assert list(spec["layers"]) == ["dense_2", "dense_1"], "the order of the layers is that of the parameter block"
    assert set(found) == set(tensors())
    for name, array in tensors().items():
        assert_close(found[name], array, 0.0)
        assert found[name].flags.writeable
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "uint64", "float16", "float32", ">f4", ">i8"])
def test_dtypes_shapes_strides(tmp_path: Path, dtype: str, rng: np.random.Generator) -> None:
    a = rng.integers(0, 2, (4, 6)).astype(dtype)
    given = {
        "c": a,
        "fortran": np.asfortranarray(a),
        "transposed": a.T,
        "strided": a[::2, ::-3],
        "broadcast": np.broadcast_to(a[:1], (3, 6)),
        "scalar": np.array(a[0, 0]),
        "empty": a[:0],
        "list": a.tolist() if dtype in ("bool", "int64") else a,
    }
    io.save(tmp_path / "m", given, {})
    found, _, _ = io.load(tmp_path / "m")
    for name, array in given.items():
        expected = np.asarray(array)
        assert_close(found[name], expected.astype(expected.dtype.newbyteorder("=")), 0.0, what=name)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a") == write(tmp_path / "b")


def test_readable_by_the_library(tmp_path: Path) -> None:
    from safetensors import safe_open

    write(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="numpy") as file:
        assert sorted(file.keys()) == ["dense_1.b", "dense_2.W"]
        metadata = file.metadata()
    assert set(metadata) == {"chainrule_format", "random_version", "spec", "extra", "sha256"}
    assert json.loads(metadata["spec"]) == SPEC


def test_format_1(tmp_path: Path) -> None:
    """A file of the first format: what that network predicted when it was saved, and nothing is lost by saving it again.

    Input(3), Standardize, Dense(4, "tanh"), Dropout(0.1), Dense(2, "softmax") after three epochs of Adam.
    """
    path = Path(__file__).resolve().parent / "data" / "format_1.safetensors"
    net = cr.load(path)
    predicted = net.predict(np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]]))
    assert_close(predicted, np.array([[0.97455874, 0.02544126], [0.59041607, 0.40958393]]), 2e-7)
    net.save(tmp_path / "again", training_state=True)
    (old, *old_texts), (new, *new_texts) = io.load(path), io.load(tmp_path / "again")
    assert old_texts == new_texts
    assert old.keys() == new.keys()
    for name, array in old.items():
        assert_close(new[name], array, 0.0)


@pytest.mark.parametrize(("array", "dtype"), [(np.ones(2, complex), "complex128"), (np.array(["a"]), "<U1"), (np.array([None]), "object")])
def test_refuses_dtypes(tmp_path: Path, array: Any, dtype: str) -> None:
    with pytest.raises(TypeError, match=rf"\[w\] has dtype {dtype}: expected one of bool"):
        io.save(tmp_path / "m", {"w": array}, {})
    assert os.listdir(tmp_path) == []


def test_refuses_values_that_json_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        io.save(tmp_path / "m", tensors(), {"x": float("nan")})
    with pytest.raises(TypeError):
        io.save(tmp_path / "m", tensors(), {"x": object()})
    assert os.listdir(tmp_path) == []


def test_every_truncation(tmp_path: Path) -> None:
    content, path = write(tmp_path / "m"), tmp_path / "cut"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"cannot load {path}: "):
            io.load(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match="cannot load"):
        io.load(path)


def test_every_flipped_bit(tmp_path: Path) -> None:
    content, path = write(tmp_path / "m"), tmp_path / "flipped"
    for i in range(len(content)):
        for bit in range(8) if i < 8 or i >= len(content) - 40 else (i % 8,):
            damaged = bytearray(content)
            damaged[i] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(ValueError, match="cannot load") as caught:
                io.load(path)
            assert type(caught.value) is ValueError


def test_random_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "noise"
    for size in (0, 1, 7, 8, 9, 100, 5000):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(ValueError, match="cannot load"):
            io.load(path)


def header(path: Path, entries: dict[str, Any], data: bytes = b"") -> Path:
    """A safetensors file with that header."""
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def metadata(**changes: str | None) -> dict[str, Any]:
    texts = {"chainrule_format": "1", "random_version": "1", "spec": "{}", "extra": "{}", "sha256": "0" * 64} | changes
    return {"__metadata__": {k: v for k, v in texts.items() if v is not None}}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "no model of chainrule"),
        ({"__metadata__": {"format": "pt"}}, "no model of chainrule"),
        (metadata(chainrule_format="2"), "its format is 2, this version reads up to 1: a newer chainrule is needed"),
        (metadata(chainrule_format="9" * 5000), "a newer chainrule is needed"),
        (metadata(chainrule_format="one"), "its format is 'one'"),
        (metadata(chainrule_format="0"), "its format is '0'"),
        (metadata(spec=None), "its metadata lacks spec"),
        (metadata(spec="[]"), "no JSON object"),
        (metadata(spec="["), "no JSON object"),
        (metadata(spec="[" * 100_000), "no JSON object"),
        (metadata(), "the checksum does not fit"),
        (metadata() | {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, "truncated, damaged"),
        (metadata() | {"w": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}}, "truncated, damaged"),
        (metadata() | {"w": {"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]}}, r"\[w\] has dtype BF16"),
    ],
)
def test_hostile_headers(tmp_path: Path, entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        io.load(header(tmp_path / "m", entries))


def test_check_comes_before_the_tensors(tmp_path: Path) -> None:
    write(tmp_path / "m")
    seen: list[Any] = []

    def check(spec: dict[str, Any], extra: dict[str, Any], layout: io.Layout) -> None:
        seen.append((spec, extra, layout))
        raise ValueError("does not fit")

    with pytest.raises(ValueError, match="does not fit"):
        io.load(tmp_path / "m", check)
    assert seen == [(SPEC, EXTRA, {"dense_2.W": ("float32", (2, 3)), "dense_1.b": ("float64", (2,))})]


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        io.save(tmp_path / "none" / "m", tensors(), SPEC)
    with pytest.raises(IsADirectoryError):
        io.load(tmp_path)
    with pytest.raises(IsADirectoryError):
        io.save(tmp_path, tensors(), SPEC)


def test_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "m")
        assert stat.S_IMODE(os.stat(tmp_path / "m").st_mode) == 0o640
        os.chmod(tmp_path / "m", 0o604)
        write(tmp_path / "m")
        assert stat.S_IMODE(os.stat(tmp_path / "m").st_mode) == 0o604
    finally:
        os.umask(before)


def test_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "m", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert io.load(target)[1] == SPEC
    assert os.listdir(tmp_path / "there") == ["m"]


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no regular file"):
        write(tmp_path / "pipe")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    content = write(tmp_path / "m")
    os.chmod(tmp_path, 0o500)
    try:
        with pytest.raises(PermissionError):
            io.save(tmp_path / "m", {}, {})
        assert (tmp_path / "m").read_bytes() == content
    finally:
        os.chmod(tmp_path, 0o700)


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
def test_a_failing_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    content = write(tmp_path / "m")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "write":
        real = open
        monkeypatch.setitem(io.__dict__, "open", lambda *a, **k: _Full(real(*a, **k)))
    else:
        monkeypatch.setattr(io.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        io.save(tmp_path / "m", {}, {})
    monkeypatch.undo()
    assert (tmp_path / "m").read_bytes() == content
    assert os.listdir(tmp_path) == ["m"]


class _Full:
    """A file on a full disk."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *args: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        self.file.write(content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")


def test_order_of_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is on the disk before it gets its name, the name before `save` returns."""
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def traced_sync(handle: int) -> None:
        calls.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        sync(handle)

    def traced_replace(source: Any, target: Any) -> None:
        calls.append("replace")
        assert Path(source).parent == Path(target).parent
        replace(source, target)

    monkeypatch.setattr(os, "fsync", traced_sync)
    monkeypatch.setattr(os, "replace", traced_replace)
    write(tmp_path / "m")
    assert calls == ["sync file", "replace", "sync folder"]


KILLED = """
import sys, numpy as np
from chainrule import io
path = sys.argv[1]
i = int(sys.argv[2])
print("ready", flush=True)
while True:
    i += 1
    io.save(path, {"w": np.full(400_000, i, dtype=np.float64)}, {"i": i})
"""


def test_kill(tmp_path: Path, rng: np.random.Generator) -> None:
    """kill -9 while a process saves again and again: the file is always a whole one, and it moves on."""
    path = tmp_path / "m"
    io.save(path, {"w": np.zeros(400_000)}, {"i": 0})
    last = 0
    moved = 0
    for _ in range(8):
        command = [sys.executable, "-c", KILLED, str(path), str(last)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(float(rng.uniform(0.02, 0.25)))
            process.send_signal(signal.SIGKILL)
        found, spec, _ = io.load(path)
        assert spec["i"] >= last
        assert_close(found["w"], np.full(400_000, spec["i"], dtype=np.float64), 0.0)
        moved += spec["i"] > last
        last = spec["i"]
    assert moved >= 3, "the file was hardly ever replaced: nothing was tested"


def test_threads_saving_to_one_path(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def work(i: int) -> None:
        try:
            for _ in range(20):
                io.save(tmp_path / "m", {"w": np.full(1000, i)}, {"i": i})
                found, spec, _ = io.load(tmp_path / "m")
                assert np.all(found["w"] == spec["i"])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert os.listdir(tmp_path) == ["m"]
