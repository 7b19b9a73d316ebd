"""The pipeline `apply`, by the kind of plan: weights to remove, layers to leave out, ranks, or formats of matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zetaplan.errors import SpecError, shown
from zetaplan.jobs.inputs import loaded_model, require_sizes, require_texts, text_of
from zetaplan.jobs.options import ApplyOptions, Place
from zetaplan.jobs.results import require_stored, require_unstructured

if TYPE_CHECKING:
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.plans.plan import Plan


def pruned(
    model: str, plan: Plan | ChoicePlan, options: ApplyOptions, out: Path, progress: bool, seen: Place
) -> dict[str, Any]:
    """Prune the model by a plan of sparsity, refined or not, and save it to a new folder."""
    from zetaplan.jobs.refining import applied_choice, require_sparsity
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.models.apply import apply_pruning
    from zetaplan.models.model_folder import changed_in
    from zetaplan.models.new_folder import require_new
    from zetaplan.models.pruned_folder import record, save_pruned
    from zetaplan.models.pruners import find_pruner

    calibrated = find_pruner(options.method).calibrated
    require_new(out)
    require_sparsity(plan, options)
    require_stored("sparsity", options)
    _require_text(calibrated, options, seen)
    loaded = loaded_model(model, options, progress, seen)
    text = text_of(loaded, options.data, options, seen) if calibrated else None
    with changed_in(loaded, out) as folder:
        if isinstance(plan, ChoicePlan):
            applied, facts = applied_choice(loaded, plan, options.method, text)
        else:
            applied = apply_pruning(loaded, plan, options.method, text, structure=options.structure, progress=progress)
            facts = record(applied, plan, loaded, text)
        save_pruned(loaded, applied, facts, folder)
    return facts


def uniform(model: str, plan: Plan, options: ApplyOptions, out: Path, progress: bool, seen: Place) -> None:
    """Prune the model by the plan's method to one share everywhere, as many weights in all, and save it."""
    from zetaplan.models.apply import prune_blocks
    from zetaplan.models.model_folder import save_model
    from zetaplan.models.pruners import find_pruner
    from zetaplan.plans.divide import divide
    from zetaplan.scoring.model.streamed import changeable

    loaded = loaded_model(model, options, progress, seen)
    text = text_of(loaded, options.data, options, seen) if find_pruner(options.method).calibrated else None
    shares = divide(int(plan.rounded.units.sum()), [int(size) for size in plan.instance.resource])
    counts = dict(zip(plan.names, shares, strict=True))
    network, blocks = loaded.model, plan.scores.blocks
    with changeable(network, out):
        prune_blocks(network, blocks, counts, options.method, text, structure=options.structure, progress=progress)
        save_model(loaded, out)


def shortened(
    model: str, plan: ChoicePlan, options: ApplyOptions, out: Path, progress: bool, seen: Place
) -> dict[str, Any]:
    """Leave the planned decoder layers out of the model, and save it to a new folder."""
    from zetaplan.menus.layers import left_out_by
    from zetaplan.models.new_folder import require_new
    from zetaplan.models.shortened_folder import save_shortened

    require_new(out)
    left_out_by(plan)
    require_stored("layers", options)
    require_unstructured("layers", options)
    return save_shortened(loaded_model(model, options, progress, seen), plan, out)


def replaced(
    model: str, plan: ChoicePlan, options: ApplyOptions, out: Path, progress: bool, seen: Place
) -> dict[str, Any]:
    """Replace the linears of the model by the planned ranks, by the method of the plan, and save it to a new folder."""
    from zetaplan.menus.low_rank import rank_facts, ranks_by
    from zetaplan.models.low_rank_folder import save_low_rank
    from zetaplan.models.new_folder import require_new
    from zetaplan.refining.levels.replacement import PLAIN
    from zetaplan.refining.replacing import replaced_layers

    require_new(out)
    ranks_by(plan)
    method = rank_facts(plan).method
    if options.method not in (method, ApplyOptions.model_fields["method"].default):
        raise SpecError(f"method = {shown(options.method)}: the ranks were measured with {method!r}; leave it out")
    require_stored("rank", options)
    require_unstructured("rank", options)
    _require_text(method != PLAIN, options, seen)
    loaded = loaded_model(model, options, progress, seen)
    text = text_of(loaded, options.data, options, seen) if method != PLAIN else None
    return save_low_rank(loaded, replaced_layers(loaded, plan, text), plan, text, out)


def quantised(
    model: str, plan: ChoicePlan, options: ApplyOptions, out: Path, progress: bool, seen: Place
) -> dict[str, Any]:
    """Store every matrix of the model in its planned format. Values are computed in float32."""
    from zetaplan.models.checkpoints import Source, find_form, require_storable
    from zetaplan.models.new_folder import require_new
    from zetaplan.models.quantize import planned_formats
    from zetaplan.scoring.model.meta_model import require_dense

    form, formats = find_form(options.to), planned_formats(plan)
    for path in form.outputs(out):
        require_new(path)
    require_storable(form, formats)
    if options.dtype not in (None, "float32"):
        raise SpecError(f"dtype = {shown(options.dtype)}: would round the values again; leave it out")
    _require_text(formats.calibrated, options, seen)
    require_dense(seen(model))
    exact = options.model_copy(update={"dtype": "float32"})
    source = Source(
        seen(model),
        load=lambda: loaded_model(model, exact, progress, seen),
        text=lambda loaded: text_of(loaded, options.data, options, seen),
        other_weights=options.other_weights,
    )
    return form.write(formats, source, out)


def _require_text(calibrated: bool, options: ApplyOptions, seen: Place) -> None:
    if calibrated:
        require_texts("data", options.data, seen)
        require_sizes(options.sequences, options.length)
