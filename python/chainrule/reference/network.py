# SPDX-License-Identifier: MIT
"""A network's spec (docs/architecture.md) interpreted node by node, forward and backward by the chain rule.

No plan, no fusion, no buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from . import convolutions, layers, losses, norms, shapes
from .activations import Array, activation_derivatives, activation_forward, float64, softmax_backward, softmax_forward
from .optim import penalty
from .random import dropout, stream_of

Spec = Mapping[str, Any]
Parameters = Mapping[str, npt.ArrayLike]
LossFunction = Callable[[Any, Array], tuple[float, npt.ArrayLike]]
Loss = str | Mapping[str, Any] | LossFunction
# (l1, l2, names of the parameters), as in `penalty`; None stands for every W
Penalty = tuple[float, float, Sequence[str] | None]


@dataclass
class Tape:
    """What the forward pass leaves for the backward pass.

    For each node its z, its a = g(z) and the (possibly dropped-out) inputs.
    """

    spec: Spec
    parameters: Parameters
    z: list[Array] = field(default_factory=list)
    a: list[Array] = field(default_factory=list)
    masks: dict[int, Array] = field(default_factory=dict)
    training: bool = False

    def layer(self, node: int) -> Mapping[str, Any]:
        """The spec of the layer that node `node` uses."""
        attributes: Mapping[str, Any] = self.spec["layers"][self.spec["nodes"][node]["layer"]]
        return attributes

    def tensor(self, node: int, name: str) -> Array:
        """The tensor `name` of the layer that node `node` uses."""
        return float64(self.parameters[f"{self.spec['nodes'][node]['layer']}.{name}"])

    def inputs(self, node: int) -> list[Array]:
        """The values that node `node` takes."""
        return [self.a[i] for i in self.spec["nodes"][node]["inputs"]]

    def activation(self, node: int) -> str:
        """Name of the g in a = g(z) of that node."""
        attributes = self.layer(node)
        key = "function" if attributes["type"] == "activation" else "activation"
        return str(attributes.get(key) or "identity") if key else "identity"


def node_names(spec: Spec) -> list[str]:
    """Name of each node: its layer's, from the second use on with "/2", "/3", .

    The streams of random numbers hang on it.
    """
    uses: dict[str, int] = {}
    names = []
    for node in spec["nodes"]:
        name = node["layer"]
        uses[name] = uses.get(name, 0) + 1
        names.append(name if uses[name] == 1 else f"{name}/{uses[name]}")
    return names


def _norm_tensors(tape: Tape, node: int) -> tuple[Array | None, Array | None]:
    attributes = tape.layer(node)
    gain, bias = (tape.tensor(node, name) if attributes.get(name, True) else None for name in ("gain", "bias"))
    return gain, bias


def _running(tape: Tape, node: int, training: bool) -> dict[str, Array]:
    """The running statistics of a batch norm where they stand for the batch's."""
    attributes = tape.layer(node)
    if attributes["type"] != "batch_norm" or (training and attributes.get("trainable", True)):
        return {}
    return {"mean": tape.tensor(node, "mean"), "variance": tape.tensor(node, "variance")}


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def network_forward(
    spec: Spec,
    parameters: Parameters,
    x: Any,
    *,
    training: bool = False,
    seed: int = 0,
    step: int = 0,
) -> Tape:
    """z and a of every node.

    Parameters
    ----------
    spec, parameters
        The network; `parameters` holds "dense_1.W" (n_out, n_in), "dense_1.b" (n_out,), "standardize_1.mean" and
        "standardize_1.scale" (columns,).
    x
        The input, or a tuple of them in the order of spec["inputs"].
    training, seed, step
        With `training`, dropout draws its masks under (seed, step) and the name of the node.
    """
    tape = Tape(spec, parameters, training=training)
    fed = dict(zip(spec["inputs"], _tuple(x), strict=True))
    names = node_names(spec)
    for node in range(len(spec["nodes"])):
        attributes, inputs = tape.layer(node), tape.inputs(node)
        kind = attributes["type"]
        if kind == "input":
            z = float64(fed[node])
        elif kind == "standardize":
            z = layers.standardize_forward(inputs[0], tape.tensor(node, "mean"), tape.tensor(node, "scale"))
        elif kind == "dense":
            z = layers.dense_forward(inputs[0], tape.tensor(node, "W"), tape.tensor(node, "b") if attributes.get("bias", True) else None)
        elif kind in convolutions.KINDS:
            b = tape.tensor(node, "b") if attributes.get("bias", True) else None
            z = convolutions.forward(inputs[0], tape.tensor(node, "W"), b, attributes)
        elif kind == "activation":
            z = inputs[0]
        elif kind in ("dropout", "stochastic_depth"):
            one = inputs[0].shape[:1] + (1,) * (inputs[0].ndim - 1)
            mask = np.ones(inputs[0].shape if kind == "dropout" else one)
            tape.masks[node] = dropout(mask, attributes["rate"], seed, step, stream_of(names[node])) if training else mask
            z = inputs[0] * tape.masks[node]
        elif kind in norms.KINDS:
            z = norms.forward(inputs[0], attributes, *_norm_tensors(tape, node), **_running(tape, node, training))
        elif kind in shapes.KINDS:
            z = shapes.axes_forward(attributes, inputs[0])
        elif kind == "add":
            z = layers.add_forward(inputs)
        elif kind == "multiply":
            z = layers.multiply_forward(inputs)
        elif kind == "concatenate":
            z = layers.concatenate_forward(inputs, attributes.get("axis", -1))
        else:
            raise ValueError(f"[{names[node]}] the reference knows no layer type {kind!r}")
        g = tape.activation(node)
        tape.z.append(z)
        tape.a.append(softmax_forward(z) if g == "softmax" else activation_forward(g, z, attributes.get("parameter")))
    return tape


