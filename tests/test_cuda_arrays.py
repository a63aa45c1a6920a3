# SPDX-License-Identifier: MIT
"""Arrays in and out by DLPack and __cuda_array_interface__: what lies on the network's card is used there, and what it predicts stays there."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path
from typing import Any

import cards
import chainrule as cr
import numpy as np
import pytest
from chainrule.device import DeviceArray

Array = np.ndarray[Any, np.dtype[Any]]


def there(values: Any, dtype: str = "float32") -> DeviceArray:
    """A copy of `values` in the card's memory: the parameters of a network that is made for it."""
    values = np.asarray(values, dtype)
    a = cr.Network([cr.Input(1), cr.Dense(values.size, bias=False)], dtype=dtype, device="cuda").flat_parameters
    a[...] = values.reshape(-1)
    return a.reshape(values.shape)


class Interface:
    """Somebody else's array, seen by __cuda_array_interface__ alone, as `changes` describe it."""

    def __init__(self, array: DeviceArray, **changes: Any) -> None:
        self.array, self.changes = array, changes

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self.array.__cuda_array_interface__, **self.changes}


class Lender:
    """Somebody else's array, seen by DLPack alone."""

    def __init__(self, array: DeviceArray, device: tuple[int, int] = (2, 0)) -> None:
        self.array, self.device, self.streams = array, device, list[int]()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, stream: int) -> Any:
        self.streams.append(stream)
        return self.array.__dlpack__(stream=stream)


WAYS = {"own": lambda a: a, "interface": Interface, "dlpack": Lender}


def network(device: str = "cuda", dtype: str = "float32") -> cr.Network:
    layers: list[cr.Layer] = [cr.Input(64), cr.Standardize(), cr.Dense(33, "relu"), cr.Dropout(0.2), cr.Dense(10, "softmax")]
    return cr.Network(layers, seed=3, dtype=dtype, device=device)


def digits(n: int = 200, dtype: str = "float32") -> tuple[Array, Array]:
    X, y = cr.datasets.load_digits()[:2]
    return (X[:n] / 16).astype(dtype), y[:n]


def bits(net: cr.Network) -> bytes:
    return np.asarray(net.flat_parameters).tobytes()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("way", WAYS)
def test_rows_on_the_card_are_rows(way: str, dtype: str) -> None:
    """Training, evaluation, gradients and prediction are those of the same rows in host memory, to the bit."""
    X, y = digits(dtype=dtype)
    foreign = WAYS[way](there(X, dtype))
    nets = [network(dtype=dtype) for _ in range(2)]
    found = []
    for net, rows in zip(nets, (X, foreign), strict=True):
        history = net.fit(rows, y, epochs=2, batch_size=64, validation=0.25, optimizer="adam")
        g = net.gradient(rows, y)
        found.append([history["loss"], history["validation_loss"], net.evaluate(rows, y), g.flat.tobytes(), net.forward(rows).tobytes()])
        found[-1].append(net.backward(np.ones((len(X), 10), dtype)).tobytes())
    assert found[0] == found[1]
    assert bits(nets[0]) == bits(nets[1])
    a = nets[1].predict(foreign)
    assert isinstance(a, DeviceArray)
    assert a.device == "cuda:0"
    assert np.asarray(a).tobytes() == nets[0].predict(X).tobytes()
    if isinstance(foreign, Lender):
        assert set(foreign.streams) == {net._core.stream for net in nets[1:]}


@pytest.mark.gpu
def test_they_are_not_copied() -> None:
    """What happens to them between two epochs is seen by the second."""
    X, y = digits()
    a = there(X)

    class Halve(cr.Callback):
        def on_epoch_end(self, net: cr.Network, epoch: int, record: dict[str, float]) -> None:
            a[...] = X / 2

    options: dict[str, Any] = {"batch_size": 64, "optimizer": cr.SGD(0.1, momentum=0.9)}
    net, other = network(), network()
    net.fit(a, y, epochs=2, callbacks=[Halve()], **options)
    for rows in (X, X / 2):
        other.fit(rows, y, epochs=1, **options)
    assert bits(net) == bits(other)


