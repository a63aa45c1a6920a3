# SPDX-License-Identifier: MIT
"""The network as formulas with its sizes: `print(net)` in the book's indices and in ours, LaTeX in the book's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .graph import TRANSPOSED, WEIGHTED, is_chain

if TYPE_CHECKING:
    from .structure import Structure

Row = tuple[str, str, str]
DROPS = ("dropout", "stochastic_depth")  # what happens while training alone


def describe(net: Structure, loss: str | None = None, format: str = "text") -> str:
    """The formulas of a network, one line a step.

    A chain shows z^(k) = W^(k-1) a^(k-1) + w_0^(k-1), a^(k) = g^(k)(z^(k)) in the book's indices beside ours: a^(1)
    is `a[0]` and W^(1) is `W[0]`. Any other graph shows its nodes in order, h[i] being the value of node i.

    Parameters
    ----------
    net : Network
    loss : str, optional
        Shown below the formulas.
    format : {"text", "latex"}
        LaTeX is one `aligned` block in the book's notation, one formula a line.
    """
    if format not in ("text", "latex"):
        raise ValueError(f"[formula] format is {format!r}: expected 'text' or 'latex'")
    spec = net.spec
    chain = is_chain(spec) and len(spec["layers"]) == len(spec["nodes"])
    if format == "latex":
        lines = [rf"{a} &\quad {b}" for a, b in (_latex_chain if chain else _latex_graph)(net, spec)]
        lines += [] if loss is None else [rf"\mathrm{{loss}} &= {Latex.word(loss)}"]
        body = " \\\\\n".join(lines)
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"
    rows = _chain(net, spec) if chain else _graph(net, spec)
    total = sum(a.size for a in net.parameters.values())
    sizes = f" {'-'.join(_sizes(net, spec))}" if chain else f" of {len(spec['nodes'])} nodes"
    lines = [f"Network{sizes}, {net.dtype}, {total:,} parameters", "", *_align(rows)]
    if loss is not None:
        lines += ["", f"loss: {loss}"]
    return "\n".join(lines)


def batch_shape(sample: Sequence[int | None]) -> str:
    """Shape of a batch: (n, 784); an open axis is T."""
    axes = ["n", *("T" if d is None or d < 0 else str(d) for d in sample)]
    return f"({', '.join(axes)})" if len(axes) > 1 else "(n,)"


def _sizes(net: Structure, spec: dict[str, Any]) -> list[str]:
    """n_1, ..., n_K: the input's and the outputs of the weighted transitions."""
    first = [d for d in net.node_shapes[0] if d is not None and d >= 0]
    sizes = [str(math.prod(first))]
    layers = [_layer(spec, n) for n in spec["nodes"]]
    return sizes + [str(layer["units" if layer["type"] == "dense" else "filters"]) for layer in layers if layer["type"] in WEIGHTED]


