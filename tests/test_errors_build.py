# SPDX-License-Identifier: MIT
"""Networks that cannot be built: the message names the layer or argument, what came and what was expected. Nothing here allocates much."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from refusal import chain, works


def build(*layers: Any, **options: Any) -> cr.Network:
    """A chain behind Input(3)."""
    return cr.Network([cr.Input(3), *layers], **options)


def graph(make: Callable[[cr.Input, cr.Input], Any]) -> cr.Network:
    """Two inputs (n, 3) and (n, 4, 2), named a and b."""
    a, b = cr.Input(3, name="a"), cr.Input((4, 2), name="b")
    return cr.Network(inputs=[a, b], outputs=make(a, b))


def lonely() -> cr.Network:
    """An output that reads an Input which is not listed."""
    a, b = cr.Input(3, name="a"), cr.Input(3, name="b")
    return cr.Network(inputs=a, outputs=a + b)


ARGUMENTS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    # Network
    (lambda: cr.Network(), ValueError, r"\[network\] expected either a list of layers, or inputs= and outputs="),
    (lambda: cr.Network([cr.Input(3)], inputs=cr.Input(3)), ValueError, r"\[network\] expected either a list"),
    (lambda: cr.Network(inputs=cr.Input(3)), ValueError, r"\[network\] a graph needs both inputs= and outputs="),
    (lambda: cr.Network(inputs=[], outputs=[]), ValueError, r"\[network\] expected at least one input and one output"),
    (lambda: cr.Network([]), ValueError, r"\[network\] the list of layers does not begin with an Input"),
    (lambda: cr.Network([cr.Dense(3)]), ValueError, r"does not begin with an Input"),
    (lambda: cr.Network(cr.Dense(3)), TypeError, r"\[network\] got Dense: expected a list of layers"),
    (lambda: cr.Network({1: 2}), TypeError, r"\[network\] got dict: expected a list of layers"),
    (lambda: cr.Network("dense"), TypeError, r"\[network\] got str in the list of layers: expected layers"),
    (lambda: build(5), TypeError, r"\[network\] got int in the list of layers: expected layers, such as cr.Dense\(10\)"),
    (lambda: build(cr.Dense), TypeError, r"\[network\] got type in the list of layers"),
    (lambda: build(cr.Input(3)), ValueError, r"\[network\] a chain has one Input, at its beginning"),
    (lambda: build(dtype="float16"), ValueError, r"\[network\] dtype is 'float16': expected 'float32' or 'float64'"),
    (lambda: build(dtype=complex), ValueError, r"\[network\] dtype is <class 'complex'>"),
    (lambda: build(dtype="single precision"), ValueError, r"\[network\] dtype is 'single precision'"),
    (lambda: build(seed=-1), ValueError, r"\[network\] seed is -1: expected 0 <= seed < 2\^64"),
    (lambda: build(seed=2**64), ValueError, r"\[network\] seed is 18446744073709551616"),
    (lambda: build(seed=1.5), TypeError, r"\[network\] seed is 1.5: expected an integer or None"),
    (lambda: build(device="tpu"), ValueError, r"\[network\] device is 'tpu': expected 'cpu', 'cuda' or 'cuda:1'"),
    (lambda: build(device=0), ValueError, r"\[network\] device is 0"),
    # layers
    (lambda: cr.Input(0), ValueError, r"\[input\] shape is 0: expected an integer >= 1"),
    (lambda: cr.Input(-2, name="x"), ValueError, r"\[x\] shape is -2"),
    (lambda: cr.Input(2.0), TypeError, r"\[input\] shape is 2.0: expected an integer"),
    (lambda: cr.Input("ab"), TypeError, r"\[input\] shape is 'a'"),
    (lambda: cr.Input(np.array([3, 4])), TypeError, r"\[input\] shape is array"),
    (lambda: cr.Network([cr.Input((None, None)), cr.Dense(1)]), ValueError, r"\[input_1\] shape is \(n, None, None\): expected at most one"),
    (lambda: cr.Dense(0), ValueError, r"\[dense\] units is 0: expected an integer >= 1"),
    (lambda: cr.Dense(3.0, name="h"), TypeError, r"\[h\] units is 3.0: expected an integer >= 1"),
    (lambda: cr.Dense(True), TypeError, r"\[dense\] units is True"),
    (lambda: cr.Dense(2**63), ValueError, r"\[dense\] units is 9223372036854775808: expected less than 2\^63"),
    (lambda: cr.Dense(np.ones(2)), TypeError, r"\[dense\] units is array"),
    (lambda: cr.Dense(3, np.tanh), TypeError, r"\[dense\] activation is <ufunc 'tanh'>: expected a name"),
    (lambda: build(cr.Dense(3, "rellu")), ValueError, r"\[dense_1\] unknown activation 'rellu': expected one of identity, .*softmax"),
    (lambda: build(cr.Dense(3, initializer="xavier")), ValueError, r"\[dense_1\] there is no initializer 'xavier': expected one of glorot_uniform"),
    (lambda: build(cr.Dense(3, initializer=3)), ValueError, r"\[dense_1\] initializer has the wrong type: expected a string"),
    (lambda: cr.Dense(3, bias="no"), TypeError, r"\[dense\] bias is 'no': expected True or False"),
    (lambda: cr.Dense(3, trainable=None), TypeError, r"\[dense\] trainable is None: expected True or False"),
    (lambda: cr.Dropout(1.0), ValueError, r"\[dropout\] rate is 1.0: expected 0 <= rate < 1"),
    (lambda: cr.Dropout(-0.1, name="d"), ValueError, r"\[d\] rate is -0.1"),
    (lambda: cr.Dropout(np.nan), ValueError, r"\[dropout\] rate is nan"),
    (lambda: cr.Dropout("0.5"), TypeError, r"\[dropout\] rate is '0.5': expected a number"),
    (lambda: cr.Activation("swishy"), None, ""),  # the core knows the names
    (lambda: build(cr.Activation("swishy")), ValueError, r"\[activation_1\] unknown activation 'swishy': expected one of identity"),
    (lambda: cr.Activation(3), TypeError, r"\[activation\] function is 3: expected a name"),
    (lambda: cr.Activation("elu", "one"), TypeError, r"\[activation\] parameter is 'one': expected a finite number"),
    (lambda: cr.Activation("elu", np.inf), ValueError, r"\[activation\] parameter is inf: expected a finite number"),
    (lambda: build(cr.Activation("tanh", 2.0)), ValueError, r"\[activation_1\] tanh takes no parameter"),
    (lambda: build(cr.Activation("softmax", 2.0)), ValueError, r"\[activation_1\] softmax takes no parameter"),
    (lambda: cr.Concatenate(1.0), TypeError, r"\[concatenate\] axis is 1.0: expected an integer"),
    (lambda: build(cr.Add()), ValueError, r"\[add_1\] got 1 inputs: expected at least 2"),
    (lambda: build(cr.Dense(3, name="h"), cr.Dense(3, name="h")), ValueError, r"two layers are called 'h': expected different names"),
    (lambda: build(cr.Dense(3, name="a.b")), ValueError, r"a layer is called 'a.b': expected a name without '.' and '/'"),
    (lambda: build(cr.Dense(3, name="")), ValueError, r"a layer is called ''"),
    (lambda: build(cr.Dense(3, name=7)), TypeError, r"a layer is called 7: expected a string or None"),
    # sizes
    (lambda: build(cr.Dense(2**62)), ValueError, r"\[dense_1\] .*4611686018427387904.*: expected fewer than 2\^48 elements"),
    (lambda: build(cr.Dense(2**47)), ValueError, r"\[dense_1\] W is \(140737488355328, 3\): expected fewer than 2\^48 elements"),
    (lambda: cr.Network([cr.Input((2**40, 2**40)), cr.Dense(1)]), ValueError, r"\[input_1\] makes values of shape .*: expected fewer than 2\^48"),
    (lambda: cr.Network([cr.Input((2**24, 3)), cr.Dense(2**30)]), ValueError, r"\[dense_1\] makes values of shape \(n, 16777216, 1073741824\)"),
    (lambda: build(cr.Dense(2**45)), MemoryError, r"\[dense_1\] W takes 422212 GB, all parameters together 562950 GB: that much memory is not"),
    # graphs
    (lonely, ValueError, r"\[b\] an output depends on an Input that is not among inputs=: nothing feeds it"),
    (lambda: graph(lambda a, b: cr.Dense(2)(a)), ValueError, r"\[b\] no output depends on this input"),
    (lambda: graph(lambda a, b: cr.Dense(2)), TypeError, r"\[outputs\] got Dense: expected a node"),
    (lambda: graph(lambda a, b: [a, None]), TypeError, r"\[outputs\] got NoneType: expected a node"),
    (lambda: graph(lambda a, b: a + 1), TypeError, r"\[add\] got int: expected a node"),
    (lambda: graph(lambda a, b: cr.Dense(2)()), ValueError, r"\[dense\] got no node: expected at least one"),
    (lambda: graph(lambda a, b: a(b)), TypeError, r"\[a\] an Input takes no nodes"),
    (lambda: graph(lambda a, b: cr.Dense(2)(a, b)), ValueError, r"\[dense_1\] got 2 inputs: expected 1"),
    (lambda: graph(lambda a, b: a + b), ValueError, r"\[add_1\] inputs of shape \(n, 3\) and \(n, 4, 2\) do not broadcast"),
    (lambda: graph(lambda a, b: a * b), ValueError, r"\[multiply_1\] inputs of shape \(n, 3\) and \(n, 4, 2\) do not broadcast"),
    (lambda: graph(lambda a, b: cr.concat(a, b)), ValueError, r"\[concatenate_1\] inputs of shape \(n, 3\) and \(n, 4, 2\) do not fit together"),
    (lambda: graph(lambda a, b: cr.concat(b, b, axis=0) + a), ValueError, r"\[concatenate_1\] axis is 0 .*: expected an axis after that"),
    (lambda: graph(lambda a, b: cr.concat(b, b, axis=3) + a), ValueError, r"\[concatenate_1\] axis is 3"),
    (lambda: graph(lambda a, b: cr.concat(b, b, axis=-3) + a), ValueError, r"\[concatenate_1\] axis is -3"),
    (lambda: graph(lambda a, b: cr.concat(a, 5)), TypeError, r"\[concatenate\] got int: expected a node"),
    (lambda: graph(lambda a, b: cr.concat()), ValueError, r"\[concatenate\] got no node"),
    (lambda: graph(lambda a, b: cr.concat(a) + b), ValueError, r"\[concatenate_1\] got 1 inputs: expected at least 2"),
    (lambda: cr.Network([cr.Input((None, 3)), cr.Flatten()]), ValueError, r"\[flatten_1\] input is \(n, None, 3\): expected known sizes"),
    (lambda: cr.Network([cr.Input((3, None)), cr.Dense(2)]), ValueError, r"\[dense_1\] input is \(n, 3, None\): expected a last axis of known size"),
    (lambda: cr.Network([cr.Input(()), cr.Dense(2)]), ValueError, r"\[dense_1\] input is \(n,\): expected a last axis of known size"),
    (lambda: cr.Network([cr.Input(()), cr.Activation("softmax")]), ValueError, r"\[activation_1\] softmax needs an axis to run over"),
    (lambda: cr.Network([cr.Input((3, None)), cr.Standardize()]), ValueError, r"\[standardize_1\] input is \(n, 3, None\)"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_arguments(make: Callable[[], Any], error: type[Exception] | None, message: str) -> None:
    if error is None:
        make()
        return
    with pytest.raises(error, match=message):
        make()


def test_an_input_is_listed_twice() -> None:
    a = cr.Input(3)
    with pytest.raises(ValueError, match="an input is listed twice"):
        cr.Network(inputs=[a, a], outputs=cr.Dense(2)(a))


def test_a_shared_layer_has_one_width() -> None:
    layer, a, b = cr.Dense(2, name="h"), cr.Input(3), cr.Input((4, 5))
    with pytest.raises(ValueError, match=r"\[h\] is shared by inputs of different width: \(n, 4, 5\) does not fit its W"):
        cr.Network(inputs=[a, b], outputs=[layer(a), layer(b)])


def altered(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The spec of a chain, changed."""
    spec = chain().spec
    change(spec)
    return spec


