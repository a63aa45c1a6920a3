# SPDX-License-Identifier: MIT
"""The one comparator of the tests. It fails closed: a NaN, a wrong shape or a wrong dtype never passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt


def assert_close(
    actual: object,
    expected: npt.ArrayLike,
    rtol: float,
    *,
    atol: float = 0.0,
    product: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    dtype: npt.DTypeLike | None = None,
    equal_nan: bool = False,
    what: str = "",
) -> None:
    """Asserts |actual - expected| <= rtol |expected| + atol in every element; infinities must be equal.

    Parameters
    ----------
    product
        (A, B): the bound is rtol (|A| |B|) + atol instead, the normwise one for C = A B. The rounding of a product
        scales
        with that, not with |C|.
    dtype
        What `actual` must have; by default the dtype of `expected`. The oracle is float64, so tests of float32 name it.
    equal_nan
        A NaN is expected exactly where `expected` has one. Without it any NaN fails, also an expected one.

    """
    found, wanted = np.asarray(actual), np.asarray(expected)
    name = f"{what}: " if what else ""
    assert found.shape == wanted.shape, f"{name}shape {found.shape}, expected {wanted.shape}"
    required = np.dtype(wanted.dtype if dtype is None else dtype)
    assert found.dtype == required, f"{name}dtype {found.dtype}, expected {required}"
    x, y = found.astype(np.float64), wanted.astype(np.float64)
    if product is None:
        size = np.abs(y)
    else:
        size = np.abs(np.asarray(product[0], dtype=np.float64)) @ np.abs(np.asarray(product[1], dtype=np.float64))
        assert size.shape == y.shape, f"{name}|A| |B| is {size.shape}, expected {y.shape}"
    with np.errstate(invalid="ignore", over="ignore"):
        # an infinite bound would let everything pass
        good = np.isfinite(y) & np.isfinite(x) & (np.abs(x - y) <= rtol * np.where(np.isfinite(size), size, 0.0) + atol)
    good |= np.isinf(y) & (x == y)
    if equal_nan:
        good |= np.isnan(x) & np.isnan(y)
    if not np.all(good):
        at = tuple(int(i) for i in np.argwhere(~good)[0])
        raise AssertionError(
            f"{name}{int((~good).sum())} of {good.size} elements differ; the first at {at}: {x[at]!r}, "
            f"expected {y[at]!r}, difference {abs(x[at] - y[at]):.3g}, allowed {rtol * size[at] + atol:.3g}"
        )


def central_difference(f: Callable[[npt.NDArray[np.float64]], float], x: npt.NDArray[np.float64], h: float = 1e-5) -> npt.NDArray[np.float64]:
    """df/dx by (f(x + h e) - f(x - h e)) / 2h for every element, h relative to its size.

    Error about h^2 f''' / 6 and eps |f| / h.
    """
    x = np.array(x, dtype=np.float64)
    result = np.empty_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        width = h * max(1.0, abs(kept))
        x[index] = kept + width
        above, up = f(x), x[index]
        x[index] = kept - width
        below, down = f(x), x[index]
        x[index] = kept
        result[index] = (above - below) / (up - down)
    return result
