# SPDX-License-Identifier: MIT
"""One library in a process of its own: reads names of rows from stdin, answers each with one line of JSON {"seconds": ..., "same": [...]}."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from bench.peers.machine import pin


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    pin(asked["cpus"])
    from .rows import Row, run

    module = importlib.import_module(asked["module"])
    for line in sys.stdin:
        seconds, same = run(module, Row.parse(line.strip()))
        print(json.dumps({"seconds": seconds, "same": same}), flush=True)


if __name__ == "__main__":
    main()
