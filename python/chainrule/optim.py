# SPDX-License-Identifier: MIT
"""The optimizers' hyper-parameters. The update itself is csrc/optim; velocities, moments and step counters belong to
the network.

In the equations g is the gradient of the batch's objective, the penalties' part included: g = dW + lam W under
`L2(lam)`. With `clip_norm=c` it is first scaled: g <- g min(1, c / ||g||), the norm taken over all trainable
parameters. A proximal L1 penalty is not in g: after the step W <- sign(W) max(|W| - alpha lam, 0). alpha may be a
schedule (`chainrule.schedules`): alpha_t then stands for alpha."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from . import schedules
from ._record import record
from ._spec import Spec, build, choose, registry
from .schedules import Schedule

if TYPE_CHECKING:
    from .network import Network


class Optimizer(Spec):
    """Base of the optimizers: immutable hyper-parameters, to be shared by any number of networks."""

    alpha: float | Schedule
    clip_norm: float | None

    def spec(self) -> dict[str, Any]:
        """{"type": ..., "alpha": the schedule's spec, ...}: alpha is always a schedule here."""
        return {**super().spec(), "alpha": schedules.get(self.alpha).spec()}

    def step(self, net: Network, penalty: object = None) -> None:
        """One update of `net` along the gradients that `net.backward` has summed, which are then cleared.

        Parameters
        ----------
        net : Network
            Keeps the velocity or moments and the count of steps.
        penalty : L2, L1, ElasticNet or several of them, optional
            Their gradient is added to g before the update.
        """
        step = getattr(net, "_step", None)
        if step is None:
            raise TypeError(f"[{type(self).__name__}] step: net is {net!r}: expected a Network")
        step(self, penalty)

    def _check(self) -> None:
        if not isinstance(self.alpha, Schedule):
            schedules.get(self.alpha, f"[{type(self).__name__}] alpha")
            self._real("alpha", 0.0)
        if self.clip_norm is not None:
            self._real("clip_norm", 0.0, open_low=True)


@record
class SGD(Optimizer):
    """Gradient descent on batches, with momentum.

    v <- momentum v - alpha g,  W <- W + v. With `nesterov=True`, after v's update: W <- W + momentum v - alpha g.
    momentum = 0 is the textbook's W <- W - alpha (dW + lam W).

    Parameters
    ----------
    alpha : float or Schedule, default 0.01
        Step size, >= 0.
    momentum : float, default 0
        In [0, 1).
    nesterov : bool, default False
        Look ahead; needs momentum > 0.
    clip_norm : float, optional
        Largest norm of g, > 0.
    """

    type_name: ClassVar[str] = "sgd"
    alpha: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        self._check()
        self._real("momentum", 0.0, 1.0, open_high=True)
        self._flag("nesterov")
        if self.nesterov and self.momentum == 0:
            raise ValueError("[SGD] nesterov is True and momentum is 0.0: expected a momentum in (0, 1)")


@record
class RMSprop(Optimizer):
    """r <- rho r + (1 - rho) g^2,  W <- W - alpha g / (sqrt(r) + eps).

    Parameters
    ----------
    alpha : float or Schedule, default 0.001
        Step size, >= 0.
    rho : float, default 0.9
        In [0, 1).
    eps : float, default 1e-8
        > 0; outside the root.
    clip_norm : float, optional
        Largest norm of g, > 0.
    """

    type_name: ClassVar[str] = "rmsprop"
    alpha: float | Schedule = 0.001
    rho: float = 0.9
    eps: float = 1e-8
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        self._check()
        self._real("rho", 0.0, 1.0, open_high=True)
        self._real("eps", 0.0, open_low=True)


@record
class Adam(Optimizer):
    """m <- beta1 m + (1 - beta1) g,  v <- beta2 v + (1 - beta2) g^2,  W <- W - alpha m_hat / (sqrt(v_hat) + eps).

    m_hat = m / (1 - beta1^t) and v_hat = v / (1 - beta2^t), t = 1 at the first step. With `eps_hat=True` eps stands
    where scikit-learn has it: W <- W - alpha sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps).

    Parameters
    ----------
    alpha : float or Schedule, default 0.001
        Step size, >= 0.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    eps : float, default 1e-8
        > 0.
    eps_hat : bool, default False
        Which of the two places of eps.
    clip_norm : float, optional
        Largest norm of g, > 0.
    """

    type_name: ClassVar[str] = "adam"
    alpha: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    eps_hat: bool = False
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        self._check()
        self._real("beta1", 0.0, 1.0, open_high=True)
        self._real("beta2", 0.0, 1.0, open_high=True)
        self._real("eps", 0.0, open_low=True)
        self._flag("eps_hat")


@record
class AdamW(Optimizer):
    """Adam's step, and beside it W <- W - alpha_t lam W.

    The decay does not pass through m and v: that is the difference from Adam under `L2(lam)`. Every trainable parameter
    decays, biases too.

    Parameters
    ----------
    alpha : float or Schedule, default 0.001
        Step size, >= 0; multiplies the decay too.
    beta1, beta2 : float, default 0.9 and 0.999
        In [0, 1).
    eps : float, default 1e-8
        > 0.
    lam : float, default 0.01
        Decay, >= 0.
    clip_norm : float, optional
        Largest norm of g, > 0.
    """

    type_name: ClassVar[str] = "adamw"
    alpha: float | Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    lam: float = 0.01
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        self._check()
        self._real("beta1", 0.0, 1.0, open_high=True)
        self._real("beta2", 0.0, 1.0, open_high=True)
        self._real("eps", 0.0, open_low=True)
        self._real("lam", 0.0)


KNOWN: dict[str, type[Optimizer]] = registry(SGD, RMSprop, Adam, AdamW)


def get(x: str | Optimizer) -> Optimizer:
    """`x` itself, or the optimizer of that name with its defaults. ValueError or TypeError with the known names."""
    return choose("optimizer", KNOWN, x)


def from_spec(spec: Mapping[str, Any]) -> Optimizer:
    """The optimizer whose `.spec()` is `spec` (a constant alpha comes back as a number)."""
    arguments = dict(spec)
    if isinstance(arguments.get("alpha"), Mapping):
        alpha = schedules.from_spec(arguments["alpha"])
        arguments["alpha"] = alpha.alpha if isinstance(alpha, schedules.Constant) else alpha
    return build("optimizer", KNOWN, arguments)
