# SPDX-License-Identifier: MIT
"""Contract 20: memory of our own (RssAnon: resident minus file pages) while fitting and predicting, in processes of their own."""

from __future__ import annotations

import gc
import mmap
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apart
import chainrule as cr
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="RssAnon is Linux's")
MB = 2**20


def anonymous() -> int:
    """RssAnon of this process in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon here")


class Watch:
    """The largest growth of RssAnon while it runs, looked at every 2 ms from another thread: fit holds no GIL."""

    def __enter__(self) -> Watch:
        gc.collect()
        self.growth = 0
        self.looks = 0
        self._done = threading.Event()
        self._before = anonymous()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.002):
            self.growth = max(self.growth, anonymous() - self._before)
            self.looks += 1

    def __exit__(self, *_: object) -> None:
        self.growth = max(self.growth, anonymous() - self._before)
        self._done.set()
        self._thread.join()


def blocks_of(optimizer: Any) -> int:
    """Vectors that the optimizer keeps."""
    return {"SGD": 0, "RMSprop": 1, "Adam": 2}[type(optimizer).__name__]


OPTIMIZERS = {"sgd": cr.SGD(1e-3), "rmsprop": cr.RMSprop(1e-4), "adam": cr.Adam(1e-4)}


def wide(name: str) -> dict[str, float]:
    """7.5 million parameters (28.6 MB), so that one block too many is more than the 16 MB."""
    width, rows, batch = 2700, 192, 64
    net = cr.Network([cr.Input(100), cr.Dense(width, "relu"), cr.Dense(width, "relu"), cr.Dense(10, "softmax")])
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((rows, 100), dtype=np.float32), rng.integers(0, 10, rows)
    net.predict(X[:1])
    with Watch() as watch:
        net.fit(X, y, epochs=1, batch_size=batch, optimizer=OPTIMIZERS[name], validation=(X[:50], y[:50]))
    parameters = net.flat_parameters.nbytes
    workspace = 4 * batch * (100 + 2 * 2 * width + 2 * 10)  # a and delta of every layer, were none to share memory
    allowed = parameters * (2 + blocks_of(OPTIMIZERS[name])) + workspace + 16 * MB
    return {"growth": watch.growth / MB, "allowed": allowed / MB, "looks": watch.looks}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_takes_what_is_promised(optimizer: str) -> None:
    """parameters x (2 + optimizer's blocks) + workspace + 16 MB."""
    found = apart.run(wide, optimizer)
    print(found)
    assert found["looks"] > 5
    assert 0 < found["growth"] <= found["allowed"]


def mapped(folder: str) -> Any:
    """A sparse file of 8 GB, mapped: 524,288 rows of 4,096 float32. Its name is gone at once."""
    rows, columns = 2**19, 2**12
    path = Path(folder) / "x.bin"
    with open(path, "wb") as file:
        file.truncate(rows * columns * 4)
    assert os.stat(path).st_size == 8 * 2**30
    X = np.memmap(path, dtype=np.float32, mode="r", shape=(rows, columns))
    os.unlink(path)
    return X


def huge_file(folder: str, layout: str) -> dict[str, float]:
    """Trains on the file's shuffled rows until more has been gathered than may be kept."""
    X = mapped(folder)
    rows, columns = X.shape
    X._mmap.madvise(mmap.MADV_RANDOM)  # else the system reads megabytes around each row
    if layout == "columns":
        X = X[:, ::2]
    y = (np.arange(rows) % 3).astype(np.int64)
    net = cr.Network([cr.Input(X.shape[1]), cr.Dense(16, "tanh"), cr.Dense(3, "softmax")])
    net.predict(X[:1])
    workspace = 4 * (8 * net.flat_parameters.size + cr.num_threads() * 64 * (columns + 64))
    allowed = net.flat_parameters.nbytes * 3 + workspace + 16 * MB

    def gathered() -> int:
        return int(net._core.training_state().get("step", 0)) * 128 * X.shape[1] * 4

    def stop() -> None:
        end = time.monotonic() + 20
        while gathered() < 1.5 * allowed and time.monotonic() < end:
            time.sleep(0.05)
        net.stop()

    threading.Thread(target=stop).start()
    with Watch() as watch:
        history = net.fit(X, y, batch_size=128, epochs=1, optimizer=cr.SGD(0.01, momentum=0.9), shuffle=True)
    assert history.stopped == "stop"
    return {"growth": watch.growth / MB, "allowed": allowed / MB, "gathered": gathered() / MB}


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_a_file_larger_than_memory(tmp_path: Path, layout: str) -> None:
    """Rows are gathered from the map; its labels and its permutation take no copy either."""
    found = apart.run(huge_file, str(tmp_path), layout)
    print(found)
    assert found["gathered"] > found["allowed"]
    assert found["growth"] <= found["allowed"]


def huge_predict(folder: str) -> float:
    """Predicts the whole file, whose rows are all 0: each row of a is softmax(b)."""
    X = mapped(folder)
    net = cr.Network([cr.Input(X.shape[1]), cr.Dense(3, "softmax")])
    net.b[0][...] = np.log([0.5, 0.25, 0.25])
    net.predict(X[:1])
    with Watch() as watch:
        a = net.predict(X)
    assert a.shape == (len(X), 3)
    assert np.abs(a - [0.5, 0.25, 0.25]).max() < 1e-6
    return (watch.growth - a.nbytes) / MB


def test_predict_streams_a_file_larger_than_memory(tmp_path: Path) -> None:
    growth = apart.run(huge_predict, str(tmp_path), timeout=300)
    print(growth)
    assert growth <= 16


def many_rows() -> dict[str, float]:
    """The same training on 64 times as many rows; their labels or their permutation as int64 would be 32 MB."""
    growth = {}
    for rows in (2**16, 2**22):
        X = (np.arange(rows) % 2).astype(np.uint8)[:, None]
        y, weights = np.arange(rows) % 2, np.ones(rows, dtype=np.float32)
        net = cr.Network([cr.Input(1), cr.Dense(2, "softmax")])
        net.predict(X[:1])
        with Watch() as watch:
            net.fit(X, y, epochs=1, batch_size=1024, shuffle=True, optimizer="adam", sample_weight=weights)
        growth[str(rows)] = watch.growth / MB
    return growth


def test_nothing_grows_with_the_rows() -> None:
    """No copy of X, y or the weights, no list of the order."""
    growth = apart.run(many_rows)
    print(growth)
    few, many = growth.values()
    assert 0 <= few <= 16
    assert many <= few + 2


def no_copy() -> dict[str, float]:
    """X of several dtypes and strides in a full batch; as float32 it has 64 MB."""
    rows, columns = 32768, 512
    plain = np.ones((rows, columns), dtype=np.float32)
    y = np.arange(rows) % 2
    growth = {}
    for name, X in {
        "float32": plain,
        "float64": plain.astype(np.float64),
        "uint8": plain.astype(np.uint8),
        "columns": np.asfortranarray(plain),
        "spread": np.ones((rows, 2 * columns), dtype=np.float32)[:, ::2],
    }.items():
        net = cr.Network([cr.Input(columns), cr.Dense(8, "tanh"), cr.Dense(2, "softmax")])
        net.predict(X[:1])
        with Watch() as fit:
            net.fit(X, y, batch_size=None, epochs=1)
        with Watch() as predict:
            a = net.predict(X)
        assert a.shape == (rows, 2)
        growth[name] = max(fit.growth, predict.growth - a.nbytes) / MB
    return growth


def test_x_is_not_copied() -> None:
    """C-contiguous float32 is used where it lies; anything else is converted a chunk at a time."""
    growth = apart.run(no_copy)
    print(growth)
    assert len(growth) == 5
    assert all(more <= 16 for more in growth.values())


def sparse_rows() -> dict[str, float]:
    """1,000,000 x 2,000 numbers, of which each row has three; as float32 the matrix would have 8 GB. In order and shuffled, then predicted."""
    rows, width, each = 1_000_000, 2_000, 3
    indices = (np.arange(rows * each, dtype=np.int64) * 7919 % width).astype(np.int32)
    indptr = np.arange(rows + 1, dtype=np.int32) * each
    X = SimpleNamespace(format="csr", shape=(rows, width), data=np.ones(rows * each, dtype=np.float32), indices=indices, indptr=indptr)
    y = np.arange(rows) % 2
    growth = {}
    for way, first in (("as they are", []), ("made dense", [cr.Dropout(0.1)])):
        net = cr.Network([cr.Input(width), *first, cr.Dense(8, "tanh"), cr.Dense(2, "softmax")])
        with Watch() as watch:
            net.fit(X, y, batch_size=1000, epochs=1)
        growth[f"{way}: fit"] = watch.growth / MB
        with Watch() as watch:
            a = net.predict(X)
        growth[f"{way}: predict"] = (watch.growth - a.nbytes) / MB
        if not first:
            with Watch() as watch:
                net.fit(X, y, batch_size=None, epochs=1)
                net.loss_and_gradient(X, y)
            growth["full batch"] = watch.growth / MB
            with Watch() as watch:
                net.gradient(X, y)
            kept = rows * 4 * (3 * 8 + 3 * 2) + rows * 4 * (8 + 2) + rows * (each * (4 + 4) + 8)  # z, a, delta; delta for the user; X
            growth["gradient"] = (watch.growth - kept) / MB
    return growth


def test_sparse_rows_stay_sparse() -> None:
    """A first layer multiplies them as they are, anything else has a chunk of them made dense: nothing grows with their number."""
    growth = apart.run(sparse_rows, timeout=200)
    print(growth)
    assert len(growth) == 6
    assert all(more <= 16 for more in growth.values())


def divergence() -> float:
    """A full batch of 60,000 rows whose z and a would be 100 MB together diverges in its last row."""
    X = np.ones((60000, 20), dtype=np.float32)
    X[-1] = 3e38
    net = cr.Network([cr.Input(20), cr.Dense(100, "relu"), cr.Dense(100, "relu"), cr.Dense(1)])
    net.predict(X[:1])
    with Watch() as watch:
        try:
            net.fit(X, np.zeros(len(X)), batch_size=None, epochs=1)
        except cr.DivergenceError as error:
            layer = error.layer
    assert layer == "dense_1"
    return watch.growth / MB


def test_finding_out_where_it_diverged_takes_no_more() -> None:
    """The layer is looked for a block of rows at a time."""
    growth = apart.run(divergence)
    print(growth)
    assert growth <= 16


def many_calls() -> dict[str, float]:
    """Calls repeated, and what is left of each thousand."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((64, 20), dtype=np.float32), rng.integers(0, 3, 64)
    net = cr.Network([cr.Input(20), cr.Dense(30, "relu"), cr.Dropout(0.1), cr.Dense(3, "softmax")])

    def predict(times: int) -> None:
        row = X[:1]
        for _ in range(times):
            net.predict(row)

    def fit(times: int) -> None:
        for i in range(times):
            net.fit(X, y, epochs=1, validation=(X, y), optimizer=("sgd", "adam")[i % 2], penalty=cr.L2(1e-4))

    def build(times: int) -> None:
        for i in range(times):
            one = cr.Network([cr.Input(20), cr.Dense(200, "relu"), cr.Dense(3, "softmax")], seed=i)
            one.fit(X, y, epochs=1)
            one.gradient(X, y)
            one.forward(X)

    def fail(times: int) -> None:
        for _ in range(times):
            for call in (lambda: net.predict(X[:, :3]), lambda: net.fit(X, y[:3]), lambda: net.fit(X * np.nan, y), lambda: net.backward(y)):
                try:
                    call()
                except (ValueError, RuntimeError):
                    continue
                raise AssertionError("it was accepted")

    growth = {}
    for name, call, times in (("predict", predict, 100_000), ("fit", fit, 200), ("build", build, 200), ("fail", fail, 200)):
        call(times // 10)
        gc.collect()
        before = anonymous()
        call(times)
        gc.collect()
        growth[name] = (anonymous() - before) / MB
    return growth


def test_calls_leave_nothing_behind() -> None:
    """100,000 predictions of one row, 200 fits, 200 networks, 800 errors: less than 1 MB each."""
    growth = apart.run(many_calls)
    print(growth)
    assert set(growth) == {"predict", "fit", "build", "fail"}
    assert all(left < 1 for left in growth.values())
