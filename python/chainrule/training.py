# SPDX-License-Identifier: MIT
"""What happens around the core's epochs: validation, early stopping, callbacks; and the model file."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import _core, intake, optim
from chainrule import augment as augmentation
from chainrule.callbacks import Callback, EarlyStopping, Progress
from chainrule.history import History

if TYPE_CHECKING:
    from chainrule import io
    from chainrule.network import Network

__all__ = ["fit", "load", "named_metrics", "save"]


def named_metrics(net: Network, loss: float, accuracy: Sequence[float], prefix: str) -> dict[str, float]:
    """Return {"loss": ..., "accuracy": ...}; with several outputs "accuracy[name]"."""
    record = {f"{prefix}loss": loss}
    for name, value in zip(net.output_names, accuracy, strict=True):
        if not math.isnan(value):
            record[f"{prefix}accuracy" + ("" if len(accuracy) == 1 else f"[{name}]")] = value
    return record


def _count(name: str, value: Any, least: int) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"[fit] {name} is {value!r}: expected an integer >= {least}") from None
    if number < least:
        raise ValueError(f"[fit] {name} is {number}: expected an integer >= {least}")
    return number


def _split(net: Network, fraction: Any, rows: int) -> tuple[Any, Any]:
    """Return (rows to train on, rows held back): decided by (seed, n) alone, in their order in the data."""
    share = float(fraction)
    if not 0 < share < 1:
        raise ValueError(f"[fit] validation is {fraction!r}: expected a fraction between 0 and 1, or (X, y)")
    held = max(1, round(share * rows))
    if held >= rows:
        raise ValueError(f"[fit] validation={share} of {rows} rows leaves none to train on")
    order = np.asarray(_core.permutation(net.seed, 0, "split", rows), dtype=np.int64)
    return np.sort(order[held:]), np.sort(order[:held])


class _Validation:
    """What is measured after each epoch."""

    def __init__(self, net: Network, given: Any, losses: list[Any], arrays: list[Any], targets: list[Any], later: bool) -> None:
        self.net = net
        self.specs = intake.loss_specs(losses)
        self.train: Any = None
        self.subset: Any = None
        self.arrays: list[Any] | None = None
        self.check = later
        if given is None:
            return
        if isinstance(given, (int, float, np.floating)) and not isinstance(given, bool):
            if not arrays:
                raise ValueError("[fit] validation by a fraction needs arrays: expected (X, y)")
            self.train, self.subset = _split(net, given, len(arrays[0]))
            self.arrays, self.targets = arrays, targets
            return
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            raise TypeError(f"[fit] validation is a {type(given).__name__}: expected (X, y), (X, y, sample_weight) or a fraction")
        self.arrays = intake.inputs(net, given[0])
        if len(self.arrays[0]) == 0:
            raise ValueError("[fit] the validation data has no rows")
        self.targets = intake.targets(net, given[1], losses, given[2] if len(given) == 3 else None, len(self.arrays[0]))
        net._core.check_arrays(self.arrays, self.targets)  # now, and not after the first epoch
        self.check = intake.check_finite(net, self.arrays, self.targets)

    def measure(self) -> dict[str, float]:
        """Return the validation entries of this epoch's record."""
        if self.arrays is None:
            return {}
        loss, accuracy = self.net._core.evaluate(self.arrays, self.targets, self.specs, self.subset, self.check)
        return named_metrics(self.net, loss, accuracy, "validation_")


def fit(
    net: Network,
    X: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Any,
    penalty: Any,
    epochs: int,
    batch_size: int | None,
    shuffle: bool | Callable[[int], Any],
    validation: Any,
    early_stopping: EarlyStopping | None,
    sample_weight: Any,
    loss_weights: Any,
    augment: Any,
    callbacks: Sequence[Any],
    progress: bool,
) -> History:
    """See ``Network.fit``."""
    epochs = _count("epochs", epochs, 0)
    batch = 2**62 if batch_size is None else min(2**62, _count("batch_size", batch_size, 1))
    if early_stopping is not None and not isinstance(early_stopping, EarlyStopping):
        raise TypeError(f"[fit] early_stopping is {early_stopping!r}: expected an EarlyStopping")
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"[fit] callbacks is {callbacks!r}: expected a list of callbacks")
    heard = [*callbacks, *([Progress()] if progress else [])]
    for callback in heard:
        if not isinstance(callback, Callback):
            raise TypeError(f"[fit] {callback!r} is no Callback: expected an instance of a subclass of cr.Callback")
    rule = optim.get(optimizer)
    losses = intake.resolve_losses(net, loss, loss_weights)
    batches = X if isinstance(X, intake.Batches) else None
    arrays: list[Any] = []
    targets: list[Any] = []
    later = False
    if batches is None:
        arrays = intake.inputs(net, X)
        if len(arrays[0]) == 0:
            raise ValueError("[fit] X has no rows: expected at least one")
        targets = intake.targets(net, y, losses, sample_weight, len(arrays[0]))
        later = intake.check_finite(net, arrays, targets)
    elif y is not None or sample_weight is not None:
        raise ValueError("[fit] Batches bring their own y and sample_weight: expected none beside them")
    held = _Validation(net, validation, losses, arrays, targets, later)

    core_class = _core.FitF32 if net.dtype.name == "float32" else _core.FitF64
    penalties = intake.penalty_specs(net, penalty)
    images = augmentation.specs(net, augment)
    core = core_class(net._core, intake.loss_specs(losses), rule.spec(), penalties, batch, not callable(shuffle) and bool(shuffle), images)
    rows = len(arrays[0] if held.train is None else held.train) if arrays else 0
    history = net.last_fit = History()
    watch = early_stopping.begin() if early_stopping else None
    best: tuple[Any, Any] | None = None
    history.stopped = "error"
    begun: list[Callback] = []
    try:
        if batches is None:
            core.data(arrays, targets, held.train, later)
            core.adapt()
        elif net._core.unlearned is not None:
            raise ValueError(f"[{net._core.unlearned}] cannot learn from Batches: call net.adapt(X) first")
        for callback in heard:
            begun.append(callback)
            callback.on_fit_begin(net, epochs)
        history.stopped = "epochs"
        for epoch in range(epochs):
            start = time.perf_counter()
            if batches is None:
                order = _order(shuffle, rows, held.train) if callable(shuffle) and batch < rows else None
                value, penalised, stopped, chunks = core.epoch(order)
                history.count_chunks(chunks)
            else:
                value, stopped = _epoch_of_batches(net, core, batches, losses)
            if stopped:
                history.stopped = "stop"
                break
            record = {"loss": value} | ({"penalty": penalised} if penalties and batches is None else {}) | held.measure()
            history.append(record, time.perf_counter() - start)
            if watch is not None and watch.update(epoch, record):
                history.best_epoch = epoch
                if watch.rule.restore_best:
                    best = (net.flat_parameters.copy(), net._core.state.copy())
            if any([bool(c.on_epoch_end(net, epoch, record)) for c in heard]):
                history.stopped = "callback"
                break
            if watch is not None and watch.stop:
                history.stopped = "early_stopping"
                break
        if best is not None:
            net.flat_parameters[...], net._core.state[...] = best
    except KeyboardInterrupt:
        history.stopped = "interrupted"
        raise
    except BaseException:
        history.stopped = "error"
        raise
    finally:
        core.close()
        for callback in begun:
            callback.on_fit_end(net, history)
    return history


