"""Plans as settings of the tools that apply them, each entry checked against the model's own modules.

The written file is read back by the rules of its tool and compared with the plan, entry by entry. An entry that matches
nothing, that another entry hides, or that sets a module to another value than planned, is an error, and no file is
written.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zetaplan import _found
from zetaplan._display import Columns, Display
from zetaplan._files import contents, write
from zetaplan._records import checked
from zetaplan._signature import takes
from zetaplan.documents.plan_files import any_plan
from zetaplan.errors import CertificateError, SpecError, shown
from zetaplan.exports import formats
from zetaplan.exports.job import Format, Group, Job, UnitJob, job_of, removals_of, units_of
from zetaplan.exports.labels import format_job
from zetaplan.exports.targets import Outline, Problem, Value, check, outline
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.sparsity import decides_sparsity
from zetaplan.models.lora_settings import LoraSettings
from zetaplan.plans.kinds import kind_names, kind_of
from zetaplan.plans.plan import Plan

if TYPE_CHECKING:
    from torch import nn


PLAN_SCHEMA = b'"zetaplan.plan/'

#: What plans count that no tool has settings for, by what they decide: `zetaplan apply` changes the model by them.
APPLIED = {"rank": "low-rank replacements", "layers": "layers"}


@dataclass(frozen=True, repr=False)
class Export(Display):
    """A plan as a tool's settings. file : the file name that the tool expects. usage : how to pass the file to it.

    Examples:
        >>> settings = zp.export(zp.prune(scores, sparsity=0.5), to="csv")
        >>> settings.text.splitlines()[0]
        'name,units'
    """

    to: str
    data: bytes
    file: str
    usage: str

    @property
    def text(self) -> str:
        """The settings as text; every format except alphapruning is text."""
        return self.data.decode()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the settings to the file, atomically."""
        return write(path, self.data)

    def _headline(self) -> str:
        return f"settings for {self.to}, {len(self.data):,} bytes for {self.file}; {self.usage}"

    def _columns(self) -> Columns:
        lines = self.data.decode(errors="replace").splitlines()
        return {"line": range(1, len(lines) + 1), "text": lines}


@takes(LoraSettings)
def export(plan: Plan | ChoicePlan, *, to: str, model: str | nn.Module | None = None, **lora: Any) -> Export:
    """The plan as the settings of a tool.

    to : "peft", "axolotl", "mola" for ranks; "llm-compressor", "alphapruning", "torch-prune" for sparsity;
    "llama-quantize", "gptqmodel", "compressed-tensors", "llm-compressor", "torchao", "auto-round", "mlx", "modelopt"
    for formats; "json", "csv" for all. model : the model, or a name that `zetaplan score` accepts (its config is
    enough); json and csv do not need it.
    lora_alpha : above 0, the LoRA alpha of every linear, for "peft" and "axolotl"; 2 times its rank if not given.
    lora_dropout : in [0, 1). rslora : scale by alpha over the root of the rank, which needs lora_alpha.

    Raises SpecError if the format does not accept this plan or these settings, and CertificateError, naming the entry,
    if the plan does not fit the model or an entry would have another effect than planned.

    Examples:
        >>> settings = zp.export(zp.allocate(scores, mean_rank=4), to="peft", model=model)
        >>> settings.file
        'adapter_config.json'
    """
    if not isinstance(plan, Plan | ChoicePlan):
        raise SpecError(f"plan = {shown(plan)}: expected a plan; give what zetaplan.allocate, prune or choose returns")
    if not (model is None or isinstance(model, str) or hasattr(model, "named_modules")):
        raise SpecError(f"model = {shown(model)}: expected a model, its name, or a folder")
    form = format_of(to)
    settings = checked(LoraSettings, **lora)
    if settings.given and "ranks" not in (form.COUNTS or ()):
        raise SpecError(f"{settings.given[0]}: {to!r} has no settings of LoRA; 'peft' and 'axolotl' have")
    counts = plan.kind.counts if isinstance(plan, Plan) else counted(plan.menu.provenance.get("decides"))
    require_taken(to, counts)
    if counts in APPLIED.values() and model is not None:
        raise SpecError(f"model: a plan of {counts} is listed by its own names; leave the model out")
    if model is None and form.MODEL:
        raise SpecError(f"to = {to!r}: the format needs the modules of a model; give model (--model)")
    known = None if model is None else outline(model)
    job = job_for(plan, known)
    if isinstance(job, UnitJob):
        job = replace(job, lora=settings)
    data = form.write(job)
    if known:
        refuse(problems(form.read(data, known) or (), form.settings(job)), to)
    return Export(to, data, form.FILE, form.usage(job, form.FILE))


