# SPDX-License-Identifier: MIT
"""chainrule beside PyTorch, scikit-learn and JAX: `python -m bench.peers` (bench/README.md)."""
