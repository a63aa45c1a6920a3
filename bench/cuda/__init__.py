# SPDX-License-Identifier: MIT
"""The kernels for a card: what each reads, writes and computes, what a step should take, and what a card takes (docs/cuda.md)."""
