# SPDX-License-Identifier: MIT
"""Count the lines of device code that the tests execute, at each size of blocks: `python tests/cuda/coverage.py BUILD`.

BUILD is a CMake build (Ninja) with -DCHAINRULE_CUDA=emulated -DCHAINRULE_TESTS=ON and its target cuda_tests built. What is found goes into
executed.json and docs/cuda.md. The exit status is 1 where a line is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

from device_source import BLOCKS, KERNELS, TESTS, Rebuild, device_lines, files, record


def executions(rebuilt: Rebuild, threads: int) -> dict[str, dict[int, int]]:
    """Return for each file how often each line that has code was executed, with blocks of so many threads in all tests."""
    for counts in rebuilt.folder.glob("*.gcda"):
        counts.unlink()
    for test in TESTS:
        program = rebuilt.link(test, "--coverage")
        environment = {**os.environ, "CHAINRULE_TEST_BLOCK": str(threads), "CHAINRULE_TEST_ONCE": "1"}
        done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, check=False)
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
    """Print the lines that no test executes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    rebuilt = Rebuild(parser.parse_args().build, "coverage")
    for path in KERNELS.iterdir():
        (rebuilt.sources / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    rebuilt.compile("--coverage", "-O0", "-w", without=("-fsanitize=thread", "-O1", "-O2", "-O3"))
    executed = {threads: executions(rebuilt, threads) for threads in BLOCKS}
    found, left_out = {}, 0
    for path in files():
        lines = device_lines(path.read_text(encoding="utf-8")) & set(executed[BLOCKS[0]].get(path.name, {}))
        missing = {b: sorted(line for line in lines if not executed[b][path.name].get(line)) for b in BLOCKS}
        found[path.name] = {"lines": len(lines), "executed": {str(b): len(lines) - len(m) for b, m in missing.items()}}
        print(f"{path.name}: {len(lines)} lines" + "".join(f"; blocks of {b} leave out {m}" for b, m in missing.items() if m))
        left_out += sum(map(len, missing.values()))
    record("coverage", found)
    return left_out > 0


if __name__ == "__main__":
    raise SystemExit(main())
