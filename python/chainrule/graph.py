# SPDX-License-Identifier: MIT
"""Nodes: uses of layers, joined by calls, ``+``, ``*`` and ``concat``; and how they become a spec."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chainrule.layers import Input, Layer

__all__ = ["TRANSPOSED", "WEIGHTED", "Node", "call", "chain_spec", "graph_spec", "is_chain"]

#: Types of the layers that are weighted transitions, z = W a + b: they have a W, and an activation of their own.
WEIGHTED = ("dense", "conv1d", "conv2d", "conv_transpose2d")
#: Those of them with z = W^T * a + b.
TRANSPOSED = ("conv_transpose2d",)


class Node:
    """The value that one use of a layer makes. ``a + b``, ``a * b`` and layers called on nodes make further ones."""

    __slots__ = ("__weakref__", "inputs", "layer")

    def __init__(self, layer: Layer, inputs: tuple[Node, ...]) -> None:
        self.layer = layer
        self.inputs = inputs

    def __add__(self, other: Node | Input) -> Node:
        from chainrule.layers import Add

        return call(Add(), (self, other))

    def __mul__(self, other: Node | Input) -> Node:
        from chainrule.layers import Multiply

        return call(Multiply(), (self, other))

    def __repr__(self) -> str:
        return f"<node of {self.layer!r}>"


def as_node(value: Any, who: str) -> Node:
    """Return a node from a node or an Input; TypeError otherwise."""
    from chainrule.layers import Input

    if isinstance(value, Node):
        return value
    if isinstance(value, Input):
        return value.node
    raise TypeError(f"[{who}] got {type(value).__name__}: expected a node (an Input, or what a layer returned)")


def call(layer: Layer, nodes: Iterable[Any]) -> Node:
    """Use a layer on nodes."""
    from chainrule.layers import Input

    who = layer.name or layer.type
    if isinstance(layer, Input):
        raise TypeError(f"[{who}] an Input takes no nodes: use it as a node")
    inputs = tuple(as_node(n, who) for n in nodes)
    if not inputs:
        raise ValueError(f"[{who}] got no node: expected at least one")
    return Node(layer, inputs)


def _names(layers: Sequence[Layer]) -> dict[Layer, str]:
    """Give every layer a name of its own: its own, or type_1, type_2, ... in order of first use."""
    taken = [layer.name for layer in layers if layer.name is not None]
    for name in taken:
        if not isinstance(name, str):
            raise TypeError(f"a layer is called {name!r}: expected a string or None")
        if taken.count(name) > 1:
            raise ValueError(f"two layers are called {name!r}: expected different names")
        if "." in name or "/" in name or not name:
            raise ValueError(f"a layer is called {name!r}: expected a name without '.' and '/'")
    counts: dict[str, int] = {}
    names: dict[Layer, str] = {}
    for layer in layers:
        if layer.name is not None:
            names[layer] = layer.name
            continue
        while True:
            counts[layer.type] = counts.get(layer.type, 0) + 1
            candidate = f"{layer.type}_{counts[layer.type]}"
            if candidate not in taken:
                break
        names[layer] = candidate
    return names


def _spec(nodes: Sequence[Node], inputs: Sequence[Node], outputs: Sequence[Node]) -> dict[str, Any]:
    names = _names(list(dict.fromkeys(n.layer for n in nodes)))
    index = {node: i for i, node in enumerate(nodes)}
    return {
        "format": 1,
        "layers": {name: layer.spec() for layer, name in names.items()},
        "nodes": [{"layer": names[n.layer], "inputs": [index[i] for i in n.inputs]} for n in nodes],
        "inputs": [index[n] for n in inputs],
        "outputs": [index[n] for n in outputs],
    }


def chain_spec(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return the spec of a list of layers, each fed by the one before."""
    from chainrule.layers import Input, Layer

    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"[network] got {type(layer).__name__} in the list of layers: expected layers, such as cr.Dense(10)")
    if not layers or not isinstance(layers[0], Input):
        raise ValueError("[network] the list of layers does not begin with an Input")
    node = layers[0].node
    nodes = [node]
    for layer in layers[1:]:
        if isinstance(layer, Input):
            raise ValueError("[network] a chain has one Input, at its beginning: build a graph with inputs= and outputs=")
        node = call(layer, [node])
        nodes.append(node)
    return _spec(nodes, nodes[:1], nodes[-1:])


def graph_spec(inputs: Sequence[Any], outputs: Sequence[Any]) -> dict[str, Any]:
    """Return the spec of the graph that leads from inputs to outputs, in topological order."""
    first = [as_node(n, "inputs") for n in inputs]
    last = [as_node(n, "outputs") for n in outputs]
    if not first or not last:
        raise ValueError("[network] expected at least one input and one output")
    if len(set(first)) != len(first):
        raise ValueError("[network] an input is listed twice")
    order: list[Node] = []
    done: set[Node] = set()
    for output in last:
        stack: list[tuple[Node, bool]] = [(output, False)]
        while stack:
            node, ready = stack.pop()
            if node in done:
                continue
            if ready:
                done.add(node)
                order.append(node)
            else:
                stack.append((node, True))
                stack.extend((i, False) for i in reversed(node.inputs))
    for node in first:
        if node not in done:
            raise ValueError(f"[{node.layer.name or 'input'}] no output depends on this input")
    for node in order:
        if not node.inputs and node not in first:
            raise ValueError(f"[{node.layer.name or node.layer.type}] an output depends on an Input that is not among inputs=: nothing feeds it")
    return _spec(order, first, last)


def is_chain(spec: dict[str, Any]) -> bool:
    """Whether the spec is one Input followed by layers that each feed the next."""
    nodes = spec["nodes"]
    return (
        spec["inputs"] == [0]
        and spec["outputs"] == [len(nodes) - 1]
        and all(node["inputs"] == ([i - 1] if i else []) for i, node in enumerate(nodes))
    )
