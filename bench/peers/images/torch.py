# SPDX-License-Identifier: MIT
"""PyTorch, eager: the spec as a module over images (n, c, h, w), in that order of memory or channels last, whichever is faster."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..rows import MOMENTUM, Array
from ..train.torch import Competitor as Trained
from .rows import ImageInputs, ImageRow

FORMATS = (torch.contiguous_format, torch.channels_last)


class Graph(torch.nn.Module):
    """The spec's nodes one after the other; the softmax at the end is left to the loss."""

    def __init__(self, spec: dict[str, Any], parameters: dict[str, Array]) -> None:
        super().__init__()
        self.spec, self.places = spec, dict[str, tuple[int, ...]]()
        self.own = torch.nn.ModuleDict()
        self.around: dict[str, tuple[list[int], list[int]]] = {}  # "same" with a stride, which PyTorch leaves to its users
        for name, layer in spec["layers"].items():
            w = parameters.get(f"{name}.W", np.empty(0))
            if layer["type"] == "conv2d":
                same, groups = layer["padding"] == "same", layer["groups"]
                if same and max(layer["stride"]) > 1:
                    self.around[name] = layer["kernel"], layer["stride"]
                padding = 0 if name in self.around else "same" if same else layer["padding"][::2]
                channels = w.shape[-1] * groups
                self.own[name] = torch.nn.Conv2d(channels, len(w), layer["kernel"], layer["stride"], padding, groups=groups, bias=layer["bias"])
            elif layer["type"] == "dense":
                self.own[name] = torch.nn.Linear(w.shape[1], len(w), layer["bias"])
            elif layer["type"] == "batch_norm":
                self.own[name] = torch.nn.BatchNorm2d(len(parameters[f"{name}.gain"]), layer["eps"], layer["momentum"])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values: list[torch.Tensor] = []
        for node in self.spec["nodes"]:
            name, inputs = node["layer"], [values[i] for i in node["inputs"]]
            layer = self.spec["layers"][name]
            kind = layer["type"]
            if kind == "input":
                z = x
            elif name in self.own:
                z = self.own[name](self._padded(name, inputs[0]))
            elif kind == "max_pool":
                z = F.max_pool2d(inputs[0], layer["size"])
            elif kind == "average_pool":
                z = F.avg_pool2d(inputs[0], layer["size"])
            elif kind == "concatenate":
                z = torch.cat(inputs, 1)
            elif kind == "global_average_pool":
                z = inputs[0].mean((2, 3))
            elif kind == "flatten":
                self.places[name] = tuple(inputs[0].shape[1:])
                z = inputs[0].flatten(1)
            elif kind == "add":
                z = inputs[0] + inputs[1]
            elif kind == "activation":
                z = inputs[0]
            else:
                raise ValueError(f"[{name}] {kind}: not translated")
            relu = "relu" in (layer.get("activation"), layer.get("function"))
            values.append(torch.relu(z) if relu else z)
        return values[-1]

    def _padded(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """With as many zeros that there are ceil(size / stride) outputs, the odd one behind."""
        if name not in self.around:
            return x
        pads: list[int] = []
        for size, kernel, stride in zip(reversed(x.shape[2:]), *(reversed(v) for v in self.around[name]), strict=True):
            count = max(0, (size - 1) // stride * stride + kernel - size)
            pads += [count // 2, count - count // 2]
        return F.pad(x, pads)

    def move(self, parameters: dict[str, Array], into: bool) -> None:
        """Copies the arrays into the module, or the module's tensors into the arrays: here (filters, c, kh, kw), there (filters, kh, kw, c)."""
        tensors = {"W": "weight", "b": "bias", "gain": "weight", "bias": "bias"}
        for name, w in parameters.items():
            layer, _, tensor = name.rpartition(".")
            own = getattr(self.own[layer], tensors[tensor]).data
            if w.ndim == 4:
                own = own.permute(0, 2, 3, 1)
            elif w.ndim == 2 and (before := self._flattened(layer)):
                c, h, width = self.places[before]
                own = own.view(len(w), c, h, width).permute(0, 2, 3, 1)
            view = torch.from_numpy(w).view(own.shape)
            own.copy_(view) if into else view.copy_(own)

    def _flattened(self, layer: str) -> str | None:
        """The name of the flatten layer that feeds a layer's W."""
        nodes = self.spec["nodes"]
        before = [nodes[node["inputs"][0]]["layer"] for node in nodes if node["layer"] == layer]
        return before[0] if self.spec["layers"][before[0]]["type"] == "flatten" and self.spec["layers"][layer]["type"] == "dense" else None


class Competitor(Trained):
    def __init__(self, row: ImageRow, threads: int) -> None:
        torch.set_num_threads(threads)
        self.row = row
        self.fastest: torch.memory_format | None = None

    def prepare(self, inputs: ImageInputs) -> None:
        self.inputs = inputs
        if self.fastest is None:
            times = [self._seconds(form) for form in FORMATS]
            self.fastest = FORMATS[times[0] > times[1]]
        self._begin(self.fastest)

    def _begin(self, form: torch.memory_format) -> None:
        self.form = form
        self.net = Graph(self.inputs.spec, self.inputs.parameters)
        self.y = torch.from_numpy(self.inputs.y)
        self.X = torch.from_numpy(self.inputs.X).permute(0, 3, 1, 2).contiguous(memory_format=form)
        with torch.inference_mode():
            self.net.eval()(self.X[:1])  # so that it knows what it flattens
        self.net.train().move(self.inputs.parameters, into=True)
        self.net.to(memory_format=form)  # type: ignore[call-overload]
        self.optimizer = torch.optim.SGD(self.net.parameters(), self.row.alpha, MOMENTUM, fused=True)

    def _seconds(self, form: torch.memory_format) -> float:
        self._begin(form)
        self.run()
        start = time.perf_counter()
        self.run()
        return time.perf_counter() - start

    def result(self) -> list[Array]:
        found = {name: np.empty_like(w) for name, w in self.inputs.parameters.items()}
        self.net.move(found, into=False)
        return list(found.values())
