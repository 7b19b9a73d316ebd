"""A plan divided over the linears of a model: every linear of a layer gets its rank, or its share of the removals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from zetaplan.documents.choices import choice_document
from zetaplan.documents.convert import plan_document
from zetaplan.errors import CertificateError, SpecError
from zetaplan.exports.targets import EXPERTS, Entry, Module, Outline, Problem, Value, linears
from zetaplan.menus.sparsity import removed_by, sparsity_facts
from zetaplan.models.lora_settings import DEFAULT, LoraSettings
from zetaplan.plans.bounds import TIE
from zetaplan.plans.divide import divide

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan
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
class Units:
    """The whole units of a plan.

    taken : ranks, experts, or weights to remove, by the plan's blocks. sizes : what one unit of a block counts in the
    budget, or the weights of a block that loses some; empty if the plan's own costs were given. removes : whether the
    units are weights to remove, which are divided among the linears of a block. method : the pruning method that the
    plan was refined with, "" if none. expert_rank, top_k : of experts.
    """

    taken: Mapping[str, int]
    sizes: Mapping[str, float]
    removes: bool
    facts: Mapping[str, str]
    method: str = ""
    expert_rank: int = 1
    top_k: int = 1


@dataclass(frozen=True, eq=False)
class UnitJob(Job):
    """A plan of whole units.

    units : ranks, or weights to remove, by linear and by tensor of experts; without a model, by the plan's names.
    experts : the units of every expert of a tensor, by the name of the tensor.
    """

    plan: Units
    units: Mapping[str, int]
    experts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lora: LoraSettings = DEFAULT

    @property
    def shares(self) -> dict[str, float]:
        """The fraction of its weights that each linear, or tensor of experts, loses."""
        planned = self.model.planned if self.model else ()
        return {module.name: self.units.get(module.name, 0) / module.weights for module in planned}

    def require_linears(self, to: str) -> None:
        """Raise SpecError if the plan takes something from experts in one tensor, which the tool does not address."""
        if name := next((name for name in self.experts if self.units[name]), None):
            raise SpecError(f"to = {to!r}: it takes linears only, and {name} holds {EXPERTS}; use torch-prune")

    @property
    def decided(self) -> Mapping[str, int]:
        return self.units

    @property
    def facts(self) -> dict[str, str]:
        return dict(self.plan.facts)


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


def units_of(plan: Plan) -> Units:
    """The whole units of a plan of a program."""
    request, program = plan.request, plan.instance.program.name
    sizes = zip(plan.names, plan.instance.resource.tolist(), strict=True)
    return Units(
        taken=dict(zip(plan.names, plan.rounded.units.tolist(), strict=True)),
        sizes={} if request.resource == "given" else dict(sizes),
        removes=plan.kind.whole.shares,
        facts={"program": program, "unit": plan.whole_unit, "plan_sha256": plan_document(plan).sha256_},
        expert_rank=request.expert_rank or 1,
        top_k=request.top_k,
    )


def removals_of(plan: ChoicePlan) -> Units:
    """The weights to remove by a choice from menus, such as a refined plan."""
    facts = sparsity_facts(plan)
    return Units(
        taken=removed_by(plan),
        sizes=facts.sizes,
        removes=True,
        facts={"program": "choice", "unit": "weights", "plan_sha256": choice_document(plan).sha256_},
        method=facts.method,
    )


def job_of(plan: Units, model: Outline | None) -> UnitJob:
    """The plan on the linears of the model, to the unit; without a model, by the plan's own names.

    Raises CertificateError, naming the entry, if the model has no such block or one of another size.
    """
    if model is None:
        return UnitJob(None, plan, plan.taken)
    found, known = dict[str, dict[int, int]](), _by_name(model)
    for name, amount in plan.taken.items():
        members = _members(name, known, needed=amount > 0)
        if amount:
            _check_size(plan, name, members)
        sizes = [module.inputs * module.outputs for module, _ in members]
        parts = divide(amount, sizes) if plan.removes else [amount] * len(members)
        for (module, place), part in zip(members, parts, strict=True):
            found.setdefault(module.name, {})[place] = part
    planned = [module for module in model.planned if module.name in found]
    experts = {m.name: tuple(found[m.name].get(place, 0) for place in range(m.count)) for m in planned if m.count > 1}
    total = sum if plan.removes else _common
    return UnitJob(model, plan, {m.name: total(found[m.name].values()) for m in planned}, experts)


def _common(ranks: Iterable[int]) -> int:
    """The rank of a tensor of experts, which tools adapt as a whole."""
    several = set(ranks)
    if len(several) > 1:
        raise SpecError(
            f"the experts of one tensor get the ranks {min(several)} to {max(several)}, and tools adapt the tensor as "
            "a whole; plan over modules or layers"
        )
    return several.pop()


def by_block(job: UnitJob) -> dict[str, int]:
    """The units of a plan over layers by decoder layer, in the model's order. Raises SpecError for other plans."""
    order = dict.fromkeys(module.block for module in linears(job.modules))
    units = {member: amount for name, amount in job.plan.taken.items() for member in name.split(TIE)}
    if missing := next((block for block in order if block not in units), None):
        raise SpecError(f"{missing} has no value of its own: this format needs one per layer; plan over layers")
    return {block: units[block] for block in order}


Members = list[tuple[Module, int]]  # linears, and experts by their number in the tensor


def _by_name(model: Outline) -> dict[str, Members]:
    """The matrices by the names of the blocks that they belong to."""
    found: dict[str, Members] = {}
    for pair in (pair for module in model.planned for pair in matrices(module)):
        for name in block_names(*pair):
            found.setdefault(name, []).append(pair)
    return found


def _members(name: str, known: Mapping[str, Members], needed: bool) -> Members:
    """The matrices of a block of a plan.

    needed : whether the plan takes anything from the block, so that each of its names must be known.
    """
    members: Members = []
    for part in name.split(TIE):
        found = known.get(part, [])
        if not found and needed:
            raise CertificateError(f"{part}: would be ignored: the model has no decoder layer or linear of this name")
        members += found
    return members


def matrices(module: Module) -> Iterator[tuple[Module, int]]:
    """The matrices of a linear, which is one, or of a tensor of experts, by their numbers."""
    return ((module, place) for place in range(module.count))


def block_names(module: Module, place: int) -> tuple[str, ...]:
    """The names of the blocks that a matrix belongs to: by layers, by modules, by experts."""
    owner = module.name.rpartition(".")[0] if module.kind == EXPERTS else module.name
    return (module.block, owner, *([f"{owner}.{place}"] if module.kind == EXPERTS else []))


def _check_size(plan: Units, name: str, members: Sequence[tuple[Module, int]]) -> None:
    if name not in plan.sizes:
        return
    size, planned = sum(_size(plan, module) for module, _ in members) * plan.expert_rank, plan.sizes[name]
    if size != planned:
        unit = "weights" if plan.removes else "parameters per rank"
        counted = f"the plan counts {planned:,.10g} {unit}, the linears of this model have {size:,}"
        raise CertificateError(f"{name}: {counted}: it was made for another model")


def _size(plan: Units, module: Module) -> int:
    return module.inputs * module.outputs if plan.removes else module.inputs + module.outputs
