"""The menu of `zetaplan measure`, by what its options decide."""

from __future__ import annotations

from zetaplan.errors import SpecError, shown
from zetaplan.jobs.inputs import text_of
from zetaplan.jobs.options import MeasureOptions
from zetaplan.measuring.measure import measure
from zetaplan.measuring.options import require_formats
from zetaplan.menus.menu import Menu
from zetaplan.models.pruners import find_pruner
from zetaplan.refining.levels import replacement
from zetaplan.refining.menu import measure_levels
from zetaplan.scoring import LoadedModel

#: Options that the formats of a menu have, and its levels do not.
OF_FORMATS = ("formats", "estimator", "check", "seed")


def require_options(options: MeasureOptions) -> None:
    """Raise SpecError for options that no model allows, before one is loaded."""
    if options.decides == "bits":
        require_formats(_formats(options), options.estimator)
        return
    if options.decides == "sparsity":
        find_pruner(options.method)
    if options.decides == "rank" and options.method not in (known := replacement.methods()):
        raise SpecError(f"method = {shown(options.method)}: expected {' or '.join(known)} with --for rank")
    for name in OF_FORMATS:
        if getattr(options, name) != MeasureOptions.model_fields[name].default:
            raise SpecError(f"{name}: it belongs to a menu of formats; leave it out with --for {options.decides}")


def measured(loaded: LoadedModel, options: MeasureOptions, progress: bool) -> Menu:
    """The menu on the texts of the options."""
    text = text_of(loaded, options.data, options, str)
    calibration = text_of(loaded, options.calibration, options, str) if options.calibration else None
    if options.decides == "bits":
        return measure(
            loaded,
            _formats(options),
            text,
            blocks=options.blocks,
            estimator=options.estimator,
            calibration=calibration,
            check=options.check,
            seed=options.seed,
            cache=options.cache,
            distributed=True,
            progress=progress,
        )
    return measure_levels(
        loaded,
        "drop" if options.decides == "drop" else options.method,
        text,
        blocks=options.blocks,
        step=options.step,
        calibration=calibration,
        cache=options.cache,
        distributed=True,
        progress=progress,
    )


def _formats(options: MeasureOptions) -> list[str]:
    return [label.strip() for label in options.formats.split(",") if label.strip()]
