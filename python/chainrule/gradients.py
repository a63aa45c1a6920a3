# SPDX-License-Identifier: MIT
"""What the formulas return: transitions, weights by index, gradients, and the check of a gradient by finite differences."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from chainrule import intake
from chainrule._record import Record, record

if TYPE_CHECKING:
    from chainrule.network import Network

__all__ = ["Gradient", "GradientCheck", "Transition", "Weights", "check_gradient"]

Array = npt.NDArray[Any]


@record
class Transition(Record):
    """z[k] (n, n_k), None for k = 0, and a[k] = g[k](z[k]) (n, n_k)."""

    k: int
    z: Array | None
    a: Array


class Weights(Sequence[Any]):
    """Arrays by index k. Reading gives the array itself; assigning to an index writes into it."""

    def __init__(self, arrays: Sequence[Array | None]) -> None:
        self._arrays = list(arrays)

    @overload
    def __getitem__(self, k: int) -> Any: ...
    @overload
    def __getitem__(self, k: slice) -> list[Any]: ...
    def __getitem__(self, k: int | slice) -> Any:
        return self._arrays[k]

    def __setitem__(self, k: int, value: Any) -> None:
        if isinstance(k, slice):
            raise TypeError(f"[{k}] is a slice: expected one index k")
        target = self._arrays[k]
        if target is None:
            raise ValueError(f"layer {k} has no bias: it cannot be set")
        value = np.asarray(value)
        if value.shape != target.shape and value.ndim != 0:
            raise ValueError(f"[{k}] got shape {value.shape}: expected {target.shape}")
        target[...] = value.astype(target.dtype, casting="same_kind", copy=False)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return f"[{', '.join('None' if a is None else f'{a.shape}' for a in self._arrays)}]"


class Gradient:
    """The objective and its derivatives at one point.

    Attributes
    ----------
    loss : float
    flat : array (P,)
        In the order of ``net.flat_parameters``.
    parameters : dict of arrays
        By name; with ``per_sample=True`` each has the samples as its first axis, and so has ``flat``.
    deltas : dict of arrays
        dL/dz of every use of a dense layer by name.
    W, b, delta : sequences
        For chains: dL/dW[k], dL/db[k], and delta[k] = dL/dz[k] (delta[0] is None).
    """

    def __init__(self, net: Network, result: dict[str, Any], rows: int, per_sample: bool) -> None:
        self.loss = float(result["loss"])
        # the core's row i carries the 1/n of the mean
        self.flat: Array = result["per_sample"] * rows if per_sample else result["gradient"]
        lead = (rows,) if per_sample else ()
        self.parameters = {t["name"]: self.flat[..., t["offset"] : t["offset"] + t["size"]].reshape(lead + tuple(t["shape"])) for t in net._table}
        self.deltas: dict[str, Array] = {}
        self._deltas: list[Array] = []
        for name, delta in reversed(list(result["delta"])):
            self.deltas[name] = delta
            self._deltas.append(delta)
        self._deltas = self._deltas[::-1]
        self._net = net

    @property
    def W(self) -> Weights:
        """dL/dW[k]."""
        return Weights([self.parameters[f"{name}.W"] for name in self._net._chain("parameters")])

    @property
    def b(self) -> Weights:
        """dL/db[k]; None where a layer has no bias."""
        return Weights([self.parameters.get(f"{name}.b") for name in self._net._chain("parameters")])

    @property
    def delta(self) -> list[Array | None]:
        """delta[k] = dL/dz[k], k = 1 ... K-1."""
        self._net._chain("parameters")
        return [None, *self._deltas]

    def __repr__(self) -> str:
        return f"<chainrule.Gradient loss {self.loss:.6g}, {self.flat.shape[-1]:,} parameters>"


class GradientCheck(float):
    """The largest relative error |dw - d| / max(|dw|, |d|, 1e-3 max |dW|, 1e-6 |L|), and where it is.

    Attributes
    ----------
    parameter, index : str, tuple
        The entry with the largest error.
    analytic, numeric : float
        dw by backpropagation and d by central differences there: d = (8 (L(w + h) - L(w - h)) - (L(w + 2h) - L(w - 2h))) / 12h with
        h = 1e-3 max(1, |w|), or, where a kink (relu at 0, the absolute error at y, two equal maxima of a pool) lies in between,
        (L(w + h) - L(w - h)) / 2h with h = 6e-6 max(1, |w|).
    checked, skipped : int
        Entries compared, and those left out because a kink lies even within the smaller h.
    """

    parameter: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    checked: int
    skipped: int

    def __repr__(self) -> str:
        return (
            f"GradientCheck({float(self):.3g}; worst at {self.parameter}{list(self.index)}: {self.analytic:.9g} by backpropagation, "
            f"{self.numeric:.9g} by differences; {self.checked} entries checked, {self.skipped} skipped at kinks)"
        )


def _difference(evaluate: Callable[[], tuple[float, int]], values: Array, index: tuple[int, ...]) -> float | None:
    """Return dL/dw by central differences; None where a kink is too near. `evaluate` returns L and on which sides of the kinks every z lies."""
    w = float(values[index])

    def at(x: float) -> tuple[float, int]:
        values[index] = x
        return evaluate()

    try:
        # Five points: truncation h^4 and rounding 2e-16 / h are both about 1e-12 at h = 1e-3.
        h = 1e-3 * max(1.0, abs(w))
        points = [at(w + m * h) for m in (-2, -1, 1, 2)]
        if len({side for _, side in points}) == 1:
            (m2, _), (m1, _), (p1, _), (p2, _) = points
            return (8 * (p1 - m1) - (p2 - m2)) / (12 * h)
        h = 6e-6 * max(1.0, abs(w))  # the cube root of float64's rounding
        (below, side_below), (above, side_above) = at(w - h), at(w + h)
        return (above - below) / (2 * h) if side_below == side_above else None
    finally:
        values[index] = w


def check_gradient(net: Network, x: Any, y: Any, loss: Any, loss_weights: Any, entries: int) -> GradientCheck:
    """See ``Network.check_gradient``: a float64 copy, dropout masks fixed, at most `entries` entries of each parameter."""
    if operator.index(entries) < 1:
        raise ValueError(f"[check_gradient] entries is {entries}: expected at least 1")
    twin = net.astype("float64")
    twin._core.set_training_state({})
    arrays = [a if isinstance(a, intake.Csr) else np.asarray(a, dtype=np.float64) for a in intake.inputs(twin, x)]
    losses = intake.resolve_losses(twin, loss, loss_weights)
    targets = intake.targets(twin, y, losses, None, len(arrays[0]))
    specs = intake.loss_specs(losses)
    result = twin._core.gradient(arrays, targets, specs, [], True, True, False)
    g = Gradient(twin, result, len(arrays[0]), False)
    random = np.random.default_rng(0)

    def evaluate() -> tuple[float, int]:
        loss_and_side: tuple[float, int] = twin._core.loss_at(arrays, targets, specs)
        return loss_and_side

    worst = GradientCheck(0.0)
    worst.parameter, worst.index, worst.analytic, worst.numeric = "", (), 0.0, 0.0
    checked = skipped = 0
    least = 1e-6 * abs(float(result["loss"]))  # a difference has 1e-12 |L| of rounding, and of a bias before batch norm nothing else
    for t in twin._table:
        if not t["trainable"]:
            continue
        values = twin.parameters[t["name"]]
        derivative = g.parameters[t["name"]]
        chosen = np.arange(values.size) if values.size <= entries else random.choice(values.size, entries, replace=False)
        floor = max(1e-3 * float(np.abs(derivative).max(initial=0.0)), least)
        for flat_index in chosen:
            index = tuple(int(i) for i in np.unravel_index(flat_index, values.shape))
            numeric = _difference(evaluate, values, index)
            if numeric is None:
                skipped += 1
                continue
            checked += 1
            analytic = float(derivative[index])
            scale = max(abs(analytic), abs(numeric), floor)
            error = abs(analytic - numeric) / scale if scale > 0 else 0.0
            if not error <= float(worst):  # so that NaN is the worst of all
                worst = GradientCheck(error)
                worst.parameter, worst.index, worst.analytic, worst.numeric = t["name"], index, analytic, numeric
    worst.checked, worst.skipped = checked, skipped
    return worst
