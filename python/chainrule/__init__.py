# SPDX-License-Identifier: MIT
"""chainrule: neural networks from the formulas, at the speed of the machine.

z[k+1] = a[k] @ W[k].T + b[k], a[k+1] = g[k+1](z[k+1]), delta[k] = dL/dz[k]: the notation is in NOTATION.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule._blas import import_core as _import_core

_import_core()

from chainrule import schedules  # noqa: E402
from chainrule._core import __version__, activations, build_info, num_threads, set_num_threads  # noqa: E402
from chainrule.augment import Augment  # noqa: E402
from chainrule.callbacks import Callback, EarlyStopping  # noqa: E402
from chainrule.convolutions import Conv1D, Conv2D, ConvTranspose2D  # noqa: E402
from chainrule.errors import DivergenceError  # noqa: E402
from chainrule.graph import Node  # noqa: E402
from chainrule.history import History  # noqa: E402
from chainrule.intake import Batches  # noqa: E402
from chainrule.layers import (  # noqa: E402
    Activation,
    Add,
    Concatenate,
    Dense,
    Dropout,
    Flatten,
    Input,
    Layer,
    Multiply,
    Standardize,
    StochasticDepth,
    concat,
)
from chainrule.losses import (  # noqa: E402
    AbsoluteError,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Poisson,
    Quantile,
    SquaredError,
)
from chainrule.network import Network, load  # noqa: E402
from chainrule.norms import BatchNorm, GroupNorm, LayerNorm, RMSNorm  # noqa: E402
from chainrule.optim import SGD, Adam, AdamW, RMSprop  # noqa: E402
from chainrule.penalties import L1, L2, ElasticNet  # noqa: E402
from chainrule.shapes import AveragePool, GlobalAveragePool, MaxPool, Mean, Reshape, Slice, Transpose, UpSample  # noqa: E402

if TYPE_CHECKING:
    from chainrule import blocks, datasets, functional, sklearn


def __getattr__(name: str) -> Any:
    """Load what a program may never ask for only then: a third of the time of the import."""
    if name in ("blocks", "datasets", "functional", "sklearn"):
        from importlib import import_module

        return import_module(f"chainrule.{name}")
    raise AttributeError(f"module 'chainrule' has no attribute {name!r}")


__all__ = [
    "L1",
    "L2",
    "SGD",
    "AbsoluteError",
    "Activation",
    "Adam",
    "AdamW",
    "Add",
    "Augment",
    "AveragePool",
    "BatchNorm",
    "Batches",
    "BinaryCrossEntropy",
    "Callback",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "ConvTranspose2D",
    "CrossEntropy",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "ElasticNet",
    "Flatten",
    "GlobalAveragePool",
    "GroupNorm",
    "History",
    "Huber",
    "Input",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Mean",
    "Multiply",
    "Network",
    "Node",
    "Poisson",
    "Quantile",
    "RMSNorm",
    "RMSprop",
    "Reshape",
    "Slice",
    "SquaredError",
    "Standardize",
    "StochasticDepth",
    "Transpose",
    "UpSample",
    "__version__",
    "activations",
    "blocks",
    "build_info",
    "concat",
    "datasets",
    "functional",
    "load",
    "num_threads",
    "schedules",
    "set_num_threads",
    "sklearn",
]
