# SPDX-License-Identifier: MIT
"""Blocks of deep networks, each a few lines over the graph: functions of a node that return a node.

They hold nothing: ``residual(x, cr.Dense(64, "relu"), cr.Dense(64))`` is ``x + F(x)`` with F of two layers.
"""

from __future__ import annotations

from chainrule.convolutions import Conv2D
from chainrule.graph import Node
from chainrule.layers import Activation, Input, Layer, StochasticDepth, _integer, concat
from chainrule.norms import BatchNorm
from chainrule.shapes import AveragePool

__all__ = ["bottleneck", "dense_block", "residual", "sequence", "transition"]


def sequence(x: Node | Input, *layers: Layer) -> Node:
    """F(x): each layer fed by the one before."""
    node = x.node if isinstance(x, Input) else x
    for layer in layers:
        node = layer(node)
    return node


def residual(x: Node | Input, *layers: Layer, shortcut: Layer | None = None, drop: float = 0.0) -> Node:
    """y = S(x) + F(x), F the layers one after the other (He, Zhang, Ren, Sun 2016).

    Parameters
    ----------
    x : node
    *layers : Layer
        F; its last layer makes values of x's shape, or of the shortcut's.
    shortcut : Layer, optional
        S where the shapes of x and y differ; by default the identity.
    drop : float
        Stochastic depth: the share of the samples for which F is left out in training, 0 <= drop < 1 (Huang et al. 2016).

    Returns
    -------
    Node

    Raises
    ------
    ValueError
        There are no layers, or `drop` is out of range.
    """
    if not layers:
        raise ValueError("[residual] got no layers: expected those of F in y = x + F(x)")
    branch = sequence(x, *layers)
    if drop:
        branch = StochasticDepth(drop)(branch)
    return (sequence(x) if shortcut is None else shortcut(sequence(x))) + branch


def _convolution(filters: int, kernel: int, stride: int = 1) -> tuple[Layer, ...]:
    """W * relu(n(x)), n batch norm: no b, since the next norm would take it out."""
    return BatchNorm(), Activation("relu"), Conv2D(filters, kernel, stride=stride, bias=False)


def bottleneck(x: Node | Input, filters: int, *, stride: int = 1, expansion: int = 4, shortcut: Layer | None = None, drop: float = 0.0) -> Node:
    """y = S(x) + W3 * h(W2 * h(W1 * h(x))), h(x) = relu(n(x)), n batch norm; W1 and W3 of 1 x 1 pixels, W2 of 3 x 3.

    He, Zhang, Ren, Sun, "Deep residual learning" (CVPR 2016), in the order of "Identity mappings in deep residual networks" (ECCV 2016). Beside the
    norms there are filters (c + 9 filters + expansion filters) weights for c channels of x.

    Parameters
    ----------
    x : node
        Images (n, h, w, c).
    filters : int
        Of W1 and W2; W3 and y have expansion x filters.
    stride : int
        Of W2: y is (n, ceil(h / stride), ceil(w / stride), expansion filters).
    expansion : int
    shortcut : Layer, optional
        S. By default the identity, for c = expansion filters, and with a stride a convolution of 1 x 1 pixels.
    drop : float
        Stochastic depth, as in :func:`residual`.

    Returns
    -------
    Node
    """
    filters, expansion, stride = (
        _integer("bottleneck", name, value, 1) for name, value in (("filters", filters), ("expansion", expansion), ("stride", stride))
    )
    wide = expansion * filters
    if shortcut is None and stride > 1:
        shortcut = Conv2D(wide, 1, stride=stride, bias=False)
    layers = (*_convolution(filters, 1), *_convolution(filters, 3, stride), *_convolution(wide, 1))
    return residual(x, *layers, shortcut=shortcut, drop=drop)


def dense_block(x: Node | Input, layers: int, growth: int, *, width: int = 4) -> Node:
    """x[i + 1] = [x[i], F_i(x[i])], F(x) = W2 * h(W1 * h(x)), h(x) = relu(n(x)), n batch norm; W1 of 1 x 1 pixels, W2 of 3 x 3.

    Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks" (CVPR 2017). Weights beside the norms', c_i = c + i growth:
    sum over i of width growth c_i + 9 width growth^2, and without W1 of 9 growth c_i.

    Parameters
    ----------
    x : node
        Images (n, h, w, c).
    layers : int
        How many F.
    growth : int
        Channels that each adds: y is (n, h, w, c + layers growth).
    width : int
        W1 has width x growth filters ("DenseNet-B"); 0: there is no W1.

    Returns
    -------
    Node
    """
    layers, growth, width = (
        _integer("dense_block", name, value, least) for name, value, least in (("layers", layers, 1), ("growth", growth, 1), ("width", width, 0))
    )
    node = sequence(x)
    for _ in range(layers):
        narrow = _convolution(width * growth, 1) if width else ()
        node = concat(node, sequence(node, *narrow, *_convolution(growth, 3)))
    return node


def transition(x: Node | Input, filters: int, *, pool: int = 2) -> Node:
    """y = the means over pool x pool pixels of W * relu(n(x)), W of 1 x 1 pixels: fewer channels and pixels between two dense blocks.

    Huang et al. 2017; with half the channels of x as `filters` it is the "C" of DenseNet-BC. y is (n, floor(h / pool), floor(w / pool), filters).
    """
    return sequence(x, *_convolution(filters, 1), AveragePool(pool))
