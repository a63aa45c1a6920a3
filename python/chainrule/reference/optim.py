# SPDX-License-Identifier: MIT
"""One step of each optimizer, the penalties, and the schedules of alpha.

Functions return new arrays and change none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .activations import Array, float64

Schedule = Callable[[int], float]


def penalty(w: npt.ArrayLike, l1: float = 0.0, l2: float = 0.0) -> tuple[float, Array]:
    """J = l1 sum |w| + l2 / 2 sum w^2 and dJ/dw = l1 sign(w) + l2 w, sign(0) = 0.

    L2(lam): l2 = lam. L1(lam): l1 = lam. ElasticNet(lam, r): l1 = lam r, l2 = lam (1 - r).
    """
    w = float64(w)
    return float(l1 * np.abs(w).sum() + 0.5 * l2 * (w * w).sum()), l1 * np.sign(w) + l2 * w


def soft_threshold(w: npt.ArrayLike, threshold: float) -> Array:
    """sign(w) max(|w| - threshold, 0): the proximal step of threshold * sum |w|."""
    w = float64(w)
    return np.sign(w) * np.maximum(np.abs(w) - threshold, 0.0) if threshold > 0 else w.copy()


def _gradient(w: Array, g: npt.ArrayLike, clip: float, l1: float, l2: float) -> Array:
    return clip * float64(g) + penalty(w, l1, l2)[1]


def sgd(
    w: npt.ArrayLike, g: npt.ArrayLike, v: npt.ArrayLike | None = None, *, alpha: float, mu: float = 0.0,
    nesterov: bool = False, clip: float = 1.0, l1: float = 0.0, l2: float = 0.0, decay: float = 0.0,
    threshold: float = 0.0,
) -> tuple[Array, Array]:  # fmt: skip
    """v <- mu v - alpha g;  w <- w + v.  Returns (w, v).

    Nesterov: w <- w + mu v - alpha g, with v after its update.
    """
    w = float64(w)
    g = _gradient(w, g, clip, l1, l2)
    v = mu * (np.zeros_like(w) if v is None else float64(v)) - alpha * g
    w = w - decay * w + (mu * v - alpha * g if nesterov else v)
    return soft_threshold(w, threshold), v


def rmsprop(
    w: npt.ArrayLike, g: npt.ArrayLike, v: npt.ArrayLike, *, alpha: float, rho: float = 0.9, eps: float = 1e-8,
    clip: float = 1.0, l1: float = 0.0, l2: float = 0.0, decay: float = 0.0, threshold: float = 0.0,
) -> tuple[Array, Array]:  # fmt: skip
    """v <- rho v + (1 - rho) g^2;  w <- w - alpha g / (sqrt v + eps).  Returns (w, v)."""
    w = float64(w)
    g = _gradient(w, g, clip, l1, l2)
    v = rho * float64(v) + (1 - rho) * g * g
    w = w - decay * w - alpha * g / (np.sqrt(v) + eps)
    return soft_threshold(w, threshold), v


def adam(
    w: npt.ArrayLike, g: npt.ArrayLike, m: npt.ArrayLike, v: npt.ArrayLike, *, t: int, alpha: float, mu: float = 0.9,
    rho: float = 0.999, eps: float = 1e-8, eps_hat: bool = False, clip: float = 1.0, l1: float = 0.0, l2: float = 0.0,
    decay: float = 0.0, threshold: float = 0.0,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """m <- mu m + (1 - mu) g;  v <- rho v + (1 - rho) g^2;  w <- w - alpha m_hat / (sqrt v_hat + eps).

    m_hat = m / (1 - mu^t), v_hat = v / (1 - rho^t).

    t = 1 in the first step. `eps_hat`: w <- w - alpha sqrt(1 - rho^t) / (1 - mu^t) m / (sqrt v + eps). Returns (w, m,
    v).
    """
    w = float64(w)
    g = _gradient(w, g, clip, l1, l2)
    m = mu * float64(m) + (1 - mu) * g
    v = rho * float64(v) + (1 - rho) * g * g
    c1, c2 = 1 - mu**t, 1 - rho**t
    change = math.sqrt(c2) / c1 * m / (np.sqrt(v) + eps) if eps_hat else m / c1 / (np.sqrt(v / c2) + eps)
    return soft_threshold(w - decay * w - alpha * change, threshold), m, v


def adamw(
    w: npt.ArrayLike,
    g: npt.ArrayLike,
    m: npt.ArrayLike,
    v: npt.ArrayLike,
    *,
    t: int,
    alpha: float,
    lam: float = 0.01,
    **options: float,
) -> tuple[Array, Array, Array]:
    """Adam, and additionally w <- w - alpha lam w with the w from before the step (Loshchilov and Hutter 2019)."""
    return adam(w, g, m, v, t=t, alpha=alpha, decay=alpha * lam, **options)  # type: ignore[arg-type]


def constant(alpha: float) -> Schedule:
    """alpha(t) = alpha, t = 0, 1, 2, ... counting the steps."""
    return lambda t: alpha


def step(alpha: float, factor: float, every: int) -> Schedule:
    """alpha(t) = alpha factor^floor(t / every)."""
    return lambda t: alpha * factor ** (t // every)


def cosine(alpha: float, total: int, alpha_end: float = 0.0) -> Schedule:
    """alpha(t) = alpha_end + (alpha - alpha_end) / 2 (1 + cos(pi min(t, total) / total))."""
    return lambda t: alpha_end + (alpha - alpha_end) / 2 * (1 + math.cos(math.pi * min(t, total) / total))


def inverse_scaling(alpha: float, power: float = 0.5) -> Schedule:
    """alpha(t) = alpha / (t + 1)^power."""
    return lambda t: alpha / (t + 1) ** power


def one_cycle(alpha: float, total: int, warm: float = 0.3, divide_start: float = 25.0, divide_end: float = 1e4) -> Schedule:
    """From alpha / divide_start up to alpha at t = warm total, then down to alpha / divide_end at t = total.

    Each way is half a cosine (Smith 2018).
    """
    first, last, peak = alpha / divide_start, alpha / divide_end, warm * total

    def schedule(t: int) -> float:
        t = min(t, total)
        if t < peak:
            return first + (alpha - first) / 2 * (1 - math.cos(math.pi * t / peak))
        return last + (alpha - last) / 2 * (1 + math.cos(math.pi * (t - peak) / (total - peak)))

    return schedule


def warm_up(base: Schedule, steps: int) -> Schedule:
    """alpha(t) = base(0) (t + 1) / steps for t < steps, then base(t - steps)."""
    return lambda t: base(0) * (t + 1) / steps if t < steps else base(t - steps)
