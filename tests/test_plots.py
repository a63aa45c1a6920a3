# SPDX-License-Identifier: MIT
"""The displays and net.plot(): what is on the axes, in scikit-learn's convention. The drawing's own content: test_drawing.py."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chainrule as cr
import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

import matplotlib.pyplot as plt  # noqa: E402
from chainrule.plots import ActivationRangeDisplay, LossCurveDisplay, NetworkDisplay, WeightsDisplay, axes, weights  # noqa: E402
from chainrule.plots.drawing import Box, Circle, Line, Text  # noqa: E402
from chainrule.plots.network import drawing  # noqa: E402
from matplotlib.collections import PathCollection, PolyCollection  # noqa: E402
from matplotlib.colors import to_hex  # noqa: E402
from matplotlib.patches import Circle as CirclePatch  # noqa: E402
from matplotlib.patches import FancyBboxPatch  # noqa: E402

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture(autouse=True)
def _no_figure_is_left() -> Iterator[None]:
    yield
    plt.close("all")


class Estimator:
    """What a display knows of an estimator: `fit`, and `network_` once fitted."""

    def __init__(self, network: cr.Network | None = None, **fitted: Any) -> None:
        if network is not None:
            self.network_ = network
        self.__dict__.update(fitted)

    def fit(self) -> None: ...


def chain(*sizes: int, activation: str = "tanh") -> cr.Network:
    return cr.Network([cr.Input(sizes[0]), *(cr.Dense(n, activation) for n in sizes[1:])])


def words(ax: Any) -> list[str]:
    return [t.get_text() for t in ax.texts]


def fitted(**options: Any) -> cr.Network:
    X = np.random.default_rng(0).normal(size=(60, 4))
    net = cr.Network([cr.Input(4), cr.Dense(6, "tanh"), cr.Dense(3, "softmax")])
    net.fit(X, np.arange(60) % 3, **options)
    return net


# ---- the network ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["units", "boxes"])
def test_network_has_every_shape(kind: str) -> None:
    net = chain(5, 4, 2)
    display = net.plot(kind=kind)
    ax, shapes = display.ax_, drawing(net, kind).shapes
    assert display.figure_ is ax.figure
    assert words(ax) == [s.text for s in shapes if isinstance(s, Text)]
    assert sum(isinstance(p, CirclePatch) for p in ax.patches) == sum(isinstance(s, Circle) for s in shapes)
    assert sum(isinstance(p, FancyBboxPatch) for p in ax.patches) == sum(isinstance(s, Box) for s in shapes)
    (lines,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    drawn = [s for s in shapes if isinstance(s, Line)]
    assert [to_hex(c) for c in lines.get_edgecolors()] == [s.colour for s in drawn]
    assert [p.vertices[0].tolist() for p in lines.get_paths()] == [list(s.points[0]) for s in drawn]
    assert [p.vertices[-1].tolist() for p in lines.get_paths()] == [list(s.points[-1]) for s in drawn]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "y grows downwards"


def test_texts_shrink_with_the_axes() -> None:
    """On half the size the texts are half as large; nothing sticks out of the axes on a figure of its own."""
    net = chain(30, 12, 2)
    whole = net.plot()
    whole.figure_.canvas.draw()
    frame = whole.ax_.get_window_extent()
    for text in whole.ax_.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
    size = whole.figure_.get_size_inches() * 2
    _, four = plt.subplots(2, 2, figsize=size, gridspec_kw={"left": 0, "right": 1, "top": 1, "bottom": 0, "wspace": 0, "hspace": 0})
    part = net.plot(four[0, 1])
    assert part.ax_ is four[0, 1]
    assert [t.get_fontsize() for t in part.ax_.texts] == pytest.approx([t.get_fontsize() for t in whole.ax_.texts])
    _, four = plt.subplots(2, 2, figsize=size / 2, gridspec_kw={"left": 0, "right": 1, "top": 1, "bottom": 0, "wspace": 0, "hspace": 0})
    small = NetworkDisplay.from_estimator(Estimator(net), ax=four[1, 1])
    assert [2 * t.get_fontsize() for t in small.ax_.texts] == pytest.approx([t.get_fontsize() for t in whole.ax_.texts])


def test_names_are_no_formulas() -> None:
    """A name with dollars is not typeset, so that it cannot be a syntax error."""
    net = cr.Network([cr.Input(2, name="$\\frac{x$"), cr.Dense(2, name="$a_b$")])
    for kind in ("units", "boxes"):
        display = net.plot(kind=kind)
        display.figure_.canvas.draw()
        assert "$\\frac{x$" in words(display.ax_)
    WeightsDisplay.from_estimator(net).figure_.canvas.draw()
    net.activation_ranges(np.eye(2)).plot().figure_.canvas.draw()


# ---- losses -----------------------------------------------------------------------------------------------------------------------------


def test_loss_curves_of_a_history() -> None:
    history = fitted(epochs=7, validation=0.25).last_fit
    assert history is not None
    display = LossCurveDisplay.from_history(history, name="a name")
    assert list(display.lines_) == ["loss", "validation loss", "validation accuracy"]
    for name, line in display.lines_.items():
        assert line.get_xdata().tolist() == list(range(7))
        assert line.get_ydata().tolist() == history[name.replace(" ", "_")]
    assert display.lines_["loss"].axes is display.lines_["validation loss"].axes is display.ax_
    assert display.lines_["validation accuracy"].axes is display.score_ax_ is not display.ax_
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel(), display.score_ax_.get_ylabel()) == ("epoch", "loss", "validation accuracy")
    assert display.ax_.get_title() == "a name"
    legend = [t.get_text() for t in display.ax_.get_legend().get_texts()]
    assert legend == ["loss", "validation loss", f"best epoch: {history.best_epoch}", "validation accuracy"]
    assert len({(line.get_color(), line.get_linestyle()) for line in display.lines_.values()}) == 3
    assert len({line.get_linestyle() for line in display.lines_.values()}) == 3, "told apart without colours too"


def test_loss_curve_of_a_network_without_validation() -> None:
    net = fitted(epochs=1)
    display = LossCurveDisplay.from_estimator(net)
    assert list(display.lines_) == ["loss"]
    assert display.score_ax_ is None
    assert display.lines_["loss"].get_marker() == "o", "a single epoch is a point, not nothing"
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["loss"]


def test_loss_curves_of_estimators() -> None:
    """By scikit-learn's `loss_curve_` and `validation_scores_`, and ours beside them; several scores share the right axis."""
    display = LossCurveDisplay.from_estimator(
        Estimator(loss_curve_=[3, 2, 1], validation_loss_curve_=[4, 3], validation_scores_=[0.1, math.nan, 0.3])
    )
    assert display.ax_.get_title() == "Estimator"
    assert display.lines_["loss"].get_ydata().tolist() == [3, 2, 1]
    assert display.lines_["validation loss"].get_ydata().tolist() == [4, 3]
    assert display.lines_["validation score"].axes.get_ylabel() == "validation score"
    alone = Estimator(loss_curve_=[1], validation_loss_curve_=None, validation_scores_=None)
    assert list(LossCurveDisplay.from_estimator(alone).lines_) == ["loss"]
    two = LossCurveDisplay(scores={"validation accuracy[a]": [0, 1], "validation accuracy[b]": [1, 0]}).plot()
    assert two.score_ax_ is two.ax_
    assert two.ax_.get_ylabel() == "score"


