# SPDX-License-Identifier: MIT
"""Compile the kernels with nvcc and report what they take of a card: `python tests/cuda/nvcc.py` (3 minutes of one processor).

Per kernel and architecture: registers, local memory (stack and spills) and shared memory of the worst of its instances, and the widest load in the
PTX. The exit status is 1 where a kernel uses local memory, or where one that streams loads no 16 bytes at once. --write puts the table into
docs/cuda.md.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "kernels" / "cuda"
PAGE = ROOT / "docs" / "cuda.md"
ARCHITECTURES = (75, 80, 90)
# Kernels that read an array from its beginning to its end, by 16 bytes a thread; of these, what takes single numbers, or reads nothing
STREAMS = ("each_kernel", "sum_kernel", "update_kernel", "norm_kernel", "dropout_kernel", "gather_kernel")
SINGLE = re.compile(r"CountHits|gather_kernel<1,|Derivatives<Identity")
WIDE = re.compile(r"\bld\.(?!param|shared|local)[\w:.]*(?:v4\.[fbu]32|v2\.[fbu]64)\b")


@dataclass(frozen=True)
class Use:
    """What one instance of a kernel takes on one architecture."""

    architecture: int
    kernel: str  # demangled, its namespaces and arguments left out
    registers: int
    local: int  # bytes: stack frame, spill stores and spill loads
    shared: int  # bytes
    wide: bool  # whether its PTX loads 16 bytes at once


def short(demangled: str) -> str:
    """Return `update_kernel<float, Sgd<float, 1>, true>` of a demangled name."""
    name = re.sub(r"\(anonymous namespace\)::|chainrule::cuda::|chainrule::", "", demangled.removeprefix("void "))
    return re.sub(r"\((?:\w+::)?(?:int|bool|Momentum|Accum)\)", "", name[: name.index(">(") + 1] if ">(" in name else name[: name.index("(")])


def demangle(names: Iterable[str]) -> list[str]:
    """Return what c++filt says of each."""
    return subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.split("\n")


def release() -> str:
    """Return nvcc's own release, `V13.0.88`."""
    said = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"\bV[\d.]+", said)[0]


def parse(log: str, ptx: dict[int, str]) -> list[Use]:
    """Return the kernels that ptxas wrote about, with the PTX of each architecture."""
    wide = {a: {m[1] for m in re.finditer(r"\.entry (\w+)\((.*?)\n\}", text, re.DOTALL) if WIDE.search(m[2])} for a, text in ptx.items()}
    block = re.compile(
        r"Compiling entry function '(\w+)' for 'sm_(\d+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers([^\n]*)",
        re.DOTALL,
    )
    found = [m.groups() for m in block.finditer(log)]
    uses = []
    for (mangled, a, stack, stores, loads, registers, rest), name in zip(found, demangle(m[0] for m in found), strict=False):
        shared = re.search(r"(\d+) bytes smem", rest)
        local = int(stack) + int(stores) + int(loads)
        uses.append(Use(int(a), short(name), int(registers), local, int(shared[1]) if shared else 0, mangled in wide[int(a)]))
    return uses


def compile_file(path: Path, architectures: Iterable[int] = ARCHITECTURES) -> list[Use]:
    """Compile one file, warnings as errors, and return its kernels."""
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "nvcc",
            "-std=c++20",
            "-O3",
            "-DNDEBUG",
            f"-I{ROOT / 'csrc'}",
            '-DCHAINRULE_VERSION=""',
            *codes,
            "-Werror=all-warnings",
            "-Xptxas=-v",
        ]
        command += ["-Xcompiler=-fPIC,-Wall,-Wextra", "--keep", f"--keep-dir={folder}", "-c", str(path), "-o", f"{folder}/{path.stem}.o"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode:
            raise SystemExit(f"{path.name}: nvcc fails\n{done.stdout}{done.stderr}")
        ptx = {int(found[1]): p.read_text() for p in Path(folder).glob("*.ptx") if (found := re.search(r"compute_(\d+)", p.name))}
        if not ptx:  # one architecture: the name does not say it
            ptx = {a: p.read_text() for a in architectures for p in Path(folder).glob("*.ptx")}
    return parse(done.stdout + done.stderr, ptx)


def kind(kernel: str) -> str:
    """Return the name that a table's row has: the kernel, and the functor that it is an instance of."""
    name, _, arguments = kernel.partition("<")
    functor = re.search(r"\b(?!float|double|int|bool|true|false|long|AddLoss|AddTo|Into|Nowhere|Add\w+To)[A-Z]\w+", arguments)
    return f"{name}, {functor[0]}" if functor and name in ("each_kernel", "sum_kernel", "rows_kernel", "finish_kernel") else name


def streams(kernel: str) -> bool:
    """Return whether the kernel has to load 16 bytes at once."""
    return kernel.startswith(STREAMS) and not SINGLE.search(kernel)


def faults(uses: Iterable[Use]) -> list[str]:
    """Return a line for each kernel that does what none may."""
    found = []
    for u in uses:
        if u.local:
            found.append(f"{u.kernel} uses {u.local} bytes of local memory (stack and spills) on sm_{u.architecture}: expected none")
        if streams(u.kernel) and not u.wide:
            found.append(f"{u.kernel} has no load of 16 bytes in its PTX for sm_{u.architecture}")
    return found


def table(files: dict[str, list[Use]]) -> list[str]:
    """Return the lines of the table: the worst instance of each kernel."""
    architectures = sorted({u.architecture for uses in files.values() for u in uses})
    lines = [
        "| file | kernel | instances | registers on "
        + ", ".join(f"sm_{a}" for a in architectures)
        + " | local memory | shared memory | 16-byte loads |",
        "|---|---|---|---|---|---|---|",
    ]
    for file, uses in files.items():
        rows = defaultdict(list)
        for u in uses:
            rows[kind(u.kernel)].append(u)
        for name, ours in sorted(rows.items()):
            registers = ", ".join(str(max(u.registers for u in ours if u.architecture == a)) for a in architectures)
            wide = sum(u.wide for u in ours if u.architecture == architectures[0])
            instances = len({u.kernel for u in ours})
            loads = "all" if wide == instances else f"{wide} of {instances}" if wide else "none"
            local, shared = max(u.local for u in ours), max(u.shared for u in ours)
            lines.append(f"| {file} | {name} | {instances} | {registers} | {local} | {shared} | {loads} |")
    return lines


def write(lines: list[str]) -> None:
    """Put the table into docs/cuda.md, where the last one stood."""
    text = PAGE.read_text(encoding="utf-8")
    text = re.sub(r"nvcc \(V[\d.]+\)", f"nvcc ({release()})", text)
    begin, end = "<!-- tests/cuda/nvcc.py -->\n", "<!-- end -->"
    before, rest = text.split(begin, 1)
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.split(end, 1)[1], encoding="utf-8")


def main() -> int:
    """Compile, print the table and what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="of csrc/kernels/cuda (default: all)")
    parser.add_argument("--architectures", nargs="+", type=int, default=ARCHITECTURES)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="the table into docs/cuda.md")
    options = parser.parse_args()
    paths = [KERNELS / f for f in options.files] or sorted(KERNELS.glob("*.cu"))
    with ThreadPoolExecutor(options.jobs) as pool:
        files = dict(zip([p.name for p in paths], pool.map(lambda p: compile_file(p, options.architectures), paths), strict=True))
    lines = table(files)
    print("\n".join(lines))
    if options.write:
        write(lines)
    wrong = faults(u for uses in files.values() for u in uses)
    for fault in wrong:
        print(fault, file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
