"""Reports of a campaign: audit.json for programs and audit.html, a single file without external resources."""

from __future__ import annotations

import io
import json
import math
import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from zetaplan.verification.audit.campaign import Campaign, write
from zetaplan.verification.audit.contestants import contestant
from zetaplan.verification.audit.planting import plant
from zetaplan.verification.audit.shrinking import failing, reproducer, shrink
from zetaplan.verification.audit.tally import EVENTS, MEASURES, ZERO, Failure, Tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = "zetaplan.audit/1"
INK = "#010203"  # placeholder for the text colour of the page, which depends on light or dark mode
COLOURS = ("#2a9d8f", "#4f8fd0", "#e07a3f", "#c05299", "#8a8f3c", "#7d6fd6")
LEAST = -17  # smaller errors share a row with exact zeros
MOST = 2  # larger errors share a row
SHOWN = ("wrong", "failed")


@dataclass(frozen=True)
class Row:
    """The row of one solver in the table."""

    solver: str
    every: int
    asked: int
    failed: int
    optimal: int
    wrong: int
    sides: int
    misread: int
    worst: tuple[float, ...]
    time: str

    @classmethod
    def of(cls, tally: Tally, solver: str, every: int) -> Row:
        counts = {event: tally.sum(solver, event) for event in EVENTS}
        worst = tuple(tally.worst.get((solver, measure), (math.nan, 0))[0] for measure in MEASURES)
        return cls(solver, every, **counts, worst=worst, time=_duration(tally.median_seconds(solver)))


@dataclass(frozen=True)
class Drawing:
    """A figure as inline SVG."""

    title: str
    svg: Markup
    caption: str


@dataclass(frozen=True)
class Reproducer:
    """The smallest failure of a solver, as a Python program."""

    title: str
    program: str


@dataclass(frozen=True)
class AuditReport:
    """The content of the page."""

    instances: int
    spread: tuple[float, float]
    seed: int
    truths: dict[str, int]
    missing: int
    rows: tuple[Row, ...]
    figures: tuple[Drawing, ...]
    reproducers: tuple[Reproducer, ...]
    footer: str


def publish(campaign: Campaign, tally: Tally, out: Path, missing: int = 0) -> tuple[Path, Path]:
    """Write audit.json and audit.html to the folder `out`. missing : number of chunks not in the tally."""
    reproducers = tuple(map(partial(_reproduce, campaign), _smallest(tally)))
    rows = tuple(Row.of(tally, solver, every) for solver, every in campaign.solvers.items())
    report = AuditReport(
        instances=tally.truths.total(),
        spread=campaign.spread,
        seed=campaign.seed,
        truths={kind: tally.truths[kind] for kind in ("planted", "computed", "disputed")},
        missing=missing,
        rows=rows,
        figures=_figures(tally, tuple(campaign.solvers)),
        reproducers=reproducers,
        footer=_provenance(),
    )
    document = {
        "schema": SCHEMA,
        "campaign": campaign.document(),
        "missing_chunks": missing,
        "provenance": report.footer,
        "summary": [asdict(row) for row in rows],
        "reproducers": [asdict(item) for item in reproducers],
        **tally.document(),
    }
    json_file, html_file = out / "audit.json", out / "audit.html"
    write(json_file, _compact(document))
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    write(html_file, templates.get_template("report.html").render(report=report))
    return json_file, html_file


