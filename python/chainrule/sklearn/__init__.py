# SPDX-License-Identifier: MIT
"""Estimators with scikit-learn's interface: a drop-in for ``sklearn.neural_network`` that computes in the core, and goes on from there.

>>> from chainrule.sklearn import MLPClassifier
>>> clf = MLPClassifier(random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])

The only part of chainrule that imports scikit-learn (``pip install chainrule[sklearn]``, 1.6 or newer). docs/changing-the-import-line.md says what
is the same, what is new, and what differs.
"""

from __future__ import annotations

from chainrule.sklearn._classifier import MLPClassifier
from chainrule.sklearn._images import CNNClassifier
from chainrule.sklearn._regressor import MLPRegressor

__all__ = ["CNNClassifier", "MLPClassifier", "MLPRegressor"]
