# SPDX-License-Identifier: MIT
"""Dense, dropout, standardize."""

from __future__ import annotations

import numpy.typing as npt

from .. import _core
from ._activations import ACTIVATIONS, REGISTRY, parameter
from ._arrays import FloatArray, floats


def dense(
    a: npt.ArrayLike,
    W: npt.ArrayLike,
    b: npt.ArrayLike | None = None,
    activation: str = "identity",
    p: float | None = None,
) -> FloatArray:
    """g(z) with z = a W^T + b.

    Parameters
    ----------
    a : array_like
        (..., n_in), samples are rows.
    W : array_like
        (n_out, n_in).
    b : array_like, optional
        (n_out,).
    activation : str
        Name of g: one of `ACTIVATIONS`, or "softmax" (over the last axis).
    p : float, optional
        The parameter of g where it has one.

    Returns
    -------
    ndarray
        (..., n_out).

    Raises
    ------
    ValueError
        If the shapes do not fit together or the activation is unknown.

    """
    x, weights, bias = floats("dense", a=a, W=W, b=b)
    if activation != "softmax" and activation not in REGISTRY:
        raise ValueError(f"[dense] unknown activation {activation!r}: expected one of {', '.join(ACTIVATIONS)}, softmax")
    return _core.kernel_dense_forward(x, weights, bias, activation, parameter("dense", activation, p))


def dense_backward(dz: npt.ArrayLike, a: npt.ArrayLike, W: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Backward of dense: forward was z = a W^T + b, so da = dz W, dW = dz^T a, db = sum_i dz_i.

    Parameters
    ----------
    dz : array_like
        dL/dz, (..., n_out).
    a : array_like
        (..., n_in).
    W : array_like
        (n_out, n_in).

    Returns
    -------
    (ndarray, ndarray, ndarray)
        da (..., n_in), dW (n_out, n_in), db (n_out,).

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    """
    gradient, x, weights = floats("dense_backward", dz=dz, a=a, W=W)
    return _core.kernel_dense_backward(gradient, x, weights)


def dropout(x: npt.ArrayLike, rate: float, seed: int = 0, step: int = 0, stream: int = 0) -> FloatArray:
    """y_e = x_e / (1 - rate) with probability 1 - rate, else 0; its own backward, with dy for x.

    Parameters
    ----------
    x : array_like
        Any shape; e counts its elements in C order.
    rate : float
        In [0, 1).
    seed, step, stream : int
        What the mask is drawn from (Philox4x32-10): 64, 32 and 24 bits. The same numbers give the same mask on every
        device.

    Returns
    -------
    ndarray
        y, in the shape of x.

    Raises
    ------
    ValueError
        If rate, seed, step or stream is out of range.

    """
    (array,) = floats("dropout", x=x)
    if not 0 <= rate < 1:
        raise ValueError(f"[dropout] rate is {rate}: expected 0 <= rate < 1")
    for name, value, bits in (("seed", seed, 64), ("step", step, 32), ("stream", stream, 24)):
        if not 0 <= value < 2**bits:
            raise ValueError(f"[dropout] {name} is {value}: expected 0 <= {name} < 2^{bits}")
    return _core.kernel_dropout(array, 0, float(rate), int(seed), int(step), int(stream))


def standardize(x: npt.ArrayLike, mean: npt.ArrayLike, scale: npt.ArrayLike) -> FloatArray:
    """y = (x - mean) / scale, over the last axis.

    Parameters
    ----------
    x : array_like
        (..., m).
    mean, scale : array_like
        (m,).

    Returns
    -------
    ndarray
        y, in the shape of x.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    """
    return _core.kernel_standardize_forward(*floats("standardize", x=x, mean=mean, scale=scale))


def standardize_backward(dy: npt.ArrayLike, scale: npt.ArrayLike) -> FloatArray:
    """Backward of standardize: forward was y = (x - mean) / scale, so dx = dy / scale.

    Parameters
    ----------
    dy : array_like
        dL/dy, (..., m).
    scale : array_like
        (m,).

    Returns
    -------
    ndarray
        dx, in the shape of dy.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    """
    return _core.kernel_standardize_backward(*floats("standardize_backward", dy=dy, scale=scale))
