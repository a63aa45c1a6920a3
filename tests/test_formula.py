# SPDX-License-Identifier: MIT
"""`net.formula()`: the text is that of `print(net)`; the LaTeX says the same in the book's notation, and every line of it is valid."""

from __future__ import annotations

import re

import chainrule as cr
import pytest
from graphs import GRAPHS


def parts(latex: str) -> list[str]:
    """The formulas of an `aligned` block, cut at its columns, in order."""
    lines = latex.splitlines()
    assert (lines[0], lines[-1]) == (r"\begin{aligned}", r"\end{aligned}")
    assert all(line.endswith(r" \\") for line in lines[1:-2])
    assert not lines[-2].endswith("\\")
    assert all(line.count("&") == 2 for line in lines[1:-1])
    return [part.replace("&", "") for line in lines[1:-1] for part in re.split(r" &(?=\\quad )", line.removesuffix(r" \\"))]


def chain() -> cr.Network:
    return cr.Network(
        [
            cr.Input((4, 3)),
            cr.Flatten(),
            cr.Standardize(),
            cr.Dense(8),
            cr.Activation("elu", 0.5),
            cr.Dropout(0.25),
            cr.Dense(3, "softmax", bias=False),
        ]
    )


def test_text_is_what_print_shows() -> None:
    net = chain()
    assert net.formula() == net.formula(format="text") == str(net)


def test_latex_of_a_chain_in_full() -> None:
    """The book's indices: the first layer's values are a^(1), the first weights W^(1)."""
    assert chain().formula("latex").splitlines()[1:-1] == [
        r"a^{(1)} &= x, &\quad a^{(1)} \in \mathbb{R}^{4 \times 3} \\",
        r"a^{(1)} &\leftarrow \mathrm{flatten}(a^{(1)}), &\quad a^{(1)} \in \mathbb{R}^{12} \\",
        r"a^{(1)} &\leftarrow \frac{a^{(1)} - \mu_{\mathrm{standardize\_1}}}{\sigma_{\mathrm{standardize\_1}}}, "
        r"&\quad a^{(1)} \in \mathbb{R}^{12} \\",
        r"z^{(2)} &= W^{(1)} a^{(1)} + w_0^{(1)}, &\quad W^{(1)} \in \mathbb{R}^{8 \times 12} \\",
        r"a^{(2)} &= \mathrm{elu}(z^{(2)}, 0.5), &\quad a^{(2)} \in \mathbb{R}^{8} \\",
        r"a^{(2)} &\leftarrow \mathrm{dropout}(a^{(2)}, 0.25), &\quad a^{(2)} \in \mathbb{R}^{8} \\",
        r"z^{(3)} &= W^{(2)} a^{(2)}, &\quad W^{(2)} \in \mathbb{R}^{3 \times 8} \\",
        r"a^{(3)} &= \mathrm{softmax}(z^{(3)}), &\quad a^{(3)} \in \mathbb{R}^{3}",
    ]


def test_latex_of_a_graph_in_full() -> None:
    """Nodes in order, a shared layer's W once, an open axis as T."""
    x = cr.Input((None, 4), name="x")
    layer = cr.Dense(4, "tanh", name="f")
    h = layer(x)
    net = cr.Network(inputs=x, outputs=cr.concat(layer(h) * x + h, x))
    assert net.formula("latex").splitlines()[1:-1] == [
        r"h_{0} &= \mathrm{x}, &\quad h_{0} \in \mathbb{R}^{T \times 4} \\",
        r"h_{1} &= \mathrm{tanh}(W_{\mathrm{f}} h_{0} + w_{\mathrm{f}}), "
        r"&\quad h_{1} \in \mathbb{R}^{T \times 4},\ W_{\mathrm{f}} \in \mathbb{R}^{4 \times 4} \\",
        r"h_{2} &= \mathrm{tanh}(W_{\mathrm{f}} h_{1} + w_{\mathrm{f}}), &\quad h_{2} \in \mathbb{R}^{T \times 4} \\",
        r"h_{3} &= h_{2} \odot h_{0}, &\quad h_{3} \in \mathbb{R}^{T \times 4} \\",
        r"h_{4} &= h_{3} + h_{1}, &\quad h_{4} \in \mathbb{R}^{T \times 4} \\",
        r"h_{5} &= \mathrm{concat}(h_{4}, h_{0}), &\quad h_{5} \in \mathbb{R}^{T \times 8}",
    ]


@pytest.mark.parametrize("name", [*GRAPHS, "chain"])
def test_every_line_is_mathtext(name: str) -> None:
    """Matplotlib's parser, the strictest of the three readers, takes every formula; and there is one for every node."""
    mathtext = pytest.importorskip("matplotlib.mathtext")
    net = chain() if name == "chain" else GRAPHS[name]().network()
    found = parts(net.formula("latex"))
    assert len(found) >= 2 * len(net.spec["nodes"])
    parser = mathtext.MathTextParser("path")
    for part in found:
        assert parser.parse(f"${part}$").width > 0


@pytest.mark.parametrize("name", [r"\input{x}", "a$b", "x^2_3", "{", "}", "100%", "a & b #1", "\n", "~`'\"<>|", "ñ-1 Ж"])
def test_a_name_cannot_be_a_command(name: str) -> None:
    net = cr.Network(inputs=(x := cr.Input(2, name="x")), outputs=cr.Dense(2, name=name)(x) + x)
    tensors = re.findall(r"W_\{\\mathrm\{((?:[\w-]|\\_|\\ )*)\}\} h", net.formula("latex"))
    assert len(tensors) == 1
    assert len(re.sub(r"\\(.)", r"\1", tensors[0])) == len(name)
    mathtext = pytest.importorskip("matplotlib.mathtext")
    for part in parts(net.formula("latex")):
        mathtext.MathTextParser("path").parse(f"${part}$")


def test_unknown_format() -> None:
    with pytest.raises(ValueError, match=r"\[formula\] format is 'html': expected 'text' or 'latex'"):
        chain().formula("html")
