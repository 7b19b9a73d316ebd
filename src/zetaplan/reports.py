"""One report per plan: what was measured, what was decided, the proof, and how far to believe it.

`report.html` is one file that fetches nothing: style and charts are inside. `report.md` says the same in plain text.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from zetaplan.charts import curve_chart, gain_chart, heat_chart, plan_chart, scatter_chart
from zetaplan.comparison import in_total, per_layer, shown
from zetaplan.digits import at_least, at_most
from zetaplan.drift import drift_sentence
from zetaplan.errors import SpecError
from zetaplan.files import write
from zetaplan.planning import Plan, counted_gain, noise_share, prediction_note
from zetaplan.rivals import Rival, rivals
from zetaplan.solvers.frontier import frontier

#: A linear of a decoder layer: the layer's number, and the module's own name.
LINEAR = re.compile(r".*?\.(\d+)\.(?:.*\.)?(\w+)")
CURVE = 60  # points of the frontier that are drawn
CROWDED = 60  # layers beyond which the plans of others would hide the plan

COLUMNS = {
    "allocation": (
        "Requested is the uniform plan, relaxed the optimum, rounded the ranks to use (multiples of {step}), achieved "
        "what these cost in parameters. The last row compares parameters."
    ),
    "pruning": (
        "Requested is the uniform plan, relaxed the optimum, both as shares; rounded is the number of parameters to "
        "remove, achieved the share that they are. Every layer's share is rounded down, and what the target still "
        "lacks is taken where most was cut off, first from layers whose cap allows it."
    ),
}

CAVEATS = {
    "surrogate": (
        "The gain is measured with one surrogate ({curvature}), on {sequences} sequences, around the "
        "model as it is. Another surrogate can rank the layers differently."
    ),
    "damping": (
        "The damping decides the ranking (as it tends to zero, the block Fisher gain of every layer tends to 1): "
        "compare plans only at the same damping."
    ),
    "noise": (
        "{noise:.0%} of the total gain is what gradients of random sign would give (the noise floor). Differences "
        "between layers that are smaller than their standard errors mean nothing."
    ),
    "speed": "Unstructured sparsity alone promises no speed-up: it needs a sparse format and kernels that use it.",
    "certificate": (
        "The certificate covers the convex program, not the task: it proves that no other plan has a better objective "
        "for these gains, and says nothing about the accuracy after training or pruning. Measure that."
    ),
}


@dataclass(frozen=True)
class Row:
    """What the report's table says of one layer."""

    name: str
    gain: float
    error: float | None
    floor: float | None
    value: float
    resource: float
    amounts: tuple[str, str, str, str]


