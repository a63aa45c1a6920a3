# SPDX-License-Identifier: MIT
"""Which part of each activation's range a network's units use on some rows: `net.activation_ranges(X)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from chainrule import functional, intake
from chainrule._record import Record, record
from chainrule.graph import WEIGHTED

if TYPE_CHECKING:
    from chainrule.network import Network
    from chainrule.plots import ActivationRangeDisplay

__all__ = ["FLAT", "NEARLY_ALL", "ActivationRange", "ActivationRanges", "activation_ranges"]

Array = npt.NDArray[Any]

#: g is flat where |g'(z)| is at most this share of its steepest slope: for |a| >= 0.98 if g is tanh, a <= 0.0101 or a >= 0.9899 if it is sigmoid.
FLAT = 0.04
#: A unit is saturated if at least this share of its rows is in the flat part.
NEARLY_ALL = 0.95
#: Values computed at once: what the pass needs beside a copy of the parameters stays below 64 MB, whatever n (fewer: products of too few rows).
_VALUES = 2**20


@record
class ActivationRange(Record):
    """What one use of an activation a = g(z) saw, unit by unit.

    Attributes
    ----------
    name : str
        Of the layer that applies g; its second use is "name/2".
    function, parameter : str, float or None
        g.
    rows : int
        Values a unit took: rows, times positions where a sample has further axes.
    lower, upper : float
        The range of g; infinite where it has no end.
    rectifies : bool
        Whether g is flatter at -inf than at +inf, where it is a line (relu, leaky_relu, elu, softplus, gelu, ...): its units can be dead.
    saturates : bool
        Whether both ends of an elementwise g are finite (sigmoid, tanh): its units can be saturated.
    z_low, z_high, z_mean, z_deviation : array (units,)
        Smallest and largest z, mean and standard deviation.
    low, high : array (units,)
        Smallest and largest a.
    positive : array (units,)
        Share of the rows with z > 0.
    flat : array (units,)
        Share of the rows where |g'(z)| <= FLAT max |g'|; NaN where there is no such maximum (softmax, exp).
    """

    name: str
    function: str
    parameter: float | None
    rows: int
    lower: float
    upper: float
    rectifies: bool
    saturates: bool
    z_low: Array
    z_high: Array
    z_mean: Array
    z_deviation: Array
    low: Array
    high: Array
    positive: Array
    flat: Array

    @property
    def units(self) -> int:
        """How many units the layer has: the length of its last axis."""
        return len(self.low)

    @property
    def dead(self) -> npt.NDArray[np.bool_]:
        """Which units have z <= 0 on every row (units,): never for a g that does not rectify. A dead relu is 0 and learns nothing."""
        return (self.z_high <= 0) & self.rectifies

    @property
    def saturated(self) -> npt.NDArray[np.bool_]:
        """Which units are in the flat part of a g with two ends on at least NEARLY_ALL of the rows (units,): they learn next to nothing."""
        return (self.flat >= NEARLY_ALL) & self.saturates

    @property
    def used(self) -> Array | None:
        """(high - low) / (upper - lower), the share of the range that each unit uses (units,); None where the range is infinite."""
        length = self.upper - self.lower
        return (self.high - self.low) / length if np.isfinite(length) else None

    @property
    def title(self) -> str:
        """'tanh', 'elu(0.5)'."""
        return self.function if self.parameter is None else f"{self.function}({self.parameter:g})"

    def typical(self, units: Array) -> tuple[Array, Array]:
        """The smaller and the larger of g(mean - deviation) and g(mean + deviation) of some units; g is elementwise."""
        ends = np.stack([self.z_mean - self.z_deviation, self.z_mean + self.z_deviation])[:, units]
        a = getattr(functional, self.function)(ends, self.parameter)
        return a.min(axis=0), a.max(axis=0)

    def cells(self) -> list[str]:
        """The layer's row of the table."""
        counts = [_count(self.dead) if self.rectifies else "-", _count(self.saturated) if self.saturates else "-"]
        used = "-" if self.used is None else f"{np.median(self.used):.0%}"
        z = f"{self.z_mean.mean():.3g} ± {np.sqrt((self.z_deviation**2).mean() + self.z_mean.var()):.3g}"
        span = f"{self.low.min():.3g} ... {self.high.max():.3g}"
        return [self.name, self.title, f"{self.units:,}", z, f"{self.positive.mean():.0%}", span, used, *counts]

    def __repr__(self) -> str:
        return _table([self])


_HEAD = ["layer", "g", "units", "z", "z > 0", "a", "of the range", "dead", "saturated"]


