# SPDX-License-Identifier: MIT
"""``python -m chainrule cuda-check``: what the first person who has a card runs. Nothing is printed that was not measured in that run."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import chainrule as cr
from chainrule import _core
from chainrule.device import number, require_library

__all__ = ["run"]

Array = npt.NDArray[Any]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}  # contract 10: normwise, of one operation
WIDTHS, BATCHES = (784, 1024, 1024, 10), (128, 1024, 8192, 65536)  # of bench/cuda/predicted.md
SECONDS = {"tests": 300, "compute-sanitizer": 180}  # at most, so that with the rest it is under ten minutes


def run(device: str, out: Path, checkout: Path) -> int:
    """Look at the card, compare it with the CPU, run the tests of a checkout and time steps; write all of it to `out`.

    Returns 0 where all agrees, 1 where something differs or fails, 2 where there is no card.
    """
    report: dict[str, Any] = {"format": 1, "date": datetime.now(UTC).isoformat(timespec="seconds"), "chainrule": cr.__version__, "device": device}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the next lines say what it is
            if number(device) < 0:
                raise ValueError(f"[cuda-check] device is {device!r}: expected 'cuda' or 'cuda:1'")
            report["library"] = require_library(device)
            report["devices"] = _core.devices()
            cr.Network([cr.Input(1), cr.Dense(1)], device=device)
    except (RuntimeError, ValueError) as why:
        print(f"no card: {why}")
        return 2
    library = report["library"]
    print(f"library: {library['name']} {library['version']}, CUDA {library['toolkit']}")
    for found in report["devices"]:
        print(f"{found['device']}: {found['name']}, compute capability {'.'.join(map(str, found['capability']))}, {found['memory'] / 1e9:.1f} GB")

    print(f"\n| {'the card beside the CPU':34} | dtype   |  error  | allowed |       |\n|{'-' * 36}|---------|---------|---------|-------|")
    report["checks"] = []
    wrong = []
    try:
        for name, dtype, error, allowed in checks(device):
            passed = bool(error <= allowed)
            wrong += [] if passed else [f"{name} ({dtype})"]
            kept = error if math.isfinite(error) else str(error)  # JSON has no NaN
            report["checks"].append({"name": name, "dtype": dtype, "error": kept, "allowed": allowed, "passed": passed})
            print(f"| {name:34} | {dtype} | {error:7.1e} | {allowed:7.1e} | {'ok' if passed else 'WRONG'} |", flush=True)
        report["tests"] = tests(checkout)
        report["compute_sanitizer"] = sanitizer(device, library["emulated"])
        wrong += [f"{name} ({report[name]['last']})" for name in ("tests", "compute_sanitizer") if report[name].get("status", 0) != 0]
        report["steps"] = steps(device, library["emulated"], checkout)
    except (RuntimeError, ArithmeticError) as why:  # the card's own, or a training that diverges there: what was found before it is kept
        report["error"] = str(why)
        wrong.append(str(why))
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\nwritten: {out}\n{'WRONG: ' + ', '.join(wrong) if wrong else 'all of it agrees'}")
    return 1 if wrong else 0


# ---- the card beside the CPU -------------------------------------------------------------------------------------------------------------


def checks(device: str) -> Iterator[tuple[str, str, float, float]]:
    """(what, dtype, normwise error, allowed), one after the other."""
    rng = np.random.default_rng(0)
    for dtype, allowed in TOLERANCE.items():
        for activation in cr.activations():
            yield f"{activation['name']}, forward and backward", dtype, _layer(activation["name"], device, dtype, rng), allowed
        for loss in cr.losses.KNOWN:
            yield f"{loss}, L and dW", dtype, _loss(loss, device, dtype, rng), allowed
        for optimizer in cr.optim.KNOWN:
            yield f"{optimizer}, three steps", dtype, _steps(optimizer, device, dtype, rng), allowed
        yield "dropout masks", dtype, _masks(device, dtype), 0.0
        for name, error, limit in _training(device, dtype):
            yield name, dtype, error, limit


def _error(found: Any, wanted: Array) -> float:
    wanted = wanted.astype(np.float64)
    difference = float(np.linalg.norm(np.asarray(found).astype(np.float64) - wanted))
    return difference / max(float(np.linalg.norm(wanted)), 1e-300)


def _layer(activation: str, device: str, dtype: str, rng: np.random.Generator) -> float:
    """The largest error of a, dL/dx and dW of one layer, in ragged sizes."""
    errors = []
    for n, n_in, units in ((1, 1, 1), (7, 33, 17), (130, 65, 257)):
        x, da = rng.standard_normal((n, n_in)), rng.standard_normal((n, units))
        results = []
        for where in ("cpu", device):
            net = cr.Network([cr.Input(n_in), cr.Dense(units, activation)], seed=1, dtype=dtype, device=where)
            a = np.array(net.forward(x.astype(dtype)))
            dx = np.array(net.backward(da.astype(dtype)))
            results.append([a, dx, np.array(net.flat_gradients)])
        errors += [_error(found, wanted) for wanted, found in zip(*results, strict=True)]
    return float(np.max(errors))  # NaN if one is: Python's max would pass it over


def _loss(loss: str, device: str, dtype: str, rng: np.random.Generator) -> float:
    """The largest error of L and of the gradient behind the output that belongs to it, in widths that a row's kernels treat differently."""
    output = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}.get(loss, "identity")
    errors = []
    for n, units in ((7, 3), (130, 10), (33, 1000)):
        x, y = rng.standard_normal((n, 20)).astype(dtype), rng.dirichlet(np.ones(units), n).astype(dtype)
        cpu, card = (cr.Network([cr.Input(20), cr.Dense(units, output)], seed=1, dtype=dtype, device=where) for where in ("cpu", device))
        wanted, found = cpu.gradient(x, y, loss=loss), card.gradient(x, y, loss=loss)
        errors += [_error(found.loss, np.array(wanted.loss)), _error(found.flat, np.array(wanted.flat))]
    return float(np.max(errors))


