# SPDX-License-Identifier: MIT
"""The benchmarks refuse what is wrong: a competitor is timed only if its result is the reference's."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare import assert_close, central_difference

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.peers import __main__ as command  # noqa: E402
from bench.peers.images.rows import NAMES as IMAGES  # noqa: E402
from bench.peers.machine import available_cpus  # noqa: E402
from bench.peers.rows import NAMES, Refused, Row, Variant, forward, inputs, parse  # noqa: E402
from bench.peers.runner import PEERS, Judge, Settings, run_row  # noqa: E402
from bench.peers.train import task  # noqa: E402

SMALLEST = "train-20-64-64-3-b32"

# A float32 NumPy competitor; what is wrong with it is filled in.
COMPETITOR = """
import numpy as np
from bench.peers.rows import forward
from bench.peers.train.task import backward

class Competitor:
    def __init__(self, row, threads):
        self.alpha = row.alpha

    def prepare(self, inputs):
        self.inputs = inputs
        self.w = [x.copy() for pair in zip(inputs.W, inputs.b) for x in pair]
        self.v = [np.zeros_like(w) for w in self.w]

    def run(self):
        for _ in range(self.inputs.epochs):
            for i in self.inputs.starts:
                batch = slice(i, i + self.inputs.batch)
                w = [w.astype(np.float64) for w in self.w]
                g = backward(forward(self.inputs.X[batch], w[::2], w[1::2])[1], self.inputs.y[batch], w)
                for j in range(len(g)):
                    self.v[j] = (0.9 * self.v[j] - self.alpha * g[j]).astype(np.float32)
                    self.w[j] += {step}

    def result(self):
        return {result}
