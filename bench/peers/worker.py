# SPDX-License-Identifier: MIT
"""One competitor in a process of its own: reads commands from stdin, answers each with one line of JSON.

check PATH    the few steps of the comparison from the first weights; writes the result to PATH
warm          one timed run, not timed
time          first weights again (untimed), then one run: {"seconds": ...}
save PATH     writes the result of the last run to PATH
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .machine import pin
from .rows import Variant, parse


def load(module_name: str, distribution: str) -> tuple[Any, dict[str, str]]:
    """The competitor's module and the versions of what it uses. ModuleNotFoundError only where it is not installed."""
    module = importlib.import_module(module_name)
    versions = {"numpy": np.__version__}
    if distribution:
        try:
            versions[distribution] = importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:  # a ModuleNotFoundError, but the module is there: a build tree on the path
            versions[distribution] = "unknown"
    if hasattr(module, "versions"):
        versions |= module.versions()
    return module, versions


def serve(module: Any, versions: dict[str, str], asked: dict[str, Any], answer: Any) -> None:
    row = parse(asked["row"])
    variant = module.variant(row) if hasattr(module, "variant") else Variant()
    competitor = module.Competitor(row, asked["threads"])
    answer({"versions": versions, "variant": dataclasses.asdict(variant)})
    timed = None
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        reply: dict[str, Any] = {}
        if command == "check":
            competitor.prepare(row.inputs(row.checked_steps))
            competitor.run()
        elif command in ("warm", "time"):
            timed = timed or row.inputs(asked["steps"])
            competitor.prepare(timed)
            start = time.perf_counter()
            competitor.run()
            reply["seconds"] = time.perf_counter() - start
        elif command != "save":
            raise ValueError(f"command {command!r}")
        if path:
            np.savez(path, *competitor.result())
        answer(reply)


def main(serve: Callable[[Any, dict[str, str], dict[str, Any], Any], None]) -> None:
    """`serve` with the competitor's module, its versions, the arguments of the command line and a function that answers."""
    # what a library prints must not be taken for an answer
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    arguments = json.loads(sys.argv[1])
    pin(arguments["cpus"])

    def answer(reply: dict[str, Any]) -> None:
        print(json.dumps(reply), file=answers, flush=True)

    try:
        module, versions = load(arguments["module"], arguments["distribution"])
    except ModuleNotFoundError as missing:
        answer({"missing": missing.name})
    else:
        serve(module, versions, arguments, answer)


if __name__ == "__main__":
    main(serve)
