# SPDX-License-Identifier: MIT
"""Time against rows, width, depth, batch and threads, beside the peers: `python -m bench.scale` (bench/README.md)."""
