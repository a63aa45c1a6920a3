# SPDX-License-Identifier: MIT
"""Pictures of networks and of what training did; needs Matplotlib (``pip install 'chainrule[plot]'``), which is imported when one is drawn."""

from __future__ import annotations

from chainrule.plots.loss import LossCurveDisplay
from chainrule.plots.network import NetworkDisplay
from chainrule.plots.ranges import ActivationRangeDisplay
from chainrule.plots.weights import WeightsDisplay

__all__ = ["ActivationRangeDisplay", "LossCurveDisplay", "NetworkDisplay", "WeightsDisplay"]
