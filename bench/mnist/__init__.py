# SPDX-License-Identifier: MIT
"""MNIST, 784-256-128-10, ten epochs: seconds and test error beside the peers."""
