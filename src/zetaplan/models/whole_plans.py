"""Whole plans of several exponents, applied and measured: which kappa suits this model and method.

Every plan removes the same number of weights; kappa = 0 stands for uniform, the same share of every block. The losses
are compared sequence by sequence, so that the interval of a difference to uniform is paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from zetaplan._interval import mean_interval
from zetaplan.errors import SpecError
from zetaplan.models.apply import apply_pruning
from zetaplan.models.pruners import find_pruner
from zetaplan.plans.exponent import KEY, Exponent, Tried
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import prune
from zetaplan.scoring import LoadedModel, Scores
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.text.sequences import Batch, checked_batches, digest

#: Exponents that are tried: uniform, those of steep penalties, the paper's, and a steeper plan than the paper's.
KAPPAS = (0.0, 0.25, 0.5, 1.0, 2.0)


def calibrated(
    model: LoadedModel | nn.Module,
    scores: Scores,
    method: str,
    text: Batches,
    calibration: Batches | None = None,
    *,
    sparsity: float = 0.5,
    upper: float = 0.8,
    kappas: Sequence[float] = KAPPAS,
    progress: bool = False,
) -> Scores:
    """The scores with the losses of whole plans, from which `zetaplan.prune` takes its exponent.

    Args:
        model: the model of the scores; it is not changed.
        scores: of the model.
        method: one of `pruner_names()`.
        text: the text of the losses; not the text on which the pruned model is evaluated.
        calibration: the text for the method's input statistics; by default `text`.
        sparsity: share of the linear weights that every plan removes.
        upper: largest share that any block loses.
        kappas: exponents to try; uniform, 0, is always among them.
        progress: show a progress bar.

    Raises:
        SpecError: an unknown method, bad exponents, or scores of another model.
        ScoringError: the data or the model do not allow it.

    Examples:
        >>> found = zp.calibrated(model, scores, "magnitude", batch)
        >>> zp.prune(found).instance.parameters["kappa"] in (0.0, 0.25, 0.5, 1.0, 2.0)
        True
    """
    network = model.model if isinstance(model, LoadedModel) else model
    find_pruner(method)
    if not all(isinstance(kappa, int | float) and kappa >= 0 for kappa in kappas):
        raise SpecError(f"kappas = {tuple(kappas)}: expected exponents of at least 0")
    order = sorted({0.0, *map(float, kappas)})
    data = checked_batches(text, model=network)
    source = text if calibration is None else calibration
    plans = {kappa: prune(scores, sparsity=sparsity, upper=upper, kappa=kappa) for kappa in order if kappa}
    plans[0.0] = prune(scores, sparsity=sparsity, lower=sparsity, upper=sparsity, kappa=0.0)  # equal shares
    with tqdm(order, desc="whole plans", unit="plan", disable=not progress) as bar:
        losses = {kappa: _losses(network, plans[kappa], method, source, data) for kappa in bar}
    found = Exponent(
        method=method,
        sparsity=sparsity,
        upper=upper,
        text_sha256=digest(data),
        sequences=len(losses[0.0]),
        length=max(batch["labels"].shape[1] for batch in data),
        tried=tuple(_tried(kappa, values, losses[0.0]) for kappa, values in losses.items()),
    )
    return replace(scores, provenance={**scores.provenance, KEY: found.model_dump(mode="json")})


def _losses(
    model: nn.Module, plan: Plan, method: str, calibration: Batches, data: Sequence[Batch]
) -> NDArray[np.float64]:
    """(N,) the loss of every sequence with the plan applied. The weights are restored afterwards."""
    own = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    try:
        apply_pruning(model, plan, method, calibration)
        with eval_mode(model), torch.no_grad():
            return torch.cat([sequence_losses(model, batch) for batch in data]).double().cpu().numpy()
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(own[name])


def _tried(kappa: float, losses: NDArray[np.float64], uniform: NDArray[np.float64]) -> Tried:
    difference = mean_interval(losses - uniform)
    return Tried(
        kappa=kappa,
        loss=float(losses.mean()),
        difference=difference.mean,
        low=difference.low,
        high=difference.high,
    )
