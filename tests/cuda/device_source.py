# SPDX-License-Identifier: MIT
"""The lines, barriers and bounds checks of the device code in csrc/kernels/cuda, and the record of what coverage.py and mutation.py find of them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "csrc" / "kernels" / "cuda"
RECORD = Path(__file__).with_name("executed.json")
PAGE = ROOT / "docs" / "cuda.md"
BLOCKS = (32, 96, 1024)
TESTS = ("test_kernels_flat", "test_kernels", "test_conv", "test_device")  # of tests/cuda: cuda_NAME_check is the program


def files() -> list[Path]:
    """Return the files that hold device code."""
    return [p for p in sorted([*KERNELS.glob("*.cu"), *KERNELS.glob("*.cuh")]) if device_regions(p.read_text(encoding="utf-8"))]


def without_comments(text: str) -> str:
    """Return the text with blanks where comments, strings and preprocessor lines stand, so that places stay."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    return re.sub(r'//[^\n]*|"(?:\\.|[^"\\\n])*"|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*', blank, text, flags=re.MULTILINE)


def device_regions(text: str) -> list[tuple[int, int]]:
    """Return where the bodies of functions marked CR_KERNEL or __device__ begin and end."""
    code = without_comments(text)
    regions: list[tuple[int, int]] = []
    for mark in re.finditer(r"\bCR_KERNEL\b|__device__", code):
        at = code.find("{", mark.end())
        semicolon = code.find(";", mark.end())
        if at < 0 or -1 < semicolon < at or (regions and mark.start() < regions[-1][1]):
            continue  # a declaration, or inside the body before
        depth, end = 0, at
        while depth or end == at:
            depth += {"{": 1, "}": -1}.get(code[end], 0)
            end += 1
        regions.append((at, end))
    return regions


def device_lines(text: str) -> set[int]:
    """Return the numbers, from 1, of the lines of device code."""
    return {line for begin, end in device_regions(text) for line in range(text.count("\n", 0, begin) + 1, text.count("\n", 0, end) + 2)}


def state(path: Path) -> str:
    """Return a number that changes with the file's device code, comments and blank lines aside."""
    text = path.read_text(encoding="utf-8")
    code = "".join(without_comments(text)[begin:end] for begin, end in device_regions(text))
    return f"{zlib.crc32(chr(10).join(line.strip() for line in code.splitlines() if line.strip()).encode()):08x}"


def kernels(path: Path) -> int:
    """Return how many kernels the file has, each template once."""
    return len(re.findall(r"\bCR_KERNEL\b", without_comments(path.read_text(encoding="utf-8"))))


def record(part: str, found: dict[str, dict[str, Any]]) -> None:
    """Put what was found of each file into the record, and the record's table into docs/cuda.md."""
    before = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    whole = {p.name: before.get(p.name, {}) | {part: {"state": state(p), **found[p.name]}} for p in files()}
    RECORD.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    if all(len(parts) == 2 for parts in whole.values()):
        before_table, rest = PAGE.read_text(encoding="utf-8").split(BEGIN, 1)
        PAGE.write_text(before_table + BEGIN + table(whole) + END + rest.split(END, 1)[1], encoding="utf-8")


BEGIN, END = "<!-- tests/cuda/executed.json -->\n", "<!-- end -->"


def table(whole: dict[str, Any]) -> str:
    """Return the record for docs/cuda.md."""
    rows = []
    for path in files():
        of_file = whole[path.name]
        lines, mutants = of_file["coverage"], of_file["mutation"]
        row = [kernels(path), lines["lines"], *(lines["executed"][str(b)] for b in BLOCKS)]
        rows.append((path.name, [*row, mutants["mutants"], mutants["caught"], mutants["equivalent"]]))
    rows.append(("all", [sum(column) for column in zip(*(numbers for _, numbers in rows), strict=True)]))
    head = "| file | kernels | lines | " + " | ".join(f"in blocks of {b:,}" for b in BLOCKS) + " | taken away | a test fails | equivalent |"
    return "\n".join([head, "|---" * 9 + "|", *(f"| {name} | " + " | ".join(map(str, numbers)) + " |" for name, numbers in rows), ""])


@dataclass(frozen=True)
class Site:
    """A barrier or a comparison in device code: text[begin:end], and what stands there while the mutant `{}` is on."""

    file: str
    line: int
    begin: int
    end: int
    text: str
    mutated: str

    @property
    def whole_line(self) -> tuple[str, str]:
        """The file, and the line it stands in."""
        return self.file, (KERNELS / self.file).read_text(encoding="utf-8").split("\n")[self.line - 1].strip()


# Comparisons with values and with constants of the source
NO_BOUND = re.compile(r"^(N|K|warp|side)$|^T\(|threshold|static_cast<double>")


def sites(path: Path) -> list[Site]:
    """Return the barriers and bounds checks of one file.

    A barrier is left out. A loop runs one further. The condition of a branch that leaves or looks again (return, continue, range = ...) never holds,
    every other always does.
    """
    text = path.read_text(encoding="utf-8")
    code = without_comments(text)
    found = []

    def add(begin: int, end: int, mutated: str) -> None:
        found.append(Site(path.name, text.count("\n", 0, begin) + 1, begin, end, text[begin:end], mutated))

    for start, stop in device_regions(text):
        for barrier in re.finditer(r"__sync(threads|warp)\([^)]*\);", code[start:stop]):
            add(start + barrier.start(), start + barrier.end(), f"if (!mutation::on({{}})) {barrier[0]}")
        for comparison in re.finditer(r" (<|<=|>|>=) ", code[start:stop]):
            operator, line_start = start + comparison.start(), text.rfind("\n", 0, start + comparison.start()) + 1
            line = code[line_start : text.find("\n", operator)]
            begin, end = operand_begin(code, operator), operand_end(code, start + comparison.end())
            left, right = code[begin:operator].strip(), code[start + comparison.end() : end].strip()
            loop = re.match(r"\s*for \(", line) and code[end] == ";"
            if "constexpr" in line or NO_BOUND.search(right) or NO_BOUND.search(left) or (loop and right.isdigit()):
                continue
            if loop:
                add(begin, end, f"{text[begin:end]} + mutation::on({{}})")
            elif re.search(r"\) (return|continue|range = )", line):
                add(begin, end, f"(!mutation::on({{}}) && {text[begin:end]})")
            else:
                add(begin, end, f"(mutation::on({{}}) || {text[begin:end]})")
    return found


def operand_begin(code: str, at: int) -> int:
    """Return where the operand that ends at `at` begins."""
    depth = 0
    while at > 0:
        c = code[at - 1]
        if c in ")]":
            depth += 1
        elif c in "([" and depth:
            depth -= 1
        elif not depth and (c in "(,;{}[" or code[at - 2 : at] in ("&&", "||", "= ", "? ", ": ") or code[at - 7 : at] == "return "):
            break
        at -= 1
    while code[at] == " ":
        at += 1
    return at


def operand_end(code: str, at: int) -> int:
    """Return where the operand that begins at `at` ends."""
    depth = 0
    while True:
        c = code[at]
        if c in "([":
            depth += 1
        elif c in ")]" and depth:
            depth -= 1
        elif not depth and (c in "),;{}]" or code[at : at + 3] in (" &&", " ||", " ? ", " : ")):
            return at
        at += 1


class Rebuild:
    """The kernels of a build tree compiled again, from copies in `folder` of it, and linked to the tests' other objects."""

    def __init__(self, build: Path, folder: str) -> None:
        self.build, self.folder = build.resolve(), build.resolve() / folder
        self.sources = self.folder / "csrc" / "kernels" / "cuda"
        self.sources.mkdir(parents=True, exist_ok=True)
        commands = json.loads((self.build / "compile_commands.json").read_text(encoding="utf-8"))
        self.commands = {Path(c["file"]).name: shlex.split(c["command"]) for c in commands if "cuda_kernels_check.dir" in c["command"]}
        if not self.commands:
            raise SystemExit(f"{build}: no build of the emulated kernels' tests: expected -DCHAINRULE_CUDA=emulated -DCHAINRULE_TESTS=ON, by Ninja")

    def run(self, *command: str) -> str:
        """Return what the command says; an error where it fails."""
        done = subprocess.run(command, cwd=self.build, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{shlex.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def compile(self, *flags: str, without: tuple[str, ...] = (), jobs: int = 2) -> None:
        """Compile each file of the copies with its own command, more flags and fewer."""

        def one(name: str) -> None:
            command = [f for f in self.commands[name] if f not in without]
            command[command.index("-o") :] = []  # and -c and the file
            self.run(command[0], f"-I{self.folder / 'csrc'}", *command[1:], *flags, "-c", str(self.sources / name), "-o", f"{self.folder / name}.o")

        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one, self.commands))

    def link(self, test: str, *more: str) -> Path:
        """Link one test to the objects compiled here, and return it."""
        line = self.run("ninja", "-t", "commands", f"cuda_{test}_check").strip().splitlines()[-1]
        command = shlex.split(line.removeprefix(": && ").removesuffix(" && :"))
        command = [f"{self.folder / Path(f).name}" if "cuda_kernels_check.dir" in f else f for f in command]
        program = self.folder / test
        command[command.index("-o") + 1] = str(program)
        self.run(*command, *more)
        return program
