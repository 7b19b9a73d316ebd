"""The cores that this process may use."""

from __future__ import annotations

import os


def cores() -> int:
    """The number of threads that OMP_NUM_THREADS allows, else the number of cores of the process."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    if allowed.isdecimal() and int(allowed) > 0:
        return int(allowed)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
