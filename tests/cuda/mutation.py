# SPDX-License-Identifier: MIT
"""Take each barrier and bounds check of the kernels away in turn and report whether a test fails: `python tests/cuda/mutation.py BUILD`.

BUILD is a CMake build (Ninja) with -DCHAINRULE_CUDA=emulated -DCHAINRULE_TESTS=ON and its target cuda_tests built. The tests run as under ctest.
What is found goes into executed.json and docs/cuda.md. The exit status is 1 where a mutant survives that EQUIVALENT does not explain.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
from pathlib import Path

from device_source import KERNELS, ROOT, TESTS, Rebuild, Site, files, record, sites

# Where nothing wrong can come of it: the file, the line, and why
EQUIVALENT: dict[tuple[str, str], str] = {
    ("conv.cu", "for (Index item = blockIdx.x; item < q.items; item += gridDim.x) {"): "a tile past the last pixel stores nothing",
    ("conv.cu", "for (Index k = 0; k < q.at.k; k += depth) {"): "places past the last k are nowhere",
    ("conv.cu", "for (Index begin = chunk * q.per_chunk; begin < end; begin += run) {"): "no pixel is left there",
    (
        "dropout.cu",
        "for (Index i = first_item(); i < blocks; i += item_step()) {",
    ): "elements past the end are looked at one by one",
    ("losses.cu", "const bool rowwise = s || labels || levels > 1;"): "saves a division where rows do not matter",
    ("rows.cuh", "for (Index first = first_item() / warp * per_warp; first < rows; first += step) {"): "a row past the end is not inside",
    ("sparse.cu", "for (Index first = x.begin[i]; first < x.begin[i + 1]; first += warp) {"): "no lane has a number there",
}
# Orders of threads, in turn, for what survives the one before; as in CMakeLists.txt
ORDERS: dict[str, dict[str, str]] = {"forward": {"CHAINRULE_TEST_ONCE": "1"}, "reverse": {"CHAINRULE_TEST_ONCE": "1"}, "random": {}}
HERE = Path(__file__).resolve().parent


def rewrite(found: list[Site], path: Path) -> str:
    """Return the file with all its mutants, which `found` numbers."""
    text = path.read_text(encoding="utf-8")
    for number, site in sorted(((i, s) for i, s in enumerate(found) if s.file == path.name), key=lambda x: -x[1].begin):
        text = text[: site.begin] + site.mutated.format(number) + text[site.end :]
    text = text.replace("cudaLaunchKernelEx(&config", "cudaLaunchKernelEx((mutation::at_launch(), &config)")
    return text if path.suffix != ".cu" else f'#include "{HERE / "mutation.h"}"\n#line 1 "{path}"\n{text}'


def build(found: list[Site], tree: Path) -> Rebuild:
    """Compile the kernels with all their mutants."""
    rebuilt = Rebuild(tree, "mutation")
    for path in KERNELS.iterdir():
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
    found = [site for path in files() for site in sites(path)]
    rebuilt = build(found, parser.parse_args().build)
    verdicts: dict[int, str] = {}
    plan, met = rebuilt.folder / "plan", rebuilt.folder / "met"
    for order, settings in ORDERS.items():
        for test in TESTS:
            program = rebuilt.link(test, str(rebuilt.folder / "mutation.o"))
            settings["CHAINRULE_EMULATION_ORDER"] = order
            run(program, **settings, CHAINRULE_MUTATION_RECORD=str(met))
            alive = [line for line in met.read_text(encoding="utf-8").splitlines() if int(line.split()[0]) not in verdicts]
            if order != "forward":
                alive = [line for line in alive if found[int(line.split()[0])].whole_line not in EQUIVALENT]
            plan.write_text("\n".join(alive), encoding="utf-8")
            if not alive:
                continue
            said = run(program, **settings, CHAINRULE_MUTATION_PLAN=str(plan))
            verdicts |= {int(k): f"{test}, {order}: {why}" for k, why in re.findall(r"^mutant (\d+): (.+)$", said, flags=re.MULTILINE)}
            print(f"{test}, {order}: {len(alive)} tried, {len(found) - len(verdicts)} of {len(found)} left", flush=True)
    counts = {path.name: {"mutants": 0, "caught": 0, "equivalent": 0} for path in files()}
    for number, site in enumerate(found):
        reason = EQUIVALENT.get(site.whole_line)
        verdict = verdicts.get(number) or (f"equivalent: {reason}" if reason else "SURVIVES")
        counts[site.file]["mutants"] += 1
        counts[site.file]["caught"] += number in verdicts
        counts[site.file]["equivalent"] += number not in verdicts and reason is not None
        print(f"{(ROOT / 'csrc/kernels/cuda' / site.file).relative_to(ROOT)}:{site.line}: {site.text}\n    {verdict}")
    record("mutation", dict(counts))
    survivors = sum(c["mutants"] - c["caught"] - c["equivalent"] for c in counts.values())
    print(f"{len(found)} mutants, {survivors} survive")
    return survivors > 0


if __name__ == "__main__":
    raise SystemExit(main())