def test_several_outputs_keep_their_names() -> None:
    x = cr.Input(3)
    net = cr.Network(inputs=x, outputs=[cr.Dense(2, "softmax", name="out_1")(x), cr.Dense(2, "softmax", name="out_2")(x)])
    X, y = np.eye(3), (np.array([0, 1, 0]), np.array([1, 1, 0]))
    net.fit(X, y, epochs=2, validation=(X, y))
    display = LossCurveDisplay.from_estimator(net)
    assert [n for n in display.lines_ if "accuracy" in n] == ["validation accuracy[out_1]", "validation accuracy[out_2]"]


def test_wrong_losses() -> None:
    for nothing in ({}, {"loss": []}):
        with pytest.raises(ValueError, match="there is no epoch to draw"):
            LossCurveDisplay(**nothing)
    with pytest.raises(ValueError, match=r"loss has shape \(1, 2\): expected one number an epoch"):
        LossCurveDisplay(loss=[[1, 2]])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="got dict: expected the History"):
        LossCurveDisplay.from_history({"loss": [1]})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Network has no last_fit and no loss_curve_"):
        LossCurveDisplay.from_estimator(chain(2, 2))


# ---- ranges -----------------------------------------------------------------------------------------------------------------------------


def bars(collection: Any) -> Array:
    """(units, [left, top, right, bottom])."""
    corners = np.array([p.vertices[:4] for p in collection.get_paths()])
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_range_bars() -> None:
    """From the smallest to the largest a within the range, the unit with the largest mean on top; dead ones below, on a ground."""
    z = np.array([[-2.0, 1, 3, -5], [-1, 1, 4, -6]])
    net = cr.Network([cr.Input(4), cr.Activation("relu")], dtype="float64")
    display = net.activation_ranges(z).plot()
    pale, dark = display.bars_
    assert bars(pale)[:, 0] == pytest.approx([3 / 4, 1 / 4, 0, 0], abs=4e-3)
    assert bars(pale)[:, 2] == pytest.approx([1, 1 / 4, 0, 0], abs=4e-3)
    assert bars(dark)[:, 0] == pytest.approx([3 / 4, 1 / 4, 0, 0], abs=4e-3)  # mean 3.5, deviation 0.5
    assert np.all(np.diff(bars(pale)[:, 1]) > 0)
    (ground,) = [c for c in display.ax_.collections if isinstance(c, PolyCollection) and c not in display.bars_]
    assert bars(ground)[:, [0, 2]].tolist() == [[0, 1], [0, 1]]
    assert bars(ground)[0, 1] >= bars(pale)[1, 3]
    assert words(display.ax_) == ["0", "4, no end", "2 dead"]
    assert [t.get_text() for t in display.ax_.get_yticklabels()] == ["activation_1\nrelu, 4 units"]
    assert [t.get_text() for t in display.ax_.get_legend().get_texts()] == ["smallest to largest a", "g(mean ± deviation of z)", "dead"]


