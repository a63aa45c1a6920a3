# SPDX-License-Identifier: MIT
"""The network behind an estimator: how it is built, how it starts, and its weights as scikit-learn shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import chainrule as cr

__all__ = ["Head", "Views", "build", "dense", "start", "weighted"]

Array = npt.NDArray[Any]


class Head(NamedTuple):
    """An output of the network: how many units, and which activation makes it."""

    units: int
    activation: str


def build(
    features: int,
    hidden: Sequence[int],
    activations: Sequence[str],
    dropout: Sequence[float],
    heads: Sequence[Head],
    seed: int,
    dtype: Any,
    device: str,
) -> cr.Network:
    """Return the network features -> hidden_1 -> ... -> one output layer a head. Dropout, where there is some, follows the activation."""
    x = cr.Input(features)
    outputs = dense(x, hidden, activations, dropout, heads)
    return cr.Network(inputs=x, outputs=outputs, seed=seed, dtype=dtype, device=device)


def dense(node: Any, hidden: Sequence[int], activations: Sequence[str], dropout: Sequence[float], heads: Sequence[Head]) -> list[Any]:
    """Return the outputs behind the hidden layers on a node."""
    for k, (units, activation, rate) in enumerate(zip(hidden, activations, dropout, strict=True), 1):
        node = cr.Dense(units, activation, name=f"hidden_{k}")(node)
        if rate:
            node = cr.Dropout(rate, name=f"dropout_{k}")(node)
    names = ["output"] if len(heads) == 1 else [f"output_{j}" for j in range(1, len(heads) + 1)]
    return [cr.Dense(head.units, head.activation, name=name)(node) for head, name in zip(heads, names, strict=True)]


def weighted(network: cr.Network) -> list[str]:
    """Names of the layers that have weights, from the input to the output."""
    return [name.removesuffix(".W") for name in network.parameters if name.endswith(".W")]


def start(network: cr.Network, activations: Sequence[str], rng: np.random.RandomState) -> None:
    """Draw W, then b, layer by layer, uniform in +-sqrt(6 / (n_in + n_out)), with 2 for 6 at sigmoid layers: scikit-learn's start, number by number.

    The output layer takes the bounds of the last hidden one, as scikit-learn's does (Glorot and Bengio, AISTATS 2010).
    """
    names = weighted(network)
    last = activations[-1] if activations else "identity"
    for name, activation in zip(names, [*activations, *[last] * (len(names) - len(activations))], strict=False):
        W, b = network.parameters[f"{name}.W"], network.parameters[f"{name}.b"]
        n_out, n_in = W.shape
        bound = np.sqrt((2.0 if activation == "sigmoid" else 6.0) / (n_in + n_out))
        W[...] = rng.uniform(-bound, bound, (n_in, n_out)).T
        b[...] = rng.uniform(-bound, bound, n_out)


class Views(list[Any]):
    """Views of a network's parameters. Assigning to an index writes into the network, so that nothing is lost."""

    def __setitem__(self, k: Any, value: Any) -> None:
        if isinstance(k, slice):
            raise TypeError(f"[{k}] is a slice: expected one index")
        value = np.asarray(value)
        if value.shape != self[k].shape:
            raise ValueError(f"[{k}] got shape {value.shape}: expected {self[k].shape}")
        self[k][...] = value

    def __reduce__(self) -> tuple[Any, ...]:  # a copy is a plain list: it belongs to no network
        return list, ([a.copy() for a in self],)

    def write(self, values: Iterable[Any]) -> None:
        """Write all of them."""
        given = list(values)
        if len(given) != len(self):
            raise ValueError(f"got {len(given)} arrays: expected {len(self)}, one a layer with weights")
        for k, value in enumerate(given):
            self[k] = value
