# SPDX-License-Identifier: MIT
"""What chainrule costs a small program beyond `import numpy`: the import itself, and a fit of iris's size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import apart
import pytest

# No numpy.random: had chainrule imported it, its 30 ms would stand in chainrule's account.
SCRIPT = """
import json, time
import numpy as np
start = time.perf_counter()
import chainrule as cr
imported = time.perf_counter()
X, y = np.sin(np.arange(600.0)).reshape(150, 4), np.arange(150) % 3
net = cr.Network([cr.Input(4), cr.Dense(16, "relu"), cr.Dense(3, "softmax")])
history = net.fit(X, y, epochs=100, batch_size=32, progress=False)
end = time.perf_counter()
loss = history["loss"]
assert len(loss) == 100 and loss[-1] < loss[0]
print(json.dumps([imported - start, end - start]))
"""


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, float]:
    """Seconds until imported and until fitted: each the best of at least 5 fresh processes, of 30 while others load the machine."""
    # the bytecode is written once, as an installation does
    env = apart.environment({"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))})
    runs: list[tuple[float, float]] = []
    for i in range(31):
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, cwd=Path(__file__).parent, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        if i > 0:
            runs.append(tuple(json.loads(done.stdout)))
        if i >= 5 and min(r[0] for r in runs) <= 0.06 and min(r[1] for r in runs) <= 0.2:
            break
    found = min(r[0] for r in runs), min(r[1] for r in runs)
    print(f"imported after {1e3 * found[0]:.1f} ms, fitted after {1e3 * found[1]:.1f} ms, the best of {len(runs)}")
    return found


def test_the_import_takes_at_most_60_ms_more_than_numpy(best: tuple[float, float]) -> None:
    assert 0 < best[0] <= 0.06


def test_iris_is_fitted_200_ms_after_numpy(best: tuple[float, float]) -> None:
    """100 epochs at batch 32 of 150 rows of 4, and the import before them."""
    assert best[0] < best[1] <= 0.2