@dataclass(frozen=True, eq=False)
class Report:
    """What the templates show; every number comes from the plan."""

    plan: Plan
    file: str

    @cached_property
    def program(self) -> str:
        return self.plan.instance.program.name

    @property
    def title(self) -> str:
        amount = "Sparsity" if self.program == "pruning" else self.plan.unit.partition(" (")[0]
        return f"{amount} per {self.block}"

    @property
    def block(self) -> str:
        """What a row of the report is about."""
        return {"layers": "layer", "modules": "linear"}.get(self.plan.scores.blocks, "block")

    @property
    def columns(self) -> str:
        """What requested, relaxed, rounded and achieved mean."""
        return COLUMNS[self.program].format(step=self.plan.rounded.step)

    @property
    def total(self) -> tuple[str, str, str, str]:
        return shown(self.plan, in_total(self.plan), total=True)

    @property
    def whole(self) -> str:
        """What whole units use, and what they are proved to lose at most."""
        rounded = self.plan.rounded
        share = f" ({at_most(rounded.gap / abs(rounded.objective))} of it)" if rounded.objective else ""
        return (
            f"In whole units ({self.plan.whole_unit}, by {rounded.method}) the plan comes to {rounded.used:,.10g} of "
            f"{self.plan.instance.limit:,.10g} {self.plan.resource_unit}. Its objective, {rounded.objective:.6g}, is "
            f"within {at_most(rounded.gap)}{share} of the best possible: the multiplier proves that no plan, whole or "
            f"not, is below {at_least(rounded.bound, 6)}"
        )

    @property
    def model(self) -> str:
        return str(self.plan.scores.provenance.get("model", "the model"))

    @property
    def displayed(self) -> str:
        """The program as it is written in mathematics."""
        return repr(self.plan.instance.program)

    @property
    def limit(self) -> str:
        """What was asked for, in words."""
        limit, unit = self.plan.request.limit, self.plan.resource_unit
        amount = f"{self.plan.instance.limit:,.0f} {unit}"
        return {
            "budget": f"a budget of {amount}",
            "parameter_share": f"a budget of {limit.value:.4g} of the scored parameters, {amount}",
            "mean_rank": f"a budget of {amount}, what a rank of {limit.value:g} on every layer costs",
            "target": f"a target of {amount} to remove",
            "sparsity": f"a sparsity of {limit.value:.2%} over all layers, {amount} to remove",
        }[limit.kind]

    @property
    def spent(self) -> str:
        use = math.fsum(self.plan.instance.resource * self.plan.solution.x)
        return f"{use:,.0f} {self.plan.resource_unit}"

    @property
    def price(self) -> str:
        """The multiplier in words, with its sign and unit."""
        if self.program == "allocation":
            return f"one more unit of budget would lower the objective by {self.plan.solution.multiplier:.4g}"
        return f"one more parameter to remove would raise the objective by {self.plan.solution.multiplier:.4g}"

    @cached_property
    def rivals(self) -> tuple[Rival, ...]:
        """What other rules would plan; uniform first."""
        return rivals(self.plan)

    @property
    def versus_uniform(self) -> str | None:
        """How much better the objective is than the uniform plan's; nothing where uniform is not allowed or is zero."""
        behind = self.rivals[0].behind
        return None if behind is None else f"{behind:.2%}"

    @property
    def bounds(self) -> tuple[int, int]:
        """How many layers sit at their floor, and at their cap."""
        x, instance = self.plan.solution.x, self.plan.instance
        return int((x <= instance.lower).sum()), int((x >= instance.upper).sum())

    @property
    def extremes(self) -> tuple[Row, Row]:
        """The layers that get the least and the most."""
        rows = sorted(self.rows, key=lambda row: row.value)
        return rows[0], rows[-1]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        scores = self.plan.scores
        unknown = [None] * len(scores.names)
        columns = (
            self.plan.names,
            scores.gain.tolist(),
            unknown if scores.standard_error is None else scores.standard_error.tolist(),
            unknown if scores.noise_floor is None else scores.noise_floor.tolist(),
            self.plan.solution.x.tolist(),
            self.plan.instance.resource.tolist(),
            [shown(self.plan, amounts) for amounts in per_layer(self.plan).values()],
        )
        return tuple(Row(*row) for row in zip(*columns, strict=True))

    @property
    def gain_chart(self) -> Markup:
        errors = None if self.plan.scores.standard_error is None else [row.error or 0.0 for row in self.rows]
        return gain_chart(
            self.plan.names, [row.gain for row in self.rows], [row.floor or 0.0 for row in self.rows], errors
        )

    @property
    def plan_chart(self) -> Markup:
        caps = [None if cap == math.inf else cap for cap in self.plan.instance.upper.tolist()]
        drawn = {rival.kind: rival.x.tolist() for rival in self.rivals[1:]} if self.draws_rivals else {}
        return plan_chart(self.plan.names, [row.value for row in self.rows], self.plan.uniform, caps, drawn)

    @property
    def draws_rivals(self) -> bool:
        """Whether the chart has room for the plans of others."""
        return len(self.rows) <= CROWDED

    @cached_property
    def drift(self) -> str | None:
        """What it can cost that the gains are not what was measured."""
        return drift_sentence(self.plan)

    @property
    def frontier_chart(self) -> Markup:
        """The best objective for every limit up to three times the one asked for, with the chosen point."""
        instance = self.plan.instance
        least = math.fsum(instance.resource * instance.lower)
        most = min(math.fsum(instance.resource * instance.upper), 3 * instance.limit)
        limits = [least + (most - least) * i / CURVE for i in range(1, CURVE)]
        path = frontier(instance)
        chosen = (instance.limit, self.plan.solution.objective)
        label = f"Best objective over the {instance.program.limit_argument}, and the plan's"
        return curve_chart(label, limits, [path.at(limit).objective for limit in limits], chosen)

    @property
    def prediction_chart(self) -> Markup | None:
        """Predicted against measured falls of the loss, where the steps were taken."""
        scores = self.plan.scores
        if scores.decrease is None or scores.held_out_decrease is None:
            return None
        falls = {"here": scores.decrease.tolist(), "elsewhere": scores.held_out_decrease.tolist()}
        label = "Fall of the loss in nats: measured against the promise of half the gain"
        return scatter_chart(label, scores.names, (scores.gain / 2).tolist(), falls)

    @property
    def prediction(self) -> str | None:
        return prediction_note(self.plan.scores)

    @property
    def heat_charts(self) -> dict[str, tuple[str, Markup]]:
        """Caption and chart of the shares of the gain and of the plan, layer by module, for plans over modules."""
        places = [_place(name) for name in self.plan.names]
        if self.plan.scores.blocks != "modules" or None in places:
            return {}
        found = [place for place in places if place]
        rows, columns = (list(dict.fromkeys(place[i] for place in found)) for i in (0, 1))
        shown = {
            "gain": ("share of the gain", self.plan.instance.quality),
            "plan": (self.plan.unit, self.plan.solution.x),
        }
        return {
            kind: (
                f"{title}, layer by module: the fullest colour is {values.max():.3g}",
                heat_chart(title, rows, columns, dict(zip(found, values.tolist(), strict=True))),
            )
            for kind, (title, values) in shown.items()
        }

    @property
    def proof(self) -> str:
        """What the certificate in fractions claims."""
        claim = self.plan.proof.claim
        return (
            "The file also carries a proof in fractions, of the doubles that it holds and without any tolerance: every "
            f"layer is within {at_most(claim.distance)} (relative where above 1) of the optimum, where that is unique, "
            f"and no allowed plan has an objective that is better by more than {at_most(claim.gap)}"
        )

    @property
    def caveats(self) -> tuple[str, ...]:
        scores = self.plan.scores
        facts = {
            "curvature": scores.curvature,
            "sequences": scores.provenance.get("sequences", "an unknown number of"),
            "noise": noise_share(scores) or 0.0,
        }
        besides = {
            "speed": self.program == "allocation",
            "damping": not scores.damping.any(),
            "noise": scores.noise_floor is None,
        }
        return tuple(text.format(**facts) for name, text in CAVEATS.items() if not besides.get(name))

    @property
    def gain_meaning(self) -> str:
        """What the measured number is (Lemma 1 of the paper)."""
        if self.plan.scores.curvature == "gradient":
            return "The gain here is |g|², the squared norm of each layer's gradient: no curvature is used."
        return (
            "The curvature-adjusted gain ζ² = g′(H + τI)⁻¹g of each layer: twice the fall of the loss that the best "
            "step on this layer alone promises in the damped quadratic model."
        )

    @property
    def measured(self) -> tuple[tuple[str, str], ...]:
        """Model, text, surrogate and damping: what a reader needs to measure again."""
        scores, given = self.plan.scores, self.plan.scores.provenance
        share = float(counted_gain(scores, self.plan.request.gain).sum() / scores.gain.sum())
        return (
            ("model", self.model),
            ("text", str(given.get("data", "unknown"))),
            ("loss", f"{scores.loss:.4f} nats per token"),
            ("blocks", f"{len(scores.names)} {scores.blocks}"),
            ("surrogate", scores.curvature),
            ("damping τ", _damping(scores.damping)),
            ("gain counted", f"{self.plan.request.gain} ({share:.0%} of what was measured)"),
            ("left out", _few(scores.left_out)),
        )

    @property
    def provenance(self) -> tuple[tuple[str, str], ...]:
        """Hashes, versions, precision, device, time."""
        document = self.plan.document()
        facts = [
            ("plan sha256", document.sha256_),
            ("scores sha256", document.scores_sha256),
            ("created", self.plan.created),
            *_flat(self.plan.versions, "versions."),
            *_flat(self.plan.scores.provenance, "scores."),
        ]
        return tuple((name, str(value)) for name, value in facts)


