"""The measurement: one forward and backward pass over N sequences, then zeta^2 of every block.

The loss of a sequence is the mean cross-entropy over its tokens that have a label; the empirical loss is the mean over
sequences. With the per-sequence gradients G (N x d) of a block, g = G'1/N. Sequences do not interact, so one
backward pass of the sum of their losses carries every row of G.
"""

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError
from zetaplan.scoring.blocks import Block, left_out, partition
from zetaplan.scoring.capture import Capture, captured
from zetaplan.scoring.curvature import Curvature, find_curvature
from zetaplan.scoring.damping import Damping
from zetaplan.scoring.models import LoadedModel, as_dtype
from zetaplan.scoring.scores import Scores
from zetaplan.scoring.sequences import IGNORED, Batch, Sequences, checked_batches, digest
from zetaplan.scoring.statistics import Statistic

Statistics = dict[type[Statistic], list[Statistic]]  # one of each kind per block


def score(
    model: LoadedModel | nn.Module,
    batches: Sequences | Mapping[str, Tensor] | Iterable[Mapping[str, Tensor]],
    *,
    blocks: str = "layers",
    curvature: str = "block-fisher",
    damping: Damping = Damping(),  # noqa: B008  a frozen value
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    batch_size: int | None = None,
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
        progress=progress,
    )[curvature]


def score_each(
    model: LoadedModel | nn.Module,
    batches: Sequences | Mapping[str, Tensor] | Iterable[Mapping[str, Tensor]],
    *,
    curvatures: Sequence[str],
    blocks: str = "layers",
    damping: Damping = Damping(),  # noqa: B008  a frozen value
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> dict[str, Scores]:
    """Scores by several surrogates from the same pass; arguments and errors as for `score`."""
    started = time.perf_counter()
    surrogates = {name: find_curvature(name) for name in curvatures}
    network = _placed(model.model if isinstance(model, LoadedModel) else model, device, as_dtype(dtype))
    parts = partition(network, blocks)
    data = checked_batches(batches, batch_size)
    statistics = _statistics(parts, surrogates.values(), sum(len(batch["labels"]) for batch in data))
    losses = _pass(network, parts, data, statistics, progress)
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
        name: Scores(curvature=name, **_gains(names, surrogate, statistics, damping), **common)
        for name, surrogate in surrogates.items()
    }


def _placed(model: nn.Module, device: str | torch.device | None, dtype: torch.dtype | None) -> nn.Module:
    if all(dtype in (None, p.dtype) and device in (None, p.device, str(p.device)) for p in model.parameters()):
        return model
    return copy.deepcopy(model).to(device=device, dtype=dtype)  # the caller's model stays as it is


def _statistics(parts: Sequence[Block], surrogates: Iterable[type[Curvature]], sequences: int) -> Statistics:
    kinds = {surrogate.statistic for surrogate in surrogates}
    return {kind: [kind(sequences) for _ in parts] for kind in kinds}


def _pass(
    model: nn.Module, parts: Sequence[Block], data: Sequence[Batch], statistics: Statistics, progress: bool
) -> Tensor:
    """The losses (N,); the per-sequence gradients of every block go into its statistics."""
    sequences = sum(len(batch["labels"]) for batch in data)
    modules = [(index, *item) for index, part in enumerate(parts) for item in part.modules.items()]
    with tqdm(total=len(modules) * sequences, desc="scoring", unit="gradients", disable=not progress) as bar:
        captures = [
            Capture(name, module, sequences, [kind[index].add for kind in statistics.values()], bar.update)
            for index, name, module in modules
        ]
        _probe(model, data[0])
        with captured(model, captures), torch.enable_grad():
            return torch.cat([_batch_losses(model, batch, captures) for batch in data])


def _batch_losses(model: nn.Module, batch: Batch, captures: Sequence[Capture]) -> Tensor:
    done = captures[0].seen
    losses = _sequence_losses(model, batch)
    _require_finite(losses, model, done)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    for capture in captures:
        capture.require(done + len(losses))
    return losses.detach().cpu().double()


def _sequence_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy (B,) of each sequence over its labelled tokens, each predicted from those before it."""
    inputs = {name: value.to(next(model.parameters()).device) for name, value in batch.items()}
    following = functional.pad(inputs.pop("labels")[:, 1:], (0, 1), value=IGNORED)
    logits = model(**inputs, use_cache=False).logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = functional.cross_entropy(logits.flatten(0, 1), following.flatten(), reduction="none", ignore_index=IGNORED)
    return losses.view_as(following).sum(1) / (following != IGNORED).sum(1)


def _require_finite(losses: Tensor, model: nn.Module, done: int) -> None:
    wrong = (~losses.isfinite()).nonzero().flatten().tolist()
    if not wrong:
        return
    culprits = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    cause = f"parameter {culprits[0]!r} holds non-finite values" if culprits else "try dtype float32"
    raise ScoringError(f"model: the loss of sequence {done + wrong[0]} is {losses[wrong[0]].item()}; {cause}")


def _probe(model: nn.Module, batch: Batch, tokens: int = 16) -> None:
    """Two forward passes of one short sequence must agree, else the scores would not repeat."""
    short = {name: value[:1, :tokens].clone() for name, value in batch.items()}
    short["labels"] = short["input_ids"].clone()
    with captured(model, ()), torch.no_grad():
        first, second = (_sequence_losses(model, short) for _ in range(2))
    if not torch.allclose(first, second, rtol=torch.finfo(first.dtype).eps ** 0.5, atol=0, equal_nan=True):
        raise ScoringError(
            f"model: two passes of the same sequence gave the losses {first.item()} and {second.item()}; the "
            "model draws random numbers in evaluation mode, switch that off before scoring"
        )


def _gains(
    names: tuple[str, ...], surrogate: type[Curvature], statistics: Statistics, damping: Damping
) -> dict[str, Any]:
    observed = statistics[surrogate.statistic]
    norms = np.array([statistic.gradient_norm for statistic in observed])
    for name, norm in zip(names, norms, strict=True):
        if not np.isfinite(norm):
            raise ScoringError(f"model: the gradient of block {name!r} is not finite; try dtype float32")
    curvatures = [surrogate(statistic) for statistic in observed]
    taus = np.zeros(len(names))
    if surrogate.damped:
        taus = damping.tau(
            names, np.array([c.trace for c in curvatures]), np.array([float(c.rank) for c in curvatures])
        )
    pairs = list(zip(curvatures, taus.tolist(), strict=True))
    errors = [c.standard_error(tau) for c, tau in pairs]
    return {
        "gain": np.array([c.gain(tau) for c, tau in pairs]),
        "noise_floor": np.array([c.noise_floor(tau) for c, tau in pairs]),
        "standard_error": None if None in errors else np.array(errors, dtype=np.float64),
        "gradient_norm": norms,
        "damping": taus,
    }


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
