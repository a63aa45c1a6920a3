# SPDX-License-Identifier: MIT
"""A training step of a network of images."""
