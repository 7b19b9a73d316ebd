"""Measurement of the scores: one forward and backward pass over N sequences, then zeta^2 of every block.

G (N x d) denotes the per-sequence gradients of a block, and g = G'1/N the gradient of the empirical loss. One pass
gives every surrogate that is a function of G. A matrix-free surrogate evaluates the model again, block by block.
"""

import copy
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from torch import nn
from tqdm.auto import tqdm

from zetaplan._signature import takes
from zetaplan.errors import ScoringError
from zetaplan.scoring.arguments import as_device, network_of
from zetaplan.scoring.backward.pass_result import (
    PassResult,
    Statistics,
    fitting_batch,
    found_surrogates,
    measured_pass,
    require_for_experts,
    require_one_pass,
    require_sketchable,
)
from zetaplan.scoring.backward.sketch import Sketch
from zetaplan.scoring.backward.way import Way, way_of
from zetaplan.scoring.cache import VERSIONS, Run
from zetaplan.scoring.curvature import Curvature
from zetaplan.scoring.curvature._damping import Damping
from zetaplan.scoring.distributed import Ranks, joined, sharded
from zetaplan.scoring.evaluate_blocks import Subject, evaluate_blocks
from zetaplan.scoring.model.blocks import Block, left_out, partition
from zetaplan.scoring.model.coverage import covered, without
from zetaplan.scoring.model.eval_mode import placed
from zetaplan.scoring.model.load import LoadedModel, as_dtype
from zetaplan.scoring.model.streamed import streamed
from zetaplan.scoring.provenance import data_provenance, model_provenance
from zetaplan.scoring.scores import Scores, Vector
from zetaplan.scoring.settings import ScoreSettings
from zetaplan.scoring.sizes import as_bytes
from zetaplan.scoring.text.sequences import Batch, Sequences, checked_batches, digest
from zetaplan.scoring.text.sequences import Batches as Batches


@takes(ScoreSettings)
def score(
    model: LoadedModel | nn.Module, batches: Batches, *, curvature: str = "block-fisher", **settings: Any
) -> Scores:
    """The gain zeta^2 of every block of a causal language model.

    Args:
        model: a loaded model, or a decoder-only transformers model. The model is not changed.
        batches: sequences, or one or more batches: input_ids (B, T) alone, or with attention_mask and labels (B, T) in
            a dictionary, padded on either side. Labels default to the ids; labels where the mask is 0 are ignored. N
            over all batches is at least 2, ids are below the vocabulary size, T is at most max_position_embeddings.
        blocks: "layers", every decoder layer with all its parameters, "modules", every linear of the decoder layers, or
            "experts", every linear and every single expert of those that share one tensor.
        curvature: the surrogate of H, one of `curvature_names()`.
        damping: the rule for tau; a number > 0 is tau itself, for all blocks.
        width: at least 0; relative width of the enclosure at which an iterative surrogate stops.
        device: the device of the computation; by default that of the model.
        dtype: precision of the pass; by default the model's. Per-sequence gradients are float32 at least.
        batch_size: the largest number of sequences per pass. None: batches as given, all of a `Sequences` at once, or
            smaller batches where these would need more than 50% of the free memory. The gain changes by rounding alone.
        held_out: text that is not scored. If given, every block takes its step -(H + tau I)^-1 g alone, and `decrease`
            and `held_out_decrease` record the change of the loss. The cost is one more pass and 2K evaluations of the
            loss.
        memory: bytes beyond the plain pass, or a size such as "2GB". Pairs that do not fit are stored on the disk; no
            number changes. None: 50% of the free memory, and in total never more than one batch of all sequences takes.
        sketch: r: store random projections to r dimensions instead of the pairs (see `sketch`). The products are
            unbiased, and the provenance records the error of each gain. For block-fisher, gradient and mc-fisher.
        cache: True, or a folder: scores are cached by content, so that a repeated run returns at once. If there are
            several batches, each is stored on the disk once finished, and a killed run resumes after the last of them.
        distributed: share the work among the processes started by torchrun; no effect outside torchrun.
        shard: share the weights too, with `distributed` (fully sharded data parallel); for one-pass surrogates.
        progress: print the estimated memory of the run, and show a progress bar.

    Raises:
        ScoringError: the architecture, the data or the numbers do not allow a score; the message names the cause.

    Examples:
        >>> found = zp.score(model, batch, curvature="block-fisher")
        >>> found.gain.shape, bool((found.gain <= 1.0).all())
        ((3,), True)
    """
    return score_each(model, batches, curvatures=(curvature,), **settings)[curvature]