def test_a_layer_that_takes_one_value() -> None:
    """A relu that is dead as a whole still begins at 0; a constant without ends lies in the middle."""
    net = cr.Network([cr.Input(2), cr.Activation("relu"), cr.Dense(1)], dtype="float64")
    display = net.activation_ranges(-np.ones((3, 2))).plot()
    assert words(display.ax_) == ["0", "1, no end", "2 dead", "-0.5, no end", "0.5, no end"]
    assert bars(display.bars_[0])[:, 0].tolist() == [0, 0]
    assert bars(display.bars_[2])[:, 0].tolist() == [0.5]


def test_saturated_bars_are_orange() -> None:
    z = np.array([[5.0, 0.1], [-5, -0.1]])
    display = cr.Network([cr.Input(2), cr.Activation("tanh")], dtype="float64").activation_ranges(z).plot()
    pale, dark = display.bars_
    assert [to_hex(c) for c in dark.get_facecolors()] == [axes.ORANGE, axes.BLUE]
    assert len({to_hex(c) for c in pale.get_facecolors()}) == 2
    used = np.tanh(0.1)
    assert bars(pale)[1, [0, 2]] == pytest.approx([(1 - used) / 2, (1 + used) / 2])
    (ground,) = [c for c in display.ax_.collections if isinstance(c, PolyCollection) and c not in display.bars_]
    assert bars(ground)[:, [0, 2]].tolist() == [[0, 1]]
    assert words(display.ax_) == ["-1", "1", "1 saturated"]


def test_ranges_of_an_estimator() -> None:
    """A strip a layer, the first on top; softmax has no dark bars; wide layers show 500 units; a given ax is used."""
    net = cr.Network([cr.Input(3), cr.Dense(700, "relu"), cr.Dense(2), cr.Activation("elu", 0.5), cr.Dense(3, "softmax")])
    _, ax = plt.subplots()
    display = ActivationRangeDisplay.from_estimator(Estimator(net), np.eye(3), ax=ax)
    assert display.ax_ is ax
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "dense_1\nrelu, 700 units",
        "activation_1\nelu(0.5), 2 units",
        "dense_3\nsoftmax, 3 units",
    ]
    assert [len(c.get_paths()) for c in display.bars_] == [500, 500, 2, 2, 3]
    assert ax.yaxis_inverted()
    assert "-0.5" in words(ax)
    for c in display.bars_:
        assert bars(c)[:, [0, 2]].min() >= 0
        assert bars(c)[:, [0, 2]].max() <= 1


