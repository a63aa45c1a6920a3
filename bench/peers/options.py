# SPDX-License-Identifier: MIT
"""What the commands of this folder and its neighbours have in common: options, the head of a report, its file."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .machine import available_cpus, commit, describe
from .runner import PEERS


def parse(parser: argparse.ArgumentParser, argv: list[str] | None, *, repeat: int, shorter: int, out: Path | None) -> argparse.Namespace:
    """The parser's own options and the common ones, with these defaults."""
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS), metavar="NAME", help=" ".join(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpus", help="which CPUs, as 0,2 (default: the first ones; take different cores, not twins of one)")
    parser.add_argument("--repeat", type=int, default=repeat, help="timed runs of each competitor, in turn")
    parser.add_argument("--shorter", type=int, default=shorter, help="divide the length of a timed run, to try things out")
    parser.add_argument("--out", type=Path, default=out, help="write JSON here" + (f" (default {out})" if out else ""))
    found = parser.parse_args(argv)
    if min(found.threads, found.repeat, found.shorter) < 1:
        parser.error("--threads, --repeat and --shorter are at least 1")
    cpus = available_cpus()
    try:
        found.cpus = [int(c) for c in found.cpus.split(",")] if found.cpus else cpus[: found.threads]
    except ValueError as problem:
        parser.error(str(problem))
    if len(found.cpus) != found.threads or not set(found.cpus) <= set(cpus):
        parser.error(f"--threads {found.threads} needs as many CPUs of {cpus}: {found.cpus}")
    return found


def heading(asked: argparse.Namespace) -> dict[str, Any]:
    """When, which commit, where and how."""
    return {
        "format": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **commit(),
        "machine": describe(),
        "settings": {"threads": asked.threads, "cpus": asked.cpus, "repeat": asked.repeat, "shorter": asked.shorter},
    }


def write(path: Path | None, report: dict[str, Any], *, quietly: bool = False) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        if not quietly:
            print(f"written: {path}")
