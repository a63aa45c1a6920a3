# SPDX-License-Identifier: MIT
"""The installed package, which is the wheel unpacked: what it holds, what it needs, what it shows to others."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import venv
import zlib
from pathlib import Path

import chainrule
import pytest
from chainrule import _core

MODULE = Path(_core.__file__)
BLAS = MODULE.parent / "libchainrule_blas.so"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF")

# Of the C library: libpthread, libdl and ld-linux are parts of it.
C_LIBRARY = re.compile(r"(libc|libm|libpthread|libdl|ld-linux[\w-]*)\.so\.\d+")
CPP_LIBRARY = re.compile(r"(libstdc\+\+|libgcc_s)\.so\.\d+")


def output(tool: str, *arguments: str | Path) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}")
    return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def dynamic(path: Path, tag: str) -> list[str]:
    return re.findall(rf"\({tag}\).*\[(.*)\]", output("readelf", "--dynamic", "--wide", path))


def package_files() -> list[Path]:
    files = importlib.metadata.files("chainrule")
    assert files is not None
    paths = [Path(str(f.locate())) for f in files]
    if not any(p.name.startswith("_core.") for p in paths):
        pytest.skip("an editable installation")
    return [p for p in paths if p.suffix != ".pyc" and p.is_file()]


@linux
def test_only_the_init_function_is_exported() -> None:
    symbols = [line.split()[-1] for line in output("nm", "--dynamic", "--defined-only", MODULE).splitlines()]
    assert symbols == ["PyInit__core"]


@linux
def test_needed_libraries() -> None:
    needed = dynamic(MODULE, "NEEDED")
    assert "libchainrule_blas.so" in needed
    assert [n for n in needed if n != "libchainrule_blas.so" and not C_LIBRARY.fullmatch(n) and not CPP_LIBRARY.fullmatch(n)] == []
    assert [n for n in dynamic(BLAS, "NEEDED") if not C_LIBRARY.fullmatch(n)] == []


@linux
def test_blas_is_found_beside_the_module() -> None:
    assert dynamic(MODULE, "RUNPATH") == ["$ORIGIN"]
    assert dynamic(MODULE, "RPATH") == []
    assert dynamic(BLAS, "SONAME") == ["libchainrule_blas.so"]
    assert dynamic(BLAS, "RUNPATH") == dynamic(BLAS, "RPATH") == []


@linux
def test_glibc_is_old_enough() -> None:
    """No symbol newer than glibc 2.36, whose wheels are manylinux_2_36."""
    for path in (MODULE, BLAS):
        versions = re.findall(r"GLIBC_(\d+)\.(\d+)", output("readelf", "--version-info", "--wide", path))
        assert versions
        assert max((int(a), int(b)) for a, b in versions) <= (2, 36)


def test_sizes() -> None:
    """The wheel stays under 10 MB, what we compile ourselves under 5 MB."""
    assert MODULE.stat().st_size < 5e6
    packed = sum(len(zlib.compress(p.read_bytes(), 6)) for p in package_files())
    assert 1e5 < packed < 10e6


def test_contents() -> None:
    files = package_files()
    names = {p.name for p in files}
    assert {"_core.pyi", "py.typed", "digits.npz", MODULE.name} <= names
    assert {p.suffix for p in files if ".dist-info" not in str(p)} <= {"", ".py", ".pyi", ".typed", ".so", ".dylib", ".npz", ".txt", ".md"}
    licences = {p.name for p in files if p.parent.name == "licenses"}
    assert {"LICENSE", "scipy-openblas32-LICENSE.txt"} <= licences
    text = next(p for p in files if p.name == "scipy-openblas32-LICENSE.txt").read_text(encoding="utf-8")
    assert all(word in text for word in ("OpenBLAS", "LAPACK", "GCC runtime library"))


def test_requirements() -> None:
    required = [r for r in importlib.metadata.requires("chainrule") or [] if "extra ==" not in r]
    assert sorted(re.split(r"[<>=!~ ;]", r)[0] for r in required) == ["numpy", "safetensors"]


def test_no_builder_path_inside() -> None:
    for path in package_files():
        if path.suffix in {".py", ".pyi"} or path == MODULE:
            found = re.findall(rb"[\w/.-]*/(?:csrc|pip-req-build|build-env)[\w/.-]*", path.read_bytes())
            assert found == [], path.name


def test_runs_alone_in_an_empty_environment(tmp_path: Path) -> None:
    """The package's files and its two requirements, copied: nothing else of this environment, no build tree."""
    import numpy as np
    import safetensors

    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('platlib'))"
    site = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    for package in (chainrule, np, safetensors):
        folder = Path(package.__file__ or "").parent
        skip = shutil.ignore_patterns("__pycache__", "tests")
        shutil.copytree(folder, site / folder.name, ignore=skip)
        if (libraries := folder.parent / f"{folder.name}.libs").is_dir():
            shutil.copytree(libraries, site / libraries.name)
    code = """
import sys, numpy as np, chainrule as cr
X = np.random.default_rng(0).normal(size=(64, 2))
net = cr.Network([cr.Input(2), cr.Dense(8, "tanh"), cr.Dense(2, "softmax")], seed=0)
net.fit(X, (X[:, 0] > 0).astype(int), loss="cross_entropy", optimizer=cr.SGD(0.5), epochs=20, batch_size=16, progress=False)
net.save(sys.argv[1])
assert np.array_equal(cr.load(sys.argv[1]).predict(X), net.predict(X))
print(net.evaluate(X, (X[:, 0] > 0).astype(int), loss="cross_entropy")["accuracy"])
"""
    done = subprocess.run([python, "-I", "-c", code, tmp_path / "net.safetensors"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.9
