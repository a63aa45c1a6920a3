# SPDX-License-Identifier: MIT
"""A call that predicts images."""
