# SPDX-License-Identifier: MIT
"""Labels: from a classifier's y to what the core's losses take, and back from the network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, issparse
from sklearn.utils.multiclass import type_of_target, unique_labels

from chainrule.sklearn._network import Head

__all__ = ["Labels"]

Array = npt.NDArray[Any]


class Labels:
    """The classes of a y, and what they are called.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel", "multioutput"}
        One sigmoid; one softmax; one sigmoid a label; one softmax an output.
    classes : array, or list of arrays (multioutput)
    """

    def __init__(self, y: Any) -> None:
        self.sparse = issparse(y)  # then predict returns such labels too, as in scikit-learn
        self.kind = "multioutput" if getattr(y, "ndim", 1) == 2 and "multioutput" in type_of_target(y) else ""
        if self.kind:
            self.classes: Any = [np.unique(column) for column in np.asarray(y).T]
            return
        target = type_of_target(y, input_name="y")
        self.kind = "multilabel" if target.startswith("multilabel") else target  # one class alone counts as binary
        self.classes = unique_labels(y)

    @classmethod
    def of_outputs(cls, classes: list[Array]) -> Labels:
        """Return the labels of several outputs whose classes are known."""
        labels = cls.__new__(cls)
        labels.sparse, labels.kind, labels.classes = False, "multioutput", classes
        return labels

    @property
    def heads(self) -> list[Head]:
        """The network's outputs."""
        if self.kind == "multioutput":
            return [Head(len(c), "softmax") for c in self.classes]
        if self.kind == "multiclass":
            return [Head(len(self.classes), "softmax")]
        return [Head(1 if self.kind == "binary" else len(self.classes), "sigmoid")]

    def same(self, other: Labels) -> bool:
        """Whether the classes are the same."""
        if (self.kind == "multioutput") != (other.kind == "multioutput"):
            return False
        if self.kind == "multioutput":
            return len(self.classes) == len(other.classes) and all(np.array_equal(a, b) for a, b in zip(self.classes, other.classes, strict=True))
        return set(self.classes) == set(other.classes)

    def encode(self, y: Any) -> Any:
        """Return bool for sigmoids, integers 0 ... K-1 for a softmax, a tuple of them for several. ValueError where a label is no known class."""
        if self.kind == "multilabel":
            y = y.toarray() if issparse(y) else np.asarray(y)
            if y.ndim != 2 or y.shape[1] != len(self.classes):
                raise ValueError(f"y has shape {y.shape}: expected one column for each of the {len(self.classes)} labels")
            return y.astype(bool)
        if self.kind == "multioutput":
            y = np.asarray(y)
            if y.ndim != 2 or y.shape[1] != len(self.classes):
                raise ValueError(f"y has shape {y.shape}: expected one column for each of the {len(self.classes)} outputs")
            return tuple(_codes(column, classes) for column, classes in zip(y.T, self.classes, strict=True))
        codes = _codes(np.asarray(y), self.classes)
        return codes.astype(bool) if self.kind == "binary" else codes

    def decode(self, a: Any) -> Array:
        """Return the labels of the network's outputs."""
        if self.kind == "binary":
            above = (a[:, 0] > 0.5).astype(np.intp)  # with one class alone it is always that one
            labels: Array = self.classes[above if len(self.classes) == 2 else np.zeros_like(above)]
            return labels
        if self.kind == "multilabel":
            labels = (a > 0.5).astype(int)
            return csr_matrix(labels) if self.sparse else labels
        if self.kind == "multioutput":
            columns = [classes[one.argmax(axis=1)] for one, classes in zip(a, self.classes, strict=True)]
            return np.stack(columns, axis=1)
        labels = self.classes[a.argmax(axis=1)]
        return labels

    def probabilities(self, a: Any) -> Any:
        """Return one column a class: for binary targets 1 - a and a; a list of arrays for several outputs."""
        if self.kind == "binary":
            both = np.empty((len(a), 2), a.dtype)
            np.subtract(1, a[:, 0], out=both[:, 0])
            both[:, 1] = a[:, 0]
            return both
        return list(a) if self.kind == "multioutput" else a

    def hits(self, a: Any, codes: Any) -> Array:
        """Return for each row whether everything in it is right."""
        right: Array
        if self.kind == "binary":
            right = (a[:, 0] > 0.5) == codes
        elif self.kind == "multilabel":
            right = ((a > 0.5) == codes).all(axis=1)
        elif self.kind == "multioutput":
            right = np.logical_and.reduce([one.argmax(axis=1) == c for one, c in zip(a, codes, strict=True)])
        else:
            right = a.argmax(axis=1) == codes
        return right


def _codes(y: Array, classes: Array) -> Array:
    try:
        codes = np.searchsorted(classes, y)
        wrong = (codes == len(classes)) | (classes[np.minimum(codes, len(classes) - 1)] != y)
    except TypeError:  # labels that cannot be compared with the classes
        wrong = np.ones(len(y), dtype=bool)
    if wrong.any():
        unknown = np.unique(y[wrong])
        raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has {unknown}.")
    return codes