def network_backward(
    tape: Tape, da: Mapping[int, npt.ArrayLike], dz: Mapping[int, npt.ArrayLike] | None = None
) -> tuple[dict[str, Array], list[Array], list[Array]]:
    """Gradients by the name of the parameter, delta = dL/dz of every node, and dL/dx of every input.

    `da` and `dz` hold dL/da and dL/dz by the index of the node, for the outputs.
    """
    spec = tape.spec
    d_a = [np.zeros_like(a) for a in tape.a]
    delta = [np.zeros_like(z) for z in tape.z]
    for node, d in da.items():
        d_a[node] += float64(d)
    gradient: dict[str, Array] = {}
    for node in reversed(range(len(spec["nodes"]))):
        attributes, inputs, g = tape.layer(node), tape.inputs(node), tape.activation(node)
        # forward: a = g(z), so dz = da g'(z)
        if g == "softmax":
            d = softmax_backward(d_a[node], tape.a[node])
        else:
            d = d_a[node] * activation_derivatives(g, tape.z[node], attributes.get("parameter"))[0]
        if dz is not None and node in dz:
            d = d + float64(dz[node])
        delta[node] = d
        kind = attributes["type"]
        if kind == "input":
            continue
        if kind == "dense" or kind in convolutions.KINDS:
            w = tape.tensor(node, "W")
            dx, dw, db = layers.dense_backward(d, inputs[0], w) if kind == "dense" else convolutions.backward(d, inputs[0], w, attributes)
            name = spec["nodes"][node]["layer"]
            gradient[f"{name}.W"] = gradient.get(f"{name}.W", 0.0) + dw
            if attributes.get("bias", True):
                gradient[f"{name}.b"] = gradient.get(f"{name}.b", 0.0) + db
            dxs = [dx]
        elif kind == "standardize":
            dxs = [layers.standardize_backward(d, tape.tensor(node, "scale"))]
        elif kind in ("dropout", "stochastic_depth"):
            dxs = [d * tape.masks[node]]
        elif kind in norms.KINDS:
            dx, dgain, dbias = norms.backward(d, inputs[0], attributes, _norm_tensors(tape, node)[0], **_running(tape, node, tape.training))
            name = spec["nodes"][node]["layer"]
            for tensor, dw in (("gain", dgain), ("bias", dbias)):
                if attributes.get(tensor, True):
                    gradient[f"{name}.{tensor}"] = gradient.get(f"{name}.{tensor}", 0.0) + dw
            dxs = [dx]
        elif kind in shapes.KINDS:
            dxs = [shapes.axes_backward(attributes, d, inputs[0])]
        elif kind == "add":
            dxs = layers.add_backward(d, inputs)
        elif kind == "multiply":
            dxs = layers.multiply_backward(d, inputs)
        elif kind == "concatenate":
            dxs = layers.concatenate_backward(d, inputs, attributes.get("axis", -1))
        else:
            dxs = [d]
        for source, dx in zip(spec["nodes"][node]["inputs"], dxs, strict=True):
            d_a[source] += dx
    return gradient, delta, [d_a[node] for node in spec["inputs"]]


def network_loss_and_gradient(
    spec: Spec,
    parameters: Parameters,
    x: Any,
    y: Any,
    loss: Loss | tuple[Loss, ...],
    *,
    loss_weights: Sequence[float] | None = None,
    sample_weight: npt.ArrayLike | None = None,
    penalties: Sequence[Penalty] = (),
    training: bool = False,
    seed: int = 0,
    step: int = 0,
) -> tuple[float, dict[str, Array]]:
    """The objective sum_j loss_weights[j] (sum_i s_i L_ji / sum_i s_i) + penalties, and its gradient by name.

    Parameters
    ----------
    x, y, loss, loss_weights
        One, or a tuple: by input, and by output. A loss is a name of `LOSSES`, a spec {"type": name, parameter: value},
        or a function (y, a) -> (value, da) of the whole batch.
    sample_weight
        (n,); all rows of a sample have its weight.
    penalties
        Triples (l1, l2, names), see `penalty`; the names None stand for every W.

    The other arguments are those of `network_forward`.

    """
    tape = network_forward(spec, parameters, x, training=training, seed=seed, step=step)
    outputs = spec["outputs"]
    total = 0.0
    da: dict[int, Array] = {}
    dz: dict[int, Array] = {}
    for node, one, target, factor in zip(outputs, _tuple(loss), _tuple(y), loss_weights or [1.0] * len(outputs), strict=True):
        if callable(one):
            value, d = one(target, tape.a[node])
            into, d = da, factor * float64(d)
        else:
            options = {} if isinstance(one, str) else dict(one)
            name = options.pop("type", one)
            fused = losses.CANONICAL.get((name, tape.activation(node)))
            argument, into = (tape.z[node], dz) if fused else (tape.a[node], da)
            weight = np.ones(len(argument)) if sample_weight is None else float64(sample_weight)
            rows = int(np.prod(argument.shape[1:-1]))
            value, d = losses.LOSSES[fused or name](argument, target, weight, factor / (weight.sum() * rows), **options)
            value /= weight.sum() * rows
        into[node] = into.get(node, 0.0) + d
        total += factor * value
    gradient, _, _ = network_backward(tape, da, dz)
    for l1, l2, chosen in penalties:
        for key in [k for k in gradient if k.endswith(".W")] if chosen is None else chosen:
            value, d = penalty(parameters[key], l1, l2)
            total, gradient[key] = total + value, gradient[key] + d
    return float(total), gradient
