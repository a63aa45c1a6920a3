# SPDX-License-Identifier: MIT
"""chainrule: `predict`."""

from __future__ import annotations

from ..images.ours import Competitor as Trained
from ..images.ours import versions
from ..predict.ours import Competitor as Predicts

__all__ = ["Competitor", "versions"]


class Competitor(Trained):
    run, result = Predicts.run, Predicts.result
