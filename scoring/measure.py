"""The measurement: one forward and backward pass over N sequences, then zeta^2 of every block.

With the per-sequence gradients G (N x d) of a block, g = G'1/N is the gradient of the empirical loss. One pass gives
every surrogate that is a function of G; a matrix-free one goes back to the model, block by block.
"""

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.blocks import Block, left_out, partition
from zetaplan.scoring.curvature import Curvature, MatrixFree, OnePass, find_curvature
from zetaplan.scoring.damping import Damping
from zetaplan.scoring.models import LoadedModel, as_dtype
from zetaplan.scoring.passes import backward_pass
from zetaplan.scoring.per_sequence import Pairs
from zetaplan.scoring.prediction import decreases
from zetaplan.scoring.products import LinearisedBlock
from zetaplan.scoring.sampling import rows
from zetaplan.scoring.scores import Scores, Vector
from zetaplan.scoring.sequences import Batch, Sequences, checked_batches, digest, labelled_places
from zetaplan.scoring.statistics import Gram, Statistic, take_in

Batches = Sequences | Mapping[str, Tensor] | Iterable[Mapping[str, Tensor]]
Statistics = dict[type[Statistic], list[Statistic]]  # one of each kind per block


def score(
    model: LoadedModel | nn.Module,
    batches: Batches,
    *,
    blocks: str = "layers",
    curvature: str = "block-fisher",
    damping: Damping = Damping(),  # noqa: B008  a frozen value
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    batch_size: int | None = None,
    held_out: Batches | None = None,
    progress: bool = False,
) -> Scores:
    """The gain zeta^2 of every block of a causal language model.

    Args:
        model: a loaded model, or a decoder-only transformers model; it is left as it was found.
        batches: sequences, or one or more batches with input_ids (B, T) and optionally attention_mask and labels
            (B, T); labels default to the ids where the mask is 1. N over all batches at least 2.
        blocks: "layers", every decoder layer with all its parameters, or "modules", every linear of the decoder layers.
        curvature: the surrogate of H, one of `curvature_names()`.
        damping: how tau is chosen.
        device: where to compute; by default where the model is.
        dtype: precision of the pass; by default the model's. Per-sequence gradients are float32 at least.
        batch_size: sequences per pass, for memory; None: as given, and all of a `Sequences` at once.
        held_out: text that is not scored; if given, every block takes its step -(H + tau I)^-1 g alone, and `decrease`
            and `held_out_decrease` say what the loss did. One more pass, and 2K evaluations of the loss.
        progress: show a progress bar.

    Raises:
        ScoringError: the architecture, the data or the numbers do not allow a score; the message names the culprit.
    """
    return score_each(
        model,
        batches,
        curvatures=(curvature,),
        blocks=blocks,
        damping=damping,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        held_out=held_out,
        progress=progress,
    )[curvature]


def score_each(
    model: LoadedModel | nn.Module,
    batches: Batches,
    *,
    curvatures: Sequence[str],
    blocks: str = "layers",
    damping: Damping = Damping(),  # noqa: B008  a frozen value
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    batch_size: int | None = None,
    held_out: Batches | None = None,
    progress: bool = False,
) -> dict[str, Scores]:
    """Scores by several surrogates from the same pass; arguments and errors as for `score`."""
    started = time.perf_counter()
    surrogates = {name: find_curvature(name) for name in curvatures}
    network = _placed(model.model if isinstance(model, LoadedModel) else model, device, as_dtype(dtype))
    parts = partition(network, blocks)
    data = checked_batches(batches, batch_size)
    statistics, losses = _observed(network, parts, data, surrogates.values(), progress)
    fresh = None if held_out is None else checked_batches(held_out, batch_size)
    names = tuple(part.name for part in parts)
    common: dict[str, Any] = {
        "names": names,
        "parameters": np.array([part.parameters for part in parts]),
        "linear_parameters": np.array([part.linear_parameters for part in parts]),
        "rank_parameters": np.array([part.rank_parameters for part in parts]),
        "blocks": blocks,
        "loss": float(losses.mean()),
        "left_out": left_out(network, parts),
        "provenance": {
            **_model_provenance(model, network),
            **_data_provenance(batches, data),
            "damping": asdict(damping),
            "versions": {package: version(package) for package in ("zetaplan", "torch", "transformers")},
            "seconds": time.perf_counter() - started,
        },
    }
    return {
        name: Scores(
            curvature=name,
            **_measures(network, parts, data, _curvatures(surrogate, network, parts, data, statistics), damping, fresh),
            gradient_norm=_gradient_norms(names, statistics),
            **common,
        )
        for name, surrogate in surrogates.items()
    }


