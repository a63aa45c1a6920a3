# SPDX-License-Identifier: MIT
"""The kernels compiled by nvcc: no local memory, loads of 16 bytes, and docs/cuda.md says what they take. All of them: python tests/cuda/nvcc.py."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cuda"))
pytestmark = pytest.mark.skipif(not (ROOT / "csrc").is_dir(), reason="the tests run without their source tree")

import nvcc  # noqa: E402

LOG = """ptxas info    : Compiling entry function '_ZN9chainrule4cuda1xE' for 'sm_90'
ptxas info    : Function properties for _ZN9chainrule4cuda1xE
    {} bytes stack frame, {} bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 256 bytes smem
"""


def rows() -> list[str]:
    page = nvcc.PAGE.read_text(encoding="utf-8")
    return page.split("<!-- tests/cuda/nvcc.py -->\n")[1].split("<!-- end -->")[0].splitlines()[2:]


def test_the_table_has_every_kernel() -> None:
    named = {tuple(re.split(r" \| |, ", row.strip("| "))[:2]) for row in rows()}
    for path in sorted(nvcc.KERNELS.glob("*.cu")):
        for kernel in re.findall(r"^CR_KERNEL\(.+\) (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert (path.name, kernel) in named, "python tests/cuda/nvcc.py --write"
    assert all(row.split(" | ")[4] == "0" for row in rows())


@pytest.mark.parametrize(("stack", "stores", "load", "expected"), [(0, 0, "v4.f32", []), (8, 0, "v4.f32", ["local"]), (0, 4, "v4.f32", ["local"])])
def test_spills_are_found(stack: int, stores: int, load: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvcc, "demangle", lambda names: ["void chainrule::cuda::dropout_kernel<float>(long)" for _ in names])
    ptx = f".visible .entry _ZN9chainrule4cuda1xE(\n)\n{{\n ld.global.{load} {{%f1}}, [%rd1];\n}}\n"
    uses = nvcc.parse(LOG.format(stack, stores), {90: ptx})
    assert [(u.kernel, u.registers, u.shared) for u in uses] == [("dropout_kernel<float>", 40, 256)]
    assert [word for word in ("local", "16 bytes") if any(word in fault for fault in nvcc.faults(uses))] == expected


def test_narrow_loads_are_found() -> None:
    narrow = nvcc.Use(90, "each_kernel<float, Add<float> >", 32, 0, 0, False)
    assert "no load of 16 bytes" in nvcc.faults([narrow])[0]
    assert not nvcc.faults([nvcc.Use(90, "gather_kernel<1, float>", 32, 0, 0, False), nvcc.Use(90, "column_kernel<float>", 32, 0, 0, False)])


@pytest.mark.skipif(not shutil.which("nvcc"), reason="there is no nvcc on the PATH")
@pytest.mark.parametrize("file", ["dropout.cu", "gather.cu"])
def test_two_files_are_what_the_table_says(file: str) -> None:
    """For sm_90 alone, the last of the table's numbers of registers: each architecture takes its time."""
    uses = nvcc.compile_file(nvcc.KERNELS / file, [90])
    assert not nvcc.faults(uses)
    assert {u.architecture for u in uses} == {90}
    if nvcc.release() in nvcc.PAGE.read_text(encoding="utf-8"):  # another one allocates other registers
        assert nvcc.table({file: uses})[2:] == [re.sub(r"\d+, \d+, (\d+)", r"\1", row) for row in rows() if row.startswith(f"| {file} ")]
