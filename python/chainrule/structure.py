# SPDX-License-Identifier: MIT
"""What a network is: its spec, its blocks and the views of them, its names and shapes. What it does: network.py."""

from __future__ import annotations

import copy
import operator
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from chainrule import _core
from chainrule.formulas import describe
from chainrule.gradients import Weights
from chainrule.graph import WEIGHTED, is_chain
from chainrule.history import History

if TYPE_CHECKING:
    from chainrule.plots import NetworkDisplay
    from chainrule.summary import Summary

__all__ = ["Structure"]

Array = npt.NDArray[Any]


class Structure:
    """A spec with its memory: the part of :class:`Network` that computes nothing."""

    def _setup(self, spec: dict[str, Any], seed: int | None, dtype: npt.DTypeLike, device: str = "cpu") -> None:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
        if name not in ("float32", "float64"):
            raise ValueError(f"[network] dtype is {dtype!r}: expected 'float32' or 'float64'")
        card = -1
        if device != "cpu":
            from chainrule.device import number

            card = number(device)
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        try:
            seed = operator.index(seed)
        except TypeError:
            raise TypeError(f"[network] seed is {seed!r}: expected an integer or None") from None
        if not 0 <= seed < 2**64:
            raise ValueError(f"[network] seed is {seed}: expected 0 <= seed < 2^64")
        self._spec = copy.deepcopy(spec)
        self._core: Any = (_core.NetworkF32 if name == "float32" else _core.NetworkF64)(self._spec, seed, card)
        self.dtype: np.dtype[Any] = np.dtype(name)
        self._device = "cpu" if card < 0 else f"cuda:{card}"
        self.last_fit: History | None = None
        self._table: list[dict[str, Any]] = self._core.parameter_table
        self._direct = self._core.direct
        self._direct_finite = self._core.direct_finite
        flat = self.flat_parameters
        self._parameters = {t["name"]: flat[t["offset"] : t["offset"] + t["size"]].reshape(t["shape"]) for t in self._table}
        flat_state = self._core.state
        self._state = {t["name"]: flat_state[t["offset"] : t["offset"] + t["size"]].reshape(t["shape"]) for t in self._core.state_table}

    @property
    def spec(self) -> dict[str, Any]:
        """The network as data: a dict of strings, numbers and lists (a copy)."""
        return copy.deepcopy(self._spec)

    @property
    def seed(self) -> int:
        """The seed."""
        return int(self._core.seed)

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda:0", ... (:meth:`Network.to`)."""
        return self._device

    def _block(self, name: str) -> Any:
        if self._device == "cpu":
            return getattr(self._core, name)
        from chainrule.device import views

        return views(self, name)

    @property
    def parameters(self) -> MappingProxyType[str, Array]:
        """Writable views of every parameter by name: ``net.parameters["dense_1.W"]``."""
        return MappingProxyType(self._parameters)

    @property
    def state(self) -> MappingProxyType[str, Array]:
        """Views of what is learned but not optimised: ``net.state["standardize_1.mean"]``."""
        return MappingProxyType(self._state)

    @property
    def flat_parameters(self) -> Array:
        """All parameters as one writable vector: layers in order of first use, W row-major before b (NOTATION.md)."""
        flat: Array = self._block("parameters")
        return flat

    @property
    def flat_gradients(self) -> Array:
        """What ``backward`` has added up, in the order of ``flat_parameters``."""
        flat: Array = self._block("gradients")
        return flat

    @property
    def gradients(self) -> dict[str, Array]:
        """Views of ``flat_gradients`` by name."""
        flat = self.flat_gradients
        return {t["name"]: flat[t["offset"] : t["offset"] + t["size"]].reshape(t["shape"]) for t in self._table}

    def _nodes_of(self, which: str) -> list[int]:
        nodes: list[int] = self._spec[which]
        return nodes

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs, in order."""
        return [self._spec["nodes"][i]["layer"] for i in self._nodes_of("inputs")]

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, in order: those of their layers, the second use of a layer being "name/2"."""
        uses: dict[str, int] = {}
        names = []
        for node in self._spec["nodes"]:
            name = node["layer"]
            uses[name] = uses.get(name, 0) + 1
            names.append(name if uses[name] == 1 else f"{name}/{uses[name]}")
        return [names[i] for i in self._nodes_of("outputs")]

    @property
    def input_shapes(self) -> list[tuple[int | None, ...]]:
        """Shapes of one sample of each input."""
        return list(self._core.input_shapes)

    @property
    def output_shapes(self) -> list[tuple[int | None, ...]]:
        """Shapes of one sample of each output."""
        return list(self._core.output_shapes)

    @property
    def node_shapes(self) -> list[tuple[int | None, ...]]:
        """Shapes of one sample of each node of the spec."""
        return list(self._core.node_shapes)

    @property
    def output_activations(self) -> list[str]:
        """The activation that makes each output; "identity" where none does."""
        names = []
        for i in self._nodes_of("outputs"):
            layer = self._spec["layers"][self._spec["nodes"][i]["layer"]]
            names.append(layer.get("activation") or layer.get("function") or "identity")
        return names

    def _chain(self, what: str) -> list[str]:
        """Names of the weighted layers of a chain in order, ValueError for other graphs."""
        if not is_chain(self._spec):
            raise ValueError(f"net.{what} exists for chains; this network is a graph: use net.parameters[name]")
        return [n["layer"] for n in self._spec["nodes"] if self._spec["layers"][n["layer"]]["type"] in WEIGHTED]

    @property
    def W(self) -> Weights:
        """W[k] (n_{k+1}, n_k), k = 0 ... K-2: writable views, one for each weighted transition of a chain."""
        return Weights([self._parameters[f"{name}.W"] for name in self._chain("W")])

    @property
    def b(self) -> Weights:
        """b[k] (n_{k+1},): writable views; None where a layer has no bias."""
        return Weights([self._parameters.get(f"{name}.b") for name in self._chain("b")])

    def formula(self, format: str = "text") -> str:
        r"""Return the network as formulas with its sizes.

        Parameters
        ----------
        format : {"text", "latex"}
            "text" is ``print(net)``: the book's indices beside ours. "latex" is one ``aligned`` block in the book's notation, one formula
            a line, for MathJax, KaTeX or LaTeX: ``IPython.display.Math(net.formula("latex"))``.

        Raises
        ------
        ValueError
            The format is another.

        Examples
        --------
        >>> import chainrule as cr
        >>> print(cr.Network([cr.Input(4), cr.Dense(3, "relu", bias=False)]).formula("latex"))
        \begin{aligned}
        a^{(1)} &= x, &\quad a^{(1)} \in \mathbb{R}^{4} \\
        z^{(2)} &= W^{(1)} a^{(1)}, &\quad W^{(1)} \in \mathbb{R}^{3 \times 4} \\
        a^{(2)} &= \mathrm{relu}(z^{(2)}), &\quad a^{(2)} \in \mathbb{R}^{3}
        \end{aligned}
        """
        return describe(self, format=format)

    def summary(self) -> Summary:
        """Return the layers with their shapes, parameters and multiply-adds; ``print`` shows a table, ``.lines`` has the numbers.

        >>> import chainrule as cr
        >>> cr.Network([cr.Input(4), cr.Dense(8, "relu"), cr.Dense(3, "softmax")]).summary()
        name     layer           shape   parameters  multiply-adds
        -------  --------------  ------  ----------  -------------
        input_1  input           (n, 4)
        dense_1  dense, relu     (n, 8)          40             32
        dense_2  dense, softmax  (n, 3)          27             24
        -------  --------------  ------  ----------  -------------
        67 parameters, 268 bytes; 56 multiply-adds a sample
        """
        from chainrule.summary import Summary

        return Summary(self)

    def plot(self, ax: Any = None, *, kind: str = "auto") -> NetworkDisplay:
        """Draw the network; needs Matplotlib.

        Parameters
        ----------
        ax : Axes, optional
            By default those of a new figure.
        kind : {"auto", "units", "boxes"}
            "units": circles, and edges whose colour and width show the weights; for chains of dense layers on values (n, size). "boxes": any
            network as boxes with shapes and numbers of parameters. "auto": units for at most 7 layers of at most 64 units, else boxes.

        Returns
        -------
        NetworkDisplay
            Its ``ax_`` and ``figure_`` are Matplotlib's.
        """
        from chainrule.plots import NetworkDisplay

        return NetworkDisplay(self, kind=kind).plot(ax)

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """RuntimeError where another thread fits the network; inside, none can begin to."""
        self._core.read_lock(what)
        try:
            yield
        finally:
            self._core.read_unlock()

    def _write(self, write: Any) -> None:
        """Call `write` while nobody else uses the network."""
        self._core.write_lock()
        try:
            write()
        finally:
            self._core.write_unlock()

    def to(self, device: str) -> Self:
        """Move the network, its training state too, to another device ("cpu", "cuda", "cuda:1") and return it.

        Views taken before (``net.W[k]``) stay with the memory that it leaves. RuntimeError while it is being fitted, and where the device cannot be
        used; it then stays where it is.
        """
        from chainrule.device import number

        card = number(device)
        if self._device == ("cpu" if card < 0 else f"cuda:{card}"):
            return self
        left = self._core
        left.write_lock("to")
        try:
            state = self._kept()
            moved = type(self).__new__(type(self))
            moved.__setstate__({**state, "device": device})
            self.__dict__.update(moved.__dict__)
        finally:
            left.write_unlock()
        return self

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """Return a copy that computes in another dtype, on the same device; its training starts anew."""
        other = type(self).__new__(type(self))
        other._setup(self._spec, self.seed, dtype, self._device)
        with self._reading("astype"):
            other.flat_parameters[...] = self.flat_parameters
            other._core.state[...] = self._core.state
        return other

    def __getstate__(self) -> dict[str, Any]:
        with self._reading("copy"):
            return self._kept()

    def _kept(self) -> dict[str, Any]:
        return {
            "spec": self._spec,
            "seed": self.seed,
            "dtype": self.dtype.name,
            "device": self._device,
            "parameters": self.flat_parameters.copy(),
            "state": self._core.state.copy(),
            "training": self._core.training_state(),
            "last_fit": self.last_fit,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._setup(state["spec"], state["seed"], state["dtype"], state.get("device", "cpu"))
        self.flat_parameters[...] = state["parameters"]
        self._core.state[...] = state["state"]
        self._core.set_training_state(state["training"])
        self.last_fit = state["last_fit"]

    def _repr_html_(self) -> str:
        """What a notebook shows: the drawing as SVG, the formulas folded up below it."""
        from chainrule.plots.network import html

        return html(self)

    def __repr__(self) -> str:
        layers = ", ".join(f"{n}: {layer['type']}" for n, layer in self._spec["layers"].items())
        on = "" if self._device == "cpu" else f" on {self._device}"
        return f"<chainrule.Network {layers}; {self.flat_parameters.size:,} parameters, {self.dtype}{on}>"

    def __str__(self) -> str:
        return describe(self)
