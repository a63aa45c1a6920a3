# SPDX-License-Identifier: MIT
"""python -m bench.scale [--panel NAME ...] [--points X ...] [--again] [--repeat N] [--out FILE]

Measures the points that the file does not have yet, writes it after each, and draws what it has beside it. So it can be stopped and run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..peers import options
from ..peers.machine import ROOT, commit, measure_peak
from ..peers.report import entry, row_lines
from ..peers.rows import MOMENTUM
from ..peers.runner import Settings, modules, run_row
from .panels import PANELS, Panel
from .picture import draw

OUT = ROOT / "bench" / "results" / "scale.json"
PRODUCT = 2048
"""Side of the matrices whose product gives the rate of the BLAS beside every point: the machine drifts."""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Time against rows, width, depth, batch and threads.")
    parser.add_argument("--panel", nargs="+", default=list(PANELS), choices=list(PANELS), metavar="NAME", help=" ".join(PANELS))
    parser.add_argument("--points", nargs="+", type=int, metavar="X", help="only these of the panels' points (default: all)")
    parser.add_argument("--again", action="store_true", help="measure points that the file has already")
    found = options.parse(parser, argv, repeat=3, shorter=4, out=OUT)
    found.points = {name: [x for x in PANELS[name].points if x in (found.points or PANELS[name].points)] for name in found.panel}
    for name, points in found.points.items():
        if not points:
            parser.error(f"--points: {name} has {', '.join(map(str, PANELS[name].points))}")
        if (most := max(PANELS[name].threads(x, 1) for x in points)) > found.threads:
            parser.error(f"--panel {name} needs --threads {most}")
    return found


def resumed(asked: argparse.Namespace) -> dict[str, Any]:
    """The report so far; points of another machine or of other settings do not go into it."""
    new = options.heading(asked)
    training = {"dtype": "float32", "loss": "cross_entropy", "optimizer": "sgd", "momentum": MOMENTUM, "shuffle": False}
    new |= {"training": training, "product": PRODUCT, "versions": {}, "panels": {}}
    if not asked.out.exists():
        return new
    old: dict[str, Any] = json.loads(asked.out.read_text(encoding="utf-8"))
    for key in ("format", "machine", "settings", "training", "product"):
        if old[key] != new[key]:
            raise SystemExit(f"{asked.out} was measured with {key} {old[key]}, now it is {new[key]}: choose another --out, or the same options")
    return old


def measure(panel: Panel, x: int, asked: argparse.Namespace, versions: dict[str, Any]) -> dict[str, Any]:
    """One point: its rows, each with all competitors, and the rate of the BLAS before and after."""
    threads = panel.threads(x, asked.threads)
    settings = Settings(tuple(asked.cpus[:threads]), threads, asked.repeat, asked.shorter)
    point: dict[str, Any] = {"date": datetime.now(UTC).isoformat(timespec="seconds"), **commit(), "threads": threads, "rows": {}}
    samples = measure_peak(asked.cpus[:threads], threads, PRODUCT, 2)
    for row in panel.rows(x):
        results = run_row(row, modules(row, asked.peers), settings)
        for name, result in results.items():
            result.get("versions", {}).pop("threads", None)  # the point's
            if (known := versions.get(name)) and known != result.get("versions", known):
                raise SystemExit(f"{name}: the file's points are of {known}, this one is of {result['versions']}: choose another --out")
        point["rows"][row.name] = entry(row, settings.steps(row), results, versions)
    samples += measure_peak(asked.cpus[:threads], threads, PRODUCT, 2)
    for name, line in point["rows"].items():
        print("\n".join([*row_lines(name, line, max(samples)), ""]), flush=True)
    return point | {"sgemm_gflops": samples}


def complete(point: dict[str, Any] | None, peers: list[str]) -> bool:
    return point is not None and all(set(peers) <= set(line["results"]) for line in point["rows"].values())


def main(argv: list[str] | None = None) -> int:
    asked = arguments(argv)
    report = resumed(asked)
    for name, points in asked.points.items():
        for x in points:
            known = report["panels"].get(name, {})
            if complete(known.get(str(x)), asked.peers) and not asked.again:
                continue
            known = known | {str(x): measure(PANELS[name], x, asked, report["versions"])}
            report["panels"][name] = {key: known[key] for key in sorted(known, key=int)}
            options.write(asked.out, report, quietly=True)
    picture: Path = asked.out.with_suffix(".png")
    draw(report).savefig(picture)
    print(f"drawn: {picture}")
    lines = [line for panel in report["panels"].values() for point in panel.values() for line in point["rows"].values()]
    return 1 if {"refused", "failed"} & {result["status"] for line in lines for result in line["results"].values()} else 0


if __name__ == "__main__":
    sys.exit(main())
