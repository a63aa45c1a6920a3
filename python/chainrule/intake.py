# SPDX-License-Identifier: MIT
"""What comes in: arrays, labels, weights and losses, checked once, with messages that say what came and what was expected."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule import losses as _losses
from chainrule import penalties as _penalties

if TYPE_CHECKING:
    from chainrule.interchange import CardArray
    from chainrule.network import Network

__all__ = ["CHECKED_UP_FRONT", "Batches"]

Array = npt.NDArray[Any]

#: Arrays up to this size are checked for NaN and inf before training starts; larger ones while their rows are gathered.
CHECKED_UP_FRONT = 256 * 2**20


class Batches:
    """An iterable of batches (x, y) or (x, y, sample_weight) for ``net.fit(cr.Batches(iterable), ...)``.

    Each epoch iterates once over it, so it must be a re-iterable (a list, an object with ``__iter__``), or a function that returns a fresh iterator.
    """

    def __init__(self, batches: Iterable[Any] | Callable[[], Iterable[Any]]) -> None:
        if not callable(batches) and not hasattr(batches, "__iter__"):
            raise TypeError(f"[Batches] got {type(batches).__name__}: expected an iterable of (x, y), or a function that returns one")
        self._batches = batches

    def __iter__(self) -> Iterator[tuple[Any, Any, Any]]:
        source = self._batches() if callable(self._batches) else self._batches
        for batch in source:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError("[Batches] a batch is no tuple: expected (x, y) or (x, y, sample_weight)")
            yield batch[0], batch[1], batch[2] if len(batch) == 3 else None


def numeric(x: Any, who: str) -> Array:
    """Return `x` as an array of bool, int or float in native byte order; TypeError otherwise. Copies nothing that is one already."""
    # a plain array does not ask for np.ma: NumPy loads it on first use, 20 ms
    if isinstance(x, np.ndarray) and type(x) is not np.ndarray and isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"[{who}] is a masked array: expected plain numbers (masked positions take a sample_weight of 0)")
    try:
        a = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"[{who}] is no array: {error}") from None
    if a.dtype.kind == "O" and not isinstance(x, np.ndarray) and hasattr(x, "__dlpack__"):  # all that it has
        a = np.from_dlpack(x)
    if a.dtype.kind not in "biuf":
        if hasattr(x, "toarray"):  # only inputs may be sparse
            raise TypeError(f"[{who}] is a sparse {type(x).__name__}: expected a dense array, such as its .toarray()")
        hint = {
            "c": "complex numbers",
            "O": "Python objects",
            "U": "strings",
            "S": "strings",
            "M": "dates",
            "m": "time spans",
        }
        what = hint.get(a.dtype.kind, str(a.dtype))
        raise TypeError(f"[{who}] holds {what} (dtype {a.dtype}): expected bool, integers or floating-point numbers")
    if a.dtype.kind == "f" and a.dtype.itemsize > 8:
        with np.errstate(over="ignore"):  # what becomes inf is refused where finite numbers are expected
            a = a.astype(np.float64)
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


class Csr:
    """A sparse matrix (n, width) by rows: row i holds data[indptr[i]:indptr[i + 1]] in the columns indices[indptr[i]:indptr[i + 1]].

    The arrays of `x` (what SciPy calls CSR), none of them copied where they are contiguous and of native byte order. Columns may come in any order;
    numbers in the same place add. What stands in the arrays is checked by the core, where it is read.
    """

    format = "csr"
    ndim = 2

    def __init__(self, x: Any, who: str) -> None:
        shape = tuple(x.shape)
        if len(shape) != 2 or min(shape) < 0:
            raise ValueError(f"[{who}] is a sparse {type(x).__name__} of shape {shape}: expected (n, width)")
        self.shape = (operator.index(shape[0]), operator.index(shape[1]))
        self.data = np.ascontiguousarray(numeric(x.data, who))
        indices, indptr = np.asarray(x.indices), np.asarray(x.indptr)
        for name, a in (("data", self.data), ("indices", indices), ("indptr", indptr)):
            if a.ndim != 1 or (a is not self.data and a.dtype.kind not in "iu"):
                kind = "numbers" if a is self.data else "integers"
                raise ValueError(f"[{who}] is sparse and its {name} has shape {a.shape}, dtype {a.dtype}: expected a vector of {kind}")
        wide = np.int32 if indices.dtype == indptr.dtype == np.int32 else np.int64
        self.indices, self.indptr = np.ascontiguousarray(indices, dtype=wide), np.ascontiguousarray(indptr, dtype=wide)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Csr:
        """Rows [start, stop), in the same memory."""
        start, stop, _ = rows.indices(len(self))
        part = copy.copy(self)
        part.indptr = self.indptr[start : max(start, stop) + 1]
        part.shape = (len(part.indptr) - 1, self.shape[1])
        return part

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers."""
        return self.data.dtype

    @property
    def nbytes(self) -> int:
        """Of the numbers."""
        return self.data.nbytes