def _layer(spec: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    layer: dict[str, Any] = spec["layers"][node["layer"]]
    return layer


def _align(rows: Sequence[Row]) -> list[str]:
    """Columns padded to their widest entry."""
    left = max(len(r[0]) for r in rows)
    middle = max(len(r[1]) for r in rows)
    return [f"  {a:{left}}   {b:{middle}}   {c}".rstrip() for a, b, c in rows]


# ---- how names and operations are written -----------------------------------------------------------------------------------------------


class Text:
    """In code."""

    times, space = " * ", " "

    @classmethod
    def word(cls, name: str) -> str:
        return name

    @classmethod
    def tensor(cls, layer: str, tensor: str) -> str:
        return f"{layer}.{tensor}"

    @classmethod
    def standardize(cls, layer: str, x: str) -> str:
        return f"({x} - {layer}.mean) / {layer}.scale"

    @classmethod
    def norm(cls, layer: str, x: str, form: dict[str, Any]) -> str:
        m = "" if form["type"] == "rms_norm" else " - m"
        hat = f"({x}{m}) / sqrt(v + {form['eps']:g})"
        return (f"{layer}.gain * " if form.get("gain", True) else "") + hat + (f" + {layer}.bias" if form.get("bias", True) else "")

    @classmethod
    def dense(cls, layer: str, x: str, bias: bool) -> str:
        return f"{x} @ {layer}.W.T" + (f" + {layer}.b" if bias else "")

    @classmethod
    def conv(cls, layer: str, x: str, bias: bool, transposed: bool = False) -> str:
        return f"{layer}.W{'.T' * transposed} * {x}" + (f" + {layer}.b" if bias else "")


class Latex(Text):
    """In LaTeX: the part of it that MathJax, KaTeX and Matplotlib's mathtext all read."""

    times, space = r" \odot ", r"\ "

    @classmethod
    def word(cls, name: str) -> str:
        r"""A name in upright letters; what is no letter, digit, hyphen or space becomes \_, so that no name can be a command."""
        return r"\mathrm{" + "".join(c if c.isalnum() or c == "-" else r"\ " if c == " " else r"\_" for c in name) + "}"

    @classmethod
    def tensor(cls, layer: str, tensor: str) -> str:
        symbol = {"mean": r"\mu", "scale": r"\sigma", "b": "w", "gain": r"\gamma", "bias": r"\beta"}.get(tensor, tensor)
        return f"{symbol}_{{{cls.word(layer)}}}"

    @classmethod
    def standardize(cls, layer: str, x: str) -> str:
        return rf"\frac{{{x} - {cls.tensor(layer, 'mean')}}}{{{cls.tensor(layer, 'scale')}}}"

    @classmethod
    def norm(cls, layer: str, x: str, form: dict[str, Any]) -> str:
        m = "" if form["type"] == "rms_norm" else " - m"
        mantissa, _, exponent = f"{form['eps']:g}".partition("e")
        eps = mantissa + (rf" \cdot 10^{{{int(exponent)}}}" if exponent else "")
        hat = rf"\frac{{{x}{m}}}{{\sqrt{{v + {eps}}}}}"
        gain = rf"{cls.tensor(layer, 'gain')} \odot " if form.get("gain", True) else ""
        return gain + hat + (f" + {cls.tensor(layer, 'bias')}" if form.get("bias", True) else "")

    @classmethod
    def conv(cls, layer: str, x: str, bias: bool, transposed: bool = False) -> str:
        return rf"{cls.tensor(layer, 'W')}{'^T' * transposed} * {x}" + (f" + {cls.tensor(layer, 'b')}" if bias else "")

    @classmethod
    def dense(cls, layer: str, x: str, bias: bool) -> str:
        return f"{cls.tensor(layer, 'W')} {x}" + (f" + {cls.tensor(layer, 'b')}" if bias else "")

    @classmethod
    def element(cls, symbol: str, shape: Sequence[int | None]) -> str:
        r"""'a \in \mathbb{R}^{128}'."""
        axes = r" \times ".join("T" if d is None or d < 0 else str(d) for d in shape)
        return rf"{symbol} \in \mathbb{{R}}" + (f"^{{{axes}}}" if axes else "")


def _function(layer: dict[str, Any], x: str, write: type[Text] = Text) -> str:
    """g(x) of a layer, its parameter included; x where a dense layer has no g."""
    name, parameter = layer.get("function") or layer.get("activation") or "identity", layer.get("parameter")
    if layer["type"] in WEIGHTED and name == "identity":
        return x
    return f"{write.word(name)}({x}{'' if parameter is None else f', {parameter:g}'})"


def _other(name: str, layer: dict[str, Any], inputs: Sequence[str], write: type[Text] = Text) -> str:
    """Formula of a layer without weights; one that is not known here shows its type."""
    kind = layer["type"]
    if kind == "activation":
        return _function(layer, inputs[0], write)
    if kind == "standardize":
        return write.standardize(name, inputs[0])
    if kind.endswith("_norm"):
        return write.norm(name, inputs[0], layer)
    if kind in DROPS:
        return f"{write.word(kind)}({inputs[0]}, {layer['rate']:g})"
    if kind == "add":
        return " + ".join(inputs)
    if kind == "multiply":
        return write.times.join(inputs)
    return f"{write.word('concat' if kind == 'concatenate' else kind)}({', '.join([*inputs, *options(layer, write)])})"


def options(layer: dict[str, Any], write: type[Text] = Text) -> list[str]:
    """What a convolution, a pool, a mean, a Reshape, Transpose or Slice says beside its inputs: ["2", "stride 1"], ["(7, 7)"], ["2:5", "axis -1"]."""

    def named(name: str, value: Any) -> str:
        return f"{write.word(name)}{write.space}{_sizes_text(value)}"

    kind, found = layer["type"], []
    if kind in WEIGHTED and kind != "dense":
        found += [f"{layer['filters']} {write.word('of')} {'x'.join(map(str, layer['kernel']))}"]
        for name, usual in (("stride", 1), ("dilation", 1)):
            found += [named(name, layer[name])] if any(v != usual for v in layer[name]) else []
        padding = layer.get("padding", "same")
        found += [write.word(padding) if isinstance(padding, str) else named("padding", padding)] if padding != "same" else []
        found += [named("groups", layer["groups"])] if layer.get("groups", 1) != 1 else []
    elif kind == "up_sample":
        found += [_sizes_text(layer["size"]), *([write.word(layer["mode"])] if layer.get("mode", "nearest") != "nearest" else [])]
    elif kind in ("max_pool", "average_pool"):
        found.append(_sizes_text(layer["size"]))
        found += [named("stride", layer["stride"])] if layer.get("stride") not in (None, layer["size"]) else []
        padding = layer.get("padding", "valid")
        if isinstance(padding, str):
            found += [write.word(padding)] if padding != "valid" else []
        else:
            found.append(named("padding", padding))
    elif kind == "reshape":
        found.append(_sizes_text(layer["shape"]))
    elif kind == "transpose" and layer.get("axes") is not None:
        found.append(_sizes_text(layer["axes"]))
    elif kind == "slice":
        ends = ["" if layer.get(end) is None else str(layer[end]) for end in ("start", "stop")]
        found += [":".join([*ends, *([str(layer["step"])] if layer.get("step", 1) != 1 else [])]), named("axis", layer.get("axis", -1))]
    elif kind == "mean":
        found.append(named("axis", layer["axis"]))
    return found


def _sizes_text(value: Any) -> str:
    """2 or (2, 3)."""
    return f"({', '.join(map(str, value))}{',' if len(value) == 1 else ''})" if isinstance(value, (list, tuple)) else str(value)


def title(layer: dict[str, Any]) -> str:
    """A layer in a few words: "dense, relu", "dropout 0.5", "elu(0.25)", "max pool 2, stride 1"."""
    kind, g = layer["type"], layer.get("activation") or "identity"
    if kind == "activation":
        return str(layer["function"]) + ("" if layer.get("parameter") is None else f"({layer['parameter']:g})")
    what = [f"{layer['rate']:g}"] if kind == "dropout" else options(layer)
    return " ".join([kind.replace("_", " "), *([", ".join(what)] if what else [])]) + ("" if g == "identity" else f", {g}")


def own_tensors(net: Structure) -> dict[str, dict[str, Any]]:
    """{"dense_1": {"W": ..., "b": ...}, ...}: the parameters of every layer."""
    own: dict[str, dict[str, Any]] = {name: {} for name in net.spec["layers"]}
    for name, array in net.parameters.items():
        layer, _, tensor = name.rpartition(".")
        own[layer][tensor] = array
    return own


def _tensors(own: dict[str, Any], layer: dict[str, Any], called: dict[str, str]) -> str:
    """'W[0] (128, 64), b[0] (128,): 8,320' of a layer, `called` giving its tensors' names."""
    if not own:
        return ""
    shown = ", ".join(f"{called.get(k, k)} ({', '.join(map(str, a.shape))}{',' if a.ndim == 1 else ''})" for k, a in own.items())
    frozen = "" if layer.get("trainable", True) else ", frozen"
    return f"{shown}: {sum(a.size for a in own.values()):,}{frozen}"


# ---- chains -----------------------------------------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """One line of a chain; a[k] is the value so far."""

    kind: str  # "input" a[0] = x, "product" z[k+1], "activation" a[k] = g(z[k]), "change" a[k] <- f(a[k])
    k: int
    node: int
    name: str
    layer: dict[str, Any]


def _steps(spec: dict[str, Any]) -> Iterator[_Step]:
    nodes = spec["nodes"]
    k = 0
    for i, node in enumerate(nodes):
        name, layer = node["layer"], _layer(spec, node)
        following = _layer(spec, nodes[i + 1])["type"] if i + 1 < len(nodes) else ""
        if layer["type"] == "input":
            yield _Step("input", k, i, name, layer)
        elif layer["type"] in WEIGHTED:
            yield _Step("product", k, i, name, layer)
            k += 1
            if not (_linear(layer) and following == "activation"):  # else the next layer is its g
                yield _Step("activation", k, i, name, layer)
        else:
            own = layer["type"] == "activation" and i > 0 and _linear(_layer(spec, nodes[i - 1]))
            yield _Step("activation" if own else "change", k, i, name, layer)


def _linear(layer: dict[str, Any]) -> bool:
    """Whether a layer is dense without an activation of its own."""
    return layer["type"] in WEIGHTED and (layer.get("activation") or "identity") == "identity"


def _chain(net: Structure, spec: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    shapes, own = net.node_shapes, own_tensors(net)
    for kind, k, i, name, layer in _steps(spec):
        shape = batch_shape(shapes[i])
        if kind == "input":
            rows.append(("a^(1) = x", "a[0] = x", shape))
        elif kind == "product":
            bias = layer.get("bias", True)
            dense, turned = layer["type"] == "dense", layer["type"] in TRANSPOSED
            book = f"z^({k + 2}) = W^({k + 1}){'T' * turned} {'' if dense else '* '}a^({k + 1})" + (f" + w_0^({k + 1})" if bias else "")
            ours = f"z[{k + 1}] = " + (f"a[{k}] @ W[{k}].T" if dense else f"W[{k}]{'.T' * turned} * a[{k}]") + (f" + b[{k}]" if bias else "")
            rows.append((book, ours, _tensors(own[name], layer, {"W": f"W[{k}]", "b": f"b[{k}]"})))
        elif kind == "activation":
            rows.append((f"a^({k + 1}) = {_function(layer, f'z^({k + 1})')}", f"a[{k}] = {_function(layer, f'z[{k}]')}", shape))
        else:
            note = f"{shape} while training" if layer["type"] in DROPS else shape
            tensors = _tensors(own[name], layer, {})
            rows.append(("", f"a[{k}] <- {_other(name, layer, [f'a[{k}]'])}", f"{note}; {tensors}" if tensors else note))
    return rows


def _latex_chain(net: Structure, spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    shapes = net.node_shapes
    for kind, k, i, name, layer in _steps(spec):
        a, z, W = f"a^{{({k + 1})}}", f"z^{{({k + 1})}}", f"W^{{({k + 1})}}"
        value = Latex.element(a, shapes[i])
        if kind == "input":
            yield f"{a} &= x,", value
        elif kind == "product":
            bias = f" + w_0^{{({k + 1})}}" if layer.get("bias", True) else ""
            star = "" if layer["type"] == "dense" else " *"
            turned = f"W^{{({k + 1})T}}" if layer["type"] in TRANSPOSED else W
            yield f"z^{{({k + 2})}} &= {turned}{star} {a}{bias},", Latex.element(W, net.parameters[f"{name}.W"].shape)
        elif kind == "activation":
            yield f"{a} &= {_function(layer, z, Latex)},", value
        else:
            yield rf"{a} &\leftarrow {_other(name, layer, [a], Latex)},", value


# ---- any graph --------------------------------------------------------------------------------------------------------------------------


def _node(spec: dict[str, Any], node: dict[str, Any], value: str, write: type[Text]) -> str:
    """The formula of one node; `value` writes the value of another, '{}' being its index."""
    name, layer = node["layer"], _layer(spec, node)
    inputs = [value.format(j) for j in node["inputs"]]
    if layer["type"] == "input":
        return write.word(name)
    if layer["type"] in WEIGHTED:
        bias = layer.get("bias", True)
        dense = layer["type"] == "dense"
        z = write.dense(name, inputs[0], bias) if dense else write.conv(name, inputs[0], bias, layer["type"] in TRANSPOSED)
        return _function(layer, z, write)
    return _other(name, layer, inputs, write)


def _graph(net: Structure, spec: dict[str, Any]) -> list[Row]:
    rows: list[Row] = []
    shapes, own = net.node_shapes, own_tensors(net)
    outputs, seen = spec["outputs"], set()
    for i, node in enumerate(spec["nodes"]):
        name, layer = node["layer"], _layer(spec, node)
        weights = "shared, see above" if name in seen and layer["type"] in WEIGHTED else _tensors(own[name], layer, {})
        notes = [weights, "" if layer["type"] not in DROPS else "while training"]
        if i in outputs:
            notes.append("output" if len(outputs) == 1 else f"output {outputs.index(i)}")
        seen.add(name)
        rows.append((f"h[{i}] = {_node(spec, node, 'h[{}]', Text)}", batch_shape(shapes[i]), "; ".join(n for n in notes if n)))
    return rows


def _latex_graph(net: Structure, spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    shapes, seen = net.node_shapes, set()
    for i, node in enumerate(spec["nodes"]):
        name = node["layer"]
        sizes = [Latex.element(f"h_{{{i}}}", shapes[i])]
        if f"{name}.W" in net.parameters and name not in seen:
            sizes.append(Latex.element(Latex.tensor(name, "W"), net.parameters[f"{name}.W"].shape))
        seen.add(name)
        yield f"h_{{{i}}} &= {_node(spec, node, 'h_{{{}}}', Latex)},", r",\ ".join(sizes)
