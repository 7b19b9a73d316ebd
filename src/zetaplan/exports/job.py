"""A plan divided over the linears of a model: every linear of a layer gets its rank, or its share of the removals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from zetaplan.documents.convert import plan_document
from zetaplan.errors import CertificateError, SpecError
from zetaplan.exports.targets import Entry, Module, Outline, Problem, Value, linears
from zetaplan.plans.bounds import TIE
from zetaplan.plans.divide import divide

if TYPE_CHECKING:
    from zetaplan.plans.plan import Plan


@dataclass(frozen=True, eq=False)
class Job(ABC):
    """Data of an export: what a plan decides for every part of a model, or, without a model, for its own names."""

    model: Outline | None

    @property
    def known(self) -> Outline:
        """The model. Raises SpecError if none is given."""
        if self.model is None:
            raise SpecError("model: the format needs the modules of a model; give model (--model)")
        return self.model

    @property
    def modules(self) -> tuple[Module, ...]:
        """All modules of the model, in its order; empty if no model is given."""
        return self.model.modules if self.model else ()

    @property
    @abstractmethod
    def decided(self) -> Mapping[str, int] | Mapping[str, str]:
        """The plan's whole units, or labels of formats, by name."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, str]:
        """The program that the plan solves, the unit of what it decides, and the sha256 of its document."""


@dataclass(frozen=True, eq=False)
class UnitJob(Job):
    """A plan of whole units. units : ranks, or weights to remove, by linear; without a model, by the plan's names."""

    plan: Plan
    units: Mapping[str, int]

    @property
    def removes(self) -> bool:
        """Whether the units are weights to remove."""
        return self.plan.kind.counts == "weights"

    @property
    def shares(self) -> dict[str, float]:
        """The fraction of its weights that each linear loses."""
        return {module.name: self.units.get(module.name, 0) / module.weights for module in linears(self.modules)}

    @property
    def decided(self) -> Mapping[str, int]:
        return self.units

    @property
    def facts(self) -> dict[str, str]:
        plan = self.plan
        program = plan.instance.program.name
        return {"program": program, "unit": plan.whole_unit, "plan_sha256": plan_document(plan).sha256_}


@dataclass(frozen=True)
class Group:
    """Entries that a tool reads together, and the names of the modules that it matches them against.

    complete, ordered : arguments of `targets.check`. found : problems beside those that the entries show.
    """

    name: str
    entries: tuple[Entry, ...]
    modules: tuple[str, ...]
    complete: bool = False
    ordered: bool = True
    found: tuple[Problem, ...] = ()


class Format(Protocol):
    """Interface of a module in `zetaplan.exports.formats`.

    COUNTS : what its plans count ("ranks", "experts", "weights"), or "formats"; None: anything. MODEL : whether it
    needs the model's modules. FILE : the file name that the tool expects, or a usual one.
    """

    COUNTS: tuple[str, ...] | None
    MODEL: bool
    FILE: str

    def settings(self, job: Job) -> Mapping[str, Mapping[str, Value]]:
        """The planned value of each module, by group."""

    def write(self, job: Job) -> bytes:
        """The contents of the file."""

    def read(self, data: bytes, model: Outline) -> tuple[Group, ...] | None:
        """The tool's interpretation of the file; None if the file has another format."""

    def usage(self, job: Job, file: str) -> str:
        """How to give the file to the tool."""


def job_of(plan: Plan, model: Outline | None) -> UnitJob:
    """The plan on the linears of the model, to the unit; without a model, by the plan's own names.

    Raises CertificateError, naming the entry, if the model has no such block or one of another size.
    """
    if model is None:
        return UnitJob(None, plan, dict(zip(plan.names, plan.rounded.units.tolist(), strict=True)))
    modules, units = model.modules, dict[str, int]()
    rows = zip(plan.names, plan.rounded.units.tolist(), plan.instance.resource.tolist(), strict=True)
    for name, amount, resource in rows:
        members = _members(name, modules)
        _check_size(plan, name, members, resource)
        sizes = [module.weights for module in members]
        parts = divide(amount, sizes) if plan.kind.whole.shares else [amount] * len(members)
        units |= zip((module.name for module in members), parts, strict=True)
    return UnitJob(model, plan, {m.name: units[m.name] for m in linears(modules) if m.name in units})


def by_block(job: UnitJob) -> dict[str, int]:
    """The units of a plan over layers by decoder layer, in the model's order. Raises SpecError for other plans."""
    order = dict.fromkeys(module.block for module in linears(job.modules))
    planned = zip(job.plan.names, job.plan.rounded.units.tolist(), strict=True)
    units = {member: amount for name, amount in planned for member in name.split(TIE)}
    if missing := next((block for block in order if block not in units), None):
        raise SpecError(f"{missing} has no value of its own: this format needs one per layer; plan over layers")
    return {block: units[block] for block in order}


def _members(name: str, modules: Sequence[Module]) -> list[Module]:
    members = []
    for part in name.split(TIE):
        found = [module for module in linears(modules) if part in (module.name, module.block)]
        if not found:
            raise CertificateError(f"{part}: would be ignored: {_missing(part, modules)}")
        members += found
    return members


def _missing(name: str, modules: Sequence[Module]) -> str:
    if any(module.name == name for module in modules):
        return "this module holds experts in one tensor, which no tool addresses by a linear's name; plan over layers"
    return "the model has no decoder layer or linear of this name"


def _check_size(plan: Plan, name: str, members: Sequence[Module], resource: float) -> None:
    if plan.request.resource == "given":
        return
    removes = plan.kind.whole.shares
    size = sum(module.weights if removes else module.inputs + module.outputs for module in members)
    size *= plan.request.expert_rank or 1
    if size != resource:
        unit = "weights" if removes else "parameters per rank"
        counted = f"the plan counts {resource:,.10g} {unit}, the linears of this model have {size:,}"
        raise CertificateError(f"{name}: {counted}: another model, or experts in one tensor")