def array_or_csr(x: Any, who: str) -> Array | Csr:
    """Return a sparse matrix of any of SciPy's formats by rows, anything else as `numeric` does. SciPy itself is not needed."""
    kind = getattr(x, "format", None)
    if isinstance(kind, str):
        if kind != "csr" and hasattr(x, "tocsr"):
            try:
                x, kind = x.tocsr(), "csr"
            except ValueError as error:
                raise ValueError(f"[{who}] is a sparse {type(x).__name__}: {error}") from None
        if kind == "csr" and hasattr(x, "indptr"):
            return Csr(x, who)
    return numeric(x, who)


def by_name(given: Any, names: Sequence[str], what: str) -> list[Any]:
    """Spread what was given for several inputs or outputs: a tuple or list in order, or a dict by name."""
    if isinstance(given, Mapping) and not hasattr(given, "tocsr"):  # SciPy's dok_array is a dict
        if set(given) != set(names):
            raise ValueError(f"[{what}] is a dict with the keys {sorted(map(str, given))}: expected {list(names)}")
        return [given[n] for n in names]
    if len(names) == 1:
        return [given]
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        came = f"{len(given)} values" if isinstance(given, (tuple, list)) else type(given).__name__
        raise ValueError(f"[{what}] got {came}: expected a tuple or dict for {list(names)}")
    return list(given)


def inputs(net: Network, X: Any) -> list[Array | Csr | CardArray]:
    """Return the arrays of `X`, each dense, sparse or on the network's card, in the order of its inputs."""
    names = net.input_names
    given = by_name(X, names, "X")
    single = len(names) == 1
    arrays = [_rows(net, x, "X" if single else n) for x, n in zip(given, names, strict=True)]
    for a, n in zip(arrays, names, strict=True):
        if a.ndim == 0:
            raise ValueError(f"[{n}] X is a single number: expected an array whose first axis counts the samples")
    return arrays


def _rows(net: Network, x: Any, who: str) -> Array | Csr | CardArray:
    if type(x) is not np.ndarray and _may_lie_elsewhere(x):
        from chainrule import interchange

        if interchange.lies_on_a_card(x):
            return interchange.rows(net, x, who)
    return array_or_csr(x, who)


def _may_lie_elsewhere(x: Any) -> bool:
    """Whether it can say where its memory is; NumPy's arrays can, but lie here."""
    return hasattr(x, "__dlpack_device__") or hasattr(x, "__cuda_array_interface__")


def on_host(net: Network, x: Any, who: str) -> Any:
    """Return `x`, or a copy in host memory of what lies on the network's card."""
    if type(x) is not np.ndarray and _may_lie_elsewhere(x):
        from chainrule import interchange

        if interchange.lies_on_a_card(x):
            return interchange.brought(net, x, who)
    return x


def resolve_losses(net: Network, loss: Any, loss_weights: Any = None) -> list[tuple[Any, float]]:
    """Return (loss object or callable, weight) by output; a loss that is not named follows from the output's activation."""
    names = net.output_names
    given = [loss] * len(names) if loss is None else by_name(loss, names, "loss")
    weights = [1.0] * len(names) if loss_weights is None else by_name(loss_weights, names, "loss_weights")
    result = []
    for one, weight, activation in zip(given, weights, net.output_activations, strict=True):
        try:
            number = float(weight)
        except (TypeError, ValueError):
            raise TypeError(f"[loss_weights] got {weight!r}: expected finite numbers >= 0") from None
        if not (number >= 0 and np.isfinite(number)):
            raise ValueError(f"[loss_weights] got {weight!r}: expected finite numbers >= 0")
        result.append((_losses.infer(activation) if one is None else _losses.get(one), number))
    return result


def loss_specs(resolved: list[tuple[Any, float]]) -> list[dict[str, Any]]:
    """Return what the core takes: [{"type": ..., "weight": ..., "parameters": [...]}]."""
    core = [(x.type_name, x.parameters) if isinstance(x, _losses.Loss) else ("custom", ()) for x, _ in resolved]
    return [{"type": name, "weight": w, "parameters": parameters} for (name, parameters), (_, w) in zip(core, resolved, strict=True)]


def penalty_specs(net: Network, penalty: Any) -> list[dict[str, Any]]:
    """Return penalties as the core takes them, one entry a layer that is named."""
    known = list(net._spec["layers"])
    entries: list[dict[str, Any]] = []
    for p in _penalties.get(penalty):
        l1, l2 = p.coefficients()
        proximal = bool(getattr(p, "proximal", False))
        for layer in [None] if p.layers is None else p.layers:
            if layer is not None and layer not in known:
                raise ValueError(f"[penalty] {p!r} names the layer {layer!r}: expected one of {known}")
            entries.append(
                {
                    "layer": layer,
                    "bias": p.bias,
                    "per_sample": p.per_sample,
                    "l2": l2,
                    "l1": 0.0 if proximal else l1,
                    "proximal": l1 if proximal else 0.0,
                }
            )
    return entries


def _rows_text(a: Array) -> str:
    return f"shape {a.shape}, dtype {a.dtype}"


