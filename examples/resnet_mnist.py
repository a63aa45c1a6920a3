# SPDX-License-Identifier: MIT
"""MNIST by a small ResNet: a convolution, and four residual blocks of two convolutions each in the order norm, relu, convolution.

    python examples/resnet_mnist.py FOLDER [--plot resnet_mnist.png]        (FOLDER as in mnist.py)

He, Zhang, Ren and Sun, "Identity mappings in deep residual networks", ECCV 2016. Ten epochs, images shifted by up to two pixels
and turned by up to 10 degrees while a batch is gathered; the test set is watched for the curve and chooses nothing. 99.70 % of
the test images are right at the end, after 13.5 minutes on two cores that other programs shared; its 94,378 parameters make
7.7 million multiply-adds an image. `python -m bench.peers --rows train-resnet-b128` times its steps beside PyTorch's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import chainrule as cr
import numpy as np
import numpy.typing as npt
from chainrule import blocks, schedules
from mnist import arguments_with_folder, load


def resnet(seed: int) -> cr.Network:
    """28 x 28 x 16, 14 x 14 x 24 twice, 7 x 7 x 48 twice, a mean over the pixels, 10."""

    def branch(filters: int, stride: int) -> list[cr.Layer]:
        first = cr.Conv2D(filters, 3, stride=stride, bias=False)
        return [cr.BatchNorm(), cr.Activation("relu"), first, cr.BatchNorm(), cr.Activation("relu"), cr.Conv2D(filters, 3, bias=False)]

    x = cr.Input((28, 28, 1))
    h = cr.MaxPool(2)(cr.Conv2D(16, 3)(x))
    for filters, stride in ((24, 1), (48, 2)):
        h = blocks.residual(h, *branch(filters, stride), shortcut=cr.Conv2D(filters, 1, stride=stride, bias=False))
        h = blocks.residual(h, *branch(filters, 1))
    return cr.Network(inputs=x, outputs=head(h), seed=seed)


def head(h: cr.Node) -> cr.Node:
    """Norm, relu, the mean over the pixels, a softmax over the ten digits."""
    return blocks.sequence(h, cr.BatchNorm(), cr.Activation("relu"), cr.GlobalAveragePool(), cr.Dense(10, "softmax"))


def draw(title: str, history: cr.History, X: npt.NDArray[np.float32], y: npt.NDArray[np.int64], found: npt.NDArray[np.int64], path: Path) -> None:
    """Test error and losses by epoch, and test images that the network takes for others."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(2, 1))
    left, right = top.subplots(1, 2)
    epochs = range(1, len(history["loss"]) + 1)
    error = [100 * (1 - accuracy) for accuracy in history["validation_accuracy"]]
    left.plot(epochs, error, color="C0", marker="o")
    left.axhline(0.7, color="0.4", linestyle="--", label="0.7 %")
    left.set(xlabel="epoch", ylabel="test error in %", yscale="log", title=f"{title}: {error[-1]:.2f} % at the end")
    ticks = [t for t in (0.3, 0.5, 0.7, 1, 2, 3, 5, 10) if min(error) / 1.2 <= t <= 1.2 * max(error)]
    left.set_yticks(ticks, [f"{t:g}" for t in ticks])
    left.minorticks_off()
    left.legend(frameon=False)
    right.plot(epochs, history["loss"], color="C1", label="while training, augmented")
    right.plot(epochs, history["validation_loss"], color="C0", label="on the test set")
    right.set(xlabel="epoch", ylabel="cross-entropy in nats", yscale="log")
    right.legend(frameon=False)
    for ax in (left, right):
        ax.grid(alpha=0.3)
    wrong = np.flatnonzero(found != y)[:20]
    grid = bottom.subplots(2, 10)
    for ax in grid.flat:
        ax.axis("off")
    for ax, i in zip(grid.flat, wrong, strict=False):
        ax.imshow(X[i, ..., 0], cmap="gray_r")
        ax.set_title(f"{y[i]}, not {found[i]}", fontsize=8)
    figure.savefig(path, dpi=110)


def run(title: str, network: Callable[[int], cr.Network], arguments: Sequence[str] | None) -> int:
    """Trains the network, prints its test error and draws the curve."""
    parser = argparse.ArgumentParser(description=f"MNIST by a small {title}.")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.004, help="alpha at its highest (default 0.004)")
    parser.add_argument("--plot", type=Path, help="write the picture here (needs matplotlib)")
    given, folder = arguments_with_folder(parser, arguments)
    X, y, X_test, y_test = load(folder)
    X, X_test = X.reshape(-1, 28, 28, 1), X_test.reshape(-1, 28, 28, 1)

    net = network(given.seed)
    size = net.summary()
    print(f"{size.parameters:,} parameters, {size.multiply_adds:,} multiply-adds an image")
    total = given.epochs * -(-len(X) // given.batch)
    start = time.perf_counter()
    history = net.fit(
        X,
        y,
        optimizer=cr.AdamW(schedules.OneCycle(given.rate, total=total, divide_start=10, divide_end=1e3), lam=0.01),
        epochs=given.epochs,
        batch_size=given.batch,
        augment=cr.Augment(shift=2, rotate=10),
        validation=(X_test, y_test),
        progress=True,
    )
    seconds = time.perf_counter() - start
    found = np.asarray(net.predict(X_test)).argmax(axis=1)
    print(f"{100 * np.mean(found == y_test):.2f} % of the test images right after {given.epochs} epochs of {seconds / given.epochs:.1f} s")
    if given.plot:
        draw(title, history, X_test, y_test, found, given.plot)
    return 0


if __name__ == "__main__":
    sys.exit(run("ResNet", resnet, None))