"""
RIGHT = {"step": "self.v[j]", "result": "self.w"}


def competitor(**parts: str) -> Any:
    space: dict[str, Any] = {}
    exec(COMPETITOR.format(**{**RIGHT, **parts}), space)
    return space["Competitor"]


def judged(make: Callable[[Row, int], Any], name: str, *, timed: bool = False) -> float:
    row = parse(name)
    judge = Judge(row, row.checked_steps if not timed else 40, timed=timed)
    found = make(row, 1)
    found.prepare(judge.inputs)
    found.run()
    return judge.error(found.result(), Variant())


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_reference_has_the_gradient_of_its_loss(classes: int, rng: np.random.Generator) -> None:
    sizes = (4, 5, classes)
    parameters = [rng.standard_normal(s) for m, n in pairwise(sizes) for s in ((n, m), (n,))]
    X, y = rng.standard_normal((6, 4)), rng.integers(0, max(classes, 2), 6)

    def loss(j: int, w: np.ndarray) -> float:
        changed = [w if i == j else p for i, p in enumerate(parameters)]
        a = forward(X, changed[::2], changed[1::2])[1][-1]
        p = np.where(y == 1, a[:, 0], 1 - a[:, 0]) if classes == 1 else a[np.arange(6), y]
        return float(-np.log(p).mean())

    for j, g in enumerate(task.backward(forward(X, parameters[::2], parameters[1::2])[1], y, parameters)):
        assert_close(g, central_difference(lambda w, j=j: loss(j, w), parameters[j]), 1e-6, atol=1e-8)


def test_only_a_z_at_the_kink_widens_the_tolerance() -> None:
    """One z of 8 x 16 within rounding of 0 gives 1 / 128; one that is far, and those of the output, give nothing."""
    z = np.ones((8, 16))
    assert task.kinks([z, z]) == 0
    z[3, 5] = 1e-8
    assert task.kinks([z]) == 1 / 128
    row = Row.parse(SMALLEST)
    judge = Judge(row, row.checked_steps, timed=False)
    assert task.tolerance(row, task.expected(row, judge.inputs, Variant()), False) == 1e-3


@pytest.mark.parametrize("name", [SMALLEST, SMALLEST + "-adam", "train-20-64-64-3-b1", "predict-64-128-10-b1", "predict-20-30-7-b65"])
def test_chainrule_agrees_with_the_reference(name: str) -> None:
    ours = importlib.import_module(f"bench.peers.{Row.parse(name).task}.ours")
    judged(ours.Competitor, name)
    judged(ours.Competitor, name, timed=True)


@pytest.mark.parametrize(
    "name",
    ["train-lenet-b3", "predict-lenet-b1", "train-residual-b2", "train-separable-b2", "train-pointwise-b2", "train-resnet-b2", "train-densenet-b2"],
)
def test_chainrule_agrees_with_the_reference_of_images(name: str) -> None:
    ours = importlib.import_module(f"bench.peers.{parse(name).task}.ours").Competitor
    judged(ours, name)

    class Lazy(ours):  # type: ignore[misc]
        def result(self) -> list[Any]:
            return [x * np.float32(0.99) for x in super().result()]

    with pytest.raises(Refused):
        judged(Lazy, name)


def test_pytorch_agrees_with_the_reference_of_images() -> None:
    pytest.importorskip("torch")
    for name in ("train-lenet-b3", "predict-lenet-b1", "train-residual-b2", "train-resnet-b2", "train-densenet-b2"):
        judged(importlib.import_module(f"bench.peers.{parse(name).task}.torch").Competitor, name)


def test_a_right_competitor_is_accepted() -> None:
    assert judged(competitor(), SMALLEST) < 5e-4


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": "0.9 * self.v[j] - np.float32(self.alpha) * g[j].astype(np.float32)"},  # Nesterov
        {"step": "0 if j == 5 else self.v[j]"},  # the last bias stays
        {"step": "1.01 * self.v[j]"},
        {"step": "-np.float32(self.alpha) * g[j].astype(np.float32)"},  # no momentum
        {"result": "[w * np.float32(np.nan) for w in self.w]"},
        {"result": "self.w[:-1]"},
        {"result": "[w.T for w in self.w]"},
        {"result": "[w.astype(np.float64) for w in self.w]"},
        {"result": "[x for pair in zip(self.inputs.W, self.inputs.b) for x in pair]"},  # not trained
    ],
    ids=lambda wrong: next(iter(wrong.values())),
)
def test_a_wrong_competitor_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(Refused):
        judged(competitor(**wrong), SMALLEST)


def test_work_left_out_of_the_timed_run_is_refused() -> None:
    class Idle(competitor()):  # type: ignore[misc]
        def run(self) -> None:
            if self.inputs.steps <= 5:
                super().run()

    judged(Idle, SMALLEST)
    with pytest.raises(Refused):
        judged(Idle, SMALLEST, timed=True)


def test_the_processes_report_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    (tmp_path / "bench_right.py").write_text(COMPETITOR.format(**RIGHT))
    (tmp_path / "bench_wrong.py").write_text(COMPETITOR.format(**{**RIGHT, "step": "1.1 * self.v[j]"}))
    (tmp_path / "bench_dying.py").write_text(COMPETITOR.format(**{**RIGHT, "result": "self.nothing"}))
    (tmp_path / "bench_absent.py").write_text("import a_package_that_is_not_there\n")
    row = Row.parse(SMALLEST)
    found = run_row(
        row,
        {
            "ours": ("bench.peers.train.ours", "chainrule"),
            **{name: (f"bench_{name}", "") for name in ("right", "wrong", "dying", "absent")},
        },
        Settings(tuple(available_cpus()[:1]), threads=1, repeat=2, shorter=1000),
    )
    assert {name: result["status"] for name, result in found.items()} == {
        "ours": "ok", "right": "ok", "wrong": "refused", "dying": "failed", "absent": "not installed",
    }  # fmt: skip
    assert "nothing" in found["dying"]["reason"]
    assert found["absent"]["reason"] == "a_package_that_is_not_there"
    for name in ("ours", "right"):
        result = found[name]
        assert len(result["samples_us"]) == 2
        assert 0 < result["best_us"] == min(result["samples_us"]) <= result["median_us"]
        assert result["gflops"] == pytest.approx(row.flop / result["best_us"] / 1e3)
    assert "best_us" not in found["wrong"]


def test_the_command_writes_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "measure_peak", lambda cpus, threads: [100.0])
    out = tmp_path / "results" / "peers.json"
    options = ["--peers", "chainrule", "--threads", "1", "--repeat", "1", "--shorter", "1000", "--out", str(out)]
    assert command.main(["--rows", "predict-64-128-10-b1", *options]) == 0
    report = json.loads(out.read_text())
    assert {"date", "commit", "machine", "versions", "sgemm_gflops", "rows", "settings"} <= set(report)
    assert "compiler" in report["versions"]["chainrule"]
    result = report["rows"]["predict-64-128-10-b1"]["results"]["chainrule"]
    assert result["status"] == "ok"
    assert result["ratio_best"] == 1.0
    assert result["share_of_sgemm"] == pytest.approx(result["gflops"] / 100)
    assert "| predict-64-128-10-b1 | " in capsys.readouterr().out


def test_a_row_is_its_name() -> None:
    assert [Row.parse(name).name for name in NAMES] == list(NAMES)
    # 2-3-2, batch 5: z 2*5*(6+6), dW the same, da of the hidden layer 2*5*6
    assert Row.parse("train-2-3-2-b5").flop == 120 + 120 + 60
    assert Row.parse("predict-2-3-2-b5").flop == 120
    assert [parse(name).name for name in NAMES + IMAGES] == list(NAMES + IMAGES)
    # 8 5 x 5 filters of 28 x 28 pixels, 16 of 14 x 14, 784-64-10; training without dx of the first
    first, rest = 784 * 25 * 8, 196 * 200 * 16 + 784 * 64 + 640
    assert parse("predict-lenet-b1").flop == 2 * (first + rest)
    assert parse("train-lenet-b64").flop == 128 * (2 * first + 3 * rest)
    for bad in (
        "train-20-b3",
        "train-lenet-b0",
        "train-nothing-b2",
        "fit-2-3-b1",
        "train-2-3-b0",
        "train-2-1-b4",
        "predict-2-3-b1-adam",
        "train-2-3-b1-adam2",
        "",
    ):
        with pytest.raises(ValueError, match="row"):
            parse(bad)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_its_competitors_and_fits_into_memory(name: str) -> None:
    row = Row.parse(name)
    for module, _ in PEERS.values():
        assert (ROOT / "bench" / "peers" / row.task / f"{module}.py").is_file()
    assert min(row.timed_steps * row.batch, max(100_000, row.batch)) * row.sizes[0] * 4 < 400e6


def test_the_data_are_the_same_every_time_and_hold_every_class() -> None:
    row = Row.parse("train-4-12-b5")
    first, second = inputs(row, row.checked_steps), inputs(row, row.checked_steps)
    assert first.X.tobytes() == second.X.tobytes()
    assert first.X.dtype == np.float32
    assert set(first.y) == set(range(12))
    assert len(first.X) == 5 * first.steps


def test_every_kernel_has_a_cpp_benchmark() -> None:
    contract = (ROOT / "csrc" / "kernels" / "kernels.h").read_text(encoding="utf-8").split("struct DeviceKernels")[0]  # those: bench/cuda
    benchmarks = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "bench" / "cpp").iterdir() if p.suffix in {".h", ".cpp"})
    kernels = [*re.findall(r"\(\*(\w+)\)\(", contract), *re.findall(r"\w+", *re.findall(r"UpdateKernel<T> ([\w, ]+);", contract))]
    assert {"forward", "gemm", "adam"} <= set(kernels)
    assert [k for k in kernels if not re.search(rf"[.]{k}\b", benchmarks)] == []
    assert "loss_rules<T>" in benchmarks  # all of them
