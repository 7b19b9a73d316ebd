"""Processes that are joined by gloo, with the environment that torchrun sets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        port: int = listening.getsockname()[1]
        return port


def started(script: str, options: Any, size: int, **environment: str) -> list[subprocess.Popen[str]]:
    """So many processes that run the script, with the options as JSON in its first argument."""
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), **environment}
    return [
        subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def survivor_of(processes: Sequence[subprocess.Popen[str]], lines: int) -> str:
    """What rank 0 of two says after rank 1 was killed, once it had printed so many lines."""
    first, second = processes
    assert second.stdout
    for _ in zip(range(lines), second.stdout, strict=False):
        pass
    second.send_signal(signal.SIGKILL)
    _, errors = first.communicate(timeout=300)
    second.communicate(timeout=60)
    assert first.returncode == 2
    assert "rank 0: another process of the run is lost or silent" in errors
    return errors


def results(processes: Sequence[subprocess.Popen[str]]) -> list[Any]:
    """The JSON in the last line that every process prints."""
    ended = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors[-2000:]
    return [json.loads(output.splitlines()[-1]) for output, _ in ended]
