# SPDX-License-Identifier: MIT
"""Penalties, and one step of each optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ._arrays import FloatArray, floats, number


def penalty(w: npt.ArrayLike, l1: float = 0.0, l2: float = 0.0) -> tuple[float, FloatArray]:
    """J = l1 sum |w| + l2 / 2 sum w^2 and dJ/dw = l1 sign(w) + l2 w, sign(0) = 0.

    Parameters
    ----------
    w : array_like
        Any shape.
    l1, l2 : float
        L2(lam): l2 = lam. L1(lam): l1 = lam. ElasticNet(lam, r): l1 = lam r, l2 = lam (1 - r).

    Returns
    -------
    (float, ndarray)
        J, and its gradient in the shape of w.

    Raises
    ------
    ValueError
        If l1 or l2 is not finite.

    """
    (array,) = floats("penalty", w=w)
    l1, l2 = number("penalty", "l1", l1), number("penalty", "l2", l2)
    value = l1 * _core.kernel_sum_abs(array) + 0.5 * l2 * _core.kernel_sum_square(array)
    return value, _core.kernel_add_penalty(np.zeros_like(array), array, l1, l2)


def _update(
    kernel: str,
    w: npt.ArrayLike,
    g: npt.ArrayLike,
    m: npt.ArrayLike | None,
    v: npt.ArrayLike | None,
    who: str,
    **options: Any,
) -> list[Any]:
    """(w, m, v) after one step, in the shape of w; a moment that is None starts at zero where the kernel keeps one."""
    arrays: dict[str, Any] = dict(zip("wgmv", floats(who, w=w, g=g, m=m, v=v), strict=True))
    shape = arrays["w"].shape
    for name, x in arrays.items():
        if x is not None and x.shape != shape:
            raise ValueError(f"[{who}] {name} is {x.shape} but w is {shape}: expected the same shape")
    numbers: dict[str, Any] = {name: x if isinstance(x, bool) else number(who, name, x) for name, x in options.items()}
    for name, kept in (("m", kernel == "adam"), ("v", kernel != "sgd" or numbers["mu"] != 0)):
        arrays[name] = None if not kept else np.zeros_like(arrays["w"]) if arrays[name] is None else arrays[name]
    flat: list[Any] = [None if x is None else x.reshape(-1) for x in arrays.values()]
    result = _core.kernel_update(kernel, flat[0], flat[1][None, :], flat[2], flat[3], **numbers)
    return [None if x is None else x.reshape(shape) for x in result[:3]]


def sgd(
    w: npt.ArrayLike, g: npt.ArrayLike, v: npt.ArrayLike | None = None, *, alpha: float,
    momentum: float = 0.0, nesterov: bool = False, l1: float = 0.0, l2: float = 0.0, threshold: float = 0.0,
) -> tuple[FloatArray, FloatArray | None]:  # fmt: skip
    """One step of gradient descent: v <- mu v - alpha g, w <- w + v.

    Nesterov: w <- w + mu v - alpha g with v after its update.

    Parameters
    ----------
    w, g : array_like
        Parameters and gradient, of the same shape.
    v : array_like, optional
        Velocity; None: zeros.
    alpha, momentum : float
        alpha and mu.
    nesterov : bool
        Nesterov's form.
    l1, l2 : float
        First g <- g + l2 w + l1 sign(w).
    threshold : float
        Last w <- sign(w) max(|w| - threshold, 0).

    Returns
    -------
    (ndarray, ndarray or None)
        The new w and v; v is None where momentum is 0.

    Raises
    ------
    ValueError
        If shapes differ or a number is not finite.

    """
    options = {"alpha": alpha, "mu": momentum, "nesterov": bool(nesterov), "l1": l1, "l2": l2, "threshold": threshold}
    new_w, _, new_v = _update("sgd", w, g, None, v, "sgd", **options)
    return new_w, new_v


def rmsprop(
    w: npt.ArrayLike, g: npt.ArrayLike, v: npt.ArrayLike | None = None, *, alpha: float,
    rho: float = 0.9, eps: float = 1e-8, l1: float = 0.0, l2: float = 0.0, threshold: float = 0.0,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """One step of RMSprop: v <- rho v + (1 - rho) g^2, w <- w - alpha g / (sqrt v + eps).

    Parameters
    ----------
    w, g : array_like
        Parameters and gradient, of the same shape.
    v : array_like, optional
        Second moment; None: zeros.
    alpha, rho, eps : float
        As in the formula.
    l1, l2, threshold : float
        As in `sgd`.

    Returns
    -------
    (ndarray, ndarray)
        The new w and v.

    Raises
    ------
    ValueError
        If shapes differ or a number is not finite.

    """
    options = {"alpha": alpha, "rho": rho, "eps": eps, "l1": l1, "l2": l2, "threshold": threshold}
    new_w, _, new_v = _update("rmsprop", w, g, None, v, "rmsprop", **options)
    return new_w, new_v


def _adam(
    who: str,
    w: npt.ArrayLike,
    g: npt.ArrayLike,
    m: npt.ArrayLike | None,
    v: npt.ArrayLike | None,
    t: int,
    beta1: float,
    beta2: float,
    **options: Any,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    if int(t) != t or t < 1:
        raise ValueError(f"[{who}] t is {t}: expected the number of this step, 1, 2, ...")
    beta1, beta2 = number(who, "beta1", beta1, 0, 1), number(who, "beta2", beta2, 0, 1)
    new_w, new_m, new_v = _update("adam", w, g, m, v, who, mu=beta1, rho=beta2, c1=1 - beta1**t, c2=1 - beta2**t, **options)
    return new_w, new_m, new_v


def adam(
    w: npt.ArrayLike, g: npt.ArrayLike, m: npt.ArrayLike | None = None, v: npt.ArrayLike | None = None, *, t: int,
    alpha: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, eps_hat: bool = False,
    l1: float = 0.0, l2: float = 0.0, threshold: float = 0.0,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """One step of Adam: w <- w - alpha m_hat / (sqrt v_hat + eps).

    m <- beta1 m + (1 - beta1) g, v <- beta2 v + (1 - beta2) g^2, m_hat = m / (1 - beta1^t),
    v_hat = v / (1 - beta2^t) (Kingma and Ba 2015).

    Parameters
    ----------
    w, g : array_like
        Parameters and gradient, of the same shape.
    m, v : array_like, optional
        First and second moment; None: zeros.
    t : int
        1 in the first step.
    alpha, beta1, beta2, eps : float
        As in the formula.
    eps_hat : bool
        w <- w - alpha sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt v + eps) instead: scikit-learn's placing of eps.
    l1, l2, threshold : float
        As in `sgd`.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        The new w, m and v.

    Raises
    ------
    ValueError
        If shapes differ, a number is not finite or t < 1.

    """
    return _adam(
        "adam",
        w,
        g,
        m,
        v,
        t,
        beta1,
        beta2,
        alpha=alpha,
        eps=eps,
        eps_hat=bool(eps_hat),
        l1=l1,
        l2=l2,
        threshold=threshold,
    )


def adamw(
    w: npt.ArrayLike, g: npt.ArrayLike, m: npt.ArrayLike | None = None, v: npt.ArrayLike | None = None, *, t: int,
    alpha: float, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, lam: float = 0.01,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """One step of `adam`, and additionally w <- w - alpha lam w (Loshchilov and Hutter 2019).

    Parameters
    ----------
    w, g, m, v, t, alpha, beta1, beta2, eps
        As in `adam`.
    lam : float
        The decay of the weights.

    Returns
    -------
    (ndarray, ndarray, ndarray)
        The new w, m and v.

    Raises
    ------
    ValueError
        If shapes differ, a number is not finite or t < 1.

    """
    return _adam("adamw", w, g, m, v, t, beta1, beta2, alpha=alpha, eps=eps, decay=alpha * lam)