def _steps(optimizer: str, device: str, dtype: str, rng: np.random.Generator) -> float:
    """The error of what three steps with a penalty add to the parameters."""
    x, da = rng.standard_normal((50, 65)).astype(dtype), rng.standard_normal((50, 33)).astype(dtype)
    results = []
    for where in ("cpu", device):
        net = cr.Network([cr.Input(65), cr.Dense(33)], seed=1, dtype=dtype, device=where)
        before = np.array(net.flat_parameters)
        rule = cr.SGD(0.1, momentum=0.9, nesterov=True) if optimizer == "sgd" else cr.optim.from_spec({"type": optimizer, "alpha": 0.1})
        for _ in range(3):
            net.forward(x, training=True)
            net.backward(da)
            rule.step(net, penalty=cr.ElasticNet(1e-3))
        results.append(np.array(net.flat_parameters) - before)
    return _error(results[1], results[0])


def _masks(device: str, dtype: str) -> float:
    """The share of the numbers that one side drops and the other does not."""
    masks = []
    for where in ("cpu", device):
        net = cr.Network([cr.Input(1000), cr.Dropout(0.3)], seed=5, dtype=dtype, device=where)
        masks.append(np.array(net.forward(np.ones((37, 1000), dtype), training=True)) != 0)
    return float((masks[0] != masks[1]).mean())


def _training(device: str, dtype: str) -> Iterator[tuple[str, float, float]]:
    """Five epochs on the digits with dropout, Adam and L2: on the CPU, and twice on the card."""
    X, y = cr.datasets.load_digits()
    X = (X / 16).astype(dtype)
    losses, weights, scores = [], [], []
    for where in ("cpu", device, device):
        net = cr.Network([cr.Input(64), cr.Dense(96, "relu"), cr.Dropout(0.2), cr.Dense(10, "softmax")], seed=3, dtype=dtype, device=where)
        losses.append(np.array(net.fit(X, y, optimizer=cr.Adam(0.003), penalty=cr.L2(1e-4), epochs=5, batch_size=100)["loss"]))
        weights.append(np.array(net.flat_parameters))
        scores.append(net.evaluate(X, y)["accuracy"])
    yield "training: losses of five epochs", float(np.abs(losses[1] / losses[0] - 1).max()), 1e-4
    yield "training: accuracy", abs(scores[1] - scores[0]), 1e-3
    yield "training again: bits that differ", float((weights[1] != weights[2]).mean()), 0.0


