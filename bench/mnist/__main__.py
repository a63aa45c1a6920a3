# SPDX-License-Identifier: MIT
"""python -m bench.mnist FOLDER [--repeat 3] [--threads 2] [--out FILE], FOLDER with the four idx files of MNIST."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ..peers import options
from ..peers.report import OURS
from ..peers.runner import PAUSE, PEERS, Failed, NotInstalled, Process
from .task import BATCH, MOST_ERROR, RATE, SIZES, convert

EPOCHS = 10


def measure(asked: argparse.Namespace, data: Path, epochs: int) -> dict[str, dict[str, Any]]:
    """All of them in turn, run i of each from seed i; before that one epoch each, in which JAX compiles."""
    results: dict[str, dict[str, Any]] = {}
    running: dict[str, Process] = {}

    def train(name: str, epochs: int, seed: int) -> dict[str, Any] | None:
        time.sleep(PAUSE)
        try:
            return running[name].ask(f"train {epochs} {seed}")
        except Failed as problem:
            results[name] |= {"status": "failed", "reason": str(problem)}
            running.pop(name).close()
            return None

    try:
        for name in asked.peers:
            module, distribution = PEERS[name]
            question = {"module": f"{__package__}.{module}", "distribution": distribution, "data": str(data)}
            running[name] = Process(f"{__package__}.worker", question, asked.cpus, asked.threads)
            results[name] = {"status": "ok", "seconds": [], "errors": []}
            try:
                results[name]["versions"] = running[name].read()["versions"]
            except (Failed, NotInstalled) as problem:
                results[name] |= {"status": "not installed" if isinstance(problem, NotInstalled) else "failed", "reason": str(problem)}
                running.pop(name).close()
            if name in running and (reply := train(name, 1, 0)):
                results[name]["first_epoch_seconds"] = reply["seconds"]
        for seed in range(asked.repeat):
            for name in list(running):
                if reply := train(name, epochs, seed):
                    results[name]["seconds"].append(reply["seconds"])
                    results[name]["errors"].append(reply["error"])
    finally:
        for process in running.values():
            process.close()
    for result in results.values():
        if result["status"] == "ok" and not max(result["errors"]) <= MOST_ERROR:
            result |= {"status": "refused", "reason": f"a test error of {max(result['errors']):.1%}: at most {MOST_ERROR:.0%} is expected"}
    return results


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown: the fastest run, how many times ours that is, the errors' mean and range."""
    lines = ["| | seconds | x ours | test error | of the runs |", "|---|---|---|---|---|"]
    ours = min(results.get(OURS, {}).get("seconds", []), default=None)
    for name, result in results.items():
        if result["status"] != "ok":
            lines.append(f"| {name} | {result['status']}: {result['reason']} | | | |")
            continue
        best, errors = min(result["seconds"]), [100 * e for e in result["errors"]]
        times = f"{best / ours:.2f}" if ours else "-"
        lines.append(f"| {name} | {best:.2f} | {times} | {statistics.mean(errors):.2f} % | {min(errors):.2f} to {max(errors):.2f} % |")
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.mnist", description="MNIST, 784-256-128-10, ten epochs, beside the peers.")
    parser.add_argument("folder", type=Path, help="with train-images-idx3-ubyte and the other three, compressed or not")
    asked = options.parse(parser, argv, repeat=3, shorter=1, out=None)
    epochs = max(1, EPOCHS // asked.shorter)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "mnist.npz"
        convert(asked.folder, data)
        results = measure(asked, data, epochs)
    versions = {name: result.pop("versions", None) for name, result in results.items()}
    training = {"sizes": SIZES, "epochs": epochs, "batch": BATCH, "optimizer": "adam", "alpha": RATE, "dtype": "float32", "shuffle": True}
    print("\n".join(table(results)))
    options.write(asked.out, {**options.heading(asked), "training": training, "versions": versions, "results": results})
    return 1 if {"refused", "failed"} & {result["status"] for result in results.values()} else 0


if __name__ == "__main__":
    sys.exit(main())
