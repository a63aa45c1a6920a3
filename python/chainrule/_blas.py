# SPDX-License-Identifier: MIT
"""The environment in which the extension module, and with it the vendored BLAS, is loaded."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

# OpenBLAS's kernels nearest to each level, so that CHAINRULE_ISA decides what the whole library runs on.
_CORETYPES = {"v1": "Prescott", "v3": "Haswell", "v4": "SkylakeX"}


def import_core() -> ModuleType:
    """Import ``chainrule._core``, whose BLAS reads its environment once, when it is loaded.

    ``OPENBLAS_NUM_THREADS=1`` keeps it from starting threads of its own, and ``OPENBLAS_CORETYPE`` follows
    ``CHAINRULE_ISA`` where that is set. Both are as before afterwards, so that a BLAS loaded later, SciPy's say, sees
    what its user set.

    Returns
    -------
    module
        ``chainrule._core``.

    Raises
    ------
    ImportError
        Where the extension module is missing or needs something that is not there.
    ValueError
        Where ``CHAINRULE_ISA`` names an instruction set that is unknown or that the processor lacks.
    """
    wanted = {"OPENBLAS_NUM_THREADS": "1"}
    isa = os.environ.get("CHAINRULE_ISA", "")
    if isa in _CORETYPES:
        wanted["OPENBLAS_CORETYPE"] = _CORETYPES[isa]
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        core = importlib.import_module("chainrule._core")
        core.isa_in_use()  # a wrong CHAINRULE_ISA is an error of the import
        return core
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