def _place(name: str) -> tuple[str, str] | None:
    """Layer and module of a linear, from its qualified name."""
    found = LINEAR.fullmatch(name)
    return (found[1], found[2]) if found else None


def write_report(plan: Plan, path: str | os.PathLike[str], *, file: str = "plan.json") -> tuple[Path, Path]:
    """Write the report of a plan as HTML to `path`, and as Markdown beside it with the suffix .md.

    file : how the plan's own file is called in "how to check". Raises SpecError if `path` cannot be written.

    Examples:
        >>> page, text = zp.write_report(zp.prune(scores, sparsity=0.5), "report.html")
        >>> page.name, text.name
        ('report.html', 'report.md')
    """
    html = Path(path)
    if html.suffix == ".md":
        raise SpecError(f"out = {html}: expected a name for the HTML file; the Markdown file is written beside it")
    report = Report(plan, file)
    texts = {html: render(report, "report.html"), html.with_suffix(".md"): render(report, "report.md")}
    first, second = (write(target, text) for target, text in texts.items())
    return first, second


def render(report: Report, template: str) -> str:
    """The text of the report by one of the templates; whatever comes from a file is escaped."""
    environment = Environment(
        loader=PackageLoader("zetaplan"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = _cell
    return environment.get_template(template).render(report=report, plan=report.plan)


def _cell(value: object) -> str:
    """Text that cannot break out of a cell of a Markdown table."""
    return " ".join(str(value).replace("|", "\\|").split())


def _few(names: tuple[str, ...], shown: int = 4) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more or "nothing"


def _damping(damping: Any) -> str:
    low, high = float(damping.min()), float(damping.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