@pytest.mark.gpu
def test_targets_and_weights_may_lie_there_too() -> None:
    X, y = digits()
    s = np.linspace(0, 2, len(y)).astype(np.float32)
    labels = Interface(there(y.astype(np.int32).view(np.float32)), typestr="<i4")
    one_hot = np.eye(10, dtype=np.float32)[y]
    found = []
    for target, weight in [(y, s), (labels, there(s)), (one_hot, s), (there(one_hot), Lender(there(s)))]:
        net = network()
        net.fit(there(X), target, sample_weight=weight, epochs=2, batch_size=64)
        net.forward(X)
        net.backward(one_hot if weight is s else there(one_hot))
        found.append((bits(net), np.asarray(net.flat_gradients).tobytes()))
    assert found[0] == found[1]
    assert found[2] == found[3]


@pytest.mark.gpu
def test_several_inputs_in_both_places() -> None:
    a, b = cr.Input(64, name="a"), cr.Input((None, 2), name="b")
    h = cr.Dense(3, name="h")(b)
    net = cr.Network(inputs=[a, b], outputs=[cr.Dense(10, "softmax", name="p")(a), h], device="cuda")
    X, _ = digits(6)
    Z = np.arange(6 * 5 * 2, dtype=np.float32).reshape(6, 5, 2)
    p, q = net.predict((X, Z))
    for given in ((there(X), Z), (X, there(Z)), {"a": there(X), "b": Lender(there(Z))}):
        assert [np.asarray(v).tobytes() for v in net.predict(given)] == [p.tobytes(), q.tobytes()]
    outputs = net.predict((there(X), there(Z)))
    assert [(type(v), v.shape) for v in outputs] == [(DeviceArray, (6, 10)), (DeviceArray, (6, 5, 3))]


@pytest.mark.gpu
def test_what_was_predicted_outlives_the_network() -> None:
    X, _ = digits()
    net = network()
    net.adapt(X)
    expected = net.predict(X)
    a = net.predict(there(X))
    part = a[3:5]
    empty = net.predict(there(X)[:0])
    assert empty.shape == (0, 10)
    assert empty.__cuda_array_interface__["data"] == (0, False)
    before = sys.getrefcount(a._memory)
    capsules = [a.__dlpack__(), part.__dlpack__(max_version=(1, 0))]
    lent = sys.getrefcount(a._memory)
    del capsules, net
    gc.collect()
    after = sys.getrefcount(a._memory)
    assert (lent, after) == (before + 2, before)
    assert np.asarray(a).tobytes() == expected.tobytes()
    assert np.asarray(part).tobytes() == expected[3:5].tobytes()
    a[0] = 1
    assert np.asarray(a[0]).tolist() == [1] * 10
    copied = a.__dlpack__(dl_device=(1, 0))
    assert np.from_dlpack(_Capsule(copied)).tobytes() == np.asarray(a).tobytes()
    for wrong in ({"copy": True}, {"dl_device": (2, 1)}, {"dl_device": (1, 0), "copy": False}):
        with pytest.raises(BufferError, match="lent as it is, or copied to the host"):
            a.__dlpack__(**wrong)


