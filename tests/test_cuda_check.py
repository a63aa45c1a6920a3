# SPDX-License-Identifier: MIT
"""`python -m chainrule cuda-check` says what it found, and no more."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apart
import cards
import chainrule as cr
import numpy as np
import pytest
from chainrule import __main__ as command
from chainrule import cuda_check
from test_cuda_errors import MACHINES, need_emulation


def run(folder: Path, device: str = "cuda") -> int:
    return command.main(["cuda-check", "--device", device, "--out", str(folder / "found.json"), "--checkout", str(folder)])


@pytest.mark.gpu
def test_all_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    names = " ".join(c["name"] for c in found["checks"])
    assert all(f"{name}, " in names for name in [*(a["name"] for a in cr.activations()), *cr.losses.KNOWN, *cr.optim.KNOWN])
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
    monkeypatch.setattr(cuda_check, "_training", lambda device, dtype: iter(()))  # most of the time on an emulated card
    monkeypatch.setattr(cuda_check, "TOLERANCE", {"float32": 1e-5})
    assert run(tmp_path) == 1
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["checks"][0]["passed"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == ("WRONG: dropout masks (float32)" if fault == "differs" else "WRONG: [cuda:0] an illegal memory access")


@pytest.mark.gpu
def test_nan_of_the_card_is_an_error(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, gradient = cr.Network.forward, cr.Network.gradient

    def spoilt(net: cr.Network, a: Any) -> Any:
        return a if net.device == "cpu" else np.full(np.shape(a), math.nan)

    monkeypatch.setattr(cr.Network, "forward", lambda net, x, **o: spoilt(net, forward(net, x, **o)))
    monkeypatch.setattr(cr.Network, "gradient", lambda net, x, y, **o: SimpleNamespace(loss=0.0, flat=spoilt(net, gradient(net, x, y, **o).flat)))
    assert math.isnan(cuda_check._layer("relu", "cuda", "float32", rng))
    assert math.isnan(cuda_check._loss("squared_error", "cuda", "float32", rng))


@pytest.mark.gpu
@pytest.mark.parametrize("fault", ["nan", "diverges"])
def test_what_is_not_finite_is_wrong_and_kept(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In JSON, which has no NaN; and what was found before a training diverged."""

    def checks(device: str) -> Iterator[tuple[str, str, float, float]]:
        yield "relu", "float32", math.nan if fault == "nan" else 0.0, 1e-5
        if fault == "diverges":
            raise cr.DivergenceError("the loss is not finite")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    monkeypatch.setattr(cuda_check, "checks", checks)
    assert run(tmp_path) == 1
    found = json.loads((tmp_path / "found.json").read_text(), parse_constant=refuse)
    error = "nan" if fault == "nan" else 0.0
    assert found["checks"] == [{"name": "relu", "dtype": "float32", "error": error, "allowed": 1e-5, "passed": fault != "nan"}]
    assert ("error" in found) == (fault == "diverges")


def test_what_takes_too_long_is_ended_with_all_that_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grandchild that holds the output open must not be waited for, nor go on."""
    monkeypatch.setitem(cuda_check.SECONDS, "tests", 1)
    alive = tmp_path / "alive"
    grandchild = f"import time; time.sleep(3); open({str(alive)!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    start = time.perf_counter()
    found = cuda_check._command("tests", [sys.executable, "-c", code], tmp_path)
    assert (found["status"], found["last"]) == (-1, "stopped after 1 s")
    assert time.perf_counter() - start < 2.5
    time.sleep(max(0.0, 3.5 - (time.perf_counter() - start)))
    assert not alive.exists()
    assert sum(cuda_check.SECONDS.values()) < 500  # and the comparison and the times: under ten minutes


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cpu", "[cuda-check] device is 'cpu': expected 'cuda' or 'cuda:1'"),
        ("gpu", "[network] device is 'gpu': expected 'cpu', 'cuda' or 'cuda:1'"),
        ("cuda:99", "device is 'cuda:99': this machine has"),
    ],
)
def test_what_is_no_card(device: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The CPU beside itself would agree."""
    assert run(tmp_path, device) == 2
    assert words in capsys.readouterr().out
    assert not (tmp_path / "found.json").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("machine", ["no driver", "no card", "an old card"])
def test_a_machine_without_one_is_told_why(machine: str, tmp_path: Path) -> None:
    need_emulation()
    settings, words = MACHINES[machine]
    status, said = apart.run(answer, str(tmp_path), env={f"CHAINRULE_EMULATION_{name}": value for name, value in settings.items()})
    assert status == 2
    assert said.startswith("no card: ")
    assert words in said


def answer(folder: str) -> list[Any]:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = run(Path(folder))
    return [status, said.getvalue()]


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
