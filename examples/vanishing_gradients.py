# SPDX-License-Identifier: MIT
"""What depth does to the gradient: chains of 50 layers on the digits, and the same depth with residual blocks.

    python examples/vanishing_gradients.py [--plot vanishing_gradients.png]

delta^(k) = dL/dz^(k) = (W^(k)T delta^(k+1)) * g'(z^(k)): through sigmoid, whose g' is at most 1/4, it shrinks with every layer; tanh and
relu under the initialisers made for them (Glorot, Bengio 2010; He et al. 2015) keep its size at the start, yet 50 layers remain hard to
train; where every block is x + F(x) (He et al., "Identity mappings in deep residual networks", 2016) the 1 in its derivative lets
delta through. All are trained alike.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import chainrule as cr
import numpy as np
import numpy.typing as npt
from chainrule import blocks

Array = npt.NDArray[np.float64]
WIDTH = 32


def chain(g: str, depth: int, seed: int) -> cr.Network:
    """Dense layers of WIDTH units with g, one after the other."""
    return cr.Network([cr.Input(64), cr.Standardize(), *(cr.Dense(WIDTH, g) for _ in range(depth)), cr.Dense(10, "softmax")], seed=seed)


def residual(depth: int, seed: int) -> cr.Network:
    """As many layers: x + F(x), F = batch norm, relu, dense."""
    x = cr.Input(64)
    h = cr.Dense(WIDTH)(cr.Standardize()(x))
    for _ in range(depth - 1):
        h = blocks.residual(h, cr.BatchNorm(), cr.Activation("relu"), cr.Dense(WIDTH))
    return cr.Network(inputs=x, outputs=cr.Dense(10, "softmax")(cr.Activation("relu")(cr.BatchNorm()(h))), seed=seed)


def norms(net: cr.Network, X: Array, y: Array) -> Array:
    """The norm of delta^(k) of each layer, first to last; in float32 some squares would be 0."""
    deltas = net.astype("float64").gradient(X, y, training=True).deltas
    return np.array([np.linalg.norm(delta) for delta in deltas.values()][::-1])


def draw(found: dict[str, Array], accuracy: dict[str, list[float]], path: Path) -> None:
    """The norms by layer on the left, the accuracy by epoch on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for i, (name, values) in enumerate(found.items()):
        left.semilogy(range(2, len(values) + 2), values, color=f"C{i}", label=name)
        right.plot(
            range(1, len(accuracy[name]) + 1), [100 * a for a in accuracy[name]], color=f"C{i}", label=f"{name}: {100 * accuracy[name][-1]:.1f} %"
        )
    left.set(xlabel="layer k", ylabel=r"norm of $\delta^{(k)}$ before training", title=f"{len(values) - 1} layers of {WIDTH} units and an output")
    right.set(xlabel="epoch", ylabel="accuracy on the test rows in %", ylim=(0, 102), title="the digits, trained alike")
    left.legend(frameon=False)
    right.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.14))
    for ax in (left, right):
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a network, and draw the picture."""
    parser = argparse.ArgumentParser(description="The norm of delta by layer, and the accuracy, of networks of 50 layers.")
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rate", type=float, default=1e-3, help="Adam's alpha (default 0.001)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, help="write the picture here (needs matplotlib)")
    given = parser.parse_args(arguments)
    X, y, X_test, y_test = cr.datasets.split(*cr.datasets.load_digits(), seed=given.seed)
    networks = {g: chain(g, given.depth, given.seed) for g in ("sigmoid", "tanh", "relu")} | {"residual": residual(given.depth, given.seed)}
    found, accuracy = {}, {}
    print(f"{'':10} delta of the first layer / of the last   test accuracy   seconds")
    for name, net in networks.items():
        net.adapt(X)
        found[name] = norms(net, X, y)
        start = time.perf_counter()
        history = net.fit(X, y, optimizer=cr.Adam(given.rate), epochs=given.epochs, batch_size=32, validation=(X_test, y_test))
        accuracy[name] = list(history["validation_accuracy"])
        seconds = time.perf_counter() - start
        print(f"{name:10} {found[name][0] / found[name][-1]:40.1e} {100 * accuracy[name][-1]:13.1f} % {seconds:9.1f}")
    if given.plot:
        draw(found, accuracy, given.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
