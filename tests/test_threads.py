# SPDX-License-Identifier: MIT
"""Promise 4 (contract 9): the same bits for any number of threads, any alignment and stride, whatever else runs."""

from __future__ import annotations

import copy
import ctypes
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apart
import chainrule as cr
import numpy as np
import pytest
import threadpoolctl
from by_threads import THREADS, bits, fits_with_all
from compare import assert_close
from graph_parts import CHUNKS_UP_TO

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = cr.num_threads()
    yield
    cr.set_num_threads(before)


def network(way: str, dtype: str = "float32", seed: int = 5) -> cr.Network:
    """76,000 parameters go by chunks, 230,000 by layers; both are enough for the optimizer's pass to take two threads."""
    width = 220 if way == "chunks" else 480
    layers = [cr.Input(100), cr.Dropout(0.1), cr.Dense(width, "relu"), cr.Dropout(0.4), cr.Dense(width, "tanh"), cr.Dense(10, "softmax")]
    return cr.Network(layers, seed=seed, dtype=dtype)


def data(dtype: str = "float32", n: int = 1300) -> tuple[Array, Array, Array]:
    """n rows, labels and weights; n is no multiple of a batch, a chunk or a tile."""
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 100)).astype(dtype), rng.integers(0, 10, n), rng.uniform(0.5, 2, n)


CASES: dict[str, tuple[Any, Any]] = {
    "sgd": (cr.SGD(0.1), None),
    "momentum": (cr.SGD(0.05, momentum=0.9), cr.L2(1e-4)),
    "nesterov": (cr.SGD(0.05, momentum=0.9, nesterov=True, clip_norm=0.5), [cr.L1(1e-5), cr.L2(1e-4, bias=True)]),
    "rmsprop": (cr.RMSprop(1e-3), cr.ElasticNet(1e-4, 0.5)),
    "adam": (cr.Adam(cr.schedules.WarmUp(1e-3, 5), clip_norm=0.1), cr.L2(1e-4, layers=["dense_2"], per_sample=True)),
    "adamw": (cr.AdamW(1e-3, lam=0.01), cr.L1(1e-4, proximal=True)),
}


@pytest.mark.parametrize(("dtype", "case"), [*(("float32", case) for case in CASES), ("float64", "nesterov"), ("float64", "adam")])
@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_threads_change_no_bit(way: str, dtype: str, case: str) -> None:
    """1, 2, 3 and 7 threads: one result. Dropout, weights, a penalty, a last batch that is shorter."""
    optimizer, penalty = CASES[case]
    X, y, s = data(dtype)
    found = set()
    for n_threads in THREADS:
        for net in fits_with_all(
            lambda: network(way, dtype),
            lambda net: net.fit(X, y, sample_weight=s, optimizer=optimizer, penalty=penalty, epochs=1, batch_size=900),
            n_threads,
        ):
            assert net.last_fit is not None
            found.add((bits(net), *net.last_fit["loss"]))
        assert np.isfinite(net.flat_parameters).all()
    assert len(found) == 1, found


@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_full_batch_and_validation(way: str) -> None:
    """A full batch above 2,048 rows goes through the layers in blocks; early stopping and validation see the same bits."""
    X, y, _ = data(n=2600)
    found = set()
    for n_threads in THREADS:
        for net in fits_with_all(
            lambda: network(way),
            lambda net: net.fit(X, y, optimizer=cr.Adam(1e-3), epochs=1, batch_size=None, validation=0.1, early_stopping=cr.EarlyStopping(3)),
            n_threads,
        ):
            assert net.last_fit is not None
            found.add((bits(net), *net.last_fit["loss"], *net.last_fit["validation_loss"]))
    assert len(found) == 1, found


def test_predictions_do_not_depend_on_threads(rng: np.random.Generator) -> None:
    """Every way to predict: few rows, many rows, small and wide networks; and gradients."""
    X, y, _ = data(n=1500)
    for way in ("chunks", "layers"):
        net = network(way)
        found = set()
        for n_threads in THREADS:
            cr.set_num_threads(n_threads)
            outputs = [net.predict(X[:n]).tobytes() for n in (1, 2, 65, 511, 700, 1500)]
            outputs += [net.gradient(X, y, training=True).flat.tobytes(), net.loss_and_gradient(X, y)[1].tobytes()]
            found.add((*outputs, repr(net.evaluate(X, y))))
        assert len(found) == 1


def digest_of_a_fit(way: str, dtype: str) -> str:
    """The bits of two epochs."""
    X, y, _ = data(dtype)
    net = network(way, dtype)
    net.fit(X, y, optimizer=cr.SGD(0.1, momentum=0.9), epochs=2, batch_size=512)
    return bits(net)