SPECS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda s: s["nodes"][1].update(inputs=[2]), r"\[dense_1\] node 1 takes node 2 as input: expected an earlier node \(a cycle"),
    (lambda s: s["nodes"][1].update(inputs=[1]), r"\[dense_1\] node 1 takes node 1 as input: .*cycle"),
    (lambda s: s["nodes"][1].update(inputs=[-1]), r"\[dense_1\] node 1 takes node -1"),
    (lambda s: s["nodes"][1].update(inputs=[2**40]), r"\[dense_1\] node 1 takes node 1099511627776"),
    (lambda s: s["nodes"][1].update(inputs=[2**70]), r"the spec holds something of another type"),
    (lambda s: s["nodes"][1].update(inputs=["0"]), r"the spec holds something of another type"),
    (lambda s: s["nodes"][1].update(inputs=[]), r"\[dense_1\] got 0 inputs: expected 1"),
    (lambda s: s["nodes"][1].update(layer="dense_9"), r"node 1 uses the layer 'dense_9', which does not exist"),
    (lambda s: s["nodes"].append({"layer": "dense_9", "inputs": [0]}), r"node 3 uses the layer 'dense_9'"),
    (lambda s: s["layers"].update(dense_9={"type": "dense", "units": 1}), r"\[dense_9\] is in the spec but no node uses it"),
    (lambda s: s["layers"]["dense_1"].update(type="conv9d"), r"\[dense_1\] unknown layer type 'conv9d': expected one of input, standardize, dense"),
    (lambda s: s["layers"]["dense_1"].update(units="4"), r"\[dense_1\] units has the wrong type: expected an integer"),
    (lambda s: s["layers"]["dense_1"].update(units=-4), r"\[dense_1\] units is -4: expected at least 1"),
    (lambda s: s["layers"]["dense_1"].update(units=2**70), r"the spec holds something of another type"),
    (lambda s: s["layers"]["dense_1"].update(units={}), r"\[dense_1\] the spec holds a dict"),
    (lambda s: s["layers"]["dense_1"].pop("units"), r"\[dense_1\] units is missing: expected an integer"),
    (lambda s: s["layers"]["input_1"].update(shape=[0]), r"\[input_1\] shape has an axis of size 0"),
    (lambda s: s["layers"]["input_1"].update(shape=["x"]), r"the spec holds something of another type"),
    (lambda s: s["layers"]["input_1"].update(type="flatten"), r"\[input_1\] got 0 inputs: expected 1"),
    (lambda s: s.update(inputs=[]), r"the network has no input"),
    (lambda s: s.update(inputs=[1]), r"\[input_1\] is an Input that is not among the network's inputs: nothing feeds it"),
    (lambda s: s.update(inputs=[0, 0]), r"\[input_1\] is listed as an input twice"),
    (lambda s: s.update(outputs=[]), r"the network has no output"),
    (lambda s: s.update(outputs=[7]), r"the network's output is node 7, which does not exist"),
    (lambda s: s.update(outputs=None), r"NoneType"),
    (lambda s: s.update(nodes=3), r"int"),
    (lambda s: s.update(layers=[1]), r"."),
    (lambda s: s.update(format=2), r"the spec has format 2: this version reads format 1"),
    (lambda s: s.update(format="1"), r"the spec holds something of another type"),
    (lambda s: s.pop("format"), r"the spec has no 'format'"),
    (lambda s: s.pop("nodes"), r"the spec has no 'nodes'"),
    (lambda s: s["nodes"][0].pop("layer"), r"the spec has no 'layer'"),
    (lambda s: s.clear(), r"the spec has no 'format'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), SPECS, ids=range(len(SPECS)))
def test_specs_made_by_hand(change: Callable[[dict[str, Any]], Any], message: str) -> None:
    """Through from_spec and through unpickling."""
    spec = altered(change)
    with pytest.raises((ValueError, TypeError), match=message):
        cr.Network.from_spec(spec)
    state = chain().__getstate__() | {"spec": spec}
    with pytest.raises((ValueError, TypeError), match=message):
        cr.Network.__new__(cr.Network).__setstate__(state)


def test_a_spec_is_a_dict() -> None:
    for spec in (None, [], "dense"):
        with pytest.raises(TypeError, match=r"\[network\] spec is a .*: expected a dict, as net.spec returns"):
            cr.Network.from_spec(spec)  # type: ignore[arg-type]
    good = cr.Network.from_spec(chain().spec)
    assert np.array_equal(good.flat_parameters, chain().flat_parameters)
    works(good)


def test_the_spec_cannot_be_changed_from_outside() -> None:
    """net.spec is a copy, and a layer that a network was made of may be used for another."""
    net = chain()
    net.spec["layers"]["dense_1"]["units"] = 99
    assert net.spec["layers"]["dense_1"]["units"] == 4
    layers = [cr.Input(3), cr.Dense(4), cr.Dense(2)]
    first, second = cr.Network(layers), cr.Network(layers, seed=1)
    first.W[0][...] = 0
    assert second.W[0].any()


def test_numpy_scalars_are_numbers_and_flags() -> None:
    """np.int64 sizes and axes, np.bool flags, np.float32 rates."""
    x = cr.Input((np.int64(2), np.int8(3)))
    h = cr.Dense(np.uint8(3), bias=np.bool_(False), trainable=np.bool_(True))(x)
    net = cr.Network(inputs=x, outputs=cr.Dropout(np.float32(0.25))(cr.concat(h, x, axis=np.int64(1))), seed=np.int64(4))
    assert list(net.parameters) == ["dense_1.W"]
    assert pickle.loads(pickle.dumps(net)).spec == copy.deepcopy(net).spec == net.spec
    assert net.spec["layers"]["dropout_1"]["rate"] == 0.25
