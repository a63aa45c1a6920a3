# SPDX-License-Identifier: MIT
"""The losses in whole networks: others' losses and minima, kinks, refusals, and one softmax for each of several outputs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close
from graph_parts import oracle

pytestmark = pytest.mark.usefixtures("device")  # every test on the CPU, and on a card

Array = np.ndarray[Any, np.dtype[Any]]
ALL: list[Any] = [*cr.losses.KNOWN, cr.Huber(0.25), cr.Quantile((0.1, 0.5, 0.9))]
OUTPUT = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid", "poisson": "exp"}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = cr.num_threads()
    yield
    cr.set_num_threads(before)


def network(loss: Any, width: int = 8, targets: int = 2, dtype: str = "float64") -> cr.Network:
    units = targets * cr.losses.get(loss).levels  # type: ignore[union-attr]
    return cr.Network([cr.Input(4), cr.Dense(width, "tanh"), cr.Dense(units, OUTPUT.get(loss, "identity"))], dtype=dtype, seed=3)


def data(rng: np.random.Generator, n: int, targets: int = 2) -> tuple[Array, Array, Array]:
    """x, y that every loss takes, s."""
    y = rng.dirichlet(np.ones(targets), size=n)
    return rng.normal(size=(n, 4)), y, rng.uniform(0.5, 2, size=n)


# ---- what others compute ------------------------------------------------------------------------------------------------


def test_scikit_learns_losses(rng: np.random.Generator) -> None:
    """Its metrics are means over rows and targets; its pinball is ours, its deviance twice ours."""
    metrics = pytest.importorskip("sklearn.metrics")
    x, y, s = data(rng, 50)
    for loss, metric, factor in (
        ("absolute_error", metrics.mean_absolute_error, 1.0),
        (cr.Quantile(0.3), partial(metrics.mean_pinball_loss, alpha=0.3), 1.0),
        ("poisson", metrics.mean_poisson_deviance, 0.5),
    ):
        net = network(loss)
        a = net.predict(x)
        expected = sum(factor * metric(y[:, m], a[:, m], sample_weight=s) for m in range(2))
        assert_close(net.evaluate(x, y, loss=loss, sample_weight=s)["loss"], expected, 1e-12)


def test_torchs_losses(rng: np.random.Generator) -> None:
    """HuberLoss, L1Loss and PoissonNLLLoss (log_input, the constant apart) summed over the outputs: values and gradients."""
    torch = pytest.importorskip("torch")
    x, y, _ = data(rng, 50)
    for loss, theirs in (
        (cr.Huber(0.25), torch.nn.HuberLoss(delta=0.25, reduction="sum")),
        ("absolute_error", torch.nn.L1Loss(reduction="sum")),
        ("poisson", torch.nn.PoissonNLLLoss(log_input=True, reduction="sum")),
    ):
        net = network(loss)
        z = torch.tensor(net.predict(x) if loss != "poisson" else np.log(net.predict(x)), requires_grad=True)
        value = theirs(z, torch.from_numpy(y)) / len(y)
        value.backward()
        g = net.gradient(x, y, loss=loss)
        constant = (y * np.log(y) - y).sum() / len(y) if loss == "poisson" else 0
        assert_close(g.loss, float(value.detach()) + constant, 1e-12)
        assert_close(g.delta[2], z.grad.numpy(), 1e-12, atol=1e-15)


# ---- all losses in a network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("width", [8, pytest.param(40000, marks=pytest.mark.cpu)])
def test_one_step_of_each_loss(loss: Any, width: int, rng: np.random.Generator) -> None:
    """fit, loss_and_gradient and evaluate agree with the twin, with weights and a penalty, by chunks and by layers (280,000 weights)."""
    net = network(loss, width)
    x, y, s = data(rng, 70)
    named = loss if isinstance(loss, str) else loss.spec()
    expected, gradient = oracle(net, (x,), (y,), (named,), sample_weight=s, penalties=[(0.0, 0.1, None)])
    flat = np.concatenate([g.ravel() for g in gradient.values()])
    value, g = net.loss_and_gradient(x, y, net.flat_parameters.copy(), loss=loss, penalty=cr.L2(0.1), sample_weight=s)
    assert_close(value, expected, 1e-12)
    assert_close(g, flat, 1e-9, atol=1e-12)
    before = net.flat_parameters.copy()
    history = net.fit(x, y, loss=loss, optimizer=cr.SGD(0.125), penalty=cr.L2(0.1), sample_weight=s, batch_size=None, epochs=1)
    assert_close(history["loss"][0], expected, 1e-12)
    assert_close(net.flat_parameters, before - 0.125 * flat, 1e-9, atol=1e-12)


@pytest.mark.cpu
@pytest.mark.parametrize("loss", ALL, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(loss: Any, dtype: str, rng: np.random.Generator) -> None:
    x, y, s = data(rng, 3000)
    found = set()
    for n_threads in (1, 2, 3):
        cr.set_num_threads(n_threads)
        net = network(loss, 64, dtype=dtype)
        history = net.fit(x, y, loss=loss, sample_weight=s, epochs=2, batch_size=900, optimizer=cr.Adam(1e-3))
        found.add((net.flat_parameters.tobytes(), *history["loss"]))
        assert history["loss"][1] < history["loss"][0]
    assert len(found) == 1


@pytest.mark.parametrize("loss", ["absolute_error", cr.Huber(0.5), cr.Quantile((0.2, 0.7))], ids=str)
def test_check_gradient_at_the_kinks_of_a_loss(loss: Any, rng: np.random.Generator) -> None:
    """Differences across a kink say nothing: with every a just beside one of its own, all entries are skipped or taken on one side."""
    net = network(loss, targets=1)
    x = rng.normal(size=(20, 4))
    kink = 0.5 if isinstance(loss, cr.Huber) else 0.0
    y = net.predict(x)[:, :1] + kink * rng.choice([-1, 1], size=(20, 1)) + 1e-5
    check = net.check_gradient(x, y, loss=loss)
    assert check <= 1e-6
    assert check.skipped + check.checked == net.flat_parameters.size


# ---- refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "units", "y", "message"),
    [
        ("poisson", 2, np.array([[1.0, 0.0]] * 7 + [[0.5, -1.0]]), r"\[y\] holds values from -1.0 to 1.0: expected values >= 0"),
        (
            cr.Quantile((0.1, 0.5, 0.9)),
            4,
            np.ones((8, 1)),
            r"\[dense_1\] the output has shape \(n, 4\): expected 3 columns a target, one for each level",
        ),
        (cr.Quantile((0.1, 0.9)), 4, np.ones((8, 4)), r"\[dense_1\] y has shape \(8, 4\): expected \(n, 2\)"),
        (cr.Quantile((0.1, 0.9)), 4, np.ones(8), r"\[dense_1\] y has shape \(8,\): expected \(n, 2\)"),
        ("huber", 2, np.zeros(8, dtype=int), r"\[dense_1\] y has shape \(8,\): expected \(n, 2\)"),
        ("hubert", 2, np.ones((8, 2)), r"unknown loss 'hubert': expected one of cross_entropy, .*huber, quantile, poisson"),
    ],
)
def test_refusals(loss: Any, units: int, y: Array, message: str) -> None:
    net = cr.Network([cr.Input(3), cr.Dense(units)])
    before = net.flat_parameters.copy()
    for f in (net.fit, net.evaluate, net.gradient, net.loss_and_gradient, net.check_gradient):
        with pytest.raises(ValueError, match=message):
            f(np.ones((8, 3)), y, loss=loss)
    with pytest.raises(ValueError, match=message):
        net.fit(np.ones((8, 3)), np.ones((8, units // getattr(loss, "levels", 1))), loss=loss, validation=(np.ones((8, 3)), y))
    assert np.array_equal(net.flat_parameters, before)


def test_poisson_that_overflows_names_the_layer() -> None:
    net = cr.Network([cr.Input(1), cr.Dense(1, "exp")], dtype="float32")
    net.W[0] = 1.0
    with pytest.raises(cr.DivergenceError, match=r"\[dense_1\]"):
        net.fit(np.full((4, 1), 100.0), np.ones(4))


# ---- one softmax for each of several outputs ----------------------------------------------------------------------------


def heads(classes: tuple[int, ...], hidden: int | None = None, dtype: str = "float64") -> cr.Network:
    x = cr.Input(6)
    h = x if hidden is None else cr.Dense(hidden, "relu", name="hidden")(x)
    return cr.Network(inputs=x, outputs=[cr.Dense(k, "softmax", name=f"head_{j}")(h) for j, k in enumerate(classes)], dtype=dtype)


def labels_of(rng: np.random.Generator, n: int, classes: tuple[int, ...]) -> Array:
    """(n, outputs), as a table of targets comes."""
    return np.stack([rng.integers(0, k, n) for k in classes], axis=1)


@pytest.mark.parametrize(("classes", "hidden"), [((3,), 9), ((2, 5), 9), ((4, 2, 3, 7, 2, 3, 4, 3), 9), ((2, 5), 22_000)])
def test_several_softmax_outputs(classes: tuple[int, ...], hidden: int, rng: np.random.Generator) -> None:
    """Objective and gradient are the twin's, with weights of rows and losses, by chunks and by layers; the accuracies those of the predictions."""
    net, n = heads(classes, hidden), 41
    x, table, s = rng.normal(size=(n, 6)), labels_of(rng, n, classes), rng.uniform(size=n)
    y = tuple(table.T) if len(classes) > 1 else table[:, 0]
    weights = tuple(1.0 + j for j in range(len(classes)))
    options: dict[str, Any] = {"sample_weight": s, "loss_weights": weights if len(classes) > 1 else weights[0]}
    columns = tuple(table.T)
    expected, gradient = oracle(net, (x,), columns, ["cross_entropy"] * len(classes), sample_weight=s, loss_weights=weights)
    flat = np.concatenate([g.ravel() for g in gradient.values()])
    for value, g in (
        net.loss_and_gradient(x, y, net.flat_parameters.copy(), **options),
        (net.gradient(x, y, **options).loss, net.gradient(x, y, **options).flat),
    ):
        assert_close(value, expected, 1e-12)
        assert_close(g, flat, 1e-9, atol=1e-12)
    measured = net.evaluate(x, y, **options)
    assert_close(measured.pop("loss"), expected, 1e-12)
    predicted = [net.predict(x)] if len(classes) == 1 else net.predict(x)
    accuracies = [(s * (p.argmax(1) == table[:, j])).sum() / s.sum() for j, p in enumerate(predicted)]
    assert list(measured) == (["accuracy"] if len(classes) == 1 else [f"accuracy[head_{j}]" for j in range(len(classes))])
    assert_close(list(measured.values()), accuracies, 1e-12)