def _count(mask: npt.NDArray[np.bool_]) -> str:
    n = int(mask.sum())
    return f"{n:,} ({n / len(mask):.0%})" if n else "0"


def _table(ranges: Sequence[ActivationRange]) -> str:
    rows = [_HEAD, *(r.cells() for r in ranges)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("   ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


class ActivationRanges(Sequence[ActivationRange]):
    """One :class:`ActivationRange` for each use of an activation, in the order of the network; by index or by name.

    ``print`` shows a table: z as mean and standard deviation over rows and units, a from its smallest to its largest value, the share of the
    range that the median unit uses.
    """

    def __init__(self, ranges: Sequence[ActivationRange]) -> None:
        self._ranges = tuple(ranges)

    @overload
    def __getitem__(self, index: int | str) -> ActivationRange: ...
    @overload
    def __getitem__(self, index: slice) -> ActivationRanges: ...
    def __getitem__(self, index: int | str | slice) -> ActivationRange | ActivationRanges:
        if isinstance(index, slice):
            return ActivationRanges(self._ranges[index])
        if not isinstance(index, str):
            return self._ranges[index]
        for r in self._ranges:
            if r.name == index:
                return r
        raise KeyError(f"{index!r}: the activations are those of {', '.join(r.name for r in self._ranges)}")

    def __iter__(self) -> Iterator[ActivationRange]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __repr__(self) -> str:
        return _table(self._ranges)

    def plot(self, ax: Any = None) -> ActivationRangeDisplay:
        """Draw each layer's units as the parts of the activation's range that they use; needs Matplotlib."""
        from chainrule.plots import ActivationRangeDisplay

        return ActivationRangeDisplay(self).plot(ax)


class _Shape(NamedTuple):
    """What follows from g alone, found by looking at it: no activation is named here."""

    lower: float
    upper: float
    rectifies: bool
    saturates: bool
    steepest: float


def _shape_of(function: str, parameter: float | None) -> _Shape:
    if function == "softmax":
        return _Shape(0.0, 1.0, False, False, np.nan)
    z = np.concatenate([[-np.inf], np.linspace(-20, 20, 4001), [np.inf]])
    a = getattr(functional, function)(z, parameter)
    slope = np.abs(getattr(functional, f"{function}_derivatives")(z, parameter)[0])
    bounded = bool(np.isfinite(a).all())
    return _Shape(
        float(a.min()),
        float(a.max()),
        bool(slope[0] < slope[-1] < np.inf),
        bounded and len(set(a.tolist())) > 1,
        float(slope.max()) if np.isfinite(slope).all() else np.nan,
    )


class _Tap:
    """The running statistics of one activation."""

    def __init__(self, name: str, function: str, parameter: float | None) -> None:
        self.name, self.function, self.parameter = name, function, parameter
        self.shape = _shape_of(function, parameter)
        self.rows = 0
        self.sums: dict[str, Array] = {}

    def add(self, z: Array) -> None:
        """Take z (rows, units) in."""
        n, m = self.rows, len(z)
        self.rows = n + m
        if self.function == "softmax":
            a, flat = functional.softmax(z), np.full(z.shape[1], np.nan)
        else:
            a = getattr(functional, self.function)(z, self.parameter)
            slope = getattr(functional, f"{self.function}_derivatives")(z, self.parameter)[0]
            steepest = self.shape.steepest
            flat = (np.abs(slope) <= FLAT * steepest).sum(axis=0, dtype=np.float64) if np.isfinite(steepest) else np.full(z.shape[1], np.nan)
        mean = z.mean(axis=0, dtype=np.float64)
        new = {
            "z_low": z.min(axis=0), "z_high": z.max(axis=0), "low": a.min(axis=0), "high": a.max(axis=0),
            "mean": mean, "squares": ((z - mean) ** 2).sum(axis=0, dtype=np.float64),
            "positive": (z > 0).sum(axis=0, dtype=np.int64), "flat": flat,
        }  # fmt: skip
        if not n:
            self.sums = new
            return
        old = self.sums
        step = mean - old["mean"]
        for name in ("z_low", "low"):
            new[name] = np.minimum(old[name], new[name])
        for name in ("z_high", "high"):
            new[name] = np.maximum(old[name], new[name])
        for name in ("squares", "positive", "flat"):
            new[name] = old[name] + new[name]
        # Chan, Golub, LeVeque, The American Statistician 37 (1983): a difference of sums of squares would cancel
        new["mean"] = old["mean"] + step * (m / self.rows)
        new["squares"] = new["squares"] + step**2 * (n * m / self.rows)
        self.sums = new

    def result(self) -> ActivationRange:
        s, shape = self.sums, self.shape
        return ActivationRange(
            self.name, self.function, self.parameter, self.rows, shape.lower, shape.upper, shape.rectifies, shape.saturates,
            s["z_low"], s["z_high"], s["mean"], np.sqrt(s["squares"] / self.rows), s["low"], s["high"],
            s["positive"] / self.rows, s["flat"] / self.rows,
        )  # fmt: skip


def _tapped(net: Network) -> tuple[Network, list[_Tap], list[int]]:
    """A twin whose outputs are the z of every activation, the taps, and which output feeds each tap.

    Each dense layer's g becomes a node of its own, so that there is a z to read. A dense layer without g is tapped (as identity) unless an
    activation follows it.
    """
    spec = net.spec
    layers, nodes = spec["layers"], spec["nodes"]
    applied = {j for node in nodes if layers[node["layer"]]["type"] == "activation" for j in node["inputs"]}
    parted = [name for name, layer in layers.items() if layer["type"] in WEIGHTED and (layer.get("activation") or "identity") != "identity"]
    functions = {name: layers[name]["activation"] for name in parted}
    after = {name: f"g {i} of {max(layers, key=len)}" for i, name in enumerate(parted)}  # longer than any name there is
    for name in parted:
        layers[name] |= {"activation": "identity", "initializer": "zeros"}
        layers[after[name]] = {"type": "activation", "function": functions[name]}
    taps: list[_Tap] = []
    outputs: list[int] = []
    uses: dict[str, int] = {}
    new_nodes: list[dict[str, Any]] = []
    value: list[int] = []  # the new node that has the old one's value
    for i, node in enumerate(nodes):
        name, layer = node["layer"], layers[node["layer"]]
        uses[name] = uses.get(name, 0) + 1
        title = name if uses[name] == 1 else f"{name}/{uses[name]}"
        inputs = [value[j] for j in node["inputs"]]
        new_nodes.append({"layer": name, "inputs": inputs})
        at = len(new_nodes) - 1
        if name in parted:
            taps.append(_Tap(title, functions[name], None))
            outputs.append(at)
            new_nodes.append({"layer": after[name], "inputs": [at]})
        elif layer["type"] == "activation":
            taps.append(_Tap(title, layer["function"], layer.get("parameter")))
            outputs.append(inputs[0])
        elif layer["type"] in WEIGHTED and i not in applied:
            taps.append(_Tap(title, "identity", None))
            outputs.append(at)
        value.append(len(new_nodes) - 1)
    if not taps:
        raise ValueError("[activation_ranges] the network has no activation and no dense layer: there is no range to look at")
    listed = list(dict.fromkeys(outputs))
    twin = type(net).from_spec({**spec, "nodes": new_nodes, "outputs": listed, "inputs": [value[i] for i in spec["inputs"]]}, dtype=net.dtype)
    with net._reading("activation_ranges"):
        twin.flat_parameters[...] = net.flat_parameters
        twin._core.state[...] = net._core.state
    return twin, taps, [listed.index(o) for o in outputs]


def activation_ranges(net: Network, X: Any) -> ActivationRanges:
    """See ``Network.activation_ranges``."""
    twin, taps, sources = _tapped(net)
    arrays = intake.inputs(net, X)
    rows = len(arrays[0])
    net._core.check_arrays(arrays, [])
    for a, name in zip(arrays, ["X"] if len(arrays) == 1 else net.input_names, strict=True):
        net._core.check_finite(a, name)
    if rows == 0:
        raise ValueError("[activation_ranges] X has no rows")

    def pass_rows(start: int, stop: int) -> int:
        """Take some rows in; return how many values a row has."""
        chunk = tuple(a[start:stop] for a in arrays)
        found = twin.predict(chunk[0] if len(chunk) == 1 else chunk)
        values = found if isinstance(found, tuple) else (found,)
        for tap, source in zip(taps, sources, strict=True):
            z = values[source]
            if not np.isfinite(z).all():
                row = start + int(np.argmin(np.isfinite(z).reshape(len(z), -1).all(axis=1)))
                raise ValueError(f"[{tap.name}] z is not finite in row {row}: expected weights and inputs whose products {net.dtype} can hold")
            tap.add(z.reshape(-1, z.shape[-1] if z.ndim > 1 else 1))
        return int(sum(z.size for z in values)) // (stop - start)

    size = max(1, _VALUES // max(1, pass_rows(0, 1)))
    for start in range(1, rows, size):
        pass_rows(start, min(rows, start + size))
    return ActivationRanges([tap.result() for tap in taps])
