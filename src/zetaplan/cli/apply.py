"""Command `zetaplan apply`: applies a plan to the weights of a model, and saves the model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zetaplan._digits import percent
from zetaplan._plural import counted
from zetaplan.cli.options import Json, Model, Quiet
from zetaplan.cli.output import show, tell
from zetaplan.errors import CertificateError
from zetaplan.jobs.options import ApplyOptions

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.plans.plan import Plan

SHOWN = 4  # mismatches in the message


def apply(
    model: Model,
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN", help="Plan of sparsity, layers, ranks or formats; with --check, any plan or export."
        ),
    ],
    options: ApplyOptions,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check only, without changing the model; exit 1 if an entry would not be used."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="New folder, or new file for --to gguf; pruned, shortened, low-rank or quantized if not given.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Remove the planned weights or layers, replace matrices by low rank, or round them, and save the model.

    A plan of sparsity removes the planned number of weights from every block, layer by layer. A plan of layers leaves
    decoder layers out. A plan of ranks replaces linears by low-rank products. A plan of formats rounds every matrix;
    --to gguf writes a file of exactly the planned bytes.
    """
    if check:
        _tell_check(_wrong(model, plan, options), plan, as_json, quiet)
        return
    from zetaplan.documents.plan_files import any_plan
    from zetaplan.jobs import pipelines

    wanted = any_plan(plan)
    out = out or Path(_default(wanted, options.to))
    facts = pipelines.apply(model, wanted, options, out, progress=not (quiet or as_json))
    show(facts, None, as_json, quiet)
    notes = [f"note: {note}" for note in (facts.get("note"), *facts["notes"]) if note]
    tell("\n".join([_said(facts, options), *notes, f"written: {out}"]), quiet or as_json)


def _default(plan: Plan | ChoicePlan, to: str) -> str:
    from zetaplan.jobs.results import result_of

    found = result_of(plan)
    return f"{found}.gguf" if found == "quantized" and to == "gguf" else found


def _said(facts: dict[str, Any], options: ApplyOptions) -> str:
    if "formats" in facts:
        return _quantised(facts)
    if "ranks" in facts:
        return _replaced(facts)
    return _shortened(facts) if "left_out" in facts else _pruned(facts, options)


def _shortened(facts: dict[str, Any]) -> str:
    gone = len(facts["left_out"])
    return f"{gone:,} of {counted(gone + len(facts['layers']), 'layer')} left out"


def _pruned(facts: dict[str, Any], options: ApplyOptions) -> str:
    removed = counted(sum(block["removed"] for block in facts["blocks"]), "weight")
    blocks = counted(len(facts["blocks"]), "block")
    return f"{removed} of {blocks} removed ({percent(facts['sparsity'])}) by {options.method}"


def _replaced(facts: dict[str, Any]) -> str:
    replaced, counts = sum(rank is not None for rank in facts["ranks"].values()), facts["weights"]
    share = percent(1 - counts["factors"] / counts["dense"])
    return (
        f"{replaced:,} of {counted(len(facts['ranks']), 'tensor')} replaced by {facts['method']}; the folder "
        f"`factors` holds {share} fewer weights, while the model is stored dense and saves nothing"
    )


def _quantised(facts: dict[str, Any]) -> str:
    counts = Counter(facts["formats"].values())
    formats = ", ".join(f"{count} in {label}" for label, count in sorted(counts.items()))
    stored = facts["bytes"]
    total = stored["matrices"] + stored["others"]
    return f"{counted(len(facts['formats']), 'tensor')} rounded ({formats}); {total:,} bytes of tensors in all"


def _wrong(model: str, file: Path, options: ApplyOptions) -> tuple[str, ...]:
    """Entries of a plan or of exported settings that do not match the model, without changing its weights."""
    from zetaplan.documents.plan_files import any_plan
    from zetaplan.exports import check_file, is_plan
    from zetaplan.menus.layers import decides_layers
    from zetaplan.menus.low_rank import decides_rank
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.menus.sparsity import decides_sparsity, sparsity_facts
    from zetaplan.models.apply import block_mismatches, mismatches
    from zetaplan.scoring.model.meta_model import meta_model

    wanted = any_plan(file) if is_plan(file) else None
    if isinstance(wanted, ChoicePlan) and decides_sparsity(wanted):
        facts = sparsity_facts(wanted)
        return block_mismatches(meta_model(model), facts.blocks, facts.sizes)
    if isinstance(wanted, ChoicePlan) and decides_layers(wanted):
        return _wrong_layers(model, wanted)
    if isinstance(wanted, ChoicePlan) and decides_rank(wanted):
        return _wrong_ranks(model, wanted)
    if isinstance(wanted, ChoicePlan):
        return _wrong_formats(model, wanted, options.other_weights)
    if wanted is not None and wanted.kind.counts == "weights":
        return mismatches(meta_model(model), wanted)
    return tuple(map(str, check_file(file, model)[1]))


def _wrong_layers(model: str, plan: ChoicePlan) -> tuple[str, ...]:
    from zetaplan.menus.layers import left_out_by
    from zetaplan.models.leave_out import mismatches
    from zetaplan.scoring.model.meta_model import meta_model

    left_out_by(plan)
    return mismatches(meta_model(model), plan.taken)


def _wrong_ranks(model: str, plan: ChoicePlan) -> tuple[str, ...]:
    from zetaplan.menus.low_rank import rank_facts, ranks_by
    from zetaplan.models.quantize import mismatches
    from zetaplan.scoring.model.meta_model import meta_model

    ranks_by(plan)
    return mismatches(meta_model(model), rank_facts(plan).items())


def _wrong_formats(model: str, plan: ChoicePlan, other_weights: bool) -> tuple[str, ...]:
    from zetaplan.menus.bits import bits_facts
    from zetaplan.models.quantize import mismatches
    from zetaplan.scoring.model.meta_model import fingerprint, meta_model

    facts = bits_facts(plan.menu)
    other = not other_weights and fingerprint(model) != facts.model_sha256
    return (
        *[f"the plan was made for other weights, those of {facts.model!r}; see --other-weights"] * other,
        *mismatches(meta_model(model), facts.items()),
    )


def _tell_check(wrong: tuple[str, ...], plan: Path, as_json: bool, quiet: bool) -> None:
    show({"plan": str(plan), "fits": not wrong, "mismatches": wrong}, None, as_json, quiet)
    if wrong:
        more = f" (and {len(wrong) - SHOWN:,} more; --json lists all)" if len(wrong) > SHOWN else ""
        raise CertificateError(f"{plan} does not fit this model: {'; '.join(wrong[:SHOWN])}{more}")
    tell(f"{plan} fits: every entry matches one block of the model, or exactly its modules", quiet or as_json)
