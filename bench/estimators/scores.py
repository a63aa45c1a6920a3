# SPDX-License-Identifier: MIT
"""python -m bench.estimators.scores [--data NAME ...] [--out FILE]

Accuracy on rows held out, mean and standard error over 10 seeds, of both libraries.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from .rows import EPOCHS, LIBRARIES, Row, data, estimator

SEEDS = 10


def scores(row: Row, epochs: int) -> dict[str, dict[str, float]]:
    """{library: {"mean", "standard_error"}} of the accuracy; a seed decides the split and the fit."""
    X, y = data(row.data)
    result = {}
    for name, module in LIBRARIES.items():
        found = []
        for seed in range(SEEDS):
            train, test, a, b = train_test_split(X.astype(row.dtype), y, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(estimator(importlib.import_module(module), row, seed, epochs).fit(train, a).score(test, b))
        result[name] = {"mean": float(np.mean(found)), "standard_error": float(np.std(found, ddof=1) / SEEDS**0.5)}
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.estimators.scores", description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(EPOCHS), choices=list(EPOCHS))
    parser.add_argument("--out", type=Path, help="add to this JSON (bench/results/estimators.json)")
    asked = parser.parse_args(argv)
    report: dict[str, Any] = {"format": 1}
    if asked.out and asked.out.exists():
        report = json.loads(asked.out.read_text(encoding="utf-8"))
    table = report.setdefault("scores", {})
    worse = False
    for row in [Row(d, "100", s, t) for d in asked.data for s in ("adam", "sgd") for t in ("float64", "float32")]:
        table[row.name] = found = scores(row, max(2, EPOCHS[row.data]))
        ours, theirs = found["chainrule"], found["scikit-learn"]
        worse = worse or not ours["mean"] >= theirs["mean"] - theirs["standard_error"]
        print(f"{row.name:28}" + "".join(f"  {k} {v['mean']:.4f} +- {v['standard_error']:.4f}" for k, v in found.items()), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
