# SPDX-License-Identifier: MIT
"""python -m bench.estimators [--rows PATTERN ...] [--threads 2] [--repeat N] [--out FILE]"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.machine import ROOT, available_cpus, commit, describe, environment
from bench.peers.report import number
from bench.peers.runner import PAUSE

from .rows import LIBRARIES, Row, table

#: Relative difference up to which two runs did the same work: trajectories of float32 drift apart, and scikit-learn's lbfgs computes them in float64.
SAME = {"float64": 1e-6, "float32": 5e-2}


class Library:
    """The parent's end of a worker."""

    def __init__(self, module: str, cpus: list[int]) -> None:
        command = [sys.executable, "-m", "bench.estimators.worker", json.dumps({"module": module, "cpus": cpus})]
        self.child = subprocess.Popen(
            command, cwd=ROOT, env=environment(len(cpus)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def run(self, row: Row) -> dict[str, Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(row.name + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{row.name}: the worker ended with {self.child.wait()}")
        reply: dict[str, Any] = json.loads(line)
        return reply


def measure(row: Row, libraries: dict[str, Library], repeat: int) -> dict[str, Any]:
    """One warm run of each, compared; then `repeat` runs in turn, A B A B ..."""
    first = {name: library.run(row)["same"] for name, library in libraries.items()}
    a, b = (np.array(values) for values in first.values())
    if a.shape != b.shape or not np.abs(a - b).max() <= SAME[row.dtype] * np.abs(b).max():
        raise RuntimeError(f"{row.name}: the libraries differ: {a} and {b}")
    seconds: dict[str, list[float]] = {name: [] for name in libraries}
    for _ in range(repeat):
        for name, library in libraries.items():
            time.sleep(PAUSE)
            seconds[name].append(library.run(row)["seconds"])
    result: dict[str, Any] = {"steps": row.steps, "goal": row.goal}
    for name, samples in seconds.items():
        us = [1e6 * s / row.steps for s in samples]
        result[name] = {"samples_us": us, "best_us": min(us), "median_us": statistics.median(us)}
    result |= {f"ratio_{kind}": result["scikit-learn"][f"{kind}_us"] / result["chainrule"][f"{kind}_us"] for kind in ("best", "median")}
    return result


def markdown(rows: dict[str, Any]) -> list[str]:
    """The table of the README: microseconds an epoch (iteration, call), both dtypes beside each other."""
    lines = ["| data, hidden, solver | float64: ours, scikit-learn | times | float32: ours, scikit-learn | times |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(name.rsplit("/", 1)[0] for name in rows):
        cells = []
        for dtype in ("float64", "float32"):
            line = rows.get(f"{name}/{dtype}")
            cells += (
                [f"{number(line['chainrule']['best_us'])}, {number(line['scikit-learn']['best_us'])}", f"{line['ratio_best']:.1f}x"]
                if line
                else ["", ""]
            )
        lines.append(f"| {name.replace('/', ', ')} | " + " | ".join(cells) + " |")
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.estimators", description="chainrule.sklearn beside scikit-learn.")
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="PATTERN", help="digits/100/adam/float64, */1024-1024/*, ...")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write JSON here; rows of an earlier run stay (bench/results/estimators.json)")
    asked = parser.parse_args(argv)
    rows = [row for row in table() if any(fnmatch.fnmatch(row.name, pattern) for pattern in asked.rows)]
    cpus = available_cpus()[: asked.threads]
    libraries = {name: Library(module, cpus) for name, module in LIBRARIES.items()}
    found: dict[str, Any] = {}
    versions = {name: importlib.metadata.version(name) for name in ("scikit-learn", "numpy", "scipy")}
    about = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **commit(), "threads": asked.threads, "versions": versions}
    for row in rows:
        found[row.name] = line = measure(row, libraries, asked.repeat) | about
        ours, theirs = (number(line[name]["best_us"]) for name in LIBRARIES)
        print(
            f"{row.name:32}{ours:>12}{theirs:>12} us {line['ratio_best']:8.1f}x (median {line['ratio_median']:.1f}x, goal {row.goal:g}x)", flush=True
        )
    if asked.out:
        report = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.exists() else {"format": 1}
        kept = report.get("rows", {}) | found
        report |= {"machine": describe(), "rows": {row.name: kept[row.name] for row in table() if row.name in kept}}
        asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        found = report["rows"]
    print("\n".join(["", *markdown(found)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