# ---- weights ----------------------------------------------------------------------------------------------------------------------------


def test_weights_in_full() -> None:
    net = chain(5, 4, 2)
    net.W[0].flags.writeable = False
    display = WeightsDisplay.from_estimator(Estimator(net))
    assert len(display.axes_) == len(display.images_) == 2
    for image, W in zip(display.images_, net.W, strict=True):
        assert np.array_equal(image.get_array(), W)
        largest = float(np.abs(W).max())
        assert image.get_clim() == pytest.approx((-largest, largest)), "0 is white"
        assert image.get_cmap().name == "RdBu_r"
        assert image.get_extent() == [-0.5, W.shape[1] - 0.5, W.shape[0] - 0.5, -0.5]
    assert [a.get_title() for a in display.axes_] == ["dense_1.W  4 x 5", "dense_2.W  2 x 4"]
    assert (display.axes_[0].get_xlabel(), display.axes_[0].get_ylabel()) == ("input", "unit")
    assert display.figure_ is display.ax_.figure


def test_weights_of_named_layers_of_a_graph() -> None:
    x = cr.Input(3)
    f = cr.Dense(3, name="f")
    net = cr.Network(inputs=x, outputs=cr.Dense(2, name="out")(f(f(x)) + x))
    assert list(WeightsDisplay.from_estimator(net).weights) == ["f.W", "out.W"]
    display = WeightsDisplay.from_estimator(net, layers=["out"])
    assert np.array_equal(display.images_[0].get_array(), net.parameters["out.W"])
    with pytest.raises(ValueError, match=r"layers names 'in': expected some of \['f', 'out'\]"):
        WeightsDisplay.from_estimator(net, layers=["out", "in"])


