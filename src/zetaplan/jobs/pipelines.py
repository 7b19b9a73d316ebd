"""Pipelines of the steps of a job, each from its options record, shared by the commands and `zetaplan run`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from zetaplan.errors import SpecError
from zetaplan.jobs.inputs import loaded_model, require_device, require_sizes, require_texts, text_of
from zetaplan.jobs.options import (
    ApplyOptions,
    CalibrateOptions,
    EvaluateOptions,
    MeasureOptions,
    Place,
    RefineOptions,
    ScoreOptions,
)

if TYPE_CHECKING:
    from zetaplan.menus.menu import Menu
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.models.calibrate import LossCurves
    from zetaplan.plans.plan import Plan
    from zetaplan.scoring import LoadedModel, Scores, Sequences

Step = TypeVar("Step", bound=Callable[..., Any])


def _as_given(name: str) -> str:
    return name


def _hushed(step: Step) -> Step:
    """The step, announced; without progress bars, tables and notices of transformers if `progress` is False."""

    @wraps(step)
    def hushed(model: str, *args: Any, progress: bool, **kwargs: Any) -> Any:
        if progress and sys.stderr.isatty():  # imports and weights take seconds; a log keeps one line per error
            print(f"loading {model}", file=sys.stderr)
        with nullcontext() if progress else _silence():
            return step(model, *args, progress=progress, **kwargs)

    return cast(Step, hushed)


@contextmanager
def _silence() -> Iterator[None]:
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@_hushed
def score(model: str, options: ScoreOptions, *, progress: bool, seen: Place = _as_given) -> Scores | None:
    """The scores of a model; None on a rank of torchrun that writes no file. seen : maps a file name to its path."""
    from zetaplan import scoring
    from zetaplan.scoring.curvature import find_curvature
    from zetaplan.scoring.distributed import place_of_this_process

    damping = scoring.Damping(value=options.damping, mode=options.damping_mode, scope=options.damping_scope)
    find_curvature(options.curvature)
    require_texts("data", options.data, seen)
    require_texts("held_out", options.held_out, seen)
    require_sizes(options.sequences, options.length, options.batch_size)
    device, writes = place_of_this_process(options.device)
    require_device(device)
    progress &= writes
    loaded = scoring.load_model(
        seen(model),
        device="cpu" if options.shard else device,
        dtype=options.dtype,
        progress=progress,
        stream=options.stream,
    )
    scores = scoring.score(
        loaded,
        text_of(loaded, options.data, options, seen),
        held_out=_held_out(loaded, options, seen),
        blocks=options.blocks,
        curvature=options.curvature,
        damping=damping,
        width=options.width,
        batch_size=options.batch_size,
        memory=options.memory,
        sketch=options.sketch,
        cache=options.cache,
        device=device,
        distributed=True,
        shard=options.shard,
        progress=progress,
    )
    return scores if writes else None


@_hushed
def apply(
    model: str, plan: Plan | ChoicePlan, options: ApplyOptions, out: Path, *, progress: bool, seen: Place = _as_given
) -> dict[str, Any]:
    """Apply the plan to the model and save the result to a new folder or file. Returns the record saved with it."""
    from zetaplan.jobs import applying
    from zetaplan.menus.layers import decides_layers
    from zetaplan.menus.low_rank import decides_rank
    from zetaplan.menus.plan import ChoicePlan
    from zetaplan.menus.sparsity import decides_sparsity

    if isinstance(plan, ChoicePlan) and decides_layers(plan):
        return applying.shortened(model, plan, options, out, progress, seen)
    if isinstance(plan, ChoicePlan) and decides_rank(plan):
        return applying.replaced(model, plan, options, out, progress, seen)
    if isinstance(plan, ChoicePlan) and not decides_sparsity(plan):
        return applying.quantised(model, plan, options, out, progress, seen)
    return applying.pruned(model, plan, options, out, progress, seen)


@_hushed
def apply_uniform(
    model: str, plan: Plan, options: ApplyOptions, out: Path, *, progress: bool, seen: Place = _as_given
) -> None:
    """Prune the model uniformly, as many weights as the plan by the same method, and save it to a new folder."""
    from zetaplan.jobs import applying

    applying.uniform(model, plan, options, out, progress, seen)


@_hushed
def refine(
    model: str, plan: Path | None, options: RefineOptions, *, progress: bool, seen: Place = _as_given
) -> ChoicePlan | None:
    """A plan improved by measurements, from a plan file or uniform; None on a rank of torchrun that writes no file."""
    from zetaplan.jobs import refining
    from zetaplan.scoring.distributed import place_of_this_process

    require_texts("data", options.data, seen)
    require_texts("held_out", options.held_out, seen)
    start = refining.start_of(plan) if plan else None
    refining.require_options(options)
    device, writes = place_of_this_process(options.device)
    texts = {name: tuple(map(seen, getattr(options, name))) for name in ("data", "held_out")}
    options, progress = options.model_copy(update={"device": device, **texts}), progress and writes
    loaded = loaded_model(model, options, progress, seen)
    found = refining.refined(loaded, start, options, progress=progress)
    return found if writes else None


@_hushed
def calibrate(model: str, options: CalibrateOptions, *, progress: bool) -> tuple[LossCurves, dict[str, Any]]:
    """The loss curves of a method on a model, as a value and as plain values for JSON."""
    from zetaplan.models.calibrate import checked_levels, loss_curves
    from zetaplan.models.pruners import find_pruner

    find_pruner(options.method)
    checked_levels(sorted(options.level))
    require_texts("data", options.data, _as_given)
    require_sizes(options.sequences, options.length)
    loaded = loaded_model(model, options, progress, _as_given)
    text = text_of(loaded, options.data, options, _as_given)
    found = loss_curves(loaded, options.method, text, levels=sorted(options.level), progress=progress)
    return found, {
        "schema": "zetaplan.calibration/1",
        "model": loaded.name,
        "model_sha256": loaded.sha256,
        "method": options.method,
        "data": text.description,
        "data_sha256": text.sha256,
        "levels": found.levels.tolist(),
        "names": found.names,
        "rise": found.rise.tolist(),
        "exponent": found.exponent,
        "kappa": found.kappa,
    }


@_hushed
def calibrate_scores(model: str, scores: Scores, options: CalibrateOptions, *, progress: bool) -> Scores:
    """The scores with the losses of whole plans of several exponents."""
    from zetaplan.models.pruners import find_pruner
    from zetaplan.models.whole_plans import calibrated

    find_pruner(options.method)
    require_texts("data", options.data, _as_given)
    require_sizes(options.sequences, options.length)
    loaded = loaded_model(model, options, progress, _as_given)
    if scores.provenance.get("model_sha256") not in (None, loaded.sha256):
        raise SpecError("scores: they are of other weights than the model; score it again")
    text = text_of(loaded, options.data, options, _as_given)
    return calibrated(
        loaded, scores, options.method, text, sparsity=options.sparsity, upper=options.upper, progress=progress
    )


@_hushed
def measure(model: str, options: MeasureOptions, *, progress: bool) -> Menu | None:
    """The menu of a model; None on a rank of torchrun that writes no file."""
    from zetaplan.jobs import measuring
    from zetaplan.scoring.distributed import place_of_this_process

    measuring.require_options(options)
    require_texts("data", (*options.data, *options.calibration), _as_given)
    require_sizes(options.sequences, options.length)
    device, writes = place_of_this_process(options.device)
    options, progress = options.model_copy(update={"device": device}), progress and writes
    loaded = loaded_model(model, options, progress, _as_given)
    menu = measuring.measured(loaded, options, progress)
    return menu if writes else None


@_hushed
def evaluate(model: str, options: EvaluateOptions, *, progress: bool, seen: Place = _as_given) -> dict[str, Any]:
    """Perplexity, divergence and accuracy of a model, as plain values with an entry per window and item."""
    from zetaplan.evaluate import choices
    from zetaplan.jobs import evaluation

    items = evaluation.items(options, seen)
    require_texts("text", [options.text] if options.text else [], seen)
    evaluation.dense_id(options, seen)
    loaded = loaded_model(model, options, progress, seen)
    facts: dict[str, Any] = {
        "schema": "zetaplan.evaluation/1",
        "model": loaded.name,
        "model_sha256": loaded.sha256,
    }
    if options.text:
        facts |= evaluation.on_text(loaded, Path(seen(options.text)), options, progress, seen)
    if options.choices:
        answers = choices.multiple_choice(loaded, items, progress=progress)
        where = {"choices": options.choices, "template": options.template}
        facts["multiple_choice"] = choices.answers_facts(answers) | where
    if options.lm_eval:
        from zetaplan.evaluate.lm_eval import by_lm_eval

        theirs = by_lm_eval(loaded, items, Path(options.lm_eval), progress=progress)
        facts["lm_eval"] = choices.answers_facts(theirs) | {"task": options.lm_eval}
    return facts


def _field(options: ScoreOptions, files: Sequence[str]) -> str | None:
    """The field option if any of the files holds records; else None."""
    from zetaplan.scoring.text.records import holds_records

    return options.field if any(map(holds_records, files)) else None


def _held_out(loaded: LoadedModel, options: ScoreOptions, seen: Place) -> Sequences | None:
    """The text for checking the steps: the given text, or the sequences between the scored ones."""
    if options.held_out:
        named = options.model_copy(update={"field": _field(options, options.held_out)})
        return text_of(loaded, options.held_out, named, seen)
    if not options.check:
        return None
    from zetaplan.scoring import sequences_between

    files = [seen(name) for name in options.data]
    return sequences_between(
        files, loaded.tokenizer, sequences=options.sequences, length=options.length, field=_field(options, files)
    )
