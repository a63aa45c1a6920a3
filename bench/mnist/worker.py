# SPDX-License-Identifier: MIT
"""One competitor in a process of its own: `train EPOCHS SEED`, answered with {"seconds": ..., "error": ...}."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ..peers.worker import main
from .task import load


def serve(module: Any, versions: dict[str, str], asked: dict[str, Any], answer: Any) -> None:
    data = load(Path(asked["data"]))
    competitor = module.Competitor(data, asked["threads"])
    answer({"versions": versions})
    for line in sys.stdin:
        command, epochs, seed = line.split()
        if command != "train":
            raise ValueError(f"command {command!r}")
        start = time.perf_counter()
        competitor.train(int(epochs), int(seed))
        seconds = time.perf_counter() - start
        found = competitor.predict()
        if found.shape != data.y_test.shape:
            raise ValueError(f"predicted {found.shape}: expected {data.y_test.shape}")
        answer({"seconds": seconds, "error": float((found != data.y_test).mean())})


if __name__ == "__main__":
    main(serve)
