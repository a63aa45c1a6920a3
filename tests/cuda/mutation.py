# SPDX-License-Identifier: MIT
"""Take each barrier and bounds check of the kernels away in turn and report whether a test fails: `python tests/cuda/mutation.py BUILD`.

BUILD is a CMake build (Ninja) with -DCHAINRULE_CUDA=emulated -DCHAINRULE_TESTS=ON and its target cuda_tests built. The exit status is 1 where a
mutant survives that EQUIVALENT does not explain.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from pathlib import Path

from device_source import ROOT, TESTS, Rebuild, Site, files, sites

# Where nothing wrong can come of it: (file, text) and why
EQUIVALENT: dict[tuple[str, str], str] = {
    ("dropout.cu", "i < blocks"): "the elements of a block of Philox past the end are looked at one by one",
    ("losses.cu", "levels > 1"): "saves a division where rows do not matter",
    ("rows.cuh", "first < rows"): "a row past the end is not inside",
    ("sparse.cu", "first < x.begin[i + 1]"): "no lane has a number there",
}
HERE = Path(__file__).resolve().parent


def rewrite(found: list[Site], path: Path) -> str:
    """Return the file with all its mutants, which `found` numbers."""
    text = path.read_text(encoding="utf-8")
    for number, site in sorted(((i, s) for i, s in enumerate(found) if s.file == path.name), key=lambda x: -x[1].begin):
        text = text[: site.begin] + site.mutated.format(number) + text[site.end :]
    text = text.replace("cudaLaunchKernelEx(&config", "cudaLaunchKernelEx((mutation::at_launch(), &config)")
    return text if path.suffix == ".cuh" else f'#include "{HERE / "mutation.h"}"\n#line 1 "{path}"\n{text}'


def build(found: list[Site], tree: Path) -> Rebuild:
    """Compile the kernels with all their mutants."""
    rebuilt = Rebuild(tree, "mutation")
    for path in files():
        (rebuilt.sources / path.name).write_text(rewrite(found, path), encoding="utf-8")
    rebuilt.compile("-w")
    rebuilt.run("c++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-c", str(HERE / "mutation.cpp"), "-o", str(rebuilt.folder / "mutation.o"))
    return rebuilt


def run(program: Path, **settings: str) -> str:
    """Return what one test says; an error if it fails without a mutant."""
    environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([str(program)], env=environment, capture_output=True, text=True, check=False)
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("mutant "))
    if done.returncode or "cuda emulation:" in said:
        raise SystemExit(f"{program} {settings} fails without a mutant:\n{said[-2000:]}")
    return done.stdout


def main() -> int:
    """Print a line for each mutant: where it is, what it takes away, and what the test that fails says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--order", default="forward,reverse", help="orders of threads, in turn, for those that survive the one before")
    options = parser.parse_args()
    found = [site for path in files() for site in sites(path)]
    rebuilt = build(found, options.build)
    verdicts: dict[int, str] = {}
    plan, record = rebuilt.folder / "plan", rebuilt.folder / "record"
    for order in options.order.split(","):
        for test in TESTS:
            if len(verdicts) == len(found):
                break
            program = rebuilt.link(test, str(rebuilt.folder / "mutation.o"))
            run(program, CHAINRULE_EMULATION_ORDER=order, CHAINRULE_MUTATION_RECORD=str(record))
            alive = [line for line in record.read_text(encoding="utf-8").splitlines() if int(line.split()[0]) not in verdicts]
            plan.write_text("\n".join(alive), encoding="utf-8")
            if not alive:
                continue
            said = run(program, CHAINRULE_EMULATION_ORDER=order, CHAINRULE_MUTATION_PLAN=str(plan))
            verdicts |= {int(k): f"{test}, {order}: {why}" for k, why in re.findall(r"^mutant (\d+): (.+)$", said, flags=re.MULTILINE)}
    unexplained = 0
    for number, site in enumerate(found):
        reason = EQUIVALENT.get((site.file, site.text))
        verdict = verdicts.get(number) or (f"equivalent: {reason}" if reason else "SURVIVES")
        unexplained += verdict == "SURVIVES"
        print(f"{(ROOT / 'csrc/kernels/cuda' / site.file).relative_to(ROOT)}:{site.line}: {site.text}\n    {verdict}")
    print(f"{len(found)} mutants: {len(verdicts)} make a test fail, {len(found) - len(verdicts) - unexplained} are equivalent, {unexplained} survive")
    return unexplained > 0


if __name__ == "__main__":
    raise SystemExit(main())
