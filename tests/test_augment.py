# SPDX-License-Identifier: MIT
"""Augmentation: against the reference step by step, on any number of threads, resumed, refused; and that rows are changed in different ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chainrule as cr
import numpy as np
import pytest
from chainrule import reference


@pytest.mark.parametrize(
    "augment",
    [
        cr.Augment(shift=2),
        cr.Augment(shift=(0, 3), flip="left_right", fill=-1.5),
        cr.Augment(flip="up_down"),
        cr.Augment(flip="both", rotate=30.0),
        cr.Augment(shift=1, rotate=180.0, fill=2.0),
    ],
    ids=repr,
)
@pytest.mark.parametrize("shape", [(7, 5), (6, 6, 1), (5, 8, 3)])
def test_augment_against_the_oracle(rng: np.random.Generator, augment: cr.Augment, shape: tuple[int, ...]) -> None:
    """A fit that augments is a fit of the images that the reference has changed, step by step; what is held back stays as it is."""
    X, y = rng.normal(size=(70, *shape)), rng.normal(size=(70, 2))

    def network() -> cr.Network:
        return cr.Network([cr.Input(shape, name="image"), cr.Flatten(), cr.Dense(2, "tanh")], seed=11, dtype="float64")

    ours, theirs = network(), network()
    held = X[:9], y[:9]
    history = ours.fit(X, y, optimizer=cr.SGD(0.01), batch_size=32, epochs=2, shuffle=False, augment=augment, validation=held)
    options = {k: v for k, v in augment.spec().items() if k != "type"}
    step, changed = 0, 0.0
    for _ in range(2):
        for i in range(0, 70, 32):
            moved = reference.augment(X[i : i + 32], "image", 11, step, **options)
            changed += float(np.abs(moved - X[i : i + 32]).sum())
            theirs.fit(moved, y[i : i + 32], optimizer=cr.SGD(0.01), batch_size=None, epochs=1)
            step += 1
    assert changed > 0
    assert np.allclose(ours.flat_parameters, theirs.flat_parameters, rtol=1e-9, atol=1e-11)
    assert history["validation_loss"][-1] == ours.evaluate(*held)["loss"]


def test_each_row_and_each_step_is_changed_in_its_own_way() -> None:
    x = np.tile(np.arange(64.0).reshape(1, 8, 8), (200, 1, 1))
    first, second = (reference.augment(x, "x", 5, step, shift=(2, 2), flip="both") for step in (0, 1))
    assert len({a.tobytes() for a in first}) > 60  # of 25 shifts x 4 flips, 200 draws
    assert sum(np.array_equal(a, b) for a, b in zip(first, second, strict=True)) < 20


def test_resumed_augmentation_goes_on(rng: np.random.Generator) -> None:
    """2 x 2 epochs are 4 epochs; batches of one's own are augmented too."""
    X, y = rng.normal(size=(90, 6, 6)), rng.integers(0, 3, 90)
    layers = [cr.Input((6, 6)), cr.Flatten(), cr.Dense(3, "softmax")]
    nets = [cr.Network(layers, seed=1) for _ in range(3)]
    options: dict[str, Any] = {"augment": cr.Augment(1, rotate=15.0), "optimizer": cr.Adam(0.01)}
    nets[0].fit(X, y, epochs=4, batch_size=30, shuffle=False, **options)
    for _ in range(2):
        nets[1].fit(X, y, epochs=2, batch_size=30, shuffle=False, **options)
    nets[2].fit(cr.Batches([(X[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]), epochs=4, **options)
    assert np.array_equal(nets[0].flat_parameters, nets[1].flat_parameters)
    assert np.array_equal(nets[0].flat_parameters, nets[2].flat_parameters)


@pytest.mark.parametrize("augment", [cr.Augment(2, "both"), cr.Augment((1, 0), "left_right", 20.0, 0.5)], ids=["moved", "turned"])
def test_threads_change_no_bit(rng: np.random.Generator, augment: cr.Augment) -> None:
    """1, 2, 3 and 7 threads, each of which worked: one result."""
    X, y = rng.normal(size=(300, 12, 12, 6)).astype(np.float32), rng.integers(0, 5, 300)
    before, found = cr.num_threads(), set()
    try:
        for threads in (1, 2, 3, 7):
            cr.set_num_threads(threads)
            worked = np.zeros(threads, dtype=bool)
            for _ in range(200):
                net = cr.Network([cr.Input((12, 12, 6)), cr.AveragePool(2), cr.Flatten(), cr.Dense(64, "tanh"), cr.Dense(5, "softmax")], seed=3)
                history = net.fit(X, y, epochs=1, batch_size=128, augment=augment)
                worked |= np.asarray(history.chunks_by_thread) > 0
                found.add((net.flat_parameters.tobytes(), *history["loss"], net.predict(X).tobytes()))
                if worked.all():
                    break
            assert worked.all()
    finally:
        cr.set_num_threads(before)
    assert len(found) == 1


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: cr.Augment(-1), r"\[Augment\] shift is -1: expected a whole number >= 0"),
    (lambda: cr.Augment((1, 2, 3)), r"\[Augment\] shift is \(1, 2, 3\): expected pixels, or \(down, across\)"),
    (lambda: cr.Augment(flip="sideways"), r"\[Augment\] flip is 'sideways': expected one of left_right, up_down, both"),
    (lambda: cr.Augment(rotate=200), r"\[Augment\] rotate is 200: expected a number in \[0, 180\]"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_augment_is_refused_where_it_does_not_fit() -> None:
    net, X = cr.Network([cr.Input((4, 4), name="a"), cr.Flatten(), cr.Dense(1)]), np.zeros((3, 4, 4))
    with pytest.raises(TypeError, match=r"\[fit\] augment is 2: expected a cr.Augment"):
        net.fit(X, np.zeros(3), augment=2)
    with pytest.raises(ValueError, match=r"\[fit\] augment names the input 'b': expected 'a'"):
        net.fit(X, np.zeros(3), augment={"b": cr.Augment(1)})
    with pytest.raises(ValueError, match=r"\[a\] shift is \(4, 4\) and the images \(n, 4, 4\)"):
        net.fit(X, np.zeros(3), augment=cr.Augment(4))
    flat = cr.Network([cr.Input(4), cr.Dense(1)])
    with pytest.raises(ValueError, match=r"\[input_1\] is \(n, 4\): augment expects images of known size"):
        flat.fit(np.zeros((3, 4)), np.zeros(3), augment=cr.Augment(1))
