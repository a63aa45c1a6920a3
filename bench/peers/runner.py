# SPDX-License-Identifier: MIT
"""Starts the competitors of a row, compares each with the reference before and after it is timed, and times them in turn: A B C A B C ..."""

from __future__ import annotations

import contextlib
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .images.rows import ImageRow
from .machine import ROOT, environment
from .rows import Reference, Refused, Row, Variant

# name -> module within the task's package, distribution on the package index
PEERS = {
    "chainrule": ("ours", "chainrule"),
    "torch": ("torch", "torch"),
    "scikit-learn": ("sklearn", "scikit-learn"),
    "jax": ("jax", "jax"),
}
# An idle OpenBLAS or OpenMP thread spins for some 30 ms before it sleeps: it must not do that in the next competitor's time.
PAUSE = 0.1
TIME_LIMIT = 900.0


class Failed(Exception):
    """The competitor's process ended or took too long."""


class NotInstalled(Exception):
    pass


@dataclass(frozen=True)
class Settings:
    cpus: tuple[int, ...]
    threads: int
    repeat: int
    shorter: int = 1
    """Divides the steps of a timed run: to try the runner, not to publish."""

    def steps(self, row: Row | ImageRow) -> int:
        return row.whole(max(row.timed_steps // self.shorter, row.checked_steps))


class Process:
    """The parent's end of a worker."""

    def __init__(self, worker: str, asked: dict[str, Any], cpus: Sequence[int], threads: int) -> None:
        # a file, not a pipe: a competitor that warns a lot must not block on it
        self.log = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.child = subprocess.Popen(
            [sys.executable, "-m", worker, json.dumps({**asked, "cpus": list(cpus), "threads": threads})],
            cwd=ROOT,
            env=environment(threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def read(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        watchdog = threading.Timer(TIME_LIMIT, self.child.kill)
        watchdog.start()
        try:
            line = self.child.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            code = self.child.wait()
            self.log.seek(0)
            last = [text for text in self.log.read().splitlines() if text.strip()][-1:]
            raise Failed(f"ended with {code}: {' '.join(last) or 'no message'}")
        reply: dict[str, Any] = json.loads(line)
        if "missing" in reply:
            raise NotInstalled(reply["missing"])
        return reply

    def ask(self, command: str) -> dict[str, Any]:
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(command + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            pass  # read() says what it died of
        return self.read()

    def close(self) -> None:
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.log.close()


class Judge:
    """Compares with the reference, which is computed once for each variant."""

    def __init__(self, row: Row | ImageRow, steps: int, timed: bool) -> None:
        self.row, self.timed = row, timed
        self.task: ModuleType = importlib.import_module(f"{__package__}.{row.task}.task")
        self.inputs = row.inputs(steps)
        self.known: dict[Variant, Reference] = {}

    def error(self, found: list[Any], variant: Variant) -> float:
        """The competitor's error; Refused where it is above the tolerance."""
        if variant not in self.known:
            self.known[variant] = self.task.expected(self.row, self.inputs, variant)
        error: float = self.task.error(found, self.known[variant], self.inputs, variant)
        allowed: float = self.task.tolerance(self.row, self.known[variant], self.timed)
        if not error <= allowed:
            raise Refused(f"differs from the reference by {error:.2g} after {self.inputs.steps} steps: allowed {allowed:.2g}")
        return error

    def error_of_file(self, path: Path, variant: Variant) -> float:
        with np.load(path, allow_pickle=False) as arrays:
            return self.error([arrays[f"arr_{i}"] for i in range(len(arrays.files))], variant)


def summary(seconds: list[float], steps: int, flop: int) -> dict[str, Any]:
    """Microseconds a step: best, median, and the median distance from the median relative to it."""
    us = [1e6 * s / steps for s in seconds]
    middle = statistics.median(us)
    return {
        "samples_us": us,
        "best_us": min(us),
        "median_us": middle,
        "spread": statistics.median(abs(x - middle) for x in us) / middle,
        "gflops": flop / min(us) / 1e3,
    }


def run_row(row: Row | ImageRow, competitors: Mapping[str, tuple[str, str]], settings: Settings) -> dict[str, dict[str, Any]]:
    """One row of the table.

    Parameters
    ----------
    competitors : name -> (module that has a class Competitor, its distribution or "")

    Returns
    -------
    name -> {"status": "ok" | "not installed" | "refused" | "failed", "reason", "versions", "error", samples of `summary`, ...}
    """
    results: dict[str, dict[str, Any]] = {name: {} for name in competitors}
    running: dict[str, tuple[Process, Variant]] = {}
    processes: list[Process] = []

    def guarded(name: str, action: Any) -> None:
        """Runs one competitor's action; what goes wrong takes that competitor alone out of the row."""
        try:
            action()
        except (Refused, Failed, NotInstalled) as problem:
            status = {Refused: "refused", Failed: "failed", NotInstalled: "not installed"}[type(problem)]
            results[name] |= {"status": status, "reason": str(problem)}
            running.pop(name, None)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.npz"
        steps = settings.steps(row)
        judge = Judge(row, row.checked_steps, timed=False)

        def start(name: str) -> None:
            module, distribution = competitors[name]
            asked = {"module": module, "distribution": distribution, "row": row.name, "steps": steps}
            process = Process(f"{__package__}.worker", asked, settings.cpus, settings.threads)
            processes.append(process)
            hello = process.read()
            variant = Variant(**hello["variant"])
            results[name] |= {"versions": hello["versions"], "variant": str(variant)}
            process.ask(f"check {path}")
            results[name]["error"] = judge.error_of_file(path, variant)
            process.ask("warm")
            running[name] = (process, variant)

        def measure(name: str) -> None:
            time.sleep(PAUSE)
            results[name].setdefault("seconds", []).append(running[name][0].ask("time")["seconds"])

        def finish(name: str) -> None:
            process, variant = running[name]
            process.ask(f"save {path}")
            results[name]["error_timed"] = last_judge.error_of_file(path, variant)
            results[name] |= {"status": "ok", **summary(results[name].pop("seconds"), steps, row.flop)}

        try:
            for name in competitors:
                guarded(name, lambda name=name: start(name))
            for _ in range(settings.repeat):
                for name in list(running):
                    guarded(name, lambda name=name: measure(name))
            last_judge = Judge(row, steps, timed=True)
            for name in list(running):
                guarded(name, lambda name=name: finish(name))
        finally:
            for process in processes:
                process.close()
    for result in results.values():
        result.pop("seconds", None)  # of one that was refused in the end: not a result
    return results


def modules(row: Row | ImageRow, peers: list[str]) -> dict[str, tuple[str, str]]:
    """The registered competitors' modules for that row's task; images are not everybody's."""
    task = Path(__file__).parent / row.task
    return {name: (f"{__package__}.{row.task}.{PEERS[name][0]}", PEERS[name][1]) for name in peers if (task / f"{PEERS[name][0]}.py").exists()}
