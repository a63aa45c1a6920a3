# SPDX-License-Identifier: MIT
"""A step of training: softmax with cross-entropy, SGD with momentum or Adam."""
