# SPDX-License-Identifier: MIT
"""MNIST by a deep dense network, 784-1024-1024-2048-10, with dropout and both L1 and L2.

    python examples/mnist_deep.py FOLDER [--plot mnist_deep.png]        (FOLDER as in mnist.py)

Images are turned by up to 8 degrees and shifted by up to 2 pixels while a batch is gathered, as P. Y. Simard, D. Steinkraus and
J. C. Platt did, "Best practices for convolutional neural networks applied to visual document analysis", ICDAR (2003). All 60,000
rows are trained on; the test set is watched after every epoch for the curve and chooses nothing. The size of the network and the
error to compare with, 0.93 %, are a textbook's.
Dense ReLU networks of three layers with dropout reach 1.25 %, with a bound on the norm of each row of W 1.06 %: Srivastava,
Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout", JMLR 15 (2014), table 2.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import chainrule as cr
from chainrule import schedules
from mnist import arguments_with_folder, load

TEXTBOOK = 0.93  # percent


def network(seed: int) -> cr.Network:
    """784-1024-1024-2048-10, dropout 0.1 before the first layer and 0.2 after each hidden one."""
    layers: list[cr.Layer] = [cr.Input((28, 28, 1)), cr.Flatten(), cr.Dropout(0.1)]
    for units in (1024, 1024, 2048):
        layers += [cr.Dense(units, "relu"), cr.Dropout(0.2)]
    return cr.Network([*layers, cr.Dense(10, "softmax")], seed=seed)


def draw(history: cr.History, path: Path) -> None:
    """Test error and both losses by epoch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7, 6), sharex=True, layout="constrained")
    epochs = range(1, len(history["loss"]) + 1)
    error = [100 * (1 - accuracy) for accuracy in history["validation_accuracy"]]
    top.plot(epochs, error, color="C0", label=f"test error, at the end {error[-1]:.2f} %")
    top.axhline(TEXTBOOK, color="0.4", linestyle="--", label=f"the textbook's {TEXTBOOK} %")
    top.set(ylabel="error in %", yscale="log", title="784-1024-1024-2048-10 with dropout, L1 and L2 on MNIST")
    ticks = [t for t in (0.8, 1, 1.5, 2, 3, 4, 6, 8) if t <= 1.2 * max(error)]
    top.set_yticks(ticks, [f"{t:g}" for t in ticks])
    top.minorticks_off()
    bottom.plot(epochs, history["loss"], color="C1", label="objective while training (augmented, dropout, penalties)")
    bottom.plot(epochs, history["validation_loss"], color="C0", label="cross-entropy on the test set")
    bottom.set(xlabel="epoch", ylabel="loss in nats", yscale="log")
    for ax in (top, bottom):
        ax.legend(frameon=False)
        ax.grid(alpha=0.3, which="both")
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains the network, prints its test error and draws the curve."""
    parser = argparse.ArgumentParser(description="MNIST by a deep dense network with dropout.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=0.0015, help="alpha at its highest (default 0.0015)")
    parser.add_argument("--l1", type=float, default=1e-7)
    parser.add_argument("--l2", type=float, default=1e-5)
    parser.add_argument("--plot", type=Path, help="write the curve to this picture (needs matplotlib)")
    given, folder = arguments_with_folder(parser, arguments)
    X, y, X_test, y_test = load(folder)
    X, X_test = X.reshape(-1, 28, 28, 1), X_test.reshape(-1, 28, 28, 1)

    net = network(given.seed)
    total = given.epochs * -(-len(X) // given.batch)
    alpha = schedules.WarmUp(schedules.Cosine(given.rate, total=total, alpha_end=0), steps=total // 10)
    start = time.perf_counter()
    history = net.fit(
        X,
        y,
        optimizer=cr.Adam(alpha),
        penalty=(cr.L1(given.l1), cr.L2(given.l2)),
        epochs=given.epochs,
        batch_size=given.batch,
        augment=cr.Augment(shift=2, rotate=8),
        validation=(X_test, y_test),
        progress=True,
    )
    seconds = time.perf_counter() - start
    error = 100 * (1 - history["validation_accuracy"][-1])
    print(f"test error {error:.2f} % (textbook {TEXTBOOK} %) after {given.epochs} epochs in {seconds / 60:.1f} minutes")
    if given.plot:
        draw(history, given.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