@pytest.mark.parametrize("optimizer", [cr.SGD(0.1, momentum=0.9), cr.Adam(0.01)], ids=["sgd", "adam"])
def test_heads_on_the_input_are_networks_of_their_own(optimizer: Any, rng: np.random.Generator) -> None:
    """Without a layer in common each output learns what a chain would from the same batches."""
    classes, n = (3, 2, 5), 130
    x, table = rng.normal(size=(n, 6)), labels_of(rng, n, (3, 2, 5))
    net = heads(classes)
    chains = [cr.Network([cr.Input(6), cr.Dense(k, "softmax", name=f"head_{j}")], dtype="float64") for j, k in enumerate(classes)]
    for j, chain in enumerate(chains):
        chain.W[0] = net.parameters[f"head_{j}.W"]
        chain.fit(x, table[:, j], optimizer=optimizer, epochs=3, batch_size=32, validation=0.2)
    history = net.fit(x, tuple(table.T), optimizer=optimizer, epochs=3, batch_size=32, validation=0.2)
    for j, chain in enumerate(chains):
        assert_close(net.parameters[f"head_{j}.W"], chain.W[0], 1e-10, atol=1e-13)
        assert_close(net.parameters[f"head_{j}.b"], chain.b[0], 1e-10, atol=1e-13)
        assert_close(history[f"validation_accuracy[head_{j}]"], chain.last_fit["validation_accuracy"], 0.0)  # type: ignore[index]
    assert_close(history["loss"], np.sum([chain.last_fit["loss"] for chain in chains], axis=0), 1e-10)  # type: ignore[index]


def test_heads_by_name_and_labels_out_of_range(rng: np.random.Generator) -> None:
    classes = (3, 2)
    x, table = rng.normal(size=(20, 6)), labels_of(rng, 20, classes)
    net = heads(classes, 4)
    value = net.evaluate(x, tuple(table.T))
    assert net.evaluate(x, {f"head_{j}": table[:, j] for j in range(2)}) == value
    with pytest.raises(ValueError, match=r"\[y of head_1\] row 0 has the label 2: expected integers 0 to 1"):
        net.fit(x, (table[:, 0], np.full(20, 2)))
    with pytest.raises(ValueError, match=r"\[y\] got ndarray: expected a tuple or dict for \['head_0', 'head_1'\]"):
        net.fit(x, table)