# ---- what else there is -------------------------------------------------------------------------------------------------------------------


def tests(checkout: Path) -> dict[str, Any]:
    """The tests marked `gpu` of a checkout, in a process of their own."""
    if not (checkout / "tests" / "test_cuda.py").is_file():
        print(f"\ntests: not run, there are none in {checkout} (--checkout names a copy of the repository)")
        return {"reason": "no checkout"}
    if importlib.util.find_spec("pytest") is None:
        print("\ntests: not run, pytest is not installed (pip install 'chainrule[test]')")
        return {"reason": "no pytest"}
    return _command("tests", [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"], checkout)


def sanitizer(device: str, emulated: bool) -> dict[str, Any]:
    """The comparison once more under NVIDIA's compute-sanitizer, where that is installed."""
    tool = shutil.which("compute-sanitizer")
    if emulated or tool is None:
        reason = "emulated, which checks by itself" if emulated else "not installed"
        print(f"compute-sanitizer: {reason}")
        return {"reason": reason}
    code = f"import chainrule.cuda_check as c; print([x for x in c.checks({device!r})])"
    return _command("compute-sanitizer", [tool, "--error-exitcode", "9", sys.executable, "-c", code], Path.cwd())


def _command(name: str, command: list[str], folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out:
        status, last = -1, ""
        try:
            child = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = child.wait(SECONDS[name])
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # what it began too, which would go on computing on the card
                child.wait()
        except subprocess.TimeoutExpired:
            last = f"stopped after {SECONDS[name]} s"
        except OSError as error:
            last = str(error)
        out.seek(0)
        said = out.read().strip()
    last = last or (said.splitlines() or [""])[-1]
    print(f"\n{name}: {last}")
    if status:
        print(said[-4000:])
    return {"status": status, "last": last, "seconds": round(time.perf_counter() - start, 1)}


def steps(device: str, emulated: bool, checkout: Path) -> list[dict[str, Any]]:
    """Seconds of a training step by size of its batch, beside what bench/cuda predicts for an H100 where there is a checkout."""
    if emulated:
        print("times: not measured, the card is emulated")
        return []
    predicted = _predicted(checkout)
    print(f"\n| {'-'.join(map(str, WIDTHS))}, batch | us a step | predicted for an H100, us |\n|---|---|---|")
    rows = []
    for batch in BATCHES:
        seconds = _step(device, batch)
        rows.append({"batch": batch, "seconds": seconds, "predicted": predicted.get(batch)})
        print(
            f"| {batch} | {1e6 * seconds:,.1f} | {1e6 * predicted[batch]:,.1f} |" if batch in predicted else f"| {batch} | {1e6 * seconds:,.1f} | |"
        )
    return rows


def _step(device: str, batch: int) -> float:
    """The best of three epochs over its number of steps: the loss is read at an epoch's end, so that a step waits for nothing."""
    count = max(2, 65536 // batch)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((count * batch, WIDTHS[0]), dtype=np.float32), rng.integers(0, WIDTHS[-1], count * batch)
    layers: list[cr.Layer] = [cr.Input(WIDTHS[0]), *(cr.Dense(n, "relu") for n in WIDTHS[1:-1]), cr.Dense(WIDTHS[-1], "softmax")]
    net = cr.Network(layers, seed=0, device=device)
    history = net.fit(X, y, optimizer=cr.SGD(1e-4, momentum=0.9), epochs=4, batch_size=batch, progress=False)
    return float(min(history.seconds[1:])) / count


def _predicted(checkout: Path) -> dict[int, float]:
    if not (checkout / "bench" / "cuda" / "predict.py").is_file():
        return {}
    sys.path.insert(0, str(checkout))
    try:
        predict = importlib.import_module("bench.cuda.predict")
        return {batch: predict.step_seconds(predict.H100, batch) for batch in BATCHES}
    finally:
        sys.path.remove(str(checkout))