def counted(decides: object) -> str:
    """What a choice from menus counts, by what it decides."""
    return {**APPLIED, "sparsity": "weights"}.get(str(decides), "formats")


def require_taken(to: str, counts: str) -> None:
    """Raise SpecError, with the remedy, if the format takes no plans that count this."""
    taken = format_of(to).COUNTS
    if taken is None or counts in taken:
        return
    remedy = "; `zetaplan apply` takes it" if counts in APPLIED.values() else _remedy(taken)
    raise SpecError(f"to = {to!r}: takes plans of {' or '.join(taken)}, this plan counts {counts}{remedy}")


def job_for(plan: Plan | ChoicePlan, model: Outline | None) -> Job:
    """The plan on the model, or by its own names. Raises CertificateError if it does not fit the model."""
    if isinstance(plan, Plan):
        return job_of(units_of(plan), model)
    return job_of(removals_of(plan), model) if decides_sparsity(plan) else format_job(plan, model)


def _remedy(counts: tuple[str, ...]) -> str:
    """The kind of plan to make instead, and its command."""
    kinds = [kind for kind in map(kind_of, kind_names()) if kind.counts in counts]
    words = [f"plan kind {kind.name!r} with `zetaplan {kind.words.command}`" for kind in kinds[:1]]
    words += ["plan formats with `zetaplan quantize`"] if "formats" in counts else []
    return f"; {', or '.join(words)}"


def check_file(path: str | os.PathLike[str], model: str | nn.Module) -> tuple[str, tuple[Problem, ...]]:
    """The format of a file (a plan, or settings of any origin), and the entries that the model would ignore or misread.

    Raises SpecError for a file of no known format, CertificateError for a plan that does not fit the model.
    """
    known = outline(model)
    if is_plan(path):
        job_for(any_plan(path), known)
        return "plan", ()
    data = contents(Path(path))
    for name in format_names():
        if (groups := format_of(name).read(data, known)) is not None:
            return name, problems(groups)
    raise SpecError(f"{path} has no known format; known formats are {', '.join(format_names())} and plans of zetaplan")


def is_plan(path: str | os.PathLike[str]) -> bool:
    """Whether the file carries the schema of a plan of zetaplan."""
    return PLAN_SCHEMA in contents(Path(path))[:200]


def problems(groups: Sequence[Group], wanted: Mapping[str, Mapping[str, Value]] | None = None) -> tuple[Problem, ...]:
    """The problems of all groups; `wanted` as in `Format.settings`."""
    return tuple(
        Problem(f"{group.name}: {problem.key}", problem.words)
        for group in groups
        for problem in (*group.found, *_by_entry(group, (wanted or {}).get(group.name)))
    )


def _by_entry(group: Group, wanted: Mapping[str, Value] | None) -> tuple[Problem, ...]:
    return check(group.entries, group.modules, wanted, complete=group.complete, ordered=group.ordered)


def refuse(found: Sequence[Problem], what: str) -> None:
    """Raise CertificateError with the first problem, if there is any."""
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise CertificateError(f"{what}: {found[0]}{more}")


def format_names() -> tuple[str, ...]:
    """The names of the formats, one file each."""
    return _found.names(formats)


def format_of(name: str) -> Format:
    """The format of this name. Raises SpecError, with all names, for an unknown name."""
    return cast(Format, _found.module(formats, name, argument="to"))
