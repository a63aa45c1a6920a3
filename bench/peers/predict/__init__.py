# SPDX-License-Identifier: MIT
"""A call that predicts: NumPy in, the probabilities as NumPy out."""
