# SPDX-License-Identifier: MIT
"""The NumPy twin of csrc/kernels/kernels.h: the same functions from the textbook's formulas, in float64.

It is the oracle of the tests and of the benchmarks' checks. It is written from the contract alone, so that it and the
C++ can disagree.
`network_loss_and_gradient` interprets the spec of any network.
"""

from .activations import (
    ACTIVATIONS,
    Activation,
    activation_backward,
    activation_derivatives,
    activation_forward,
    log_softmax,
    softmax_backward,
    softmax_forward,
)
from .layers import (
    add_backward,
    add_forward,
    concatenate_backward,
    concatenate_forward,
    dense_backward,
    dense_forward,
    multiply_backward,
    multiply_forward,
    standardize_backward,
    standardize_forward,
    standardize_learn,
)
from .losses import (
    CANONICAL,
    LOSSES,
    binary_cross_entropy,
    cross_entropy,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
    squared_error,
)
from .network import Tape, network_backward, network_forward, network_loss_and_gradient, node_names
from .optim import (
    adam,
    adamw,
    constant,
    cosine,
    inverse_scaling,
    one_cycle,
    penalty,
    rmsprop,
    sgd,
    soft_threshold,
    step,
    warm_up,
)
from .random import PURPOSES, dropout, dropout_threshold, philox4x32_10, stream_of, uniform_words

__all__ = [
    "ACTIVATIONS",
    "CANONICAL",
    "LOSSES",
    "PURPOSES",
    "Activation",
    "Tape",
    "activation_backward",
    "activation_derivatives",
    "activation_forward",
    "adam",
    "adamw",
    "add_backward",
    "add_forward",
    "binary_cross_entropy",
    "concatenate_backward",
    "concatenate_forward",
    "constant",
    "cosine",
    "cross_entropy",
    "dense_backward",
    "dense_forward",
    "dropout",
    "dropout_threshold",
    "inverse_scaling",
    "log_softmax",
    "multiply_backward",
    "multiply_forward",
    "network_backward",
    "network_forward",
    "network_loss_and_gradient",
    "node_names",
    "one_cycle",
    "penalty",
    "philox4x32_10",
    "rmsprop",
    "sgd",
    "sigmoid_binary_cross_entropy",
    "soft_threshold",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_forward",
    "squared_error",
    "standardize_backward",
    "standardize_forward",
    "standardize_learn",
    "step",
    "stream_of",
    "uniform_words",
    "warm_up",
]
