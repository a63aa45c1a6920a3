# SPDX-License-Identifier: MIT
"""The vendored BLAS is alone in the process: one thread, its own name, nobody else's settings touched, whatever is imported first."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

# Fits a network of products large enough for a BLAS to want threads, and prints its bits.
FIT = """
import hashlib, numpy as np
def bits():
    import chainrule as cr
    rng = np.random.default_rng(0)
    net = cr.Network([cr.Input(200), cr.Dense(300, "tanh"), cr.Dense(3)], seed=0)
    net.fit(rng.normal(size=(512, 200)), rng.normal(size=(512, 3)), loss="squared_error", optimizer=cr.SGD(0.01), epochs=2, batch_size=256,
            progress=False)
    return hashlib.sha256(np.ascontiguousarray(net.flat_parameters)).hexdigest()
"""
SCIPY = """
import scipy.linalg, threadpoolctl
def scipy_threads():
    return sorted((i["filepath"], i["num_threads"]) for i in threadpoolctl.threadpool_info() if "chainrule" not in i["filepath"])
"""


def python(code: str, **environment: str | None) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "GOTO_", "CHAINRULE_"))}
    env.update({k: v for k, v in environment.items() if v is not None})
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def plain_bits() -> str:
    return python(FIT + "print(bits())")


def test_import_starts_no_thread() -> None:
    code = """
import os, numpy
tasks = lambda: len(os.listdir("/proc/self/task"))
before = tasks()
import chainrule
assert tasks() == before, (tasks(), before)
"""
    python(code)
    python(code, OPENBLAS_NUM_THREADS="4", OMP_NUM_THREADS="4")


@pytest.mark.parametrize("threads", [None, "2", ""])
@pytest.mark.parametrize("isa", [None, "v1"])
def test_import_leaves_the_environment_alone(threads: str | None, isa: str | None) -> None:
    import chainrule

    if isa is not None and isa not in chainrule.build_info()["isa"]["available"]:
        pytest.skip(f"there is no {isa} here")
    code = """
import ctypes, os, numpy
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
names = b"OPENBLAS_NUM_THREADS", b"OPENBLAS_CORETYPE"
before, c_before = dict(os.environ), [getenv(n) for n in names]
import chainrule
assert dict(os.environ) == before
assert [getenv(n) for n in names] == c_before
"""
    python(code, OPENBLAS_NUM_THREADS=threads, CHAINRULE_ISA=isa)


def test_library_has_its_own_name() -> None:
    code = """
import scipy.linalg, chainrule, os
maps = {line.split()[-1] for line in open("/proc/self/maps") if "blas" in line}
ours = [m for m in maps if os.path.basename(m) == "libchainrule_blas.so"]
assert len(ours) == 1 and os.path.dirname(ours[0]) == os.path.dirname(chainrule.__file__), maps
"""
    pytest.importorskip("scipy")
    python(code)


@pytest.mark.parametrize("first", ["chainrule", "scipy", "sklearn"])
def test_scipy_keeps_its_threads(first: str, plain_bits: str) -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("sklearn")
    threads_alone = python(SCIPY + "print([n for _, n in scipy_threads()])", OPENBLAS_NUM_THREADS="2")
    assert "2" in threads_alone
    code = f"""
import {first}
{FIT}
{SCIPY}
import sklearn.linear_model
before = scipy_threads()
ours = bits()
assert scipy_threads() == before, (scipy_threads(), before)
assert all(n == 2 for path, n in before if "openblas" in path), before
print(ours)
"""
    assert python(code, OPENBLAS_NUM_THREADS="2") == plain_bits


def test_threadpoolctl_changes_no_bit(plain_bits: str) -> None:
    pytest.importorskip("threadpoolctl")
    code = f"""
{FIT}
import chainrule, threadpoolctl
for limit in (2, 1, None):
    with threadpoolctl.threadpool_limits(limit):
        print(bits())
"""
    assert python(code).split() == [plain_bits] * 3


def test_more_blas_threads_are_taken_back(plain_bits: str) -> None:
    """Whoever finds our copy and gives it threads: the next fit is sequential again."""
    code = f"""
{FIT}
import chainrule, ctypes, os
blas = ctypes.CDLL(os.path.join(os.path.dirname(chainrule.__file__), "libchainrule_blas.so"))
assert blas.scipy_openblas_get_num_threads() == 1
blas.scipy_openblas_set_num_threads(2)
assert blas.scipy_openblas_get_num_threads() == 2
print(bits())
assert blas.scipy_openblas_get_num_threads() == 1
"""
    assert python(code) == plain_bits


@pytest.mark.parametrize("isa", ["v9", "avx2", "v3 "])
def test_unknown_instruction_set(isa: str) -> None:
    code = """
try:
    import chainrule
except ValueError as error:
    print(error)
"""
    assert python(code, CHAINRULE_ISA=isa).startswith(f'CHAINRULE_ISA is "{isa}": this processor has ')


def test_instruction_set_in_use() -> None:
    import chainrule

    available = chainrule.build_info()["isa"]["available"]
    assert available
    for isa in available:
        code = "import chainrule; i = chainrule.build_info(); print(i['isa']['in_use'], i['blas']['core'])"
        in_use, core = python(code, CHAINRULE_ISA=isa).split()
        assert in_use == isa
        expected = {"v1": ("Prescott", "Katmai"), "v3": ("Haswell",), "v4": ("SkylakeX",)}  # Katmai: what OpenBLAS calls its Prescott kernels
        assert core in expected.get(isa, (core,))
    assert python("import chainrule; print(chainrule.build_info()['isa']['in_use'])") == available[-1]
