# SPDX-License-Identifier: MIT
"""The rules that the sources keep: see docs/architecture.md. Nothing here computes; it reads files, and objects of the kernels."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import chainrule
import make_stub
import pytest
from chainrule import _core

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="the tests run without their source tree")

FOLDERS = ("csrc", "python", "tests", "bench", "examples", "cmake", ".ci", ".github")
SOURCE_SUFFIXES = {".h", ".cpp", ".cu", ".cuh", ".py", ".pyi", ".cmake", ".map", ".yml", ".sh"}
# A folder may include from itself and from folders of a lower rank.
RANK = {"emulation": 0, "tensor": 0, "math": 1, "kernels": 2, "device": 3, "layers": 3, "losses": 3, "optim": 3, "network": 4}
RANK |= {"train": 5, "bindings": 6}


def sources(*suffixes: str) -> list[Path]:
    """Return the files of ours with one of these suffixes (default: every source file), generated and built ones left out."""
    wanted = set(suffixes) or SOURCE_SUFFIXES
    found = [p for folder in FOLDERS for p in (ROOT / folder).rglob("*") if p.suffix in wanted and p.is_file()]
    found += [p for p in ROOT.iterdir() if p.is_file() and (p.suffix in wanted or (not suffixes and p.name == "CMakeLists.txt"))]
    if not suffixes:
        found += [ROOT / ".ci" / "run", ROOT / "pyproject.toml"]
    return sorted(p for p in found if "__pycache__" not in p.parts)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def includes(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', text(path), flags=re.MULTILINE)


def test_sources_are_found() -> None:
    assert len(sources(".h", ".cpp")) > 20
    assert len(sources(".py")) > 20


def test_every_source_has_its_licence() -> None:
    missing = [name(p) for p in sources() if "SPDX-License-Identifier: MIT" not in "\n".join(text(p).splitlines()[:3])]
    assert not missing


def test_files_are_short() -> None:
    long = {name(p): n for p in sources() if p != make_stub.STUB and (n := len(text(p).splitlines())) > 400}
    assert not long, "over 400 lines: split them by topic"


def test_todo_names_an_issue() -> None:
    word = "TO" + "DO"
    bad = [f"{name(p)}:{i}" for p in sources() for i, line in enumerate(text(p).splitlines(), 1)
           if re.search(rf"\b{word}\b(?!\(#\d+\))", line)]  # fmt: skip
    assert not bad, f"write {word}(#123)"


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.$}~])/(?:home|Users|root|work|opt|mnt|media)/\w")
    files = [*sources(), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    bad = [f"{name(p)}:{i}" for p in files for i, line in enumerate(text(p).splitlines(), 1) if pattern.search(line)]
    assert not bad


def test_includes_point_one_way() -> None:
    wrong = []
    for path in (ROOT / "csrc").rglob("*"):
        if path.suffix not in {".h", ".cpp", ".cu"}:
            continue
        folder = path.relative_to(ROOT / "csrc").parts[0]
        assert folder in RANK, f"{name(path)}: give csrc/{folder} a rank"
        for include in includes(path):
            assert (ROOT / "csrc" / include).is_file(), f'{name(path)}: "{include}" is not a path from csrc/'
            other = include.split("/")[0]
            if other != folder and not RANK[other] < RANK[folder]:
                wrong.append(f"{name(path)} -> {include}")
    assert not wrong


def test_every_header_is_included() -> None:
    used = {include for p in sources(".h", ".cpp", ".cu") for include in includes(p)}
    unused = [h for h in (p.relative_to(ROOT / "csrc").as_posix() for p in (ROOT / "csrc").rglob("*.h")) if h not in used]
    assert [h for h in unused if not h.startswith("emulation/include/")] == []  # these stand in for a toolkit's


def test_only_the_bindings_see_python() -> None:
    seen = [name(p) for p in sources(".h", ".cpp", ".cu") if re.search(r"pybind11|Python\.h", text(p))]
    assert [p for p in seen if not p.startswith("csrc/bindings/")] == []
    assert seen


def test_every_forward_is_followed_by_its_backward() -> None:
    members = re.findall(r"\(\*(\w+)\)\(", text(ROOT / "csrc" / "kernels" / "kernels.h"))
    assert "softmax_forward" in members
    for i, member in enumerate(members):
        if member.endswith("_forward"):
            assert members[i + 1 : i + 2] == [member.replace("_forward", "_backward")]


def test_version_is_one() -> None:
    version = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"]
    assert chainrule.__version__ == _core.__version__ == _core.build_info()["version"] == version


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="annotations of another Python are spelled differently")
def test_stub_is_current() -> None:
    pytest.importorskip("pybind11_stubgen")
    assert text(make_stub.STUB) == make_stub.generate(), "run: python tests/make_stub.py"


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def symbol_is_confined(symbol: str, level: str) -> bool:
    """Whether a demangled defined symbol lies in chainrule::<level>: its own name, a guard, a vtable or a name local to one of its functions."""
    bare = re.sub(r"^(?:vtable for|typeinfo(?: name)? for|guard variable for|reference temporary #\d+ for) ", "", symbol)
    own = f"chainrule::{level}::"
    # A template's symbol begins with its return type: "float const* chainrule::v3::f<float>(...)". Arguments do not count.
    depth, head = 0, ""
    for char in bare:
        depth += char in "(<"
        head += char if depth == 0 else ""
        depth -= char in ")>"
    return any(word.lstrip("*&").startswith(own) for word in head.split())


def test_symbol_rule() -> None:
    assert symbol_is_confined("chainrule::v3::table_f32()", "v3")
    assert symbol_is_confined("void chainrule::v3::f<float>(float*, std::vector<int>)", "v3")
    assert symbol_is_confined("chainrule::Kernels<float> const* chainrule::v3::t<float>()", "v3")
    assert not symbol_is_confined("chainrule::v1::f(int)", "v3")
    assert not symbol_is_confined("float const& std::max<float>(float const&, float const&)", "v3")
    assert not symbol_is_confined("chainrule::f<chainrule::v3::Sigmoid>(float)", "v3")
    assert not symbol_is_confined("chainrule::Kernels<float>::Kernels()", "v3")


@pytest.mark.slow
@pytest.mark.parametrize("build_type", ["Debug", "Release"])
def test_instruction_sets_share_no_symbol(tmp_path: Path, build_type: str) -> None:
    """Contract of cmake/kernels.cmake. Debug inlines nothing, so that it shows every shared inline function; Release is what ships."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    tools = {tool: shutil.which(tool, path=path) for tool in ("cmake", "nm", "ninja")}
    if not all(tools.values()):
        pytest.skip(f"needs {', '.join(tool for tool, path in tools.items() if not path)}")
    level = "v3" if platform.machine() == "x86_64" else _core.isa_in_use()
    build = tmp_path / "build"
    run(tools["cmake"], "-S", ROOT, "-B", build, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tools['ninja']}", "-DCHAINRULE_PYTHON=OFF",
        "-DCHAINRULE_BLAS_DIR=" + str(blas_folder()), f"-DCMAKE_BUILD_TYPE={build_type}")  # fmt: skip
    run(tools["cmake"], "--build", build, "--target", f"chainrule_kernels_{level}", "--parallel", "2")
    objects = sorted((build / "CMakeFiles" / f"chainrule_kernels_{level}.dir").rglob("*.o"))
    assert len(objects) >= 2
    wrong = []
    for path in objects:
        for line in run(tools["nm"], "--demangle", "--defined-only", path).splitlines():
            kind, symbol = line[16:].strip().split(" ", 1)
            # Capital letters, and u, v, w: visible to the linker. Local initialisers (_GLOBAL__) run when the library is loaded, on any processor.
            shared = kind.isupper() or kind in "uvw"
            if (shared and not symbol_is_confined(symbol, level)) or "_GLOBAL__sub_I" in symbol:
                wrong.append(f"{path.name}: {kind} {symbol}")
    assert not wrong, "an inline function that two instruction sets share, or code that runs when the library is loaded"


def blas_folder() -> Path:
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or spec.origin is None:
        pytest.skip("needs scipy-openblas32")
    return Path(spec.origin).parent
