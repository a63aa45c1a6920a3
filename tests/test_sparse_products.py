# SPDX-License-Identifier: MIT
"""A first layer that multiplies sparse rows as they are, and rows made dense a batch at a time: the dense matrix's results."""

from __future__ import annotations

from typing import Any

import chainrule as cr
import numpy as np
import pytest
from compare import assert_close
from sparse_rows import Array, csr, replaced, sparse, wide
from test_threads import bits, fits_with_all


@pytest.mark.parametrize("hidden", [16, 500])
def test_batches_chunks_and_blocks(hidden: int) -> None:
    """By chunks and by layers, shuffled and in order, batches that are cut, full batches in blocks: the dense matrix's bits."""
    x, y = wide(3000, 300, 0.5)
    dense, s = x.toarray(), np.linspace(0, 2, 3000)

    def make() -> cr.Network:
        return cr.Network([cr.Input(300), cr.Dense(hidden, "relu"), cr.Dense(3, "softmax")], seed=2)

    for batch, shuffle, optimizer in ((64, True, "adam"), (700, True, cr.SGD(0.1, momentum=0.9)), (700, False, cr.SGD(0.1)), (None, False, "adam")):
        a, b = make(), make()
        for net, X in ((a, x), (b, dense)):
            net.fit(X, y, batch_size=batch, shuffle=shuffle, optimizer=optimizer, epochs=1, validation=0.1, sample_weight=s)
        assert np.array_equal(a.flat_parameters, b.flat_parameters)
        assert a.last_fit["validation_loss"] == b.last_fit["validation_loss"]
        assert np.array_equal(a.predict(x), b.predict(dense))
        assert a.evaluate(x, y, sample_weight=s) == b.evaluate(dense, y, sample_weight=s)


def close(found: Array, expected: Array) -> None:
    """Sums of at most some thousand numbers in another order."""
    assert_close(found, expected, 1e-9, atol=1e-11 * (1 + np.abs(expected).max(initial=0)), dtype="float64")


def words_and_twins(kind: str) -> cr.Network:
    """Networks whose first products are with an input of 600 numbers, of which a row has six."""
    x = cr.Input(600)
    if kind == "two readers":
        return cr.Network(inputs=x, outputs=cr.Dense(3, "softmax")(cr.Dense(9, "tanh")(x) + cr.Dense(9, "relu")(x)), dtype="float64", seed=4)
    if kind == "shared":
        other, first = cr.Input(600), cr.Dense(9, "tanh")
        return cr.Network(inputs=[x, other], outputs=cr.Dense(3, "softmax")(first(x) * first(other)), dtype="float64", seed=4)
    chains: dict[str, list[Any]] = {
        "by chunks": [cr.Dense(13, "relu"), cr.Dense(3, "softmax")],
        "by layers": [cr.Dense(253, "gelu"), cr.Dense(3, "softmax")],
        "without bias": [cr.Dense(9, bias=False), cr.Dense(3, "softmax")],
        "frozen": [cr.Dense(9, "tanh", trainable=False), cr.Dense(3, "softmax")],
        "one layer": [cr.Dense(3, "softmax")],
    }
    return cr.Network([x, *chains[kind]], dtype="float64", seed=4)


KINDS = ["by chunks", "by layers", "without bias", "frozen", "one layer", "two readers", "shared"]


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_sparse_rows(kind: str) -> None:
    """Where few numbers are stored the first layer multiplies the rows as they are: the dense product, summed in another order."""
    x, y = wide(700, 600, 0.01)
    both = kind == "shared"
    given_x, dense = ((x, sparse.csr_array(x[::-1])), (x.toarray(), x.toarray()[::-1])) if both else (x, x.toarray())
    s = np.linspace(0, 2, 700)
    net = words_and_twins(kind)
    close(net.predict(given_x), net.predict(dense))
    if not both:
        close(net.predict(x[:5]), net.predict(x[:5].toarray()))
        assert np.array_equal(net.predict(sparse.csr_array((700, 600))), net.predict(np.zeros((700, 600))))
    found, expected = net.gradient(given_x, y, sample_weight=s), net.gradient(dense, y, sample_weight=s)
    close(found.flat, expected.flat)
    for name, delta in found.deltas.items():
        close(delta, expected.deltas[name])
    few, few_dense = (tuple(a[:20] for a in given_x), tuple(a[:20] for a in dense)) if both else (x[:20], dense[:20])
    close(net.gradient(few, y[:20], per_sample=True).flat, net.gradient(few_dense, y[:20], per_sample=True).flat)
    assert_close(net.loss_and_gradient(given_x, y, penalty=cr.L2(0.1))[1], net.loss_and_gradient(dense, y, penalty=cr.L2(0.1))[1], 1e-9, atol=1e-12)
    assert net.check_gradient(given_x, y, entries=20) < 1e-6
    for key, value in net.evaluate(given_x, y, sample_weight=s).items():
        assert abs(value - net.evaluate(dense, y, sample_weight=s)[key]) < 1e-9


