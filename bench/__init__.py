# SPDX-License-Identifier: MIT
"""Benchmarks. They run from the repository's root and are not part of the wheel."""
