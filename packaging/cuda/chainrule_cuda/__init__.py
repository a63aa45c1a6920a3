# SPDX-License-Identifier: MIT
"""The kernels of chainrule for NVIDIA's cards: libchainrule_cuda.so, which chainrule opens when a network is put on "cuda"."""
