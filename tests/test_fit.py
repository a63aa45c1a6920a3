# SPDX-License-Identifier: MIT
"""fit against the formulas: every optimizer, penalty, schedule and weight, step by step in NumPy float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import reference
from compare import assert_close
from graph_parts import CHUNKS_UP_TO

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card

Array = np.ndarray[Any, np.dtype[Any]]


def chain(**options: Any) -> cr.Network:
    """5-8-3 in float64."""
    return cr.Network([cr.Input(5), cr.Dense(8, "tanh"), cr.Dense(3, "softmax")], dtype="float64", **options)


def problem(rng: np.random.Generator, n: int = 50) -> tuple[Array, Array]:
    """n rows, three classes that depend on x."""
    x = rng.normal(size=(n, 5))
    return x, (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int) + (x[:, 2] > 0.5)


def gradient(net: cr.Network, w: Array, x: Array, y: Array, s: Array | None = None) -> Array:
    """The twin's gradient at w, flat."""
    parameters, at = {}, 0
    for name, a in net.parameters.items():
        parameters[name] = w[at : at + a.size].reshape(a.shape)
        at += a.size
    _, g = reference.network_loss_and_gradient(net.spec, parameters, x, y, "cross_entropy", sample_weight=s)
    return np.concatenate([g[name].ravel() for name in net.parameters])


def weights_only(net: cr.Network) -> Array:
    """1 for entries of W, 0 for those of b."""
    return np.concatenate([np.full(a.size, float(name.endswith(".W"))) for name, a in net.parameters.items()])


def by_hand(
    net: cr.Network,
    x: Array,
    y: Array,
    batch: int,
    epochs: int,
    step: Callable[[Array, Array, dict[str, Any], int], Array],
    extra: Any,
) -> Array:
    """Steps on systematic batches: w after them."""
    w, state, t = net.flat_parameters.copy(), {"m": 0.0, "v": 0.0}, 0
    for _ in range(epochs):
        for i in range(0, len(x), batch):
            g = gradient(net, w, x[i : i + batch], y[i : i + batch]) + extra(w)
            w = step(w, g, state, t)
            t += 1
    return w


