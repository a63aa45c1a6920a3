# SPDX-License-Identifier: MIT
"""The machine: which CPUs and threads every process gets, how fast its BLAS is, and what the report says about it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def available_cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cpus: list[int]) -> None:
    """This process and all threads it will start. To be called before the first library that counts CPUs is imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def environment(threads: int) -> dict[str, str]:
    """Every library reads its number of threads from its own variable: OpenMP (PyTorch, scikit-learn), the BLASes, XLA (NPROC)."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")
    eigen = "true" if threads > 1 else "false"
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={eigen}",
        "JAX_PLATFORMS": "cpu",
    }


def sgemm_seconds(n: int, repeat: int) -> list[float]:
    """Times of C = A B, n^3, float32, by NumPy's BLAS in this process."""
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, n, n), dtype=np.float32)
    c = np.empty_like(a)
    np.matmul(a, b, out=c)
    rows = slice(0, 8)
    wanted = a[rows].astype(np.float64) @ b.astype(np.float64)
    if not np.abs(c[rows] - wanted).max() <= 1e-3 * n**0.5:
        raise RuntimeError("the BLAS's product is wrong")
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        np.matmul(a, b, out=c)
        seconds.append(time.perf_counter() - start)
    return seconds


def measure_peak(cpus: list[int], threads: int, n: int = 4096, repeat: int = 3) -> list[float]:
    """GFLOP/s of `repeat` products in a process of its own, pinned as the competitors are."""
    command = [sys.executable, "-m", "bench.peers.machine", json.dumps({"cpus": cpus, "n": n, "repeat": repeat})]
    done = subprocess.run(command, cwd=ROOT, env=environment(threads), stdout=subprocess.PIPE, text=True, check=True)
    return [2 * n**3 / s / 1e9 for s in json.loads(done.stdout)]


def git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit() -> dict[str, Any]:
    """The commit and whether the tree differs from it (results themselves aside); null outside a repository."""
    changes = git("status", "--porcelain", "--", ".", ":!bench/results")
    return {"commit": git("rev-parse", "HEAD"), "modified": None if changes is None else bool(changes)}


def describe() -> dict[str, Any]:
    """The processor and system, without the machine's name."""
    fields: dict[str, str] = {}
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    except OSError:
        pass
    flags = set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name") or platform.processor() or platform.machine(),
        "family_model": f"{fields.get('cpu family', '?')}/{fields.get('model', '?')}",
        "features": sorted(flags & {"avx", "avx2", "fma", "avx512f", "avx512_bf16", "amx_tile"}),
        "cpus": os.cpu_count(),
        "available_cpus": len(available_cpus()),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    pin(asked["cpus"])
    print(json.dumps(sgemm_seconds(asked["n"], asked["repeat"])))
