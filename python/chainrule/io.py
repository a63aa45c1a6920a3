# SPDX-License-Identifier: MIT
"""Model files: safetensors, with the network's spec in the metadata and a checksum over everything.

    chainrule_format   "1"; a file of a newer format is refused
    random_version     of csrc/tensor/random.h; a network that goes on training draws the numbers of this version
    spec               the network as JSON, layers in order of first use (docs/architecture.md)
    extra              dtype, seed, training state, ... as JSON
    sha256             over the four texts above, then name, dtype, shape and bytes of every tensor in the order of the
    names

The library itself scrambles arrays that are not C-contiguous and does not notice a flipped bit; both are handled here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

FORMAT = 1
RANDOM_VERSION = 1

Tensors = dict[str, npt.NDArray[Any]]
# {name: (dtype as NumPy spells it, shape)}
Layout = dict[str, tuple[str, tuple[int, ...]]]

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "U32": "uint32", "I32": "int32",
    "U64": "uint64", "I64": "int64", "F16": "float16", "F32": "float32", "F64": "float64",
}  # fmt: skip


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, npt.ArrayLike],
    spec: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a model file so that a kill at any moment leaves the old file or the new one.

    Parameters
    ----------
    path : str or path
        A symbolic link is followed: the file it points to is replaced. An existing file keeps its mode.
    tensors : mapping of str to array
        Any order and stride; bool, integers or floating-point numbers.
    spec, extra : mapping
        Plain values (what JSON has, without NaN).

    Raises
    ------
    TypeError, ValueError
        A dtype or a value that a file cannot hold.
    OSError
        What the file system says; nothing is left behind and an existing file is as it was.
    """
    from safetensors.numpy import save as serialize

    arrays: Tensors = {}
    for name, tensor in tensors.items():
        array = np.asarray(tensor)
        if array.dtype.name not in _DTYPES.values():
            raise TypeError(f"[{name}] has dtype {array.dtype}: expected one of {', '.join(_DTYPES.values())}")
        arrays[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    versions = {"chainrule_format": str(FORMAT), "random_version": str(RANDOM_VERSION)}
    texts = {**versions, "spec": _json(spec), "extra": _json(extra or {})}
    content = serialize(arrays, metadata={**texts, "sha256": _digest(texts, arrays)})
    _replace(Path(os.path.realpath(path)), *_ordered(content))


def load(
    path: str | os.PathLike[str], check: Callable[[dict[str, Any], dict[str, Any], Layout], None] | None = None
) -> tuple[Tensors, dict[str, Any], dict[str, Any]]:
    """Reads a model file: (tensors, spec, extra).

    Parameters
    ----------
    path : str or path
    check : callable (spec, extra, layout), optional
        Called before any tensor is allocated, layout being {name: (dtype, shape)}; raises ValueError where they do not
        fit each other.

    Raises
    ------
    FileNotFoundError
    ValueError
        Truncated, altered, no model of this package, or of a newer format: the message says which.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    size = os.stat(name).st_size
    if os.path.isdir(name):
        raise IsADirectoryError(f"{name} is a folder: expected a model file")
    _check_size(name, size)
    try:
        with safe_open(name, framework="numpy") as file:
            metadata = file.metadata() or {}
            texts = _texts(name, metadata)
            spec, extra = _parse(name, texts["spec"]), _parse(name, texts["extra"])
            layout: Layout = {}
            for key in file.keys():  # noqa: SIM118 (not iterable itself)
                part = file.get_slice(key)
                dtype = str(part.get_dtype())
                if dtype not in _DTYPES:
                    _refuse(name, f"[{key}] has dtype {dtype}, which no model of this package has")
                layout[key] = (_DTYPES[dtype], tuple(part.get_shape()))
            if check is not None:
                check(spec, extra, layout)
            tensors = {key: file.get_tensor(key) for key in sorted(layout)}
    except SafetensorError as error:
        _refuse(name, f"it is truncated, damaged or no safetensors file ({error})")
    except UnicodeError:
        _refuse(name, "its header is damaged")
    if _digest(texts, tensors) != metadata.get("sha256"):
        _refuse(name, "its contents were altered: the checksum does not fit")
    return tensors, spec, extra


def _ordered(content: bytes) -> tuple[bytes, memoryview]:
    """(header, values): the library writes the metadata in an order that differs from call to call."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(content)[end:]


def _refuse(name: str, why: str) -> NoReturn:
    raise ValueError(f"cannot load {name}: {why}")


def _check_size(name: str, size: int) -> None:
    """Eight bytes of the header's length, then the header, must fit into the file."""
    with open(name, "rb") as file:
        head = file.read(9)
    if len(head) < 9:
        _refuse(name, f"it is truncated or no model file ({size} bytes)")
    length = int.from_bytes(head[:8], "little")
    if head[8:] != b"{":
        _refuse(name, "it is no safetensors file")
    if length > size - 8:
        _refuse(name, f"it is truncated or no model file (a header of {length} bytes in a file of {size})")


def _texts(name: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """The four texts of the metadata, their version checked first: a newer format may have others."""
    if "chainrule_format" not in metadata:
        _refuse(name, "it is a safetensors file, but no model of chainrule (no 'chainrule_format' in its metadata)")
    version = metadata["chainrule_format"]
    if not (version.isascii() and version.isdigit() and int(version[:9]) >= 1):
        _refuse(name, f"its format is {version!r}: expected a number")
    if int(version[:9]) > FORMAT:
        _refuse(name, f"its format is {version}, this version reads up to {FORMAT}: a newer chainrule is needed")
    missing = [key for key in ("random_version", "spec", "extra", "sha256") if key not in metadata]
    if missing:
        _refuse(name, f"its metadata lacks {', '.join(missing)}")
    return {key: metadata[key] for key in ("chainrule_format", "random_version", "spec", "extra")}


def _json(value: Mapping[str, Any]) -> str:
    """The one spelling of a value. The order of keys is kept: that of the layers is the parameter block's."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        _refuse(name, "its contents were altered: the metadata is no JSON object")
    return value


def _digest(texts: Mapping[str, str], tensors: Tensors) -> str:
    """sha256; every part is preceded by its length, so that no two files have the same stream of bytes."""
    digest = hashlib.sha256()

    def add(part: bytes | memoryview) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    for key in sorted(texts):
        add(key.encode())
        add(texts[key].encode())
    for key in sorted(tensors):
        array = tensors[key]
        add(key.encode())
        add(f"{array.dtype.name} {array.shape}".encode())
        add(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _replace(target: Path, *parts: bytes | memoryview) -> None:
    """Temporary file in the same folder, fsync, mode, rename, fsync of the folder."""
    mode = None
    try:
        found = os.stat(target)
    except FileNotFoundError:
        pass
    else:
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(f"{target} is a folder: expected the name of a file")
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{target} is no regular file: renaming would replace it")
        mode = stat.S_IMODE(found.st_mode)
    temporary = target.with_name(f".{target.name[:200]}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    # created with 0666 the kernel applies the umask: reading the umask would change it for other threads
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(temporary, flags, 0o666 if mode is None else 0o600)
    try:
        with open(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            if mode is not None and hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
