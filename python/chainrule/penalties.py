# SPDX-License-Identifier: MIT
"""Penalties lam_j J_j(W), added to the mean loss: objective = sum s_i L_i / sum s_i + sum_j lam_j J_j(W).

Several at once: a list, a tuple, or `L1(1e-4) + L2(1e-3, layers=["dense_1"])`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ._record import record
from ._spec import Spec, build, registry


class Penalty(Spec):
    """Base of the penalties."""

    layers: tuple[str, ...] | None
    bias: bool
    per_sample: bool

    def coefficients(self) -> tuple[float, float]:
        """(l1, l2): the penalty is l1 sum |w| + l2 / 2 sum w^2."""
        raise NotImplementedError

    def __add__(self, other: Penalty | tuple[Penalty, ...] | list[Penalty]) -> tuple[Penalty, ...]:
        return (self, *get(other))

    def __radd__(self, other: Penalty | tuple[Penalty, ...] | list[Penalty]) -> tuple[Penalty, ...]:
        return (*get(other), self)

    def _check(self) -> None:
        self._real("lam", 0.0)
        self._flag("bias")
        self._flag("per_sample")
        if self.layers is None:
            return
        names = (self.layers,) if isinstance(self.layers, str) else tuple(self.layers)
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"[{type(self).__name__}] layers holds {name!r}: expected names such as 'dense_1'")
        if not names:
            raise ValueError(f"[{type(self).__name__}] layers is empty: expected names of layers, or None for all")
        self._set("layers", names)


@record
class L2(Penalty):
    """lam / 2 sum w^2, gradient lam w.

    Parameters
    ----------
    lam : float
        >= 0.
    layers : names of layers, optional
        Whose weights; by default those of all layers.
    bias : bool, default False
        Whether biases count too.
    per_sample : bool, default False
        Divides lam by the batch's sum of weights (the number of its rows): scikit-learn's alpha.
    """

    type_name: ClassVar[str] = "l2"
    lam: float
    layers: tuple[str, ...] | None = None
    bias: bool = False
    per_sample: bool = False

    def __post_init__(self) -> None:
        self._check()

    def coefficients(self) -> tuple[float, float]:
        """(0, lam)."""
        return 0.0, self.lam


@record
class L1(Penalty):
    """lam sum |w|, gradient lam sign(w) with sign(0) = 0.

    Parameters
    ----------
    lam : float
        >= 0.
    layers : names of layers, optional
        Whose weights; by default those of all layers.
    bias : bool, default False
        Whether biases count too.
    per_sample : bool, default False
        Divides lam by the batch's sum of weights.
    proximal : bool, default False
        Instead of the gradient, soft-thresholds after every step, w <- sign(w) max(|w| - alpha lam, 0): exact zeros.
    """

    type_name: ClassVar[str] = "l1"
    lam: float
    layers: tuple[str, ...] | None = None
    bias: bool = False
    per_sample: bool = False
    proximal: bool = False

    def __post_init__(self) -> None:
        self._check()
        self._flag("proximal")

    def coefficients(self) -> tuple[float, float]:
        """(lam, 0)."""
        return self.lam, 0.0


@record
class ElasticNet(Penalty):
    """lam (l1_ratio sum |w| + (1 - l1_ratio) / 2 sum w^2).

    Parameters
    ----------
    lam : float
        >= 0.
    l1_ratio : float, default 0.5
        In [0, 1]: 0 is `L2(lam)`, 1 is `L1(lam)`.
    layers : names of layers, optional
        Whose weights; by default those of all layers.
    bias : bool, default False
        Whether biases count too.
    per_sample : bool, default False
        Divides lam by the batch's sum of weights.
    proximal : bool, default False
        Soft-thresholds for the part of |w|, as in `L1`.
    """

    type_name: ClassVar[str] = "elastic_net"
    lam: float
    l1_ratio: float = 0.5
    layers: tuple[str, ...] | None = None
    bias: bool = False
    per_sample: bool = False
    proximal: bool = False

    def __post_init__(self) -> None:
        self._check()
        self._real("l1_ratio", 0.0, 1.0)
        self._flag("proximal")

    def coefficients(self) -> tuple[float, float]:
        """(lam l1_ratio, lam (1 - l1_ratio))."""
        return self.lam * self.l1_ratio, self.lam * (1.0 - self.l1_ratio)


KNOWN: dict[str, type[Penalty]] = registry(L2, L1, ElasticNet)


def get(x: object) -> tuple[Penalty, ...]:
    """None, one penalty or several as a tuple. TypeError names what is none."""
    if x is None:
        return ()
    several = tuple(x) if isinstance(x, (list, tuple)) else (x,)
    for p in several:
        if not isinstance(p, Penalty):
            classes = ", ".join(c.__name__ for c in KNOWN.values())
            raise TypeError(f"penalty is {p!r}: expected {classes}, a list of them, or None")
    return several


def from_spec(spec: Mapping[str, Any]) -> Penalty:
    """The penalty whose `.spec()` is `spec`."""
    return build("penalty", KNOWN, spec)