def _order(shuffle: Callable[[int], Any], n: int, train: Any) -> Any:
    """Return the rows in the order that a function given as shuffle says, checked."""
    order = np.asarray(shuffle(n))
    if order.shape != (n,) or order.dtype.kind not in "iu":
        raise ValueError(f"[fit] shuffle({n}) returned {order.dtype} of shape {order.shape}: expected the numbers of the {n} rows in their order")
    if order.min() < 0 or order.max() >= n:
        raise ValueError(f"[fit] shuffle({n}) returned numbers from {order.min()} to {order.max()}: expected the numbers of the {n} rows, from 0")
    return order if train is None else train[order]


def _epoch_of_batches(net: Network, core: Any, batches: intake.Batches, losses: list[Any]) -> tuple[float, bool]:
    core.begin_epoch()
    total = weights = 0.0
    for x, y, s in batches:
        arrays = intake.inputs(net, x)
        if len(arrays[0]) == 0:
            continue
        targets = intake.targets(net, y, losses, s, len(arrays[0]))
        value, weight = core.step(arrays, targets, True)
        total += value * weight
        weights += weight
        if core.stopped:
            return math.nan, True
    if weights == 0:
        raise ValueError("[Batches] an epoch brought no rows: expected an iterable that can be iterated again, or a function that returns one")
    return total / weights, False


def save(net: Network, path: Any, training_state: bool) -> None:
    """See ``Network.save``."""
    from chainrule import io

    with net._reading("save"):
        tensors = {name: np.ascontiguousarray(a) for name, a in net.parameters.items()}
        tensors |= {name: np.ascontiguousarray(a) for name, a in net.state.items()}
        extra: dict[str, Any] = {"dtype": net.dtype.name, "seed": net.seed}
        if training_state:
            state = net._core.training_state()
            tensors |= {f"training.{key}": state[key] for key in ("v", "m") if key in state}
            extra["training"] = {k: v for k, v in state.items() if k not in ("v", "m")}
        io.save(path, tensors, net.spec, extra)


def _check_layout(spec: dict[str, Any], extra: dict[str, Any], layout: io.Layout) -> None:
    """Compare names, dtypes and shapes in a file with what its spec says, before anything is allocated."""
    dtype = np.dtype(extra["dtype"])
    parameters, state = _core.tensor_tables(spec)
    expected = {t["name"]: (dtype, tuple(t["shape"])) for t in [*parameters, *state]}
    if "training" in extra:
        blocks = {f"training.{key}": (dtype, (sum(t["size"] for t in parameters),)) for key in ("v", "m")}
        expected |= {name: block for name, block in blocks.items() if name in layout}
    for name in sorted({*expected, *layout}):
        if name not in layout or name not in expected:
            raise ValueError(f"the tensor {name!r} is {'missing' if name in expected else 'none of the network'}")
        if (np.dtype(layout[name][0]), tuple(layout[name][1])) != expected[name]:
            raise ValueError(f"the tensor {name!r} is {layout[name]}: expected {expected[name]}")


def load(path: Any, net: Network) -> Network:
    """Read a file into `net`, an empty Network; ValueError where the file is not what ``save`` writes."""

    def check(spec: dict[str, Any], extra: dict[str, Any], layout: io.Layout) -> None:
        try:
            _check_layout(spec, extra, layout)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path}: this is no chainrule model that this version can read: {error}") from error

    from chainrule import io

    tensors, spec, extra = io.load(path, check)
    try:
        net._setup(spec, extra["seed"], extra["dtype"])
        for name, view in {**net.parameters, **net.state}.items():
            view[...] = tensors[name]
        if "training" in extra:
            blocks = {key: tensors[f"training.{key}"] for key in ("v", "m") if f"training.{key}" in tensors}
            net._core.set_training_state({**extra["training"], **blocks})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: this is no chainrule model that this version can read: {error}") from error
    return net
