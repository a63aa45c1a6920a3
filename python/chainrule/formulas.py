# SPDX-License-Identifier: MIT
"""`print(net)`: the network as formulas with its sizes, in the book's indices and in ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .graph import is_chain

if TYPE_CHECKING:
    from .structure import Structure

Row = tuple[str, str, str]


def describe(net: Structure, loss: str | None = None) -> str:
    """The formulas of a network, one line a step.

    A chain shows z^(k) = W^(k-1) a^(k-1) + w_0^(k-1), a^(k) = g^(k)(z^(k)) in the book's indices beside ours: a^(1)
    is `a[0]` and W^(1) is `W[0]`. Any other graph shows its nodes in order, h[i] being the value of node i.

    Parameters
    ----------
    net : Network
    loss : str, optional
        Shown below the formulas.
    """
    spec = net.spec
    shapes = [_shape(s) for s in net.node_shapes]
    chain = is_chain(spec) and all(n["layer"] not in _repeated(spec) for n in spec["nodes"])
    rows = _chain(net, spec, shapes) if chain else _graph(net, spec, shapes)
    total = sum(a.size for a in net.parameters.values())
    sizes = f" {'-'.join(_sizes(net, spec))}" if chain else f" of {len(spec['nodes'])} nodes"
    lines = [f"Network{sizes}, {net.dtype}, {total:,} parameters", "", *_align(rows)]
    if loss is not None:
        lines += ["", f"loss: {loss}"]
    return "\n".join(lines)


def _repeated(spec: dict[str, Any]) -> set[str]:
    names = [n["layer"] for n in spec["nodes"]]
    return {n for n in names if names.count(n) > 1}


def _shape(sample: Sequence[int | None]) -> str:
    """Shape of a batch: (n, 784); an open axis is T."""
    axes = ["n", *("T" if d is None or d < 0 else str(d) for d in sample)]
    return f"({', '.join(axes)})" if len(axes) > 1 else "(n,)"


def _sizes(net: Structure, spec: dict[str, Any]) -> list[str]:
    """n_1, ..., n_K: the input's and the outputs of the weighted transitions."""
    first = [d for d in net.node_shapes[0] if d is not None and d >= 0]
    sizes = [str(math.prod(first))]
    return sizes + [str(_layer(spec, n)["units"]) for n in spec["nodes"] if _layer(spec, n)["type"] == "dense"]


def _layer(spec: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = spec["layers"][node["layer"]]
    return layer


def _align(rows: Sequence[Row]) -> list[str]:
    """Columns padded to their widest entry."""
    left = max(len(r[0]) for r in rows)
    middle = max(len(r[1]) for r in rows)
    return [f"  {a:{left}}   {b:{middle}}   {c}".rstrip() for a, b, c in rows]


def _tensors(net: Structure, name: str, layer: dict[str, Any], called: dict[str, str]) -> str:
    """'W[0] (128, 64), b[0] (128,): 8,320' of a layer, `called` giving its tensors' names."""
    own = {k.removeprefix(f"{name}."): a for k, a in net.parameters.items() if k.startswith(f"{name}.")}
    if not own:
        return ""
    shown = ", ".join(f"{called.get(k, k)} ({', '.join(map(str, a.shape))}{',' if a.ndim == 1 else ''})" for k, a in own.items())
    frozen = "" if layer.get("trainable", True) else ", frozen"
    return f"{shown}: {sum(a.size for a in own.values()):,}{frozen}"


def _function(layer: dict[str, Any], x: str) -> str:
    """g(x) of an activation layer, its parameter included."""
    parameter = layer.get("parameter")
    return f"{layer['function']}({x}{'' if parameter is None else f', {parameter:g}'})"


def _chain(net: Structure, spec: dict[str, Any], shapes: list[str]) -> list[Row]:
    nodes = spec["nodes"]
    rows: list[Row] = [("a^(1) = x", "a[0] = x", shapes[0])]
    k = 0  # a[k] is the value so far
    for i, node in enumerate(nodes[1:], start=1):
        name, layer = node["layer"], _layer(spec, node)
        kind, a = layer["type"], f"a[{k}]"
        if kind == "dense":
            bias = layer.get("bias", True)
            book = f"z^({k + 2}) = W^({k + 1}) a^({k + 1})" + (f" + w_0^({k + 1})" if bias else "")
            ours = f"z[{k + 1}] = {a} @ W[{k}].T" + (f" + b[{k}]" if bias else "")
            rows.append((book, ours, _tensors(net, name, layer, {"W": f"W[{k}]", "b": f"b[{k}]"})))
            k += 1
            after = _layer(spec, nodes[i + 1])["type"] if i + 1 < len(nodes) else ""
            g = layer.get("activation") or "identity"
            if g == "identity" and after == "activation":
                continue  # the next layer is its g
            z_book, z = f"z^({k + 1})", f"z[{k}]"
            right = (z_book, z) if g == "identity" else (f"{g}({z_book})", f"{g}({z})")
            rows.append((f"a^({k + 1}) = {right[0]}", f"a[{k}] = {right[1]}", shapes[i]))
        elif kind == "activation":
            before = _layer(spec, nodes[i - 1])
            if before["type"] == "dense" and (before.get("activation") or "identity") == "identity":
                row = (
                    f"a^({k + 1}) = {_function(layer, f'z^({k + 1})')}",
                    f"a[{k}] = {_function(layer, f'z[{k}]')}",
                    shapes[i],
                )
            else:
                row = ("", f"{a} <- {_function(layer, a)}", shapes[i])
            rows.append(row)
        else:
            rows.append(("", f"{a} <- {_other(name, layer, [a])}", _note(layer, shapes[i])))
    return rows


def _graph(net: Structure, spec: dict[str, Any], shapes: list[str]) -> list[Row]:
    rows: list[Row] = []
    outputs, seen = spec["outputs"], set()
    for i, node in enumerate(spec["nodes"]):
        name, layer = node["layer"], _layer(spec, node)
        inputs = [f"h[{j}]" for j in node["inputs"]]
        if layer["type"] == "input":
            formula = name
        elif layer["type"] == "dense":
            formula = f"{inputs[0]} @ {name}.W.T" + (f" + {name}.b" if layer.get("bias", True) else "")
            g = layer.get("activation") or "identity"
            formula = formula if g == "identity" else f"{g}({formula})"
        elif layer["type"] == "activation":
            formula = _function(layer, inputs[0])
        else:
            formula = _other(name, layer, inputs)
        weights = "shared, see above" if name in seen and layer["type"] == "dense" else _tensors(net, name, layer, {})
        notes = [weights, "" if layer["type"] != "dropout" else "while training"]
        if i in outputs:
            notes.append("output" if len(outputs) == 1 else f"output {outputs.index(i)}")
        seen.add(name)
        rows.append((f"h[{i}] = {formula}", shapes[i], "; ".join(n for n in notes if n)))
    return rows


def _other(name: str, layer: dict[str, Any], inputs: list[str]) -> str:
    """Formula of a layer without weights; one that is not known here shows its type."""
    kind = layer["type"]
    if kind == "standardize":
        return f"({inputs[0]} - {name}.mean) / {name}.scale"
    if kind == "dropout":
        return f"dropout({inputs[0]}, {layer['rate']:g})"
    if kind == "add":
        return " + ".join(inputs)
    if kind == "multiply":
        return " * ".join(inputs)
    if kind == "concatenate":
        return f"concat({', '.join(inputs)})"
    return f"{kind}({', '.join(inputs)})"


def _note(layer: dict[str, Any], shape: str) -> str:
    return f"{shape} while training" if layer["type"] == "dropout" else shape
