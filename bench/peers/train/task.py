# SPDX-License-Identifier: MIT
"""What training is to give: the weights after all steps, in float64 NumPy, written independently of every competitor.

delta[K-1] = (a[K-1] - y) / batch,  delta[k] = (delta[k+1] W[k]) * [a[k] > 0]
dW[k] = delta[k+1]^T a[k],  db[k] = sum of delta[k+1] over the batch
SGD    v <- 0.9 v - alpha g,  w <- w + v
Adam   m <- 0.9 m + 0.1 g,  v <- 0.999 v + 0.001 g^2,  w <- w - alpha (m / c1) / (sqrt(v / c2) + 1e-8)
       eps_hat: w <- w - alpha (sqrt(c2) / c1) m / (sqrt(v) + 1e-8),  c1 = 1 - 0.9^t, c2 = 1 - 0.999^t
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ..rows import BETA1, BETA2, EPS, MOMENTUM, Array64, Inputs, Reference, Row, Variant, forward, worst_change


def flat(W: list[Array64], b: list[Array64]) -> list[Array64]:
    """[W[0], b[0], W[1], ...]: what `Competitor.result` returns, in float32."""
    return [array for pair in zip(W, b, strict=True) for array in pair]


def backward(a: list[Array64], y: npt.NDArray[np.int64], parameters: list[Array64]) -> list[Array64]:
    """Return the gradient of the mean cross-entropy, as `flat`; forward was (z, a)."""
    W = parameters[::2]
    delta = a[-1].copy()
    if delta.shape[1] == 1:
        delta[:, 0] -= y
    else:
        delta[np.arange(len(y)), y] -= 1.0
    delta /= len(y)
    found: list[Array64] = []
    for k in reversed(range(len(W))):
        found[:0] = [delta.T @ a[k], delta.sum(axis=0)]
        if k > 0:
            delta = (delta @ W[k]) * (a[k] > 0)
    return found


def kinks(z: Iterable[Array64]) -> float:
    """Sum over the layers of ReLUs of (number of z within rounding of the kink) / (batch x width).

    float32 may put each on the other side: one sample's delta in one unit, a share of about 1 / sqrt(batch x width) of the gradient's norm.
    """
    return sum(float((np.abs(x) < 1e-6 * math.sqrt(np.mean(x * x))).mean()) for x in z)


def slack(close: float) -> float:
    """What the sum of `kinks` over all steps may change in the weights."""
    return 3.0 * math.sqrt(close)


def expected(row: Row, inputs: Inputs, variant: Variant) -> Reference:
    """The weights after inputs.steps steps, as `flat`."""
    start = inputs.of(variant)
    parameters = [x.astype(np.float64) for x in flat(list(start.W), list(start.b))]  # type: ignore[arg-type]
    m = [np.zeros_like(w) for w in parameters]
    v = [np.zeros_like(w) for w in parameters]
    t, close = 0, 0.0
    for _ in range(inputs.epochs):
        for i in inputs.starts:
            t += 1
            c1, c2 = 1.0 - BETA1**t, 1.0 - BETA2**t
            batch = slice(i, i + inputs.batch)
            z, a = forward(inputs.X[batch], parameters[::2], parameters[1::2])
            close += kinks(z[1:-1])
            for j, g in enumerate(backward(a, inputs.y[batch], parameters)):
                if row.optimizer == "sgd":
                    v[j] *= MOMENTUM
                    v[j] -= row.alpha * g
                    parameters[j] += v[j]
                    continue
                m[j] *= BETA1
                m[j] += (1.0 - BETA1) * g
                v[j] *= BETA2
                v[j] += (1.0 - BETA2) * g * g
                if variant.eps_hat:
                    parameters[j] -= row.alpha * math.sqrt(c2) / c1 * m[j] / (np.sqrt(v[j]) + EPS)
                else:
                    parameters[j] -= row.alpha / c1 * m[j] / (np.sqrt(v[j] / c2) + EPS)
    return Reference(parameters, slack(close))


def error(found: list[npt.NDArray[np.generic]], reference: Reference, inputs: Inputs, variant: Variant) -> float:
    """`worst_change`."""
    return worst_change(found, reference.arrays, flat(list(inputs.of(variant).W), list(inputs.of(variant).b)))  # type: ignore[arg-type]


def tolerance(row: Row, reference: Reference, timed: bool) -> float:
    """Of `error`. Adam divides by |g|, so that elements whose gradient is all rounding move by alpha in either direction."""
    if timed:
        return 0.25  # a step left out or done twice shows; the kinks of ReLU amplify rounding to some 0.05 in thousands of steps
    return (1e-3 if row.optimizer == "sgd" else 1e-2) + reference.slack
