# SPDX-License-Identifier: MIT
"""tests/cuda/executed.json says what the tests execute of the device code, and what they notice: of these very sources, and all of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "cuda"))

import device_source as source
import mutation

RECORD = json.loads(source.RECORD.read_text(encoding="utf-8"))
HOW = "run tests/cuda/coverage.py and tests/cuda/mutation.py (docs/cuda.md)"


def test_no_file_is_missing() -> None:
    assert sorted(RECORD) == [path.name for path in source.files()], HOW


@pytest.mark.parametrize("path", source.files(), ids=lambda path: path.name)
def test_the_record_is_of_these_sources(path: Path) -> None:
    coverage, mutants = RECORD[path.name]["coverage"], RECORD[path.name]["mutation"]
    assert coverage["state"] == mutants["state"] == source.state(path), f"{path.name} has changed: {HOW}"
    assert mutants["mutants"] == len(source.sites(path)), HOW


@pytest.mark.parametrize("path", source.files(), ids=lambda path: path.name)
def test_every_line_is_executed_and_every_mutant_noticed(path: Path) -> None:
    coverage, mutants = RECORD[path.name]["coverage"], RECORD[path.name]["mutation"]
    assert 0 < coverage["lines"] <= len(source.device_lines(path.read_text(encoding="utf-8")))
    assert coverage["executed"] == {str(b): coverage["lines"] for b in source.BLOCKS}
    explained = sum(site.whole_line in mutation.EQUIVALENT for site in source.sites(path))
    assert mutants["caught"] + mutants["equivalent"] == mutants["mutants"]
    assert mutants["equivalent"] <= explained


def test_the_page_has_the_table() -> None:
    assert source.table(RECORD) in source.PAGE.read_text(encoding="utf-8")


def test_what_counts_as_device_code() -> None:
    """Bodies of kernels and of __device__ functions, but no comments, host code and declarations; barriers and comparisons in them."""
    text = """\
__device__ int declared(int);
inline int host(int a) { return a < 3; }  // __device__ {
CR_KERNEL(1024) kernel(int* p, int n) {
  // i < n
  for (int i = 0; i < n; ++i) {
    __syncthreads();
    if (i < 7) p[i] = 0;
  }
}
struct F {
  __device__ int operator()(int a) const { return a; }
};
"""
    assert source.device_lines(text) == {*range(3, 10), 11}
    begin, end = source.device_regions(text)[0]
    assert text[begin] == "{"
    assert text[end - 1] == "}"
    assert source.without_comments(text).count("\n") == text.count("\n")
    assert "i < n\n" not in source.without_comments(text)
