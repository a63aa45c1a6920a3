# SPDX-License-Identifier: MIT
"""The classifier of images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

import chainrule as cr
from chainrule.sklearn import _docs, _params
from chainrule.sklearn._classifier import MLPClassifier
from chainrule.sklearn._network import Head, dense

__all__ = ["CNNClassifier"]

Array = npt.NDArray[Any]
_count = Interval(Integral, 1, None, closed="left")


class CNNClassifier(MLPClassifier):
    __doc__ = _docs.images

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **MLPClassifier._parameter_constraints,
        "filters": ["array-like", _count],
        "kernel_size": [_count, tuple, list],
        "pool_size": [_count, tuple, list],
        "image_shape": [tuple, list, None],
        "augment": [cr.Augment, dict, None],
    }

    image_shape_: tuple[int, int, int]

    def __init__(
        self,
        filters: Any = (16, 32),
        hidden_layer_sizes: Any = (64,),
        activation: Any = "relu",
        *,
        kernel_size: Any = 3,
        pool_size: Any = 2,
        image_shape: Any = None,
        augment: Any = None,
        solver: str = "adam",
        alpha: Any = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: Any = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: Any = 0.0,
        l1: Any = 0.0,
        class_weight: Any = None,
        monitor: str = "score",
        dtype: Any = None,
        n_jobs: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._keep(locals())

    # ---- images in, rows inside --------------------------------------------------------------------------------------------------------

    def _flat(self, X: Any, reset: bool) -> Any:
        """Return images as rows (n, h w c), their shape noted (`reset`) or compared; what has two axes goes on as it is."""
        if isinstance(X, Sequence) and len(X) and np.ndim(X[0]) > 1:
            X = np.asarray(X)
        shape: tuple[int, ...] = () if issparse(X) else tuple(getattr(X, "shape", ()))
        if len(shape) not in (3, 4):
            if reset:
                self.__dict__.pop("image_shape_", None)
            return X
        h, w, c = (*shape[1:], 1)[:3]
        if h * w * c == 0:
            raise ValueError(f"X has shape {shape}: expected images of at least one pixel and one channel")
        if reset:
            self.image_shape_ = h, w, c
        elif (h, w, c) != self.image_shape_:
            raise ValueError(f"X has images of shape {(h, w, c)}: {type(self).__name__} was fitted to images of shape {self.image_shape_}")
        return np.asarray(X).reshape(shape[0], -1)

    def _check_X_y(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X = self._flat(X, reset)
        X, y = validate_data(self, X, y, multi_output=True, dtype=_dtypes(X), order="C", reset=reset)
        if reset and "image_shape_" not in self.__dict__:
            self.image_shape_ = self._shape_of_rows(X.shape[1])
        return X, y

    def _images(self, X: Any) -> Any:
        """Return rows, and images without their axis of channels, as the network takes them; anything else as it is."""
        if type(X) is not np.ndarray or X.ndim not in (2, 3) or not (shape := self.__dict__.get("image_shape_")):
            return X
        return X.reshape(len(X), *shape) if X.shape[1:] == (math.prod(shape),) or (*X.shape[1:], 1) == shape else X

    def _shape_of_rows(self, features: int) -> tuple[int, int, int]:
        """Return (h, w, channels) of flat rows."""
        if self.image_shape is None:
            return 1, features, 1
        given = tuple(self.image_shape)
        if len(given) not in (2, 3) or not all(_count.is_satisfied_by(s) for s in given):
            raise ValueError(f"image_shape is {self.image_shape!r}: expected (h, w) or (h, w, channels), each at least 1")
        h, w, c = (int(s) for s in (*given, 1)[:3])
        if h * w * c != features:
            raise ValueError(f"image_shape is {self.image_shape!r}, {h * w * c} numbers an image, and X has {features} features a row")
        return h, w, c

    def _rows(self, X: Any, dtype: Any) -> Any:
        images = X.reshape(len(X), *self.image_shape_)
        return images if images.dtype.kind in "iub" else super()._rows(images, dtype)  # integers are converted batch by batch

    def _dtype_of(self, X: Any) -> Any:
        return np.dtype(np.float32) if X.dtype.kind in "iub" else X.dtype

    def _augment(self) -> cr.Augment | None:
        if self.augment is None:
            return None
        if self.solver == "lbfgs":
            raise ValueError("augment changes the images of each batch, but solver='lbfgs' needs one objective throughout: expected None")
        return cr.Augment(**self.augment) if isinstance(self.augment, Mapping) else self.augment

    def _outputs(self, X: Any) -> Any:
        direct = self._direct(self._images(X))
        if direct is not None:
            return direct
        check_is_fitted(self)
        X = self._flat(X, reset=False)
        X = validate_data(self, X, dtype=_dtypes(X), order="C", reset=False)
        with _params.threads(self.n_jobs):
            return self.network_.predict(X.reshape(len(X), *self.image_shape_))

    # ---- the network ------------------------------------------------------------------------------------------------------------------

    def _filters(self) -> list[int]:
        given = self.filters if np.ndim(self.filters) else [self.filters]
        if not all(_count.is_satisfied_by(f) for f in given):
            raise ValueError(f"filters is {self.filters!r}: expected numbers of at least 1, one for each convolution")
        return [int(f) for f in given]

    def _units(self, architecture: _params.Architecture) -> list[int]:
        return [*self._filters(), *super()._units(architecture)]

    def _build(self, architecture: _params.Architecture, heads: list[Head], features: int, dtype: Any, rng: np.random.RandomState) -> cr.Network:
        """Return a new network, whose layers start as its seed, drawn from `rng`, says."""
        names = [self.activation] if isinstance(self.activation, str) else list(self.activation)
        activation = _params.RENAMED.get(names[0], names[0]) if names else "relu"
        x = cr.Input(self.image_shape_)
        node: Any = cr.Standardize(name="standardize")(x.node)
        places = self.image_shape_[:2]
        long, wide = _pair(self.kernel_size, "kernel_size")
        for k, filters in enumerate(self._filters(), 1):
            kernel = min(long, places[0]), min(wide, places[1])
            node = cr.Conv2D(filters, kernel, activation=activation, padding="same", name=f"conv_{k}")(node)
            down, across = _pair(self.pool_size, "pool_size")
            pool = down if places[0] >= 2 * down else 1, across if places[1] >= 2 * across else 1
            if pool != (1, 1):
                node = cr.MaxPool(pool, name=f"pool_{k}")(node)
                places = places[0] // pool[0], places[1] // pool[1]
        node = cr.Flatten(name="flatten")(node)
        outputs = dense(node, architecture.sizes, architecture.activations, architecture.dropout, heads)
        return cr.Network(inputs=x, outputs=outputs, seed=int(rng.randint(2**31 - 1)), dtype=dtype, device=self.device)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        tags.input_tags.three_d_array = True
        return tags


def _dtypes(X: Any) -> Any:
    """The dtype that validation makes of X: integers stay what they are, anything else becomes float."""
    kind = getattr(getattr(X, "dtype", None), "kind", "")
    return None if kind in ("i", "u", "b") else (np.float64, np.float32)


def _pair(given: Any, name: str) -> tuple[int, int]:
    """Return sizes down and across."""
    sizes = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
    if len(sizes) != 2 or not all(_count.is_satisfied_by(s) for s in sizes):
        raise ValueError(f"{name} is {given!r}: expected a number of at least 1, or two")
    return int(sizes[0]), int(sizes[1])
