# SPDX-License-Identifier: MIT
"""MNIST three ways: 784-256-128-10 with L2, the same with dropout, and multinomial logistic regression.

    python examples/mnist.py FOLDER        (or MNIST=FOLDER python examples/mnist.py)

FOLDER holds the four idx files, compressed or not: train-images-idx3-ubyte, train-labels-idx1-ubyte,
t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte. The textbook's figures are those of James, Witten, Hastie and Tibshirani,
"An Introduction to Statistical Learning", 2nd edition (2021), table 10.1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import numpy.typing as npt
from chainrule import schedules


def read(folder: Path, name: str) -> npt.NDArray[Any]:
    """The array of `name` or `name`.gz in the folder."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return cr.datasets.read_idx(path)
    raise FileNotFoundError(f"{folder} has neither {name} nor {name}.gz")


def ways(epochs: int, rows: int, batch: int) -> dict[str, tuple[list[cr.Layer], dict[str, Any], float]]:
    """Layers, arguments of fit and the textbook's test error in percent, by name."""

    def adam(share: float) -> cr.Adam:
        total = max(1, int(share * epochs)) * -(-rows // batch)
        return cr.Adam(schedules.OneCycle(0.002, total=total, divide_start=10, divide_end=1e3))

    return {
        "784-256-128-10 with L2": (
            [cr.Input(784), cr.Dense(256, "relu"), cr.Dense(128, "relu"), cr.Dense(10, "softmax")],
            {"penalty": cr.L2(1e-4), "epochs": epochs, "optimizer": adam(1)},
            2.3,
        ),
        "784-256-128-10 with dropout": (
            [
                cr.Input(784),
                cr.Dropout(0.2),
                cr.Dense(256, "relu"),
                cr.Dropout(0.3),
                cr.Dense(128, "relu"),
                cr.Dropout(0.2),
                cr.Dense(10, "softmax"),
            ],
            {"epochs": 2 * epochs, "optimizer": adam(2)},
            1.8,
        ),
        "784-10, logistic regression": (
            [cr.Input(784), cr.Dense(10, "softmax")],
            {"penalty": cr.L2(1e-5), "epochs": epochs, "optimizer": adam(1)},
            7.2,
        ),
    }


def load(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[np.float32], npt.NDArray[Any]]:
    """Training rows in [0, 1] and labels, test rows and labels."""
    images, labels = read(folder, "train-images-idx3-ubyte"), read(folder, "train-labels-idx1-ubyte")
    test_images, test_labels = read(folder, "t10k-images-idx3-ubyte"), read(folder, "t10k-labels-idx1-ubyte")
    X, X_test = (pixels.reshape(len(pixels), -1).astype(np.float32) / 255 for pixels in (images, test_images))
    return X, labels, X_test, test_labels


def arguments_with_folder(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> tuple[argparse.Namespace, Path]:
    """What was given, and the folder with the idx files; `--seed` is every example's."""
    parser.add_argument("folder", nargs="?", default=os.environ.get("MNIST"), help="where the idx files are")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.folder is None:
        parser.error("name the folder with the idx files, or set MNIST to it")
    return given, Path(given.folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains the three and prints their test errors."""
    parser = argparse.ArgumentParser(description="MNIST three ways.")
    parser.add_argument("--epochs", type=int, default=20, help="twice as many with dropout (default 20)")
    parser.add_argument("--batch", type=int, default=128)
    given, folder = arguments_with_folder(parser, arguments)
    X, labels, X_test, test_labels = load(folder)

    print(f"{'':30}{'test error':>12}{'textbook':>10}{'seconds':>9}")
    for name, (layers, arguments_of_fit, textbook) in ways(given.epochs, len(X), given.batch).items():
        net = cr.Network(layers, seed=given.seed)
        start = time.perf_counter()
        net.fit(X, labels, batch_size=given.batch, progress=sys.stderr.isatty(), **arguments_of_fit)
        seconds = time.perf_counter() - start
        error = 100 * (1 - net.evaluate(X_test, test_labels)["accuracy"])
        print(f"{name:30}{error:10.2f} %{textbook:8.1f} %{seconds:9.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
