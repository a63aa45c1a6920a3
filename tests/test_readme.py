# SPDX-License-Identifier: MIT
"""The README's Python blocks run one after the other, as they stand; the demo does what the README says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import chainrule as cr
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.is_file(), reason="the tests run without their source tree")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks("python")
    assert len(found) >= 5
    names: dict[str, object] = {}
    for i, block in enumerate(found):
        for name in ("scipy", "sklearn"):
            if name in block:
                pytest.importorskip(name)
        exec(compile(block, f"README.md, Python block {i}", "exec"), names)
    assert (tmp_path / "digits.safetensors").is_file()
    shown = capsys.readouterr().out
    assert "z^(2) = W^(1) a^(1) + w_0^(1)" in shown
    assert float(re.findall(r"'accuracy': ([0-9.]+)", shown)[0]) >= 0.95


def test_commands_are_those_of_the_issue() -> None:
    start = "python3 -m venv .venv && .venv/bin/pip install "
    assert blocks("sh") == [
        f"{start}. && .venv/bin/python -m chainrule demo\n",
        f"{start}'.[test]' && .venv/bin/pytest\n",
    ]


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chainrule", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("seed", range(5))
def test_demo(tmp_path: Path, seed: int) -> None:
    done = run("demo", "--seed", str(seed), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"^accuracy on the test set: ([0-9.]+)$", done.stdout, flags=re.MULTILINE)
    assert accuracy is not None, done.stdout
    assert float(accuracy[1]) >= 0.97
    assert "Network 64-128-10, float32, 9,610 parameters" in done.stdout
    assert "a^(3) = softmax(z^(3))" in done.stdout
    assert re.search(r"^time per epoch: [0-9.]+ ms", done.stdout, flags=re.MULTILINE)
    assert "saved as digits.safetensors" in done.stdout
    assert done.stderr, "progress is shown"
    X, y = cr.datasets.load_digits()
    _, _, X_test, y_test = cr.datasets.split(X, y)
    found = np.mean(np.argmax(cr.load(tmp_path / "digits.safetensors").predict(X_test), axis=1) == y_test)
    assert abs(found - float(accuracy[1])) <= 5e-5


def test_demo_options(tmp_path: Path) -> None:
    done = run("demo", "--epochs", "1", "--out", "here.safetensors", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "saved as here.safetensors" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["here.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required"),
        (["train"], "invalid choice: 'train'"),
        (["demo", "--epochs", "0"], "0 is not in 1 ..."),
        (["demo", "--seed", "-1"], "-1 is not in 0 ..."),
        (["demo", "--seed", "x"], "invalid whole number value: 'x'"),
        (["demo", "--out", "no/such/folder/m"], "there is no folder"),
    ],
)
def test_wrong_commands(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_info(tmp_path: Path) -> None:
    done = run("info", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^version +{re.escape(cr.__version__)}$", done.stdout, flags=re.MULTILINE)
    for name in cr.build_info():
        assert re.search(rf"^{name} ", done.stdout, flags=re.MULTILINE)
