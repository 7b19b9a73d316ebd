"""The audit of a bit plan of another tool."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zetaplan import _found
from zetaplan._files import path_of
from zetaplan.audits import forms
from zetaplan.audits.against import Against, compared, taken_from, uniform
from zetaplan.audits.foreign import ForeignPlan, Source
from zetaplan.audits.sizes import Stored, bits
from zetaplan.audits.tensors import Applied, applied, tensors_of
from zetaplan.exports.targets import outline
from zetaplan.menus.bits import Weight
from zetaplan.menus.menu import Menu
from zetaplan.models.quantizers import find_quantizer
from zetaplan.runtimes import find_runtime, fused


@dataclass(frozen=True)
class Split:
    """Matrices that a runtime stores in one tensor, and their different formats."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    layer: str


@dataclass(frozen=True)
class BitsAudit:
    """What an audit found.

    tool : the runtime whose rules decide. shaped : whether the shapes of the matrices are known. splits : under the
    rules of vLLM. violated : whether `tool` refuses the plan for its splits. outside : why `against` is empty.
    """

    name: str
    plan: ForeignPlan
    applied: Applied
    tool: str
    shaped: bool
    splits: tuple[Split, ...]
    layers: int
    violated: bool
    against: tuple[Against, ...] = ()
    outside: str = ""

    @property
    def negative(self) -> bool:
        """Whether a fusion is violated or an entry has another effect than it states."""
        return self.violated or bool(self.applied.problems)

    @property
    def sized(self) -> tuple[Stored, ...]:
        """The matrices whose bytes are known."""
        return tuple(row for row in self.applied.stored if row.bytes is not None) if self.shaped else ()

    @property
    def fallbacks(self) -> tuple[Stored, ...]:
        """The matrices that are stored in another format than planned, or in none."""
        return tuple(row for row in self.applied.stored if row.why) if self.shaped else ()

    @property
    def bytes(self) -> int | None:
        """The bytes of all matrices with known formats; None without shapes."""
        return sum(row.bytes or 0 for row in self.sized) if self.sized else None

    @property
    def bits_per_weight(self) -> dict[str, float | None]:
        """Stored bits per weight over all weights and over the quantised ones, and the mean of the planned bits."""
        quantised = [row for row in self.sized if row.quantised]
        return {"all": _density(self.sized), "quantised": _density(quantised), "planned": _planned(self.applied.stored)}

    @property
    def types(self) -> dict[str, dict[str, int]]:
        """Tensors, weights and bytes of every stored format, by falling bytes."""
        found: dict[str, Counter[str]] = {}
        for row in self.sized:
            own = found.setdefault(row.written, Counter())
            own.update(tensors=1, weights=row.weight.numel, bytes=row.bytes or 0)
        return {label: dict(found[label]) for label in sorted(found, key=lambda label: -found[label]["bytes"])}

    def facts(self) -> dict[str, Any]:
        """The audit as JSON values."""
        return {
            "name": self.name,
            "form": self.plan.form,
            "tool": self.tool,
            "negative": self.negative,
            "bytes": self.bytes,
            "bits_per_weight": self.bits_per_weight,
            "types": self.types,
            "splits": [{"layer": s.layer, "names": s.names, "formats": s.labels} for s in self.splits],
            "problems": [{"entry": problem.key, "words": problem.words} for problem in self.applied.problems],
            "fallbacks": [
                {"name": row.weight.name, "planned": row.label, "written": row.written or None, "why": row.why}
                for row in self.fallbacks
            ],
            "unset": [weight.name for weight in self.applied.unset],
            "against": [vars(found) for found in self.against],
            "outside": self.outside,
            "remarks": self.plan.remarks,
        }


def audit_bits(
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    menu: Menu | None = None,
    runtime: str | None = None,
    rest: str | None = None,
    group: int = 128,
) -> BitsAudit | None:
    """The audit of a file that holds a bit plan; None if the file has none of the known forms.

    model : a model, or a name that `zetaplan score` accepts, for shapes and names; its config is enough.
    menu : options of the same model. runtime : whose rules decide; default: the one that reads the file.
    rest : the format of matrices that no entry names. group : columns that share a scale, if the file states none.

    Raises SpecError for a file that breaks its form, and ScoringError for a model that cannot be read.
    """
    source = Source(path_of(path, "plan"), group)
    plan = read_plan(source)
    if plan is None:
        return None
    if rest is not None and bits(rest) is None:
        find_quantizer(rest)
    judge = runtime or plan.tool
    refuses = bool(judge and find_runtime(judge).FUSED)
    known = outline(model) if model is not None else None
    tensors = tensors_of(plan, known)
    result = applied(plan, tensors, plan.rest if rest is None else rest)
    splits = tuple(_splits(tensors.matrices, result.stored))
    against, outside = _against(plan, menu, result)
    return BitsAudit(
        name=source.path.name,
        plan=plan,
        applied=result,
        tool=judge,
        shaped=tensors.shaped,
        splits=splits,
        layers=len({weight.layer for weight in tensors.matrices} - {""}),
        violated=refuses and bool(splits),
        against=against,
        outside=outside,
    )


def form_names() -> tuple[str, ...]:
    """The names of the known forms, one file each."""
    return _found.names(forms)


def read_plan(source: Source) -> ForeignPlan | None:
    """The plan of the file by the first form that recognises it; a file with the magic of GGUF is not read as text."""
    known = _found.modules(forms)
    gguf = known.pop("gguf")
    if gguf.recognises(source):
        plan: ForeignPlan = gguf.read(source)
        return plan
    found: ForeignPlan | None = next((form.read(source) for form in known.values() if form.recognises(source)), None)
    return found


def _splits(matrices: Sequence[Weight], rows: Iterable[Stored]) -> Iterable[Split]:
    labels = {row.weight.name: row.written or row.label for row in rows}
    layers = {weight.name: weight.layer for weight in matrices}
    for names in fused(find_runtime("vllm"), matrices):
        found = tuple(labels.get(name, "") for name in names)
        if all(found) and len(set(found)) > 1:
            yield Split(names, found, layers[names[0]])


def _against(plan: ForeignPlan, menu: Menu | None, result: Applied) -> tuple[tuple[Against, ...], str]:
    if plan.menu is not None:
        return uniform(plan.menu), ""
    if menu is None:
        return (), ""
    written = {row.weight.name: row.written for row in result.stored}
    taken, why = taken_from(menu, plan, written)
    return ((), why) if why else ((compared(menu, taken, "plan"),), "")


def _density(rows: Sequence[Stored]) -> float | None:
    weights = sum(row.weight.numel for row in rows)
    return 8 * sum(row.bytes or 0 for row in rows) / weights if weights else None


def _planned(rows: Iterable[Stored]) -> float | None:
    """The mean of the planned bits over the quantised matrices, by their numbers of weights."""
    parts = [(bits(row.label), row.weight.numel) for row in rows if row.label not in ("f32", "f16", "bf16")]
    known = [(value, numel) for value, numel in parts if value is not None]
    total = sum(numel for _, numel in known)
    return sum(value * numel for value, numel in known) / total if total else None
