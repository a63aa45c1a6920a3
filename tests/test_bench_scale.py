# SPDX-License-Identifier: MIT
"""The pictures of scale: the command resumes, refuses to mix, and draws what it measured; the published file holds every point of the picture."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.peers.rows import Row  # noqa: E402
from bench.peers.runner import PEERS  # noqa: E402
from bench.scale.panels import PANELS  # noqa: E402
from bench.scale.picture import LIMIT, LOOKS, draw  # noqa: E402

command = importlib.import_module("bench.scale.__main__")
OPTIONS = ["--peers", "chainrule", "--threads", "1", "--repeat", "2", "--shorter", "1000"]


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two panels with one small point each."""
    monkeypatch.setattr(command, "measure_peak", lambda cpus, threads, n, repeat: [100.0] * repeat)
    out = tmp_path / "results" / "scale.json"
    assert command.main(["--panel", "width", "depth", "--points", "16", *OPTIONS, "--out", str(out)]) == 0
    return out


def test_it_measures_and_draws(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(measured.read_text())
    assert {"date", "commit", "machine", "settings", "training", "versions"} <= set(report)
    assert "compiler" in report["versions"]["chainrule"]
    assert list(report["panels"]) == ["width", "depth"]
    point = report["panels"]["width"]["16"]
    assert {"date", "commit", "modified"} <= set(point)
    assert point["threads"] == 1
    assert point["sgemm_gflops"] == [100.0] * 4
    (line,) = point["rows"].values()
    assert (line["flop"], line["steps"]) == (Row.parse("train-64-16-16-10-b128").flop, 5)
    assert len(line["results"]["chainrule"]["samples_us"]) == 2
    assert measured.with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_it_goes_on_where_it_stopped(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(measured.read_text())["panels"]
    asked: list[int] = []
    monkeypatch.setattr(command, "measure", lambda panel, x, asked_, versions: asked.append(x) or first[panel.name]["16"])
    options = [*OPTIONS, "--out", str(measured)]
    assert command.main(["--panel", "depth", "--points", "4", "16", "2", *options]) == 0
    assert asked == [2, 4]
    panels = json.loads(measured.read_text())["panels"]
    assert list(panels["depth"]) == ["2", "4", "16"]
    assert panels["width"] == first["width"]
    assert command.main(["--panel", "depth", "--points", "16", "--again", *options]) == 0
    assert asked == [2, 4, 16]


@pytest.mark.parametrize(("key", "value"), [("machine", {"cpu": "another"}), ("settings", {"threads": 7}), ("product", 1)])
def test_points_of_other_machines_or_settings_are_not_mixed(measured: Path, key: str, value: Any) -> None:
    measured.write_text(json.dumps(json.loads(measured.read_text()) | {key: value}))
    with pytest.raises(SystemExit, match=rf"measured with {key} .*: choose another --out"):
        command.main(["--panel", "width", "--points", "32", *OPTIONS, "--out", str(measured)])


def test_points_of_another_build_are_not_mixed(measured: Path) -> None:
    report = json.loads(measured.read_text())
    report["versions"]["chainrule"]["compiler"] = "another"
    measured.write_text(json.dumps(report))
    with pytest.raises(SystemExit, match=r"chainrule: the file's points are of .*another"):
        command.main(["--panel", "width", "--points", "32", *OPTIONS, "--out", str(measured)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--panel", "width", "--points", "17"], "--points: width has 16, 32, 64"),
        (["--panel", "height"], "invalid choice: 'height'"),
        (["--panel", "threads", "--threads", "1"], "--panel threads needs --threads 2"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_a_competitor_without_a_time_is_named_in_the_picture(measured: Path) -> None:
    report = json.loads(measured.read_text())
    (line,) = report["panels"]["width"]["16"]["rows"].values()
    line["results"]["torch"] = {"status": "refused", "reason": "differs"}
    written = [text.get_text() for text in draw(report).axes[1].texts]
    assert any("PyTorch, eager refused: 16" in text for text in written)
    assert any("JAX, jit and scan not run: 16" in text for text in written)


@pytest.mark.parametrize("panel", PANELS.values(), ids=list(PANELS))
def test_every_point_has_rows_that_can_be_run(panel: Any) -> None:
    for x in panel.points:
        assert [row.name for row in panel.rows(x)] == list(panel.names(x))
        assert x in panel.rows(x)[0].sizes or x in (
            panel.rows(x)[0].batch,
            panel.rows(x)[0].rows,
            len(panel.rows(x)[0].sizes) - 2,
            panel.threads(x, 0),
        )


@pytest.mark.skipif(not command.OUT.parent.is_dir(), reason="the source archive has no results")
def test_the_published_picture_holds_every_point() -> None:
    """Of every panel and competitor; its times are those of the file, and the picture beside it is there."""
    report = json.loads(command.OUT.read_text(encoding="utf-8"))
    assert {"cpu", "features"} <= set(report["machine"])
    assert "compiler" in report["versions"]["chainrule"]
    assert command.OUT.with_suffix(".png").is_file()
    figure = draw(report)
    assert set(LOOKS) == set(PEERS) == set(report["versions"])
    for ax, panel in zip(figure.axes, PANELS.values(), strict=False):
        points = report["panels"][panel.name]
        assert [int(x) for x in points] == list(panel.points)
        for x in panel.points:
            point = points[str(x)]
            assert point["commit"]
            assert not point["modified"]
            assert tuple(point["rows"]) == panel.names(x)
            for line in point["rows"].values():
                for result in line["results"].values():
                    assert result["status"] == "ok", (panel.name, x, result)
                    assert len(result["samples_us"]) == report["settings"]["repeat"]
        curves = [line for line in ax.get_lines() if line.get_label() != LIMIT["label"]]
        assert len(curves) == len(PEERS) * len(panel.names(panel.points[0]))
        assert all(list(curve.get_xdata()) == list(panel.points) for curve in curves)
        ours = next(curve for curve in curves if curve.get_label() == LOOKS["chainrule"]["label"])
        row = panel.rows(panel.points[-1])[0]
        steps = row.rows // row.batch if row.rows else 1
        best = points[str(panel.points[-1])]["rows"][row.name]["results"]["chainrule"]["best_us"]
        assert ours.get_ydata()[-1] == pytest.approx(1e-6 * best * steps)