def _compact(document: dict[str, Any]) -> str:
    """JSON with one line per entry, for readable diffs."""
    lines = []
    for key, value in document.items():
        rows = ",\n".join(f"  {_json(item)}" for item in value) if isinstance(value, list) and value else ""
        lines.append(f"{json.dumps(key)}: [\n{rows}\n]" if rows else f"{json.dumps(key)}: {_json(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _json(value: Any) -> str:
    """JSON with infinite and undefined numbers as strings, since JSON has none."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _smallest(tally: Tally) -> list[Failure]:
    """The failure of each solver with the fewest layers; wrong solutions before missing ones."""
    first: dict[str, Failure] = {}
    for failure in sorted(tally.failures, key=lambda f: (SHOWN.index(f.kind), f) if f.kind in SHOWN else (9, f)):
        if failure.kind in SHOWN:
            first.setdefault(failure.solver, failure)
    return [first[solver] for solver in sorted(first)]


def _reproduce(campaign: Campaign, failure: Failure) -> Reproducer:
    solver = contestant(failure.solver)
    small = shrink(plant(campaign.seed, failure.index, campaign.spread).instance, failing(solver))
    kind = "reports a wrong solution as optimal" if failure.kind == "wrong" else "gives no solution"
    title = f"{failure.solver} {kind}: instance {failure.index}, {failure.what}"
    return Reproducer(title, reproducer(small, failure.solver))


def _provenance() -> str:
    names = ("zetaplan", "numpy", "cvxpy", "clarabel", "scs", "osqp", "python-flint")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{versions}; Python {platform.python_version()}, {platform.machine()}"


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    unit, size = ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{float(f'{size * seconds:.2g}'):g} {unit}"


def _figures(tally: Tally, solvers: tuple[str, ...]) -> tuple[Drawing, ...]:
    return (
        Drawing(
            "Share of wrong solutions among those reported as optimal",
            _draw(lambda figure: _wrong_share(figure.subplots(), tally, solvers), 8.0, 3.4),
            "Share of the solutions reported as optimal whose plan is wrong, by the decades of the qualities.",
        ),
        Drawing(
            "Sharp error",
            _draw(partial(_heat, tally=tally, solvers=solvers, measure="sharp"), 8.0, 1.1 + 1.5 * _lines(solvers)),
            "Instances by decades of the qualities (horizontal) and order of magnitude of the sharp error (vertical); "
            "darker cells have more instances. Errors of 0 are in the lowest row; the dotted line is 1e-6.",
        ),
        Drawing(
            "Dual error",
            _draw(partial(_heat, tally=tally, solvers=solvers, measure="dual"), 8.0, 1.1 + 1.5 * _lines(solvers)),
            "Instances by decades of the qualities and order of magnitude of the dual error: the distance to the "
            "nearest optimal multiplier over its total price.",
        ),
        Drawing(
            "Time",
            _draw(lambda figure: _times(figure.subplots(), tally, solvers), 8.0, 3.0),
            "Seconds per solution: median and 5% to 95% interval, by the number of layers (1-9, 10-99, 100-200).",
        ),
    )


def _lines(solvers: tuple[str, ...]) -> int:
    return -(-len(solvers) // 3)


def _draw(paint: Callable[[Figure], None], width: float, height: float) -> Markup:
    """A figure as SVG with text as text, in the text colour of the page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    inks = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    style: Any = dict.fromkeys(inks, INK) | {"svg.fonttype": "none", "svg.hashsalt": "audit", "font.size": 9}
    stream = io.StringIO()
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        FigureCanvasSVG(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    svg = stream.getvalue()
    return Markup(svg[svg.index("<svg") :].replace(INK, "currentColor"))  # noqa: S704 - drawn here, from numbers


def _plot_style(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _wrong_share(axes: Axes, tally: Tally, solvers: tuple[str, ...]) -> None:
    for solver, colour in zip(solvers, COLOURS * len(solvers), strict=False):
        decades = sorted({decade for ((name, _, decade), _) in tally.events if name == solver})
        answers = {d: tally.sum(solver, "optimal", decade=d) for d in decades}
        shares = [100 * tally.sum(solver, "wrong", decade=d) / n for d, n in answers.items() if n]
        axes.plot([d + 0.5 for d, n in answers.items() if n], shares, "o-", color=colour, label=solver, ms=4)
    axes.set_xlabel("decades of quality")
    axes.set_ylabel("wrong (%)")
    axes.set_ylim(bottom=-1)
    axes.legend(frameon=False, ncols=len(solvers))
    _plot_style(axes)


def _heat(figure: Figure, tally: Tally, solvers: tuple[str, ...], measure: str) -> None:
    panels = figure.subplots(_lines(solvers), min(len(solvers), 3), sharex=True, sharey=True, squeeze=False).ravel()
    for axes in panels[len(solvers) :]:
        axes.set_visible(False)
    for axes, solver, colour in zip(panels, solvers, COLOURS * len(solvers), strict=False):
        _heat_panel(axes, tally, solver, measure, colour)
    figure.supxlabel("decades of quality")
    figure.supylabel("order of magnitude")


def _heat_panel(axes: Axes, tally: Tally, solver: str, measure: str, colour: str) -> None:
    from matplotlib.patches import Rectangle

    cells: Counter[tuple[int, int]] = Counter()
    columns: Counter[int] = Counter()
    for ((name, _, decade), what, order), count in tally.magnitudes.items():
        if name == solver and what == measure:
            cells[decade, LEAST if order == ZERO else min(max(order, LEAST), MOST)] += count
            columns[decade] += count
    for (decade, order), count in sorted(cells.items()):
        shade = 0.12 + 0.88 * math.sqrt(count / columns[decade])
        axes.add_patch(Rectangle((decade, order), 1.0, 1.0, facecolor=colour, alpha=shade, linewidth=0))
    axes.axhline(-6, color=INK, linewidth=0.6, linestyle=":")
    axes.set_xlim(0, max(columns, default=0) + 1)
    axes.set_ylim(LEAST, MOST + 1)
    axes.set_yticks(range(-15, MOST + 1, 5))
    axes.set_title(solver, fontsize=9)
    _plot_style(axes)


def _times(axes: Axes, tally: Tally, solvers: tuple[str, ...]) -> None:
    for place, (solver, colour) in enumerate(zip(solvers, COLOURS * len(solvers), strict=False)):
        for layers in range(3):
            counts = Counter({order: n for (name, k, order), n in tally.times.items() if (name, k) == (solver, layers)})
            if counts:
                low, middle, high = (_quantile(counts, share) for share in (0.05, 0.5, 0.95))
                x = layers + 0.6 * (place + 0.5) / len(solvers) - 0.3
                axes.vlines(x, low, high, color=colour, alpha=0.45, linewidth=4)
                axes.plot(x, middle, "o", color=colour, ms=5, label=solver if layers == 0 else None)
    axes.set_yscale("log")
    axes.set_xticks(range(3), ["1-9", "10-99", "100-200"])
    axes.set_xlabel("layers")
    axes.set_ylabel("seconds")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _plot_style(axes)


def _quantile(counts: Counter[int], share: float) -> float:
    """The quantile of the times at this share, to a tenth of an order of magnitude."""
    left = share * counts.total()
    for order in sorted(counts):
        left -= counts[order]
        if left <= 0.0:
            return float(10.0 ** ((order + 0.5) / 10.0))
    return math.nan
