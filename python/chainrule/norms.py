# SPDX-License-Identifier: MIT
"""Normalisation layers: y = gain xhat + bias, xhat = (x - m) / sqrt(v + eps). They differ in what m and v are taken over."""

from __future__ import annotations

import math
from typing import ClassVar

from chainrule._record import record
from chainrule.layers import Layer, _flag, _integer, _real

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm", "RMSNorm"]


class _Norm(Layer):
    """What all of them check."""

    eps: float
    gain: bool
    bias: bool
    trainable: bool

    def __post_init__(self) -> None:
        """Check the parameters."""
        who = self.name or self.type
        eps = _real(who, "eps", self.eps, "a number > 0")
        if not (0 < eps < math.inf):
            raise ValueError(f"[{who}] eps is {eps}: expected a finite number > 0")
        self._set("eps", eps)
        for flag in ("gain", "bias", "trainable"):
            self._set(flag, _flag(who, flag, getattr(self, flag)))


@record
class LayerNorm(_Norm):
    """y = gain xhat + bias over the last axis: m and v are the mean and the variance (1/n) of each row (Ba, Kiros, Hinton 2016).

    Parameters
    ----------
    eps : float
        Added to v under the root.
    gain, bias : bool
        Whether there are parameters ``gain`` and ``bias`` (channels,); they start at 1 and 0 and no penalty takes them unless ``bias=True``.
    trainable : bool
        False freezes gain and bias.
    name : str, optional
    """

    type: ClassVar[str] = "layer_norm"

    eps: float = 1e-5
    gain: bool = True
    bias: bool = True
    trainable: bool = True
    name: str | None = None


@record
class RMSNorm(_Norm):
    """y = gain x / sqrt(v + eps) over the last axis, v the mean of x^2 of each row (Zhang, Sennrich 2019).

    Parameters
    ----------
    eps : float
        Added to v under the root.
    gain, bias : bool
        Whether there are parameters ``gain`` and ``bias`` (channels,).
    trainable : bool
        False freezes them.
    name : str, optional
    """

    type: ClassVar[str] = "rms_norm"

    eps: float = 1e-5
    gain: bool = True
    bias: bool = False
    trainable: bool = True
    name: str | None = None


@record
class GroupNorm(_Norm):
    """y = gain xhat + bias: m and v of each sample and group, over all its positions and the group's channels (Wu, He 2018).

    Parameters
    ----------
    groups : int
        Divides the channels, the size of the last axis; as many groups as channels is instance normalisation.
    eps : float
        Added to v under the root.
    gain, bias : bool
        Whether there are parameters ``gain`` and ``bias`` (channels,).
    trainable : bool
        False freezes them.
    name : str, optional
    """

    type: ClassVar[str] = "group_norm"

    groups: int
    eps: float = 1e-5
    gain: bool = True
    bias: bool = True
    trainable: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        self._set("groups", _integer(self.name or "group_norm", "groups", self.groups, 1))


@record
class BatchNorm(_Norm):
    """y = gain xhat + bias by channel: m and v of the whole batch, over all axes but the last (Ioffe, Szegedy 2015).

    In training m and v (1/N) are those of the batch, however it is cut for the threads, and each committed step does

        mean <- (1 - momentum) mean + momentum m,   variance <- (1 - momentum) variance + momentum v N / (N - 1)

    as PyTorch does. ``net.state["batch_norm_1.mean"]`` and ``.variance`` start at 0 and 1, are saved with the network, and take the place of
    m and v in everything but training. Weights of samples do not enter m and v. Of a batch of one row in training (and of one position in
    each) there is no variance: ValueError, before the first step of the epoch whose last batch it would be.

    Parameters
    ----------
    momentum : float
        Share of the new batch in the running statistics, 0 to 1.
    eps : float
        Added to v under the root.
    gain, bias : bool
        Whether there are parameters ``gain`` and ``bias`` (channels,).
    trainable : bool
        False freezes gain, bias and the running statistics, which then stand for m and v in training too.
    name : str, optional
    """

    type: ClassVar[str] = "batch_norm"

    momentum: float = 0.1
    eps: float = 1e-5
    gain: bool = True
    bias: bool = True
    trainable: bool = True
    name: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        who = self.name or "batch_norm"
        momentum = _real(who, "momentum", self.momentum, "a number, 0 <= momentum <= 1")
        if not 0 <= momentum <= 1:
            raise ValueError(f"[{who}] momentum is {momentum}: expected 0 <= momentum <= 1")
        self._set("momentum", momentum)