@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_same_seed_twice(way: str) -> None:
    """The same seed: the same bits, also in another process with another hash seed. Another seed: others."""
    first = digest_of_a_fit(way, "float32")
    assert digest_of_a_fit(way, "float32") == first
    assert apart.run(digest_of_a_fit, way, "float32", env={"PYTHONHASHSEED": "17", "CHAINRULE_NUM_THREADS": "3"}) == first
    X, y, _ = data()
    other = network(way, seed=6)
    other.flat_parameters[...] = network(way).flat_parameters
    other.fit(X, y, optimizer=cr.SGD(0.1, momentum=0.9), epochs=2, batch_size=512)
    assert bits(other) != first


def unaligned(x: Array) -> Array:
    """The same numbers one byte away from any alignment."""
    memory = np.empty(x.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(np.uint8)[: x.nbytes]
    view[:] = np.frombuffer(x.tobytes(), dtype=np.uint8)
    a: Array = np.ndarray(x.shape, x.dtype, buffer=memory, offset=1)
    assert not a.flags.aligned
    return a


def memory_mapped(x: Array, folder: Path) -> Array:
    """A file, read-only, whose data begin at an odd element."""
    path = folder / "x.bin"
    path.write_bytes(b"head" + x.tobytes())
    return np.memmap(path, dtype=x.dtype, mode="r", offset=4, shape=x.shape)


def spread(x: Array) -> Array:
    """Every second column of a wider array."""
    wide = np.zeros((len(x), 2 * x.shape[1]), dtype=x.dtype)
    wide[:, ::2] = x
    return wide[:, ::2]


def padded(x: Array) -> Array:
    """Rows that are contiguous, with a gap between them."""
    wide = np.zeros((len(x), x.shape[1] + 3), dtype=x.dtype)
    wide[:, 1:-2] = x
    return wide[:, 1:-2]


LAYOUTS: dict[str, Callable[[Array, Path], Array]] = {
    "unaligned": lambda x, _: unaligned(x),
    "memory-mapped": memory_mapped,
    "spread": lambda x, _: spread(x),
    "padded": lambda x, _: padded(x),
    "fortran": lambda x, _: np.asfortranarray(x),
    "backwards": lambda x, _: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "float64": lambda x, _: x.astype(np.float64),
    "big-endian": lambda x, _: x.astype(">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", ["chunks", "layers"])
def test_where_x_lies_changes_no_bit(tmp_path: Path, way: str, layout: str) -> None:
    """Any alignment, stride, byte order and file: the bits of the C-contiguous array. In order (rows are used in place) and shuffled (gathered)."""
    X, y, _ = data(n=700)
    other = LAYOUTS[layout](X, tmp_path)
    assert np.array_equal(other, X)
    for shuffle, batch in ((True, 300), (False, 300), (False, None)):
        options: dict[str, Any] = {"optimizer": cr.Adam(1e-3), "epochs": 1, "batch_size": batch, "shuffle": shuffle}
        plain, moved = network(way), network(way)
        plain.fit(X, y, **options)
        moved.fit(other, y[::-1].copy()[::-1], **options)
        assert bits(moved) == bits(plain)
    assert moved.predict(other).tobytes() == plain.predict(X).tobytes()
    assert moved.predict(other[5:6]).tobytes() == plain.predict(X[5:6]).tobytes()


def our_blas() -> ctypes.CDLL | None:
    """The vendored BLAS that is loaded, not another copy; None where the build took the system's."""
    found = list(Path(cr.__file__).parent.glob("libchainrule_blas*"))
    return ctypes.CDLL(str(found[0])) if found else None


def test_other_libraries_thread_limits_change_no_bit() -> None:
    """threadpool_limits(2) around fit; and whoever sets our own BLAS to two threads finds it back at one after the next call."""
    X, y, _ = data()

    def run() -> tuple[str, bytes, bytes]:
        net = network("layers")
        net.fit(X, y, optimizer=cr.SGD(0.1, momentum=0.9), epochs=1, batch_size=500)
        return bits(net), net.predict(X).tobytes(), net.gradient(X[:300], y[:300]).flat.tobytes()

    plain = run()
    with threadpoolctl.threadpool_limits(2):
        assert run() == plain
    blas = our_blas()
    if blas is None:
        return
    for call in (
        lambda: network("layers").fit(X, y, optimizer="sgd", epochs=1),
        lambda: network("layers").predict(X),
        lambda: network("layers").gradient(X[:300], y[:300]),
        lambda: network("layers").forward(X[:300]),
        lambda: network("layers").evaluate(X, y),
    ):
        blas.scipy_openblas_set_num_threads(2)
        call()
        assert blas.scipy_openblas_get_num_threads() == 1
    blas.scipy_openblas_set_num_threads(2)
    assert run() == plain


def fits_at_once() -> list[list[str]]:
    """Three fits at once share one pool, and the number of threads changes all the while: (bits alone, bits then)."""
    X, y, _ = data()
    ways = ("chunks", "layers", "chunks")

    def one(way: str) -> str:
        net = network(way)
        net.fit(X, y, optimizer=cr.Adam(1e-3), epochs=2, batch_size=500)
        net.evaluate(X, y)
        return bits(net) + f" {zlib.crc32(net.predict(X).tobytes()):08x}"

    cr.set_num_threads(2)
    expected = [one(way) for way in ways]
    found: dict[int, str] = {}

    def work(i: int) -> None:
        found[i] = one(ways[i])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(ways))]
    for worker in workers:
        worker.start()
    n = 0
    while any(worker.is_alive() for worker in workers):
        n += 1
        cr.set_num_threads((1, 5, 2, 9, 3)[n % 5])
        workers[0].join(0.001)
    return [expected, [found[i] for i in range(len(ways))]]


