# SPDX-License-Identifier: MIT
"""Runs a function of a test file in a process of its own: what tests signals, forks or memory must not meet pytest's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import chainrule


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, in which the child finds the same chainrule and the test files."""
    folders = [str(Path(chainrule.__file__).parents[1]), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders)), **(extra or {})}


def run(function: Callable[..., Any], *args: Any, timeout: float = 60, env: Mapping[str, str] | None = None) -> Any:
    """Returns `function(*args)`, arguments and result going through JSON. Fails where the child fails or takes longer than `timeout` seconds.

    A child that hangs is told to write the stack of every thread; whatever it has forked ends with it.
    """
    code = (
        # a shell starts background jobs deaf to SIGINT, and that is inherited
        "import json, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        f"sys.path.append({str(Path(__file__).parent)!r}); import {function.__module__} as m; "
        f"print('\\n' + json.dumps(m.{function.__name__}(*json.loads(sys.argv[1]))))"
    )
    child = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", code, json.dumps(args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(env),
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.kill(child.pid, signal.SIGABRT)
        try:
            out, err = child.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
        raise AssertionError(f"{function.__name__} took longer than {timeout} s\n{out}\n{err}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert child.returncode == 0, f"{function.__name__} ended with {child.returncode}\n{out}\n{err}"
    *printed, last = out.rstrip("\n").split("\n")
    print("\n".join(filter(None, printed)))
    return json.loads(last)