class _Capsule:
    """What NumPy asks for one."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule


@pytest.mark.gpu
def test_what_cannot_be_used_there() -> None:
    X, y = digits(8)
    net, a = network(), there(X)
    net.adapt(X)
    before = bits(net)
    cases: list[tuple[Any, type[Exception], str]] = [
        (there(X, "float64"), TypeError, r"\[X\] is float64 on cuda:0: expected float32, the network's"),
        (Interface(a, typestr="<c8"), TypeError, r"\[X\] holds <c8 on cuda:0: expected bool, integers or floating-point numbers"),
        (Interface(a, typestr=">f4"), TypeError, r"\[X\] holds >f4 on cuda:0"),
        (Interface(a, mask=a), TypeError, r"\[X\] is a masked array"),
        (Interface(a, strides=(4, 256), shape=(64, 8)), ValueError, r"\[X\] lies on cuda:0 with strides \(1.0, 64.0\) \(in elements\)"),
        (Interface(a, data=(X.ctypes.data, False)), ValueError, r"\[X\] says that it lies on a CUDA device, but its memory is the host's"),
        (Lender(a, (2, 1)), ValueError, r"\[X\] lies on cuda:1, the network on cuda:0: move one of them \(net.to\('cuda:1'\)\)"),
        (a[:, :3], ValueError, r"\[input_1\] X has shape \(8, 3\): expected \(n, 64\)"),
        (a.reshape(-1), ValueError, r"\[input_1\] X has shape \(512,\): expected \(n, 64\)"),
        (there(3.0).reshape(()), ValueError, r"\[input_1\] X is a single number"),
    ]
    for x, error, message in cases:
        for call in (net.predict, net.forward, lambda x: net.fit(x, y), lambda x: net.evaluate(x, y)):
            with pytest.raises(error, match=message):
                call(x)
    bad = X.copy()
    bad[5, 3] = np.nan
    with pytest.raises(ValueError, match=r"\[X\] row 5 holds nan: expected finite numbers"):
        net.fit(there(bad), y)
    with pytest.raises(ValueError, match=r"\[y\] row 1 has the label 77"):
        net.fit(a, Interface(there(np.array([1, 77] * 4, np.int32).view(np.float32)), typestr="<i4"))
    with pytest.raises(ValueError, match=r"\[X\] lies on a CUDA device, the network on the CPU: move one of them"):
        network("cpu").fit(a, y)
    with pytest.raises(ValueError, match=r"\[y\] lies on a CUDA device, the network on the CPU"):
        network("cpu").fit(X, Lender(a))
    assert bits(net) == before
    assert net.predict(a).shape == (8, 10)


class Library(ctypes.Structure):
    """The begin of DeviceLibrary (csrc/kernels/device.h): for work that nobody has waited for, in a stream of somebody else's."""

    _fields_ = [
        ("numbers", ctypes.c_int * 2),
        ("words", ctypes.c_char_p * 2),
        ("capability", ctypes.c_int * 2),
        *((f"f{i}", ctypes.c_void_p) for i in range(24)),  # by the order of their declaration
    ]


@pytest.mark.gpu
def test_the_owners_work_comes_first() -> None:
    """The emulation's streams are lazy: rows that their owner has only asked for are not there until somebody waits for its stream."""
    if not cards.emulated():
        pytest.skip("needs lazy streams")
    handle = ctypes.CDLL(str(Path(os.environ["CHAINRULE_CUDA_FOLDER"]) / "libchainrule_cuda.so"))
    handle.chainrule_cuda_library.restype = ctypes.POINTER(Library)
    library = handle.chainrule_cuda_library(3).contents
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    create = ctypes.CFUNCTYPE(pointer, ctypes.c_int, ctypes.c_bool, pointer, pointer)(library.f3)
    allocate = ctypes.CFUNCTYPE(pointer, pointer, size)(library.f9)
    copy = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, size)(library.f16)
    stream_of = ctypes.CFUNCTYPE(pointer, pointer)(library.f23)
    context = create(0, False, ctypes.byref(ctypes.c_int()), bytes(512))
    X, _ = digits()
    net = network()
    net.adapt(X)
    expected = net.predict(X)
    rows, source, stream = allocate(context, X.nbytes), there(X), stream_of(context)
    copy(context, rows, source.__cuda_array_interface__["data"][0], X.nbytes)
    a = Interface(source, data=(rows, False), stream=stream)
    assert np.asarray(net.predict(a)).tobytes() == expected.tobytes()


def test_arrays_of_the_host_that_speak_dlpack() -> None:
    """PyTorch's tensors are arrays; so is whatever has nothing but DLPack."""
    X, y = digits()
    net = network("cpu")
    net.fit(X, y, epochs=1)
    expected = net.predict(X)

    class Lends:
        def __dlpack_device__(self) -> tuple[int, int]:
            return X.__dlpack_device__()

        def __dlpack__(self, **options: Any) -> Any:
            return X.__dlpack__(**options)

    assert net.predict(Lends()).tobytes() == expected.tobytes()
    torch = pytest.importorskip("torch")
    other = network("cpu")
    other.fit(torch.from_numpy(X), torch.from_numpy(y), epochs=1)
    assert bits(other) == bits(net)
    assert net.predict(torch.from_numpy(X)).tobytes() == expected.tobytes()
    assert net.predict(torch.from_numpy(X.astype(np.float64)).T.contiguous().T).tobytes() == expected.tobytes()
    with pytest.raises(TypeError, match="complex"):
        net.predict(torch.zeros(3, 64, dtype=torch.complex64))
