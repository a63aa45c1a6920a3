# SPDX-License-Identifier: MIT
"""python -m bench.peers [--rows NAME ...] [--peers NAME ...] [--threads 2] [--repeat N] [--out FILE]"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from typing import Any

from . import options
from .images.rows import NAMES as IMAGES
from .images.rows import ImageRow
from .machine import measure_peak
from .report import entry, markdown, row_lines
from .rows import MOMENTUM, NAMES, Row, parse
from .runner import Settings, modules, run_row


def chosen_rows(patterns: list[str]) -> list[Row | ImageRow]:
    """A pattern (train-*, *adam) takes of the table's rows; any other name of a row is one of its own."""
    names: list[str] = []
    for pattern in patterns:
        names += fnmatch.filter(NAMES + IMAGES, pattern) or [pattern]
    return [parse(name) for name in dict.fromkeys(names)]


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="chainrule beside its peers.")
    parser.add_argument("--rows", nargs="+", default=["*"], metavar="NAME", help="names or patterns; any size can be named")
    parser.add_argument("--list", action="store_true", help="print the rows' names")
    found = options.parse(parser, argv, repeat=7, shorter=1, out=None)
    try:
        found.rows = chosen_rows(found.rows)
    except ValueError as problem:
        parser.error(str(problem))
    return found


def main(argv: list[str] | None = None) -> int:
    asked = arguments(argv)
    if asked.list:
        print("\n".join(row.name for row in asked.rows))
        return 0
    settings = Settings(tuple(asked.cpus), asked.threads, asked.repeat, asked.shorter)
    report: dict[str, Any] = {
        **options.heading(asked),
        "training": {"dtype": "float32", "loss": "cross_entropy", "momentum": MOMENTUM, "shuffle": False},
        "versions": {},
        "rows": {},
    }
    samples = measure_peak(asked.cpus, asked.threads)
    peak = max(samples)
    print(f"{report['machine']['cpu']}, {asked.threads} threads; sgemm 4096^3: {peak:.0f} GFLOP/s\n", flush=True)
    for row in asked.rows:
        results = run_row(row, modules(row, asked.peers), settings)
        line = entry(row, settings.steps(row), results, report["versions"])
        report["rows"][row.name] = line
        print("\n".join([*row_lines(row.name, line, peak), ""]), flush=True)
    # once more: had the machine slowed down meanwhile, the shares would be wrong
    samples += measure_peak(asked.cpus, asked.threads)
    peak = max(samples)
    report["sgemm_gflops"] = {"n": 4096, "best": peak, "samples": samples}
    for line in report["rows"].values():
        for result in line["results"].values():
            if result["status"] == "ok":
                result["share_of_sgemm"] = result["gflops"] / peak
    print("\n".join(markdown(report["rows"], asked.peers)))
    print(f"\nsgemm 4096^3, before and after: {', '.join(f'{s:.0f}' for s in samples)} GFLOP/s")
    options.write(asked.out, report)
    wrong = [result["status"] for line in report["rows"].values() for result in line["results"].values()]
    return 1 if {"refused", "failed"} & set(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
