# SPDX-License-Identifier: MIT
"""What the kernels for a card should take (bench/cuda): the page is the model's, the model's launches are those of a real step, and what was not
measured is called that. CHAINRULE_CUDA_FOLDER: a build of the emulation with its tests (docs/cuda.md).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.cuda import __main__ as command  # noqa: E402
from bench.cuda import predict  # noqa: E402
from bench.cuda.costs import H100, KERNELS, Call, Card  # noqa: E402
from bench.cuda.step import training_step  # noqa: E402

FOLDER = os.environ.get("CHAINRULE_CUDA_FOLDER")
PROGRAM = Path(FOLDER or "nowhere") / "tests" / "cuda" / "cuda_time_kernels"
EMULATED = Card("emulated", 1.0, 1.0, 2, 2048, 1.0, 0.0)  # csrc/emulation/runtime.cpp: two processors


def program(test: Callable[..., None]) -> Callable[..., None]:
    """Needs the program of the emulation's tests."""
    return pytest.mark.gpu(pytest.mark.skipif(not PROGRAM.exists(), reason="cuda_time_kernels was not built")(test))


def test_the_page_is_the_models() -> None:
    assert predict.PAGE.read_text(encoding="utf-8") == predict.page(), "python -m bench.cuda.predict writes it"


def test_the_program_times_what_has_a_cost() -> None:
    source = (ROOT / "bench" / "cuda" / "time_kernels.cu").read_text(encoding="utf-8")
    assert set(re.findall(r'all\["(\w+)"\]', source)) == {name for name in KERNELS if not name.startswith("copy_")}


def test_costs_by_hand() -> None:
    """A layer of 2 to 3 units at batch 5: numbers in and out, counted one by one."""
    forward, bias, update = Call("gemm", (5, 3, 2)), Call("bias_relu", (5, 3)), Call("adam", (9,))
    assert (forward.bytes, forward.operations) == (4 * (10 + 6 + 15), 5 * 3 * 2 * 2)
    assert bias.bytes == 4 * (15 + 15 + 3)
    assert update.bytes == 4 * 9 * (4 + 3)  # w, g, m, v in and w, m, v out
    assert forward.floor(H100) == pytest.approx(124 / 3e12)
    assert Call("gemm", (8192, 8192, 8192)).floor(H100) == pytest.approx(2 * 8192**3 / 67e12)
    # 4096 tiles in 32 waves of 132 processors, the last one not full; one tile whose k is cut into four parts
    assert Call("gemm", (4096, 4096, 256)).work(H100) == pytest.approx(32 * 132 / 4096 * 2 * 4096**2 * 256 / 67e12)
    assert Call("gemm", (64, 64, 1024)).work(H100) == pytest.approx(2 * 64 * 64 * 256 / (67e12 / 132))
    # forward, gradient of W, gradient of a: the first layer has no third
    products = [c.operations for c in training_step((784, 1024, 1024, 10), 128) if c.kernel == "gemm"]
    assert sum(products) == 2 * 128 * 1024 * (2 * 784 + 3 * 1024 + 3 * 10)


@pytest.mark.gpu
@pytest.mark.parametrize("batch", [4, 70, 600, 5000])
@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_launches_are_those_of_a_step(batch: int, optimizer: str) -> None:
    widths = (5, 33, 40, 10)
    layers = [cr.Input(5), cr.Dense(33, "relu"), cr.Dense(40, "relu"), cr.Dense(10, "softmax")]
    net: Any = cr.Network(layers, seed=1, device="cuda")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2 * batch, 5), dtype=np.float32), rng.integers(0, 10, 2 * batch)
    rule = cr.SGD(1e-3, momentum=0.9) if optimizer == "momentum" else cr.Adam(1e-3)
    before = net._core.launches
    net.fit(X, y, optimizer=rule, batch_size=batch, epochs=2)
    steps = 4
    assert net._core.launches - before == steps * sum(c.launches(EMULATED) for c in training_step(widths, batch, optimizer=optimizer))


@program
def test_every_kernel_is_called_and_none_measured() -> None:
    """The program's own small sizes: its launches are the model's."""
    done = subprocess.run([str(PROGRAM), "smoke"], capture_output=True, text=True, check=True)
    answers = re.findall(r"^(\w+)((?: \d+)*) launches (\d+) seconds not measured$", done.stdout, re.MULTILINE)
    assert {name for name, *_ in answers} == {name for name in KERNELS if not name.startswith("copy_")}
    assert len(answers) == len(done.stdout.splitlines()) - 1
    for name, sizes, launches in answers:
        assert Call(name, tuple(map(int, sizes.split()))).launches(EMULATED) == int(launches), name


@program
def test_the_command_says_what_it_did_not_measure(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command.main([str(PROGRAM), "--kernels", "column_sum", "softmax_cross_entropy", "--shape", "3000", "10", "--out", str(out)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(re.search(r"3000 x 10 +2 +\S+ +not measured$", line) for line in lines[2:])
    assert '"measured": []' in out.read_text()
