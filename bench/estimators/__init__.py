# SPDX-License-Identifier: MIT
"""chainrule.sklearn beside scikit-learn: the same class, parameters and rows, so the same fits; how long each takes, and how well each predicts."""
