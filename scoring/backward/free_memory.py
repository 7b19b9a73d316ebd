"""Free memory, as reported by the operating system and the control group of the process."""

from collections.abc import Iterator
from pathlib import Path

import torch

#: The share of the free memory that a run may plan to use. The rest covers what an estimate omits: fragments of the
#: allocator, cached files, other processes.
SHARE = 0.5

GROUPS = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated on the device without harm to other processes; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [number for number in (_available(), *_left_in_groups()) if number is not None]
    return min(found, default=None)


def room_on(device: torch.device) -> int | None:
    """The share of the free memory that a run may plan to use."""
    free = free_memory(device)
    return None if free is None else int(SHARE * free)


def _available(file: Path = Path("/proc/meminfo")) -> int | None:
    """Available memory of the machine as Linux reports it, including caches that the system can drop."""
    kilobytes = _number(file, "MemAvailable:")
    return None if kilobytes is None else kilobytes * 1024


def _left_in_groups(root: Path = GROUPS, own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """Bytes left under the limits of the control groups (version 2, then 1), including file caches."""
    for folder in _folders(root, own):
        for limit, used, dropped in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, now = _number(folder / limit), _number(folder / used)
            if most is not None and now is not None:
                yield max(0, most - now + (_number(folder / "memory.stat", dropped) or 0))


def _folders(root: Path, own: Path) -> Iterator[Path]:
    """The control group of this process and its ancestors; inside a container the root is its own group."""
    yield from (root, root / "memory")
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" or "memory" in controllers.split(","):
            folder = (root if number == "0" else root / "memory") / path.strip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(root) and each != root)


def _number(file: Path, key: str | None = None) -> int | None:
    """The number in a file, or the number after a key at the start of a line; None if there is no such number."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return None
    words = [line[0 if key is None else 1] for line in lines if line and (key is None or line[0] == key)]
    return int(words[0]) if words and words[0].isdigit() else None
