# SPDX-License-Identifier: MIT
"""MNIST by a small DenseNet: a convolution and two dense blocks, whose layers see what all layers before them in the block have made.

    python examples/densenet_mnist.py FOLDER [--plot densenet_mnist.png]        (FOLDER as in mnist.py)

Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", CVPR 2017. Trained as resnet_mnist.py does:
99.52 % of the test images are right after ten epochs, of 62 s on two cores where little else ran; its 65,434 parameters
make 8.3 million multiply-adds an image.
"""

from __future__ import annotations

import sys

import chainrule as cr
from chainrule import blocks
from resnet_mnist import head, run


def densenet(seed: int) -> cr.Network:
    """14 x 14 x 24 to 72 channels, a transition to 36, 7 x 7 x 36 to 84, a mean over the pixels, 10."""
    x = cr.Input((28, 28, 1))
    h = cr.MaxPool(2)(cr.Conv2D(24, 3)(x))
    h = blocks.transition(blocks.dense_block(h, 4, 12), 36)
    return cr.Network(inputs=x, outputs=head(blocks.dense_block(h, 4, 12)), seed=seed)


if __name__ == "__main__":
    sys.exit(run("DenseNet", densenet, None))