def test_rows_as_images() -> None:
    """Row i of W is the i-th small image, from the left; a line of nothing between two."""
    W = np.arange(7 * 6, dtype=float).reshape(7, 6) - 20
    display = WeightsDisplay({"W": W, "V": np.ones((2, 7))}, image_shape=(2, 3), images=5).plot()
    sheet = display.images_[0].get_array()
    across = (sheet.shape[1] + 1) // 4
    found = [sheet[3 * (i // across) : 3 * (i // across) + 2, 4 * (i % across) : 4 * (i % across) + 3] for i in range(5)]
    for row, image in zip(W, found, strict=False):
        assert np.array_equal(image, row.reshape(2, 3))
    assert np.isfinite(sheet.filled(np.nan)).sum() == 5 * 6
    assert display.axes_[0].get_title() == "W: 5 of 7 units, 2 x 3"
    assert display.images_[0].get_clim() == (-20, 20)
    assert display.images_[1].get_array().shape == (2, 7)


def test_large_matrices_show_the_strongest_of_each_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "CELLS", 4)
    W = np.zeros((9, 4))
    W[4, 1], W[5, 1], W[8, 3] = 2, -3, 1
    display = WeightsDisplay({"W": W}).plot()
    expected = np.zeros((3, 4))
    expected[1, 1], expected[2, 3] = -3, 1
    assert np.array_equal(display.images_[0].get_array(), expected)
    assert display.axes_[0].get_title() == "W  9 x 4\nstrongest of each 3 x 1"
    assert display.images_[0].get_extent() == [-0.5, 3.5, 8.5, -0.5]


def test_wrong_weights() -> None:
    net = chain(6, 2)
    for shape in [(2, 4), (6,), (-2, -3), (1, 2, 3)]:
        with pytest.raises(ValueError, match=r"expected \(height, width\) of 6 pixels, as dense_1.W has inputs"):
            WeightsDisplay.from_estimator(net, image_shape=shape)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there are no weights"):
        WeightsDisplay.from_estimator(cr.Network([cr.Input(2), cr.Activation("relu")]))
    with pytest.raises(ValueError, match=r"W has shape \(3,\)"):
        WeightsDisplay({"W": np.ones(3)})
    with pytest.raises(ValueError, match="images is 0: expected at least 1"):
        WeightsDisplay({"W": np.ones((3, 3))}, images=0)
    net.W[0][1, 4] = np.nan
    with pytest.raises(ValueError, match=r"dense_1.W\[1, 4\] is nan: expected finite numbers"):
        WeightsDisplay.from_estimator(net)


def test_deep_networks_show_the_first_layers() -> None:
    """50 layers: 12 heat maps and 40 strips, and how many there are."""
    net = chain(*[3] * 51)
    display = WeightsDisplay.from_estimator(net)
    assert [a.get_title().split()[0] for a in display.axes_] == [f"dense_{i}.W" for i in range(1, 13)]
    assert display.ax_.get_title() == "the first 12 of 50 matrices: layers= chooses others"
    strips = net.activation_ranges(np.eye(3)).plot()
    assert len(strips.ax_.get_yticklabels()) == 40
    assert strips.ax_.get_xlabel().endswith("\nthe first 40 of 50 activations")


# ---- all of them ------------------------------------------------------------------------------------------------------------------------

CALLS = {
    NetworkDisplay: lambda e, ax=None: NetworkDisplay.from_estimator(e, ax=ax),
    ActivationRangeDisplay: lambda e, ax=None: ActivationRangeDisplay.from_estimator(e, np.eye(4), ax=ax),
    WeightsDisplay: lambda e, ax=None: WeightsDisplay.from_estimator(e, ax=ax),
    LossCurveDisplay: lambda e, ax=None: LossCurveDisplay.from_estimator(e, ax=ax),
}


@pytest.mark.parametrize("display", CALLS)
def test_convention(display: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plot` again draws anew; a given ax is kept; a wrong one, an estimator that is not fitted and a missing Matplotlib are said."""
    net = fitted(epochs=2)
    first = CALLS[display](net)
    assert first.figure_ is first.ax_.figure
    old = first.ax_
    assert first.plot() is first
    assert first.ax_ is not old
    _, ax = plt.subplots()
    assert CALLS[display](net, ax).ax_ is ax
    with pytest.raises(TypeError, match=r"ax is a str: expected Matplotlib's Axes, or None"):
        CALLS[display](net, "ax")
    with pytest.raises(ValueError, match=r"Estimator has no .*: expected an?.* estimator .* fitted"):
        CALLS[display](Estimator())
    with pytest.raises((TypeError, ValueError), match=r"expected a (fitted estimator|network)"):
        CALLS[display](3)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=rf"\[{display.__name__}.plot\] needs Matplotlib: pip install 'chainrule\[plot\]'"):
        CALLS[display](net)


def test_scikit_learns_own_estimator() -> None:
    neural_network = pytest.importorskip("sklearn.neural_network")
    X = np.random.default_rng(0).normal(size=(80, 3))
    model = neural_network.MLPClassifier(5, max_iter=4, early_stopping=True, n_iter_no_change=99)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        model.fit(X, X[:, 0] > 0)
    display = LossCurveDisplay.from_estimator(model)
    assert display.lines_["loss"].get_ydata().tolist() == model.loss_curve_
    assert display.lines_["validation score"].get_ydata().tolist() == list(model.validation_scores_)
    with pytest.raises(ValueError, match="MLPClassifier has no network_"):
        WeightsDisplay.from_estimator(model)


PAGE = Path(__file__).resolve().parent.parent / "docs" / "plots.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run without their source tree")
def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of docs/plots.md run and make the pictures that it shows, each below 100 KB."""
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for i, block in enumerate(re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)):
        exec(compile(block, f"plots.md, Python block {i}", "exec"), names)
    assert names["ranges"]["dense_1"].saturated.any(), "what the page shows them for"
    shown = re.findall(r"!\[[^]]*\]\(pictures/(\w+\.png)\)", text)
    assert sorted(shown) == sorted(p.name for p in tmp_path.glob("*.png")) == sorted(p.name for p in (PAGE.parent / "pictures").iterdir())
    assert max(p.stat().st_size for p in (PAGE.parent / "pictures").iterdir()) < 100_000
    assert r"a^{(4)} &= \mathrm{softmax}(z^{(4)})" in capsys.readouterr().out
