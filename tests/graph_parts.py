# SPDX-License-Identifier: MIT
"""What the tests of graphs share: a network with its losses, data for it, the oracle, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import chainrule as cr
import numpy as np
from chainrule import reference
from compare import assert_close

Array = np.ndarray[Any, np.dtype[Any]]


#: Parameters up to which 32 rows and more go by chunks (csrc/network/plan.cpp)
CHUNKS_UP_TO = 262144


@dataclass
class Graph:
    """Inputs, outputs, and a loss and its weight for each output."""

    inputs: list[Any]
    outputs: list[Any]
    losses: list[Any]
    weights: list[float] = field(default_factory=list)
    # of the outputs of the network that was made last, that of `wide` included
    all_losses: list[Any] = field(default_factory=list, init=False)
    all_weights: list[float] = field(default_factory=list, init=False)

    def network(self, dtype: str = "float64", seed: int = 7, wide: bool = False) -> cr.Network:
        """The network; `wide` adds an output behind 271,000 weights, so that the plan goes by layers instead of by chunks."""
        outputs, self.all_losses = list(self.outputs), list(self.losses)
        self.all_weights = list(self.weights) or [1.0 + 0.5 * i for i in range(len(self.outputs))]
        if wide:
            x = min((i for i in self.inputs if i.shape != ()), key=lambda i: len(i.shape))
            outputs.append(cr.Dense(3, name="wide_3")(cr.Dense(450, "tanh", name="wide_2")(cr.Dense(600, name="wide_1")(x))))
            self.all_losses.append("squared_error")
            self.all_weights.append(0.7)
        net = cr.Network(inputs=self.inputs, outputs=outputs, dtype=dtype, seed=seed)
        random = np.random.default_rng(seed)
        for name, a in net.parameters.items():
            if name.endswith((".b", ".gain", ".bias")):
                a[...] = random.normal(size=a.shape) / 2
        for name, a in net.state.items():
            if name.endswith(".variance"):  # of a batch norm
                a[...] = random.uniform(0.5, 2, a.shape)
                net.state[name.replace("variance", "mean")][...] = random.normal(size=a.shape)
        return net


def bound(shape: Sequence[int | None], time: int) -> tuple[int, ...]:
    """The shape with its open axis bound."""
    return tuple(time if d is None else d for d in shape)


def target(loss: Any, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Labels or probabilities, shares, counts or numbers, as the loss takes them."""
    if loss == "poisson":
        return rng.poisson(2.0, size=shape).astype(float)
    if isinstance(loss, cr.Quantile):
        shape = (*shape[:-1], shape[-1] // loss.levels)
    if loss == "cross_entropy":
        return rng.integers(0, shape[-1], shape[:-1]) if shape[0] % 2 else rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])
    if loss == "binary_cross_entropy":
        return rng.uniform(size=shape)
    return rng.normal(size=shape)


def data(net: cr.Network, losses: Sequence[Any], rng: np.random.Generator, n: int, time: int = 4) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Inputs and targets that the network's dtype holds exactly."""
    x = tuple(rng.normal(size=(n, *bound(s, time))).astype(net.dtype) for s in net.input_shapes)
    y = tuple(target(loss, (n, *bound(s, time)), rng) for loss, s in zip(losses, net.output_shapes, strict=True))
    return x, tuple(a.astype(net.dtype) if a.dtype.kind == "f" else a for a in y)


def one(values: Sequence[Any]) -> Any:
    """A single value for a single input or output, a tuple else."""
    return values[0] if len(values) == 1 else tuple(values)


def oracle(net: cr.Network, x: Any, y: Any, losses: Sequence[Any], **options: Any) -> tuple[float, dict[str, Array]]:
    """The reference's objective and gradient; frozen layers have none."""
    specs = tuple(loss.spec() if isinstance(loss, cr.losses.Loss) else loss for loss in losses)
    value, gradient = reference.network_loss_and_gradient(
        net.spec, {**net.parameters, **net.state}, tuple(x), tuple(y), specs, seed=net.seed, **options
    )
    for name in gradient:
        if not net.spec["layers"][name.split(".")[0]].get("trainable", True):
            gradient[name] = np.zeros_like(gradient[name])
    return value, {name: gradient.get(name, np.zeros(a.shape)) for name, a in net.parameters.items()}


def tolerance(net: cr.Network) -> float:
    """Of one comparison, relative to the largest element."""
    return 3e-4 if net.dtype == np.float32 else 1e-10


def by_name(net: cr.Network, flat: Array) -> dict[str, Array]:
    """A flat vector cut into the parameters (NOTATION.md has the order)."""
    ends = np.cumsum([a.size for a in net.parameters.values()])[:-1]
    return {n: part.reshape(a.shape) for (n, a), part in zip(net.parameters.items(), np.split(flat, ends), strict=bool(net.parameters))}


def assert_same(actual: Any, expected: Array, tol: float, dtype: Any, what: str) -> None:
    """Normwise: |actual - expected| <= tol max |expected|."""
    size = float(np.abs(expected).max(initial=0.0))
    assert_close(actual, expected, 0.0, atol=tol * max(size, 1e-3), dtype=dtype, what=what)


def assert_gradients(net: cr.Network, found: Any, expected: dict[str, Array], what: str) -> None:
    """All parameters by name, within the largest of them all."""
    size = max((float(np.abs(g).max(initial=0.0)) for g in expected.values()), default=0.0)
    for name, g in expected.items():
        assert_close(found[name], g, 0.0, atol=tolerance(net) * max(size, 1e-3), dtype=net.dtype, what=f"{what} {name}")