@takes(ScoreSettings)
def score_each(
    model: LoadedModel | nn.Module, batches: Batches, *, curvatures: Sequence[str], **settings: Any
) -> dict[str, Scores]:
    """Scores by several surrogates from the same pass. Arguments and errors are those of `score`."""
    asked = ScoreSettings(**settings)
    given, surrogates = network_of(model), found_surrogates(curvatures)
    if asked.sketch is not None:
        require_sketchable(surrogates.values(), asked.held_out is not None)
    shard = asked.shard and asked.distributed
    if streamed(given):
        require_one_pass("stream", surrogates, asked.held_out is not None)
    if shard:
        require_one_pass("shard", surrogates, asked.held_out is not None)
    target = as_device(asked.device if asked.device is not None else next(given.parameters()).device)
    task = _Task(
        model=model,
        network=placed(given, None if shard else target, as_dtype(asked.dtype)),
        batches=batches,
        surrogates=surrogates,
        settings=asked,
        damping=Damping.of(asked.damping),
        memory=as_bytes(asked.memory),
        sketch=None if asked.sketch is None else Sketch(asked.sketch),
        shard=shard,
        started=time.perf_counter(),
    )
    with joined(asked.distributed, target) as ranks:
        if asked.blocks == "experts":
            require_for_experts(surrogates, asked.held_out is not None, ranks.size)
        return _scored(task, ranks)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Task:
    """The checked arguments of `score_each`. `network` is the model on the device and in the dtype of the run."""

    model: LoadedModel | nn.Module
    network: nn.Module
    batches: Batches
    surrogates: Mapping[str, type[Curvature]]
    settings: ScoreSettings
    damping: Damping
    memory: int | None
    sketch: Sketch | None
    shard: bool
    started: float


def _scored(task: _Task, ranks: Ranks) -> dict[str, Scores]:
    """The cached scores, or the measured ones. Every reference to the process group is local to this function."""
    network, size = task.network, task.settings.batch_size
    data = checked_batches(task.batches, size or _even_share(task.batches, ranks), network)
    parts = partition(network, task.settings.blocks)
    if task.settings.progress:
        tqdm.write("trial passes of one short sequence", file=sys.stderr)
    way = Way() if task.shard else way_of(network, parts, data)
    if size is None and ranks.alone:
        size = fitting_batch(network, parts, data, task.surrogates.values(), task.sketch, way)
        data = checked_batches(task.batches, size, network) if size else data
    fresh = None if task.settings.held_out is None else checked_batches(task.settings.held_out, size, network)
    names, sketch = sorted(task.surrogates), task.sketch and asdict(task.sketch)
    run = Run.of(task.settings.cache, task.network, data, blocks=task.settings.blocks, curvatures=names, sketch=sketch)
    asked = {"damping": asdict(task.damping), "width": task.settings.width, "held_out": fresh and digest(fresh)}

    def kept() -> dict[str, Scores]:
        """All cached scores, or none unless every rank has them."""
        known = {name: run.finished(name, **asked) for name in task.surrogates}
        whole = ranks.agree(None not in known.values())
        return {name: scores for name, scores in known.items() if scores and whole}

    if found := kept():
        return found
    with run.taken(ranks.rank == 0):
        found = kept() or _measured(task, data, fresh, run, ranks, way)
        for scores in found.values():
            run.keep(scores, **asked)
        return found