def test_what_else_runs_changes_no_bit() -> None:
    """In a process of its own: a thread without a workspace would not raise, it would write anywhere."""
    expected, found = apart.run(fits_at_once)
    assert found == expected


@pytest.mark.parametrize("targets", ["labels", "values"])
def test_losses_of_several_sizes_at_once(targets: str) -> None:
    """By layers a thread may be at the second loss while another is at the first: here the one that has a single row, in 65."""
    rng = np.random.default_rng(3)
    x = cr.Input((40, 6))
    net = cr.Network(inputs=x, outputs=[cr.Dense(30, "softmax")(x), cr.Dense(30, "softmax")(cr.Mean(1)(x))], seed=0)
    X, Y = rng.normal(size=(65, 40, 6)), [rng.integers(0, 30, (65, 40)), rng.integers(0, 30, 65)]
    if targets == "values":
        Y = [np.eye(30)[y] for y in Y]
    before, found = cr.num_threads(), []
    try:
        for threads in (1, 2):
            cr.set_num_threads(threads)
            found += [net.gradient(X, Y).loss for _ in range(40)]
    finally:
        cr.set_num_threads(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize(("rows", "chunks"), [(1, 1), (64, 1), (70, 1), (150, 2), (200, 2), (300, 4), (1000, 8), (3000, 24)])
def test_chunks_come_in_pairs(rows: int, chunks: int) -> None:
    """Even in number and size, so that two threads end together: of 200 rows neither has 128."""
    net = cr.Network([cr.Input(20), cr.Dense(50, "relu"), cr.Dense(3, "softmax")])
    history = net.fit(np.zeros((rows, 20), np.float32), np.zeros(rows, int), epochs=1, batch_size=rows)
    assert sum(history.chunks_by_thread) == chunks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_change_no_bit(dtype: str) -> None:
    """Batch norm's statistics too, and sums over rows that are cut for the threads."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(1001, 20, 8)).astype(dtype), rng.normal(size=(1001, 3)).astype(dtype)

    def make() -> cr.Network:
        norms = [cr.Dense(24), cr.BatchNorm(), cr.Activation("relu"), cr.GroupNorm(4), cr.Dense(24), cr.LayerNorm(), cr.RMSNorm()]
        return cr.Network([cr.Input((20, 8)), *norms, cr.Flatten(), cr.Dense(3)], seed=1, dtype=dtype)

    def fit(net: cr.Network) -> cr.History:
        return net.fit(x, y, loss="squared_error", optimizer=cr.Adam(0.01), epochs=2, batch_size=501)

    found = {
        bits(net) + bytes(np.concatenate([*net.state.values(), net.predict(x).ravel()])).hex()
        for n_threads in THREADS
        for net in fits_with_all(make, fit, n_threads)
    }
    assert len(found) == 1


@pytest.mark.parametrize("optimizer", [cr.SGD(0.05), cr.SGD(0.05, momentum=0.9), cr.Adam(1e-3)], ids=["sgd", "momentum", "adam"])
def test_a_short_last_batch_goes_the_other_way(optimizer: Any) -> None:
    """131,073 to 262,144 weights: 128 rows go by chunks, the 22 left over by layers. The same bits for any threads, and the steps' own formulas."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 300)), rng.integers(0, 4, 150)

    def start() -> cr.Network:
        return cr.Network([cr.Input(300), cr.Dense(500, "tanh"), cr.Dense(4, "softmax")], dtype="float64", seed=1)

    by_hand, stepper, found = start(), copy.deepcopy(optimizer), []
    assert 131072 < by_hand.flat_parameters.size <= CHUNKS_UP_TO
    for count in (1, 2, 3):
        cr.set_num_threads(count)
        net = start()
        net.fit(X, y, epochs=2, batch_size=128, optimizer=copy.deepcopy(optimizer), shuffle=False)
        found.append(net)
    assert len({bits(net) for net in found}) == 1
    for rows in [slice(0, 128), slice(128, 150)] * 2:
        dz = by_hand.forward(X[rows], training=True).copy()
        dz[range(len(dz)), y[rows]] -= 1
        by_hand.backward(dz=dz / len(dz))
        stepper.step(by_hand)
    assert_close(found[0].flat_parameters, by_hand.flat_parameters, 1e-10, atol=1e-12)