def _placed(model: nn.Module, device: str | torch.device | None, dtype: torch.dtype | None) -> nn.Module:
    if all(dtype in (None, p.dtype) and device in (None, p.device, str(p.device)) for p in model.parameters()):
        return model
    return copy.deepcopy(model).to(device=device, dtype=dtype)  # the caller's model stays as it is


def _observed(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    surrogates: Iterable[type[Curvature]],
    progress: bool,
) -> tuple[Statistics, Tensor]:
    """What the surrogates need of one pass, at least the products of the gradients; and the losses (N,)."""
    kinds = {surrogate.statistic for surrogate in surrogates if issubclass(surrogate, OnePass)} or {Gram}
    sequences = sum(len(batch["labels"]) for batch in data)
    statistics: Statistics = {kind: [kind(sequences) for _ in parts] for kind in kinds}

    places = [labelled_places(batch) for batch in data]
    batches, weights = rows(model, data, any(kind.drawn for kind in kinds))

    def consume(index: int, name: str, module: nn.Module, pairs: Pairs) -> None:
        take_in([of_blocks[index] for of_blocks in statistics.values()], places, name, module, pairs)

    return statistics, backward_pass(model, parts, batches, consume, weights, progress)[:sequences]


def _gradient_norms(names: tuple[str, ...], statistics: Statistics) -> Vector:
    norms = np.array([statistic.gradient_norm for statistic in next(iter(statistics.values()))])
    for name, norm in zip(names, norms, strict=True):
        if not np.isfinite(norm):
            raise ScoringError(f"model: the gradient of block {name!r} is not finite; try dtype float32")
    return norms


def _curvatures(
    surrogate: type[Curvature],
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    statistics: Statistics,
) -> list[Curvature]:
    if issubclass(surrogate, MatrixFree):
        return [surrogate(LinearisedBlock(model, part.named_parameters, data)) for part in parts]
    one_pass = cast(type[OnePass], surrogate)
    return [one_pass(statistic) for statistic in statistics[one_pass.statistic]]


def _measures(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    curvatures: Sequence[Curvature],
    damping: Damping,
    held_out: Sequence[Batch] | None,
) -> dict[str, Any]:
    """Every number of the blocks that depends on the surrogate."""
    taus = _taus(parts, curvatures, damping)
    pairs = list(zip(curvatures, taus.tolist(), strict=True))
    low, high = np.array([c.enclosure(tau) for c, tau in pairs]).T
    falls = (None, None) if held_out is None else decreases(model, parts, curvatures, taus.tolist(), data, held_out)
    return {
        "gain": np.array([c.gain(tau) for c, tau in pairs]),
        "low": low,
        "high": high,
        "noise_floor": _column([c.noise_floor(tau) for c, tau in pairs]),
        "standard_error": _column([c.standard_error(tau) for c, tau in pairs]),
        "cross_fitted": _column([c.cross_fitted(tau) for c, tau in pairs]),
        "effective_dimension": _column([c.effective_dimension(tau) for c, tau in pairs]),
        "decrease": falls[0],
        "held_out_decrease": falls[1],
        "damping": taus,
    }


def _taus(parts: Sequence[Block], curvatures: Sequence[Curvature], damping: Damping) -> Vector:
    if not curvatures[0].damped:
        return np.zeros(len(parts))
    names = tuple(part.name for part in parts)
    return damping.tau(names, np.array([c.trace for c in curvatures]), np.array([float(c.rank) for c in curvatures]))


def _column(values: Sequence[object]) -> Vector | None:
    return None if None in values else np.array(values, dtype=np.float64)


def _model_provenance(model: LoadedModel | nn.Module, network: nn.Module) -> dict[str, Any]:
    first = next(network.parameters())
    return {
        "model": model.name if isinstance(model, LoadedModel) else type(model).__name__,
        "model_sha256": model.sha256 if isinstance(model, LoadedModel) else None,
        "dtype": str(first.dtype).removeprefix("torch."),
        "device": str(first.device),
    }


def _data_provenance(batches: object, data: Sequence[Batch]) -> dict[str, Any]:
    return {
        "data": batches.description if isinstance(batches, Sequences) else "batches given as tensors",
        "data_sha256": digest(data),
        "sequences": sum(len(batch["labels"]) for batch in data),
        "length": max(batch["labels"].shape[1] for batch in data),
        "batch_size": max(len(batch["labels"]) for batch in data),
    }
