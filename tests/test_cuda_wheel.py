# SPDX-License-Identifier: MIT
"""What the wheel chainrule-cuda is built from, and who asks for it; building it takes minutes (docs/releasing.md)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

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


def test_the_wheel_of_the_core_has_no_code_for_a_card() -> None:
    """Contract 18: neither an option of its build nor a file of it."""
    assert "CHAINRULE_CUDA" not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    refusal = (ROOT / "cmake" / "cuda.cmake").read_text(encoding="utf-8")
    assert 'SKBUILD_PROJECT_NAME STREQUAL "chainrule"' in refusal
