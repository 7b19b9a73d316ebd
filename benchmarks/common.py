"""What the benchmarks share: where results lie, which machine made them, tables on pages, figures in one style."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zetaplan._files import write

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"


def result(name: str) -> Path:
    """The file of a benchmark's result."""
    return RESULTS / f"{name}.json"


def save(name: str, value: object, indent: int = 1) -> Path:
    """Write the result of a benchmark, whole or not at all."""
    return write(result(name), json.dumps(value, indent=indent) + "\n")


def machine() -> str:
    """The machine in a few words."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def processor() -> str:
    """The processor's own name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def environment(*packages: str) -> dict[str, Any]:
    """Processor, cores, load and versions: what a time has to be read with."""
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }


def styled_pyplot(settings: Mapping[str, Any] | None = None) -> Any:
    """matplotlib.pyplot in the house style, drawing SVG."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.style.use(Path(__file__).with_name("house.mplstyle"))
    pyplot.rcParams.update(settings or {})
    return pyplot


#: Colours of the rows of a figure: plans by zeta^2, and those of other rules.
OURS, OTHERS = "#2a93a8", "#d9672b"


def row_colours(names: Iterable[str]) -> list[str]:
    """The colour of every row by its name."""
    return [OURS if name.startswith("zeta2") else OTHERS for name in names]


def colour_key(figure: Any, **options: Any) -> None:
    """The legend of `row_colours`, below a figure, with handles of its own."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=OURS, marker="o"), Line2D([], [], color=OTHERS, marker="o")]
    handles, labels = [*handles, *options.get("handles", [])], ["zeta²", "others", *options.get("labels", [])]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