@pytest.mark.parametrize("optimizer", [cr.SGD(0.1), cr.SGD(0.1, momentum=0.9), cr.SGD(0.1, momentum=0.9, nesterov=True), cr.Adam(1e-3)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_training_on_sparse_rows(kind: str, optimizer: Any) -> None:
    """Batches that are cut, a full batch in blocks, one small batch: the dense matrix's weights but for rounding."""
    rows = 2500
    x, y = wide(rows, 600, 0.01)
    both = kind == "shared"
    given_x, dense = ((x, sparse.csr_array(x[::-1])), (x.toarray(), x.toarray()[::-1])) if both else (x, x.toarray())
    for batch in (60, 700, None):
        a, b = words_and_twins(kind), words_and_twins(kind)
        for net, X in ((a, given_x), (b, dense)):
            net.fit(X, y, batch_size=batch, optimizer=optimizer, epochs=1, validation=0.1, penalty=cr.L2(1e-3))
        assert_close(a.flat_parameters, b.flat_parameters, 1e-6, atol=1e-9)
        assert_close(a.last_fit["validation_loss"], b.last_fit["validation_loss"], 1e-8)


def test_divergence_on_sparse_rows() -> None:
    """The layer is found, W is that of the last step."""
    x, y = wide(300, 600, 0.01)
    net = cr.Network([cr.Input(600), cr.Dense(8, "relu"), cr.Dense(1)])
    net.W[0] *= 100
    before = net.flat_parameters.copy()
    with pytest.raises(cr.DivergenceError) as error:
        net.fit(x.sign() * 3e38, y, epochs=1)
    assert error.value.layer == "dense_1"
    assert np.array_equal(net.flat_parameters, before)


@pytest.mark.parametrize("density", [0.01, 0.3])
@pytest.mark.parametrize("hidden", [16, 500])
def test_threads_change_no_bit(hidden: int, density: float) -> None:
    """1, 2 and 3 threads, all of which work, by chunks and by layers."""
    x, y = wide(2000, 300, density)
    found = []
    before = cr.num_threads()
    try:
        for n in (1, 2, 3):
            nets = fits_with_all(
                lambda: cr.Network([cr.Input(300), cr.Dense(hidden, "relu"), cr.Dense(3, "softmax")], seed=2),
                lambda net: net.fit(x, y, batch_size=300, epochs=1),
                n,
            )
            found += [bits(net) + str(net.predict(x).sum()) for net in nets]
    finally:
        cr.set_num_threads(before)
    assert len(set(found)) == 1


def test_wide_rows_are_checked_too() -> None:
    """The same refusals where the rows are multiplied as they are."""
    x, y = wide(100, 600, 0.01)
    net = words_and_twins("by chunks")
    expected = net.predict(x)
    at = int(x.indptr[50])
    for column in (-1, 600):
        bad = csr(x.data, replaced(x.indices, at, column), x.indptr, x.shape)
        for call in (lambda bad=bad: net.predict(bad), lambda bad=bad: net.fit(bad, y), lambda bad=bad: net.gradient(bad, y)):
            with pytest.raises(ValueError, match=rf"\[X\] row 50 has a number in column {column}: expected 0 to 599"):
                call()
    x.data[at] = np.nan
    with pytest.raises(ValueError, match=r"\[X\] row 50 holds nan"):
        net.gradient(x, y)
    found = net.predict(x)
    assert np.isnan(found[50]).all()
    assert np.array_equal(np.delete(found, 50, axis=0), np.delete(expected, 50, axis=0))