def sgd(alpha: float, mu: float = 0.0, nesterov: bool = False) -> Any:
    """v <- mu v - alpha g; w <- w + v, or w + mu v - alpha g."""

    def step(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["v"] = mu * s["v"] - alpha * g
        return w + (mu * s["v"] - alpha * g if nesterov else s["v"])

    return step


def rmsprop(alpha: float) -> Any:
    """r <- rho r + (1 - rho) g^2; w <- w - alpha g / (sqrt r + eps)."""

    def step(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["v"] = 0.9 * s["v"] + 0.1 * g**2
        return w - alpha * g / (np.sqrt(s["v"]) + 1e-8)

    return step


def adam(alpha: float, lam: float = 0.0, eps_hat: bool = False) -> Any:
    """Kingma and Ba (2015), algorithm 1; lam: decoupled decay (Loshchilov and Hutter 2019)."""

    def step(w: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["v"] = 0.999 * s["v"] + 0.001 * g**2
        c1, c2 = 1 - 0.9 ** (t + 1), 1 - 0.999 ** (t + 1)
        w = w - alpha * lam * w
        if eps_hat:
            return w - alpha * np.sqrt(c2) / c1 * s["m"] / (np.sqrt(s["v"]) + 1e-8)
        return w - alpha * (s["m"] / c1) / (np.sqrt(s["v"] / c2) + 1e-8)

    return step


CASES = {
    "sgd": (cr.SGD(0.3), sgd(0.3)),
    "momentum": (cr.SGD(0.1, momentum=0.9), sgd(0.1, 0.9)),
    "nesterov": (cr.SGD(0.1, momentum=0.9, nesterov=True), sgd(0.1, 0.9, True)),
    "rmsprop": (cr.RMSprop(0.01), rmsprop(0.01)),
    "adam": (cr.Adam(0.01), adam(0.01)),
    "adam_eps_hat": (cr.Adam(0.01, eps_hat=True), adam(0.01, eps_hat=True)),
    "adamw": (cr.AdamW(0.01, lam=0.1), adam(0.01, 0.1)),
}
PENALTIES: Mapping[str, tuple[Any, Callable[[Array, Array], Array]]] = {
    "none": (None, lambda w, m: np.zeros_like(w)),
    "l2": (cr.L2(0.05), lambda w, m: 0.05 * w * m),
    "l1": (cr.L1(0.01), lambda w, m: 0.01 * np.sign(w) * m),
    "elastic_and_bias": (
        [cr.ElasticNet(0.04, 0.25), cr.L2(0.1, bias=True)],
        lambda w, m: (0.01 * np.sign(w) + 0.03 * w) * m + 0.1 * w,
    ),
}


@pytest.mark.parametrize("batch", [7, 50])
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("case", CASES)
def test_steps(rng: np.random.Generator, case: str, penalty: str, batch: int) -> None:
    """Two epochs of systematic batches equal the formulas."""
    optimizer, step = CASES[case]
    given, derivative = PENALTIES[penalty]
    net = chain()
    x, y = problem(rng)
    mask = weights_only(net)
    expected = by_hand(net, x, y, batch, 2, step, lambda w: derivative(w, mask))
    net.fit(x, y, optimizer=optimizer, penalty=given, epochs=2, batch_size=batch, shuffle=False)
    assert_close(net.flat_parameters, expected, 1e-9, atol=1e-11)


@pytest.mark.cpu
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("case", ["sgd", "momentum", "nesterov"])
def test_steps_by_layers(rng: np.random.Generator, case: str, penalty: str) -> None:
    """A network too wide for chunks. SGD without nesterov multiplies straight into the velocity, or into W, in pieces of 128 x 512."""
    optimizer, step = CASES[case]
    given, derivative = PENALTIES[penalty]
    net = cr.Network([cr.Input(5), cr.Dense(601, "tanh"), cr.Dense(450, "tanh"), cr.Dense(3, "softmax")], dtype="float64")
    x, y = problem(rng, 40)
    assert net.flat_parameters.size > CHUNKS_UP_TO
    mask = weights_only(net)
    expected = by_hand(net, x, y, 40, 3, step, lambda w: derivative(w, mask))
    net.fit(x, y, optimizer=optimizer, penalty=given, epochs=3, batch_size=40, shuffle=False)
    assert_close(net.flat_parameters, expected, 1e-9, atol=1e-11)


@pytest.mark.parametrize("width", [8, 400])
def test_a_shared_layer_and_a_frozen_one(rng: np.random.Generator, width: int) -> None:
    """A layer used twice adds its gradients in the buffer; what is frozen gets none, by chunks and by layers."""
    x = cr.Input(width)
    shared = cr.Dense(width, "tanh", name="shared")
    h = cr.Dense(width, "tanh", name="frozen", trainable=False)(shared(shared(x)))
    net = cr.Network(inputs=x, outputs=cr.Dense(3, "softmax")(h), dtype="float64")
    X, y = rng.normal(size=(20, width)), rng.integers(0, 3, 20)
    w, v = net.flat_parameters.copy(), np.zeros(net.flat_parameters.size)
    moves = np.concatenate([np.full(a.size, float(not name.startswith("frozen"))) for name, a in net.parameters.items()])
    for _ in range(3):
        v = 0.9 * v - 0.1 * gradient(net, w, X, y) * moves
        w = w + v
    net.fit(X, y, optimizer=cr.SGD(0.1, momentum=0.9), epochs=3, batch_size=None)
    assert_close(net.flat_parameters, w, 1e-9, atol=1e-11)


def test_layers_of_a_penalty(rng: np.random.Generator) -> None:
    """L2(lam, layers=[...]) leaves the others alone; per_sample divides by the batch's rows."""
    x, y = problem(rng)
    net = chain()
    plain = net.gradient(x, y)
    one = net.gradient(x, y, penalty=cr.L2(0.5, layers=["dense_2"]))
    assert_close(one.W[1], plain.W[1] + 0.5 * net.W[1], 1e-12)
    assert np.array_equal(one.W[0], plain.W[0])
    per_sample = net.gradient(x, y, penalty=cr.L2(0.5, per_sample=True))
    assert_close(per_sample.W[0], plain.W[0] + 0.5 / 50 * net.W[0], 1e-12, atol=1e-15)
    assert_close(per_sample.loss, plain.loss + 0.5 * 0.5 / 50 * sum((w**2).sum() for w in net.W), 1e-12)


def test_proximal_l1_gives_exact_zeros(rng: np.random.Generator) -> None:
    """w <- S(w - alpha g, alpha lam)."""
    x, y = problem(rng)
    net = chain()
    w = net.flat_parameters.copy()
    mask = weights_only(net)
    for _ in range(30):
        w = w - 0.5 * gradient(net, w, x, y)
        w = np.where(mask == 1, np.sign(w) * np.maximum(np.abs(w) - 0.5 * 0.05, 0), w)
    net.fit(x, y, optimizer=cr.SGD(0.5), penalty=cr.L1(0.05, proximal=True), epochs=30, batch_size=None)
    assert_close(net.flat_parameters, w, 1e-9, atol=1e-12)
    assert (net.W[0] == 0).sum() > 5


def test_clip_norm(rng: np.random.Generator) -> None:
    """The gradient of the whole objective is scaled to norm clip_norm where it is longer."""
    x, y = problem(rng)
    net = chain()
    w = net.flat_parameters.copy()
    g = gradient(net, w, x, y) + 3.0 * w * weights_only(net)
    norm = np.linalg.norm(g)
    assert norm > 0.5
    net.fit(x, y, optimizer=cr.SGD(1.0, clip_norm=0.5), penalty=cr.L2(3.0), epochs=1, batch_size=None)
    assert_close(net.flat_parameters, w - g * 0.5 / norm, 1e-10, atol=1e-13)


def test_schedules_drive_alpha(rng: np.random.Generator) -> None:
    """Each step takes alpha(t); with unit="epoch" alpha(e)."""
    x, y = problem(rng)
    for schedule, alphas in [
        (cr.schedules.Step(0.4, every=3, factor=0.5), [0.4, 0.4, 0.4, 0.2, 0.2, 0.2]),
        (cr.schedules.Step(0.4, every=1, factor=0.5, unit="epoch"), [0.4, 0.4, 0.4, 0.2, 0.2, 0.2]),
        (cr.schedules.WarmUp(0.3, 4), [0.075, 0.15, 0.225, 0.3, 0.3, 0.3]),
    ]:
        net = chain()
        w = net.flat_parameters.copy()
        for t, alpha in enumerate(alphas):
            i = 20 * (t % 3)
            w = w - alpha * gradient(net, w, x[i : i + 20], y[i : i + 20])
        net.fit(x, y, optimizer=cr.SGD(schedule), epochs=2, batch_size=20, shuffle=False)
        assert_close(net.flat_parameters, w, 1e-10, atol=1e-13)


def test_sample_weights(rng: np.random.Generator) -> None:
    """The batch's objective is sum s L / sum s; weight 2 is the row twice, weight 0 its removal; a batch of weight 0 is no step."""
    x, y = problem(rng)
    s = rng.integers(0, 3, 50).astype(float)
    net, repeated = chain(), chain()
    w = net.flat_parameters.copy()
    net.fit(x, y, sample_weight=s, optimizer=cr.SGD(0.5), epochs=1, batch_size=None)
    assert_close(net.flat_parameters, w - 0.5 * gradient(repeated, w, x, y, s), 1e-11, atol=1e-14)
    again = np.repeat(np.arange(50), s.astype(int))
    repeated.fit(x[again], y[again], optimizer=cr.SGD(0.5), epochs=1, batch_size=None)
    assert_close(net.flat_parameters, repeated.flat_parameters, 1e-11, atol=1e-14)
    s[:10] = 0
    other = chain()
    history = other.fit(x, y, sample_weight=s, optimizer=cr.SGD(0.5), epochs=1, batch_size=10, shuffle=False)
    w = chain().flat_parameters.copy()
    for i in range(10, 50, 10):
        w = w - 0.5 * gradient(other, w, x[i : i + 10], y[i : i + 10], s[i : i + 10])
    assert_close(other.flat_parameters, w, 1e-11, atol=1e-14)
    assert np.isfinite(history["loss"]).all()


def test_history_holds_the_objective(rng: np.random.Generator) -> None:
    """Full batch: loss[e] is the objective before step e, penalties included."""
    x, y = problem(rng)
    net = chain()
    first = net.gradient(x, y, penalty=cr.L2(0.3)).loss
    history = net.fit(x, y, optimizer=cr.SGD(0.1), penalty=cr.L2(0.3), epochs=3, batch_size=None)
    assert_close(history["loss"][0], first, 1e-12)
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert net.evaluate(x, y)["loss"] < history["loss"][-1]


def test_every_row_once_an_epoch() -> None:
    """Without replacement: with L = 1/2 (0 - x w)^2 of one-hot rows and SGD, every weight shrinks by the same factor."""
    n = 40
    net = cr.Network([cr.Input(n), cr.Dense(1, bias=False)], dtype="float64", seed=2)
    w = net.W[0].copy()
    net.fit(np.eye(n), np.zeros(n), optimizer=cr.SGD(0.5), epochs=3, batch_size=1, shuffle=True)
    assert_close(net.W[0], w * 0.5**3, 1e-12)


def test_order_of_batches_differs_by_epoch_and_seed(rng: np.random.Generator) -> None:
    """Shuffled batches: another order each epoch, the same for the same seed."""
    x, y = problem(rng)
    runs = [chain(seed=3), chain(seed=3), chain(seed=4)]
    runs[2].flat_parameters[...] = runs[0].flat_parameters
    for net in runs:
        net.fit(x, y, optimizer=cr.SGD(0.3), epochs=2, batch_size=8)
    assert np.array_equal(runs[0].flat_parameters, runs[1].flat_parameters)
    assert not np.array_equal(runs[0].flat_parameters, runs[2].flat_parameters)


def test_early_stopping_restores_the_best(rng: np.random.Generator) -> None:
    """Noise labels: the validation loss rises, the weights of its minimum come back."""
    x, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
    xv, yv = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    net = chain()
    history = net.fit(x, y, optimizer=cr.Adam(0.05), epochs=500, validation=(xv, yv), early_stopping=cr.EarlyStopping(patience=7))
    assert history.stopped == "early_stopping"
    best = int(np.argmin(history["validation_loss"]))
    assert history.best_epoch == best
    assert history.epochs == best + 8
    assert_close(net.evaluate(xv, yv)["loss"], history["validation_loss"][best], 1e-12)


def test_validation_fraction(rng: np.random.Generator) -> None:
    """Which rows are held back depends on (seed, n) alone, and they are not trained on."""
    x, y = problem(rng, 100)
    net = chain(seed=1)
    history = net.fit(x, y, epochs=3, validation=0.25, optimizer=cr.SGD(0.1), batch_size=None)
    held = np.sort(np.asarray(cr._core.permutation(1, 0, "split", 100))[:25])
    twin = chain(seed=1)
    kept = np.setdiff1d(np.arange(100), held)
    other = twin.fit(x[kept], y[kept], epochs=3, validation=(x[held], y[held]), optimizer=cr.SGD(0.1), batch_size=None)
    assert_close(net.flat_parameters, twin.flat_parameters, 1e-12)
    assert_close(history["validation_loss"], other["validation_loss"], 1e-12)


def test_batches_and_callable_loss(rng: np.random.Generator) -> None:
    """cr.Batches and a loss of one's own give what arrays and the built-in loss give."""
    x, y = problem(rng)
    Y = np.eye(3)[y]

    def squared(y: Array, a: Array) -> tuple[float, Array]:
        d = a - y
        return 0.5 * float((d**2).sum()) / len(y), d / len(y)

    nets = [chain(), chain(), chain()]
    nets[0].fit(x, Y, loss="squared_error", optimizer=cr.SGD(0.3, momentum=0.5), epochs=2, batch_size=20, shuffle=False)
    nets[1].fit(x, Y, loss=squared, optimizer=cr.SGD(0.3, momentum=0.5), epochs=2, batch_size=20, shuffle=False)
    pieces = [(x[i : i + 20], Y[i : i + 20]) for i in (0, 20, 40)]
    nets[2].fit(cr.Batches(pieces), loss="squared_error", optimizer=cr.SGD(0.3, momentum=0.5), epochs=2)
    assert_close(nets[1].flat_parameters, nets[0].flat_parameters, 1e-12, atol=1e-14)
    assert np.array_equal(nets[2].flat_parameters, nets[0].flat_parameters)
    assert chain().check_gradient(x, Y, loss=squared) < 1e-6
    with pytest.raises(ValueError, match="again"):
        chain().fit(cr.Batches(iter(pieces)), loss="squared_error", epochs=2)


def test_standardize_learns_from_the_training_rows(rng: np.random.Generator) -> None:
    """Mean and deviation of the rows that are trained on, weighted; a constant column has scale 1; learned once."""
    x = rng.normal(size=(80, 3)) * [1000, 0.01, 0] + [5, -3, 7]
    y, s = rng.normal(size=80), rng.uniform(size=80)
    net = cr.Network([cr.Input(3), cr.Standardize(), cr.Dense(1)], dtype="float64")
    with pytest.raises(ValueError, match="standardize_1"):
        net.predict(x)
    net.fit(x, y, sample_weight=s, epochs=1)
    mean = (s[:, None] * x).sum(0) / s.sum()
    scale = np.sqrt((s[:, None] * (x - mean) ** 2).sum(0) / s.sum())
    assert_close(net.state["standardize_1.mean"], mean, 1e-12)
    assert_close(net.state["standardize_1.scale"], [scale[0], scale[1], 1.0], 1e-9)
    kept = copy.deepcopy(dict(net.state))
    net.fit(x * 2, y, epochs=1)
    for name, value in kept.items():
        assert np.array_equal(net.state[name], value)


def test_callbacks(rng: np.random.Generator) -> None:
    """They hear every epoch, may predict, and may end the training."""
    x, y = problem(rng)

    class Ear(cr.Callback):
        def __init__(self) -> None:
            self.heard: list[tuple[int, float]] = []

        def on_epoch_end(self, net: cr.Network, epoch: int, record: Mapping[str, float]) -> object:
            assert net.predict(x).shape == (50, 3)
            self.heard.append((epoch, record["loss"]))
            return epoch == 3

    ear = Ear()
    history = chain().fit(x, y, epochs=10, callbacks=[ear])
    assert history.stopped == "callback"
    assert ear.heard == list(enumerate(history["loss"]))
    assert len(ear.heard) == 4


def test_frozen_layers_stay(rng: np.random.Generator) -> None:
    """trainable=False: no step, no penalty, gradient 0; those before it still learn."""
    net = cr.Network([cr.Input(5), cr.Dense(8, "tanh"), cr.Dense(3, "softmax", trainable=False)], dtype="float64")
    x, y = problem(rng)
    frozen, free = net.W[1].copy(), net.W[0].copy()
    net.fit(x, y, penalty=cr.L2(0.1), epochs=3)
    assert np.array_equal(net.W[1], frozen)
    assert not np.array_equal(net.W[0], free)
    assert not net.gradient(x, y).W[1].any()


@pytest.mark.parametrize("inputs", [3, 7, 8, 20, 33])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 5, 64, 400])
def test_one_row_at_a_time_is_the_formula(units: int, dtype: str, inputs: int) -> None:
    """Batch 1 with momentum (v and W written in one pass, by layers from 131,072 weights on): v <- mu v - alpha dW, W <- W + v, row after row."""
    rng = np.random.default_rng(units + inputs)
    X, y = rng.normal(size=(6, inputs)), rng.integers(0, 3, 6)
    layers: list[cr.Layer] = [cr.Input(inputs), cr.Dense(units, "relu"), cr.Dense(units, "tanh", bias=False), cr.Dense(3, "softmax")]
    net, twin = (cr.Network(layers, dtype=dtype, seed=1) for _ in range(2))
    net.fit(X, y, epochs=2, batch_size=1, shuffle=False, optimizer=cr.SGD(0.1, momentum=0.9))
    v = np.zeros(twin.flat_parameters.shape)
    w = twin.flat_parameters.astype(float)
    for i in [*range(6), *range(6)]:
        v = 0.9 * v - 0.1 * twin.gradient(X[i : i + 1], y[i : i + 1]).flat
        w = w + v
        twin.flat_parameters[...] = w
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    assert_close(net.flat_parameters.astype(float), w, tolerance, atol=tolerance)
