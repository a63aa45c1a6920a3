# SPDX-License-Identifier: MIT
"""`python -m chainrule cuda-check` says what it found, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import cards
import pytest
from chainrule import __main__ as command
from chainrule import cuda_check


def run(folder: Path) -> int:
    return command.main(["cuda-check", "--out", str(folder / "found.json"), "--checkout", str(folder)])


@pytest.mark.gpu
def test_all_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert {c["dtype"] for c in found["checks"]} == {"float32", "float64"}
    assert all(c["passed"] and c["error"] <= c["allowed"] for c in found["checks"])
    said = capsys.readouterr().out
    assert "tests: not run" in said
    assert "all of it agrees" in said
    if cards.emulated():
        assert "times: not measured, the card is emulated" in said
        assert found["steps"] == []
    else:
        assert all(step["seconds"] > 0 for step in found["steps"])


@pytest.mark.gpu
@pytest.mark.parametrize("fault", ["differs", "raises"])
def test_what_is_wrong_is_said_and_kept(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def masks(device: str, dtype: str) -> float:
        if fault == "raises":
            raise RuntimeError("[cuda:0] an illegal memory access")
        return 0.01

    monkeypatch.setattr(cuda_check, "_masks", masks)
    monkeypatch.setattr(cuda_check, "TOLERANCE", {"float32": 1e-5})
    assert run(tmp_path) == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["checks"][0]["passed"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ("WRONG: dropout masks (float32)" if fault == "differs" else "WRONG: [cuda:0] an illegal memory access")


def test_tests_that_fail_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    (tmp_path / "tests" / "test_cuda.py").write_text("import pytest\n@pytest.mark.gpu\ndef test_it():\n    assert 1 == 2\n")
    found = cuda_check.tests(tmp_path)
    assert found["status"] == 1
    assert "1 failed" in found["last"]
    assert "assert 1 == 2" in capsys.readouterr().out


@pytest.mark.skipif(not cards.missing(), reason="there is a card")
def test_without_a_card_it_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 2
    assert capsys.readouterr().out.strip() == f"no card: {cards.missing()}"
    assert not (tmp_path / "found.json").exists()
