# SPDX-License-Identifier: MIT
"""`python -m chainrule demo`, `python -m chainrule info` and `python -m chainrule cuda-check`."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import chainrule as cr
from chainrule import formulas


def demo(seed: int, epochs: int, out: Path) -> None:
    """Trains 64-128-10 on the digits that the package ships, and shows what it did.

    A fifth of the digits, the same for every seed, is held out and seen once, at the end. `seed` decides the initial
    weights, the order of the batches and the dropout masks.
    """
    X, y = cr.datasets.load_digits()
    X_train, y_train, X_test, y_test = cr.datasets.split(X, y, test=0.2)
    net = cr.Network([cr.Input(64), cr.Standardize(), cr.Dense(128, "relu"), cr.Dropout(0.5), cr.Dense(10, "softmax")], seed=seed)
    print(f"{len(X_train)} digits to train on, {len(X_test)} held out for the test, each 8 x 8 pixels")
    history = net.fit(
        X_train,
        y_train,
        loss="cross_entropy",
        optimizer=cr.Adam(cr.schedules.Cosine(0.003, total=epochs, unit="epoch")),
        penalty=cr.L2(1e-4),
        epochs=epochs,
        batch_size=32,
        progress=True,
    )
    print(f"\n{formulas.describe(net, loss='cross_entropy + L2(1e-4)')}\n")
    print(f"accuracy on the test set: {net.evaluate(X_test, y_test)['accuracy']:.4f}")
    milliseconds = 1000 * statistics.median(history.seconds)
    print(f"time per epoch: {milliseconds:.2f} ms (median of {history.epochs}; {sum(history.seconds):.2f} s in all)")
    net.save(out)
    print(f"saved as {out}: net = chainrule.load({str(out)!r}), then net.predict(X)")


def info() -> None:
    """Prints what this build is and what it runs on."""
    rows = {"version": cr.__version__, **cr.build_info()}
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")


def _at_least(low: int, below: int) -> type[int]:
    class Whole(int):
        """argparse names the type in its message."""

        def __new__(cls, text: str) -> Whole:
            value = super().__new__(cls, text)
            if not low <= value < below:
                raise argparse.ArgumentTypeError(f"{text} is not in {low} ... {below - 1}")
            return value

    Whole.__name__ = "whole number"
    return Whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 0 if it went well."""
    parser = argparse.ArgumentParser(prog="python -m chainrule", description="Neural networks from the formulas.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{demo,info,cuda-check}")
    shown = commands.add_parser("demo", help="train on the handwritten digits that the package ships")
    shown.add_argument("--seed", type=_at_least(0, 2**64), default=0, help="of the network (default 0)")
    shown.add_argument("--epochs", type=_at_least(1, 10**6), default=30, help="default 30")
    shown.add_argument("--out", type=Path, default=Path("digits.safetensors"), help="where the model is saved")
    commands.add_parser("info", help="how the package was built and what it runs on")
    card = commands.add_parser("cuda-check", help="compare a CUDA device with the CPU, test it and time it")
    card.add_argument("--device", default="cuda")
    card.add_argument("--out", type=Path, default=Path("cuda-check.json"), help="what was found, as JSON")
    card.add_argument("--checkout", type=Path, default=Path(), help="a copy of the repository, whose tests are run (default: here)")
    given = parser.parse_args(arguments)
    if given.command == "info":
        info()
        return 0
    if not given.out.parent.is_dir():  # said before the work, not after it
        parser.error(f"--out: there is no folder {given.out.parent}")
    if given.command == "cuda-check":
        from chainrule import cuda_check

        return cuda_check.run(given.device, given.out, given.checkout)
    try:
        demo(given.seed, given.epochs, given.out)
    except KeyboardInterrupt:
        print("interrupted: nothing was saved", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"cannot save the model: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
