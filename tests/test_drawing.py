# SPDX-License-Identifier: MIT
"""The drawing of a network as shapes and as SVG: what it shows, that nothing overlaps, that no name can do harm. Needs no Matplotlib."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from itertools import combinations

import chainrule as cr
import numpy as np
import pytest
from chainrule.plots import boxes, units
from chainrule.plots.drawing import NEGATIVE, POSITIVE, Box, Circle, Drawing, Line, Text, bends, svg
from chainrule.plots.network import drawing
from graphs import GRAPHS

SVG = "{http://www.w3.org/2000/svg}"
TAGS = {"div", "details", "summary", "pre", *(SVG + t for t in ("svg", "title", "rect", "path", "polygon", "circle", "text"))}
ATTRIBUTES = {
    *("viewBox", "width", "height", "font-family", "role", "style", "x", "y", "rx", "cx", "cy", "r", "d", "points", "fill", "stroke", "stroke-width"),
    *("stroke-opacity", "stroke-dasharray", "text-anchor", "font-size", "font-weight"),
}


def of(shown: Drawing, kind: type) -> list:  # type: ignore[type-arg]
    return [s for s in shown.shapes if isinstance(s, kind)]


def texts(shown: Drawing) -> list[str]:
    return [s.text for s in of(shown, Text)]


def residual(blocks: int = 3) -> cr.Network:
    x = cr.Input(8)
    h = cr.Dense(8, "relu")(x)
    for _ in range(blocks):
        h = cr.Dense(8)(cr.Dense(8, "relu")(h)) + h
    return cr.Network(inputs=x, outputs=cr.Dense(3, "softmax")(cr.concat(h, x)))


def chain(*sizes: int, activation: str = "tanh", **options: str) -> cr.Network:
    return cr.Network([cr.Input(sizes[0]), *(cr.Dense(n, activation) for n in sizes[1:])], **options)


# ---- unit by unit -----------------------------------------------------------------------------------------------------------------------


def test_units_in_full() -> None:
    """One circle a unit, one edge a weight: colour by sign, width and strength relative to the largest of the layer; fill by bias."""
    net = cr.Network([cr.Input(3), cr.Standardize(), cr.Dense(2, "tanh"), cr.Dropout(0.25), cr.Dense(1), cr.Activation("sigmoid")], dtype="float64")
    net.W[0][...], net.b[0][...] = [[4, -2, 0], [1, 0, -4]], [0.5, -1]
    net.W[1][...], net.b[1][...] = [[0.5, -0.25]], 0
    shown = drawing(net)
    circles, edges = of(shown, Circle), of(shown, Line)[: 3 * 2 + 2]
    assert len(circles) == 3 + 2 + 1
    columns = sorted({c.x for c in circles})
    assert [sum(c.x == x for c in circles) for x in columns] == [3, 2, 1]
    place = {(k, i): c for k, x in enumerate(columns) for i, c in enumerate(sorted((c for c in circles if c.x == x), key=lambda c: c.y))}
    for k, W in enumerate(net.W):
        for (j, i), w in np.ndenumerate(W):
            a, b = place[k, i], place[k + 1, j]
            (edge,) = [e for e in edges if e.points == [(a.x + a.radius, a.y), (b.x - b.radius, b.y)]]
            share = abs(w) / np.abs(W).max()
            assert (edge.width, edge.opacity) == pytest.approx((0.3 + 2.7 * share, 0.12 + 0.78 * share))
            assert edge.colour == (NEGATIVE if w < 0 else POSITIVE)
    assert [e.width for e in edges] == sorted(e.width for e in edges), "strong edges lie in front"
    fill = [[int(place[1, i].fill[c : c + 2], 16) for c in (1, 3, 5)] for i in (0, 1)]
    assert fill[0][0] > fill[0][2]  # b > 0: red
    assert fill[1][0] < fill[1][2]  # b < 0: blue
    assert sum(fill[0]) > sum(fill[1]), "half the bias is paler"
    assert {place[0, i].fill for i in range(3)} | {place[2, 0].fill} == {"#ffffff"}
    found = texts(shown)
    for text in ("a[0]: 3 units", "a[1]: 2 units", "a[2]: 1 unit", "input_1", "standardize", "dense_1", "tanh", "dropout 0.25", "dense_2", "sigmoid",
                 "W[0]", "W[1]", "|w| ≤ 4", "|w| ≤ 0.5", "negative", "positive"):  # fmt: skip
        assert found.count(text) == 1, text


def test_wide_layers_have_a_gap() -> None:
    """64 units: the first and the last five, three dots between them; 11 units are all shown."""
    net = chain(64, 11)
    shown = drawing(net)
    circles = of(shown, Circle)
    assert sum(c.radius > 5 for c in circles) == 10 + 11
    assert sum(c.radius < 5 for c in circles) == 3
    assert len([e for e in of(shown, Line) if e.points[0][0] != e.points[1][0] and e.points[0][1] > 40][: 10 * 11]) == 10 * 11
    assert "a[0]: 64 units" in texts(shown)
    last = max(of(shown, Circle), key=lambda c: (-c.x, c.y))
    net.W[0][...] = 0
    net.W[0][0, 63] = -7
    (strong,) = [e for e in of(drawing(net), Line)[: 10 * 11] if e.width > 1]
    assert strong.points[0] == (last.x + last.radius, last.y)
    assert strong.colour == NEGATIVE


@pytest.mark.parametrize(
    ("net", "kind"),
    [
        (chain(64, 64, 64), Circle),
        (chain(65, 3), Box),
        (chain(*[4] * 7), Circle),
        (chain(*[4] * 8), Box),
        (residual(), Box),
        (cr.Network([cr.Input((None, 3)), cr.Dense(2)]), Box),
        (cr.Network([cr.Input((2, 3)), cr.Dense(2)]), Box),
        (cr.Network([cr.Input((2, 3)), cr.Flatten(), cr.Dense(2)]), Circle),
        (cr.Network([cr.Input(3), cr.Activation("relu")]), Box),
        (cr.Network([cr.Input(3)]), Box),
    ],
    ids=lambda x: x.formula().splitlines()[0] if isinstance(x, cr.Network) else "",
)
def test_which_drawing(net: cr.Network, kind: type) -> None:
    shown = drawing(net)
    assert of(shown, kind)
    assert not of(shown, Box if kind is Circle else Circle)


def test_weights_that_are_not_finite_are_told() -> None:
    net = chain(3, 2)
    net.W[0][1, 1] = np.nan
    assert "holds NaN or inf" in texts(drawing(net))
    ET.fromstring(net._repr_html_())


# ---- boxes ------------------------------------------------------------------------------------------------------------------------------


def inside(point: tuple[float, float], box: Box) -> bool:
    return box.x + 0.01 < point[0] < box.x + box.width - 0.01 and box.y + 0.01 < point[1] < box.y + box.height - 0.01


def along(line: Line) -> list[tuple[float, float]]:
    """Points of a curved line."""
    found, start = [], np.array(line.points[0])
    for piece in bends(line):
        p1, p2, p3 = map(np.array, piece)
        t = np.linspace(0, 1, 40)[:, None]
        found += [tuple(p) for p in (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3]
        start = p3
    return found


@pytest.mark.parametrize("name", [*GRAPHS, "residual", "deep", "deep residual"])
def test_boxes_lie_apart_and_edges_pass_between(name: str) -> None:
    """Every box within the picture, no two overlap, no arrow crosses a box, each goes from the lower side of one to the upper side of another."""
    own = {"residual": residual, "deep": lambda: chain(*[3] * 100), "deep residual": lambda: residual(40)}
    net = own[name]() if name in own else GRAPHS[name]().network()
    shown = drawing(net, "boxes")
    placed, arrows = of(shown, Box), of(shown, Line)
    assert all(min(b.x, b.y) > 0 and b.x + b.width < shown.width and b.y + b.height < shown.height for b in placed)
    for a, b in combinations(placed, 2):
        assert a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
    for arrow in arrows:
        (x0, y0), (x1, y1) = arrow.points[0], arrow.points[-1]
        assert any(b.x < x0 < b.x + b.width and y0 == pytest.approx(b.y + b.height) for b in placed)
        assert any(b.x < x1 < b.x + b.width and y1 == pytest.approx(b.y) for b in placed)
        assert not any(inside(p, b) for p in along(arrow) for b in placed)
    if len(net.spec["nodes"]) <= boxes.MOST:
        assert len(placed) == len(net.spec["nodes"])
        assert len(arrows) == sum(len(n["inputs"]) for n in net.spec["nodes"])
    else:
        assert len(placed) == boxes.MOST
        assert f"… {len(net.spec['nodes']) - boxes.MOST + 1:,} more nodes …" in texts(shown)


def test_what_a_box_says() -> None:
    x = cr.Input((None, 4), name="x")
    f = cr.Dense(4, "tanh", name="f", trainable=False)
    h = cr.Dropout(0.5)(f(f(x)))
    net = cr.Network(inputs=x, outputs=[cr.Activation("elu", 0.25)(h + x), cr.concat(h, x)])
    shown = drawing(net)
    found = texts(shown)
    assert found[:3] == ["x", "input", "(n, T, 4)"]
    assert found[3:9] == ["f", "dense, tanh; 20 parameters, frozen", "(n, T, 4)", "f", "dense, tanh; shared, see above, frozen", "(n, T, 4)"]
    for text in ("dropout 0.5", "add", "elu(0.25)", "concatenate", "(n, T, 4), output", "(n, T, 8), output"):
        assert found.count(text) == 1, text


# ---- SVG --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*GRAPHS, "units"])
def test_svg_has_every_shape(name: str) -> None:
    """Well-formed; as many elements as shapes; every text."""
    net = chain(20, 5, 2) if name == "units" else GRAPHS[name]().network()
    shown = drawing(net)
    root = ET.fromstring(svg(shown))
    count = {kind: len(root.findall(SVG + tag)) for kind, tag in ((Circle, "circle"), (Line, "path"), (Text, "text"))}
    assert count == {kind: len(of(shown, kind)) for kind in (Circle, Line, Text)}
    assert len(root.findall(SVG + "rect")) == len(of(shown, Box)) + 1  # the ground
    assert len(root.findall(SVG + "polygon")) == sum(s.arrow for s in of(shown, Line))
    assert [t.text for t in root.findall(SVG + "text")] == texts(shown)
    assert root.get("viewBox") == f"0 0 {float(root.get('width', '')):g} {float(root.get('height', '')):g}"
    for text in root.findall(SVG + "text"):
        assert 0 < float(text.get("x", "")) < shown.width
        assert 0 < float(text.get("y", "")) < shown.height


HOSTILE = [
    "</text><script>alert(1)</script>",
    '"><img src=x onerror="alert(1)">',
    "&lt;b&gt; &amp; '",
    "]]> <!--",
    "a\x00b\x1bc\n\x85\u2028",
    "\u202eevil",
    "x" * 10_000,
    "$\\frac{1}{2}$",
    "ñ Ж 漢 🙂",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("wide", [False, True])
def test_names_do_no_harm(name: str, wide: bool) -> None:
    """What a notebook shows is well-formed, of harmless elements and attributes alone, and small."""
    layers = {name: {"type": "input", "shape": [70 if wide else 3]}, f"{name} 2": {"type": "dense", "units": 2, "activation": "tanh"}}
    nodes = [{"layer": name, "inputs": []}, {"layer": f"{name} 2", "inputs": [0]}]
    net = cr.Network.from_spec({"format": 1, "layers": layers, "nodes": nodes, "inputs": [0], "outputs": [1]})
    shown = net._repr_html_()
    root = ET.fromstring(shown)
    for element in root.iter():
        assert element.tag in TAGS
        assert set(element.keys()) <= ATTRIBUTES
        assert "url(" not in "".join(element.attrib.values())
    assert "<script" not in shown.lower()
    assert "<img" not in shown.lower()
    assert len(shown) < 10_000
    written = "".join(t.text or "" for t in root.iter(f"{SVG}text"))
    assert not any(c in written for c in "\x00\x1b\n\u202e\u2028")


def test_html_has_the_formulas() -> None:
    net = chain(3, 2)
    root = ET.fromstring(net._repr_html_())
    assert root.findtext("details/summary") == "Network 3-2, float32, 8 parameters"
    shown = (root.findtext("details/pre") or "").splitlines()
    assert shown == [line for line in net.formula().splitlines()[1:] if line]


@pytest.mark.parametrize("net", [chain(*[3] * 3000), chain(4096, 4096, 10), residual(700)], ids=["deep", "wide", "graph"])
def test_huge_networks_are_quick_and_small(net: cr.Network) -> None:
    start = time.perf_counter()
    shown = net._repr_html_()
    assert time.perf_counter() - start < 5
    assert len(shown) < 60_000
    ET.fromstring(shown)


def test_largest_drawing_of_units() -> None:
    net = chain(*[units.WIDEST] * units.DEEPEST)
    assert of(drawing(net), Circle)
    assert len(net._repr_html_()) < 120_000


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"\[plot\] kind is 'circles': expected 'auto', 'units' or 'boxes'"):
        drawing(chain(2, 2), "circles")
    with pytest.raises(ValueError, match=r"kind='units' needs a chain of dense layers .* kind='boxes' draws any network"):
        drawing(residual(), "units")


def test_a_notebook_needs_no_matplotlib() -> None:
    """Neither does the table of the ranges; and the import of chainrule loads no drawing."""
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import chainrule as cr\n"
        "assert not any(m.startswith(('chainrule.plots', 'chainrule.ranges')) for m in sys.modules)\n"
        "net = cr.Network([cr.Input(2), cr.Dense(2, 'relu')])\n"
        "assert net._repr_html_().startswith('<div') and 'dense_1' in repr(net.activation_ranges([[1, 2]]))\n"
        "for draw in (net.plot, net.activation_ranges([[1, 2]]).plot):\n"
        "    try:\n"
        "        draw()\n"
        "    except ImportError as error:\n"
        "        assert \"needs Matplotlib: pip install 'chainrule[plot]'\" in str(error), error\n"
        "    else:\n"
        "        raise AssertionError('no ImportError')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
