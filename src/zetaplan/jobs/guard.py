"""The comparison of a pruned model with uniform pruning: same method, number of weights, texts and windows."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from zetaplan._comparison import compared
from zetaplan._interval import interval_facts, per_token
from zetaplan.documents.verify import load_plan
from zetaplan.errors import SpecError
from zetaplan.jobs import pipelines
from zetaplan.jobs.config import Config
from zetaplan.jobs.options import Place


def guards(config: Config) -> bool:
    """Whether the job compares its pruned model with uniform pruning: it needs a text, and is not turned off.

    A refined plan brings its own comparison.
    """
    wanted = config.guard and config.apply and config.evaluate and config.evaluate.text
    return bool(wanted) and config.refine is None


def uniform_perplexity(config: Config, plan: Path, *, progress: bool, seen: Place) -> dict[str, Any]:
    """The perplexity of uniform pruning with the budget of the plan, as `evaluate` writes it."""
    if config.apply is None or config.evaluate is None:
        raise SpecError("guard: needs apply and evaluate")
    options = config.evaluate.model_copy(update={"choices": None, "lm_eval": None, "against": None})
    with TemporaryDirectory(dir=plan.parent, prefix=".uniform-") as folder:
        pipelines.apply_uniform(config.model, load_plan(plan), config.apply, Path(folder), progress=progress, seen=seen)
        measured = pipelines.evaluate(folder, options, progress=progress, seen=seen)
    found: dict[str, Any] = measured["perplexity"]
    return found


def against_uniform(plan: dict[str, Any], uniform: dict[str, Any]) -> dict[str, Any]:
    """The difference of two perplexities on the same windows, plan minus uniform, for a file.

    difference : of the loss, nats per token, with its paired 95% interval over windows; a single window has none.
    """
    windows, other = plan["windows"], uniform["windows"]
    rises = np.asarray(windows["nll"]) - np.asarray(other["nll"])
    difference = interval_facts(per_token(rises, windows["tokens"]))
    return {
        "perplexity": uniform,
        "difference": difference,
        "note": _sentence(difference, len(rises)),
    }


def note(evaluation: Path) -> str:
    """The sentence that an evaluation keeps about the pruned model and uniform; "" if there is none."""
    found = json.loads(evaluation.read_text(encoding="utf-8")).get("pruned", {}).get("uniform", {}).get("note", "")
    return str(found)


def _sentence(difference: dict[str, float | None], windows: int) -> str:
    mean, low, high = difference["mean"], difference["low"], difference["high"]
    if low is None or high is None:
        return (
            f"the plan was not measurably better than uniform on the held-out text: loss {mean:+.4f} nats per token, "
            "one window, which gives no interval; give a longer text"
        )
    verdict = compared(low, high)
    return (
        f"the plan was {verdict} uniform at the same budget on the held-out text: loss {mean:+.4f} nats per token "
        f"(95% interval {low:+.4f} to {high:+.4f}, {windows:,} windows)"
    )
