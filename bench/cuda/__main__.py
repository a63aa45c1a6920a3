# SPDX-License-Identifier: MIT
"""Time the kernels on a card, each beside its floor: `python -m bench.cuda PROGRAM`, where PROGRAM is time_kernels of a build (docs/cuda.md)."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

from .costs import H100, Call
from .predict import number, timed


def ask(program: Path, calls: list[Call]) -> tuple[str, list[tuple[Call, int, float | None]]]:
    """Return the device's name, and for each call its launches and seconds; None where nothing was measured."""
    questions = "".join(f"{c.kernel} {' '.join(map(str, c.shape))}\n" for c in calls)
    done = subprocess.run([str(program)], input=questions, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{program} fails: {done.stderr.strip()}")
    device, *answers = done.stdout.splitlines()
    found = []
    for call, answer in zip(calls, answers, strict=True):
        parts = re.fullmatch(r"(\w+)((?: \d+)*) launches (\d+) seconds (.+)", answer)
        if not parts or parts[1] != call.kernel or tuple(map(int, parts[2].split())) != call.shape:
            raise SystemExit(f"{program} was asked for {call} and says {answer!r}")
        found.append((call, int(parts[3]), None if parts[4] == "not measured" else float(parts[4])))
    return device.removeprefix("device "), found


def main(arguments: list[str] | None = None) -> None:
    """Print the table; what has no time is not measured, and says so."""
    parser = argparse.ArgumentParser(prog="python -m bench.cuda", description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="time_kernels of a build with -DCHAINRULE_CUDA=ON")
    parser.add_argument("--kernels", nargs="+", help="these alone")
    parser.add_argument("--shape", nargs="+", type=int, help="of them, in place of the table's")
    parser.add_argument("--out", type=Path, help="a JSON file for what was measured")
    options = parser.parse_args(arguments)
    calls = [c for c in timed() if not options.kernels or c.kernel in options.kernels]
    if options.shape is not None:
        calls = [Call(name, tuple(options.shape)) for name in dict.fromkeys(c.kernel for c in calls)]
    device, found = ask(options.program, calls)
    print(f"{device}; floors of an {H100.name}: {H100.bandwidth / 1e12:.1f} TB/s, {H100.rate / 1e12:.0f} Tflop/s")
    print(f"{'kernel':30}{'shape':28}{'launches':>9}{'floor, us':>12}{'us':>14}{'GB/s':>8}{'Gflop/s':>9}{'floor / time':>14}")
    for c, launches, seconds in found:
        floor = c.floor(H100)
        cells = f"{c.kernel:30}{' x '.join(map(str, c.shape)):28}{launches:>9}{number(1e6 * floor):>12}"
        if seconds is None:
            print(f"{cells}{'not measured':>14}")
        else:
            rates = f"{c.bytes / seconds / 1e9:>8,.0f}{c.operations / seconds / 1e9:>9,.0f}"
            print(f"{cells}{number(1e6 * seconds):>14}{rates}{floor / seconds:>14.0%}")
    if options.out:
        rows = [{"kernel": c.kernel, "shape": c.shape, "launches": n, "seconds": s, "floor": c.floor(H100)} for c, n, s in found if s is not None]
        options.out.write_text(json.dumps({"device": device, "measured": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
