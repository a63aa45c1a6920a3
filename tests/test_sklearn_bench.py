# SPDX-License-Identifier: MIT
"""The benchmark of the estimators times equal work only, and the README shows what it found."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.estimators import __main__ as command  # noqa: E402
from bench.estimators.rows import LIBRARIES, Row, run, table  # noqa: E402


class InProcess:
    """A library without a process of its own."""

    def __init__(self, module: str, change: float = 1.0) -> None:
        self.module, self.change = module, change

    def run(self, row: Row) -> dict[str, Any]:
        seconds, same = run(__import__(self.module, fromlist=["x"]), row)
        return {"seconds": seconds, "same": [value * self.change for value in same]}


def test_names_are_those_of_the_rows() -> None:
    rows = table()
    assert len({row.name for row in rows}) == len(rows)
    assert all(Row.parse(row.name) == row for row in rows)


@pytest.mark.parametrize("name", ["digits/5/adam/float64", "digits/5/sgd/float32", "digits/5/predict/float32"])
def test_both_do_the_same_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "PAUSE", 0.0)
    row = Row.parse(name)
    result = command.measure(row, {k: InProcess(m) for k, m in LIBRARIES.items()}, 1)  # type: ignore[misc]
    assert result["ratio_best"] == result["scikit-learn"]["best_us"] / result["chainrule"]["best_us"]
    with pytest.raises(RuntimeError, match="the libraries differ"):
        command.measure(row, {k: InProcess(m, 1.0 + (k == "chainrule") / 2) for k, m in LIBRARIES.items()}, 1)  # type: ignore[misc]


def test_the_readme_shows_what_was_found() -> None:
    report = json.loads((ROOT / "bench" / "results" / "estimators.json").read_text(encoding="utf-8"))
    assert set(report["rows"]) == {row.name for row in table()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [line for line in command.markdown(report["rows"]) if line not in readme]
    assert not missing
    for row, found in report["scores"].items():
        assert found["chainrule"]["mean"] >= found["scikit-learn"]["mean"] - found["scikit-learn"]["standard_error"], row
