# SPDX-License-Identifier: MIT
"""Write python/chainrule/_core.pyi from the installed module: ``python tests/make_stub.py``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

STUB = Path(__file__).resolve().parent.parent / "python" / "chainrule" / "_core.pyi"
HEADER = "# SPDX-License-Identifier: MIT\n# Made by tests/make_stub.py from chainrule._core: do not edit.\n"


def generate() -> str:
    """Return the stub of the chainrule._core that this Python imports."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pybind11_stubgen", "chainrule._core", "--exit-code", "-o", folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        if done.returncode != 0:
            raise RuntimeError(f"pybind11-stubgen failed:\n{done.stdout}{done.stderr}")
        body = (Path(folder) / "chainrule" / "_core.pyi").read_text(encoding="utf-8")
    return HEADER + "\n".join(line.rstrip() for line in body.splitlines()) + "\n"


if __name__ == "__main__":
    STUB.write_text(generate(), encoding="utf-8")
    print(f"wrote {STUB.name}")
