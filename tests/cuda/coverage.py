# SPDX-License-Identifier: MIT
"""Count the lines of device code that the tests execute, at each size of blocks: `python tests/cuda/coverage.py BUILD`.

BUILD is a CMake build (Ninja) with -DCHAINRULE_CUDA=emulated -DCHAINRULE_TESTS=ON and its target cuda_tests built. The exit status is 1 where a
line is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from device_source import TESTS, Rebuild, device_lines, files

BLOCKS = (32, 96, 1024)


def executed(rebuilt: Rebuild, threads: int) -> dict[str, dict[int, int]]:
    """Return for each file how often each line that has code was executed, with blocks of so many threads in all tests."""
    for counts in rebuilt.folder.glob("*.gcda"):
        counts.unlink()
    for test in TESTS:
        program = rebuilt.link(test, "--coverage")
        done = subprocess.run([str(program)], env={**os.environ, "CHAINRULE_TEST_BLOCK": str(threads)}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{test} with blocks of {threads} fails:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    lines: dict[str, dict[int, int]] = {}
    for counts in sorted(rebuilt.folder.glob("*.gcda")):
        for one in json.loads(rebuilt.run("gcov", "--json-format", "--stdout", str(counts)))["files"]:
            if Path(one["file"]).parent.name == "cuda":
                of_file = lines.setdefault(Path(one["file"]).name, {})
                for line in one["lines"]:
                    of_file[line["line_number"]] = of_file.get(line["line_number"], 0) + line["count"]
    return lines


def main() -> int:
    """Print a table and the lines that no test executes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    options = parser.parse_args()
    rebuilt = Rebuild(options.build, "coverage")
    for path in files():
        (rebuilt.sources / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    rebuilt.compile("--coverage", "-O0", "-w", without=("-fsanitize=thread", "-O1", "-O2", "-O3"))
    found = {threads: executed(rebuilt, threads) for threads in BLOCKS}
    left_out = 0
    print("| file | lines of device code | " + " | ".join(f"executed, {b}" for b in BLOCKS) + " |")
    print("|---|---|" + "---|" * len(BLOCKS))
    total = [0] * (1 + len(BLOCKS))
    for path in files():
        ours = device_lines(path.read_text(encoding="utf-8")) & set(found[BLOCKS[0]].get(path.name, {}))
        if not ours:
            continue
        missing = {b: sorted(line for line in ours if not found[b][path.name].get(line)) for b in BLOCKS}
        row = [len(ours)] + [len(ours) - len(missing[b]) for b in BLOCKS]
        total = [a + b for a, b in zip(total, row, strict=True)]
        print(f"| {path.name} | " + " | ".join(map(str, row)) + " |" + "".join(f"  <- blocks of {b} leave out {m}" for b, m in missing.items() if m))
        left_out += sum(map(len, missing.values()))
    print("| all | " + " | ".join(map(str, total)) + " |")
    return left_out > 0


if __name__ == "__main__":
    raise SystemExit(main())