def _measured(
    task: _Task,
    data: Sequence[Batch],
    held_out: Sequence[Batch] | None,
    run: Run,
    ranks: Ranks,
    way: Way,
) -> dict[str, Scores]:
    network, parts, unplaced = _covered(task, data, ranks, way)
    surrogates = task.surrogates.values()
    result = measured_pass(
        network, parts, data, surrogates, run, task.memory, task.sketch, ranks, task.settings.progress, way
    )
    common = {**_columns(parts, result, ranks), "blocks": task.settings.blocks, "left_out": unplaced}
    provenance = {
        **model_provenance(task.model, network),
        **data_provenance(task.batches, data),
        "damping": asdict(task.damping),
        "width": task.settings.width,
        "sketch": task.sketch and asdict(task.sketch),
        "memory": result.memory,
        "ranks": ranks.size,
        "versions": {package: version(package) for package in VERSIONS},
    }
    subject = Subject(
        model=network,
        parts=parts,
        data=data,
        held_out=held_out,
        damping=task.damping,
        width=task.settings.width,
        result=result,
        run=run,
        ranks=ranks,
        progress=task.settings.progress,
    )
    found = {}
    for name, surrogate in task.surrogates.items():
        measures: dict[str, Any] = evaluate_blocks(name, surrogate, subject)
        own = dict(provenance)
        if task.sketch:
            own["sketch"] = {**provenance["sketch"], "relative_error": measures.pop("relative_error").tolist()}
        own["seconds"] = time.perf_counter() - task.started
        found[name] = Scores(curvature=name, **measures, **common, provenance=own)
    result.store.close()
    return found


def _covered(
    task: _Task, data: Sequence[Batch], ranks: Ranks, way: Way
) -> tuple[nn.Module, tuple[Block, ...], tuple[str, ...]]:
    """The network, sharded if asked; its blocks with the modules that can be scored; and the parameters in no block."""
    network, parts = task.network, partition(task.network, task.settings.blocks)
    ranks.require(len(parts), len(data), task.shard)
    whole = not task.shard and not streamed(network)
    parts = covered(network, parts, data[0], None if whole else way.passes)
    if not whole:  # a rank has no whole gradients, and a streamed model none either
        parts = without(parts, {name for part in parts for name in part.alone})
    unplaced = left_out(network, parts)
    if not task.shard:
        return network, parts, unplaced
    missed = {name for part in parts for name in part.unscored}
    network = sharded(copy.deepcopy(network), ranks)
    return network, without(partition(network, task.settings.blocks), missed), unplaced


def _columns(parts: Sequence[Block], result: PassResult, ranks: Ranks) -> dict[str, Any]:
    """What all surrogates share: the names and sizes of the blocks, and what the pass found."""
    names = tuple(part.name for part in parts)
    return {
        "names": names,
        "gradient_norm": _gradient_norms(names, result.statistics, ranks),
        "parameters": np.array([part.parameters for part in parts]),
        "linear_parameters": np.array([part.linear_parameters for part in parts]),
        "rank_parameters": np.array([part.rank_parameters for part in parts]),
        "loss": float(result.losses.mean()),
    }


def _even_share(batches: Batches, ranks: Ranks) -> int | None:
    """One batch for each rank, if no batch size is given."""
    return None if ranks.alone or not isinstance(batches, Sequences) else math.ceil(len(batches) / ranks.size)


def _gradient_norms(names: tuple[str, ...], statistics: Statistics, ranks: Ranks) -> Vector:
    own = ranks.share(next(iter(statistics.values())))
    norms = ranks.column(np.array([statistic.gradient_norm for statistic in own]), len(names))
    for name, norm in zip(names, norms, strict=True):
        if not np.isfinite(norm):
            raise ScoringError(f"model: the gradient of block {name!r} is not finite; try dtype float32")
    return norms
