# SPDX-License-Identifier: MIT
"""Whether there is a card for the tests: a real one, or the emulated one that CHAINRULE_CUDA_FOLDER names a build of."""

from __future__ import annotations

import functools
import warnings

from chainrule import _core
from chainrule.device import require_library


@functools.cache
def missing() -> str:
    """Why there is none, or ""."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that it is emulated: tested in a process of its own
        try:
            require_library()
            _core.devices()
        except RuntimeError as error:
            return str(error)
    return ""


def emulated() -> bool:
    """Whether the one that there is is emulated."""
    library = _core.device_library()
    return library is not None and bool(library["emulated"])
