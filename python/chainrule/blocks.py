# SPDX-License-Identifier: MIT
"""Blocks of deep networks, each a few lines over the graph: functions of a node that return a node.

They hold nothing: ``residual(x, cr.Dense(64, "relu"), cr.Dense(64))`` is ``x + F(x)`` with F of two layers.
"""

from __future__ import annotations

from chainrule.graph import Node
from chainrule.layers import Input, Layer, StochasticDepth

__all__ = ["residual", "sequence"]


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
