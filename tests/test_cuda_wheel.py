# SPDX-License-Identifier: MIT
"""What the wheel chainrule-cuda is built from, and who asks for it; building it takes minutes (docs/releasing.md)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from chainrule import device

ROOT = Path(__file__).resolve().parent.parent


def project(folder: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))


def test_both_wheels_have_one_version() -> None:
    """Written in one place; the extra names it again, and is held to it here."""
    version = project(".")["project"]["version"]
    card = project("packaging/cuda")
    assert card["project"]["dynamic"] == ["version"]
    where = card["tool"]["scikit-build"]["metadata"]["version"]
    found = re.search(where["regex"], (ROOT / "packaging" / "cuda" / where["input"]).read_text(encoding="utf-8"))
    assert found is not None
    assert found["value"] == version
    assert project(".")["project"]["optional-dependencies"]["cuda"] == [f"chainrule-cuda=={version}"]


def test_every_part_of_nvidias_is_pinned_to_one_toolkit() -> None:
    """nvcc's own wheel takes any nvvm, and a later one writes PTX that this ptxas does not know."""
    parts = [r for r in project("packaging/cuda")["build-system"]["requires"] if r.startswith("nvidia-")]
    assert len(parts) == 5
    assert all(re.fullmatch(r"nvidia-(cuda-(nvcc|crt|runtime|cccl)|nvvm)==13\.0\.\d+", part) for part in parts)
    assert project("packaging/cuda")["project"]["dependencies"] == ["nvidia-cublas>=13,<14"]


def test_the_library_lies_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the wheel's own package: a wheel that puts it into chainrule/ would be found too, and leave it behind there."""
    (package,) = project("packaging/cuda")["tool"]["scikit-build"]["wheel"]["packages"]
    built = re.search(r"^project\((\w+) ", (ROOT / "packaging" / "cuda" / "CMakeLists.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    rule = r'if\(PROJECT_NAME STREQUAL "(\w+)"\).*\n *install\(TARGETS chainrule_cuda LIBRARY DESTINATION (\w+)\)'
    installed = re.search(rule, (ROOT / "cmake" / "cuda.cmake").read_text(encoding="utf-8"))
    assert built is not None
    assert installed is not None
    assert installed.groups() == (built[1], package)

    library = tmp_path / "site" / package / "libchainrule_cuda.so"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.delenv("CHAINRULE_CUDA_FOLDER", raising=False)
    monkeypatch.setattr(device._core, "__file__", str(tmp_path / "_core.so"))
    monkeypatch.setattr("sys.path", [str(tmp_path / "site")])
    assert device._find("cuda") == library


def test_the_wheel_of_the_core_has_no_code_for_a_card() -> None:
    """Contract 18: neither an option of its build nor a file of it."""
    assert "CHAINRULE_CUDA" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    refusal = (ROOT / "cmake" / "cuda.cmake").read_text(encoding="utf-8")
    assert 'SKBUILD_PROJECT_NAME STREQUAL "chainrule"' in refusal