def _cross_entropy_target(y: Any, shape: tuple[int | None, ...], who: str) -> dict[str, Any]:
    """Labels, or probabilities whose rows sum to 1 within 1e-4 (looked at in blocks: y may be a memory map)."""
    a = numeric(y, who)
    classes = shape[-1] if shape else None
    if classes is None:
        raise ValueError(f"[{who}] cross_entropy of an output without a last axis of known size: expected (n, ..., classes)")
    if a.ndim == 0:
        raise ValueError(f"[{who}] is a single number: expected an array whose first axis counts the samples")
    wide = a.ndim == len(shape) + 1 and a.shape[-1] == classes and classes > 1
    if a.dtype.kind in "bui" and not wide:
        if a.size and (int(a.min()) < 0 or int(a.max()) >= classes):
            flat = a.reshape(len(a), -1)
            row = int(np.argmax(((flat < 0) | (flat >= classes)).any(axis=1)))
            raise ValueError(f"[{who}] row {row} has the label {a[row]}: expected integers 0 to {classes - 1}, the output has {classes} columns")
        return {"y": a, "labels": True}
    single = classes == 1 and (a.ndim == len(shape) or a.shape[-1] == 1)
    if not wide and not single:
        raise ValueError(f"[{who}] has {_rows_text(a)}: expected integer labels (n,) or probabilities (n, {classes})")
    block = max(1, 2**20 // max(1, a[:1].size))
    for start in range(0, len(a), block):
        part = np.asarray(a[start : start + block], dtype=np.float64)
        if a.ndim == len(shape):
            part = part[..., None]
        wrong = ~(np.abs(part.sum(axis=-1) - 1) <= 1e-4) | ~(part >= 0).all(axis=-1)
        if wrong.any():
            at = int(np.argmax(wrong.reshape(len(part), -1).any(axis=1)))
            raise ValueError(f"[{who}] row {start + at} is {part[at]}: expected probabilities >= 0 whose sum is 1 within 1e-4")
    return {"y": a, "labels": False}


def targets(net: Network, y: Any, losses: list[tuple[Any, float]], sample_weight: Any = None, rows: int | None = None) -> list[dict[str, Any]]:
    """Return one dict an output, {"y", "labels", "s", "custom", "levels"}, as the core takes them."""
    names = net.output_names
    single = len(names) == 1
    if y is None:
        raise ValueError("[y] is None: expected the targets")
    given = by_name(y, names, "y")
    result: list[dict[str, Any]] = []
    for one, (loss, _), name, shape in zip(given, losses, names, net.output_shapes, strict=True):
        who = "y" if single else f"y of {name}"
        one = on_host(net, one, who)
        if not isinstance(loss, _losses.Loss):
            target: dict[str, Any] = {"y": np.asarray(one), "labels": False, "custom": loss}
            if rows is not None and (target["y"].ndim == 0 or len(target["y"]) != rows):
                raise ValueError(f"[{who}] has shape {target['y'].shape}: expected {rows} rows, as X has")
        elif isinstance(loss, _losses.CrossEntropy):
            target = _cross_entropy_target(one, shape, who)
        else:
            a = numeric(one, who)
            _losses.check_range(loss, a, f"[{who}]")
            target = {"y": a, "labels": False, "levels": loss.levels}
        result.append(target)
    if sample_weight is not None:
        several = isinstance(sample_weight, Mapping) or (isinstance(sample_weight, tuple) and not single)
        weights = by_name(sample_weight, names, "sample_weight") if several else [sample_weight] * len(names)
        for target, weight in zip(result, weights, strict=True):
            if weight is not None:
                target["s"] = _weights(on_host(net, weight, "sample_weight"))
    return result


def _weights(sample_weight: Any) -> Array:
    s = numeric(sample_weight, "sample_weight")
    if s.ndim and s.size:
        if not (s.min() >= 0 and s.max() < np.inf):  # NaN fails both; no array of n truths
            row = int(np.argmax(~(np.isfinite(s) & (s >= 0)).reshape(len(s), -1).all(axis=1)))
            raise ValueError(f"[sample_weight] row {row} is {s[row]}: expected finite numbers >= 0")
        if not s.any():
            raise ValueError("[sample_weight] is 0 everywhere: expected a positive sum")
    return s


def check_finite(net: Network, arrays: Sequence[Array | Csr | CardArray], target_list: Sequence[dict[str, Any]]) -> bool:
    """Look for NaN and inf (and for columns that are none) now where the arrays are small; return whether the core has to look while it gathers."""
    later = False
    names = ["X"] if len(arrays) == 1 else net.input_names
    ys = [("y", t["y"]) for t in target_list if "custom" not in t and not t["labels"]]
    for name, a in [*zip(names, arrays, strict=True), *ys]:
        if not isinstance(a, Csr) and (a.ndim == 0 or a.dtype.kind in "bui"):
            continue
        if isinstance(a, (np.ndarray, Csr)) and a.nbytes > CHECKED_UP_FRONT:  # a card looks at once
            later = True
        else:
            net._core.check_finite(a, name)
    return later
