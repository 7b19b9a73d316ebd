"""Result of one pass for the surrogates: a statistic of every block, and the losses.

The memory limit, the cache and the sketch determine where the pairs are stored; see `footprint`, `pair_store` and
`sketch`.
"""

import shutil
import sys
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError, shown
from zetaplan.scoring.arguments import listed, require_name
from zetaplan.scoring.backward.backward import backward_pass
from zetaplan.scoring.backward.footprint import PRODUCT, Footprint, fitting_size, footprint
from zetaplan.scoring.backward.free_memory import free_memory, room_on
from zetaplan.scoring.backward.pair_store import CPU, DiskStore, MemoryStore, PairStore
from zetaplan.scoring.backward.per_sequence import Pairs
from zetaplan.scoring.backward.sketch import Sketch, mean_products
from zetaplan.scoring.backward.statistics import Columnwise, Gram, Statistic, take_in, take_in_by_expert
from zetaplan.scoring.backward.way import Way
from zetaplan.scoring.cache import Run
from zetaplan.scoring.curvature import Curvature, MatrixFree, OnePass, find_curvature
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.text.sampling import rows
from zetaplan.scoring.text.sequences import Batch, labelled_places

Statistics = dict[type[Statistic], list[Statistic]]  # one of each kind per block


@dataclass(frozen=True)
class PassResult:
    """Result of a pass.

    Attributes:
        statistics: of all blocks; only those of this rank's blocks are filled.
        repeats: the statistics from each sketch alone; empty without a sketch.
        losses: (N,) in float64.
        store: the store of the pairs, not yet closed.
        passes: of a pass by layer; None after a pass as a whole.
        alone: whether this is the only rank, so that the store has every batch.
        memory: the limit, the estimate and the measured peaks, in bytes.
    """

    statistics: Statistics
    repeats: tuple[Statistics, ...]
    losses: Tensor
    store: PairStore
    passes: Passes | None
    alone: bool
    memory: dict[str, Any]

    @property
    def reusable(self) -> PairStore | None:
        """The store, if it still holds the full pairs of all batches."""
        return self.store if isinstance(self.store, DiskStore) and self.alone else None


def kinds_of(surrogates: Iterable[type[Curvature]]) -> set[type[Statistic]]:
    """The statistics that the surrogates need; at least the products of the gradients."""
    return {surrogate.statistic for surrogate in surrogates if issubclass(surrogate, OnePass)} or {Gram}


def found_surrogates(names: Sequence[str]) -> dict[str, type[Curvature]]:
    """The surrogates by their names. Raises ScoringError for none, or for an unknown name."""
    if not (wanted := listed(names)):
        raise ScoringError(f"curvatures: expected one or more names, got {shown(names)}")
    for name in wanted:
        require_name("curvature", name)
    return {name: find_curvature(name) for name in wanted}


def require_sketchable(surrogates: Iterable[type[Curvature]], held_out: bool) -> None:
    """Raise ScoringError unless the surrogates, and `held_out`, need only products of gradients."""
    for surrogate in surrogates:
        if issubclass(surrogate, MatrixFree) or not issubclass(cast(type[OnePass], surrogate).statistic, Gram):
            raise ScoringError(
                f"sketch: {surrogate.__name__} needs more than products of gradients; use block-fisher, gradient or "
                "mc-fisher, or no sketch"
            )
    if held_out:
        raise ScoringError("sketch: held_out needs the full gradients for the steps; give only one of the two")


def require_one_pass(argument: str, surrogates: Mapping[str, type[Curvature]], held_out: bool) -> None:
    """Raise ScoringError if a surrogate, or `held_out`, needs whole weights. argument : the one that divides them."""
    for name, surrogate in surrogates.items():
        if issubclass(surrogate, MatrixFree):
            raise ScoringError(
                f"{argument}: {name} needs all weights at once for products with H; use a one-pass surrogate, or no "
                f"{argument}"
            )
    if held_out:
        raise ScoringError(f"{argument}: held_out takes steps in whole weights; give only one of the two")


def require_for_experts(surrogates: Mapping[str, type[Curvature]], held_out: bool, ranks: int) -> None:
    """Raise ScoringError if a surrogate, `held_out` or several ranks need more than the columns of a block's gradients.

    The gradients of one expert are columns of those of its module.
    """
    for name, surrogate in surrogates.items():
        if issubclass(surrogate, MatrixFree) or not issubclass(cast(type[OnePass], surrogate).statistic, Columnwise):
            raise ScoringError(
                f"blocks = 'experts': {name} cannot be restricted to one expert; use block-fisher, diagonal-fisher, "
                "gradient or mc-fisher, or blocks = 'modules'"
            )
    if held_out or ranks > 1:
        raise ScoringError(
            f"blocks = 'experts': {'held_out' if held_out else 'distributed'} works on whole modules; leave it out, or "
            "use blocks = 'modules'"
        )


def fitting_batch(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    surrogates: Collection[type[Curvature]],
    sketch: Sketch | None,
    way: Way,
) -> int | None:
    """The largest number of sequences per batch that fits in the free memory; None if the batches fit as given."""
    first = next(model.parameters())
    products = [surrogate for surrogate in surrogates if issubclass(surrogate, MatrixFree)]
    carried = way.per_token
    if products:  # with tangents, and in float64
        carried = max(carried, way.whole * PRODUCT * 8 / first.dtype.itemsize)
    needed = footprint(model, parts, data, kinds_of(surrogates), products, sketch, Ranks(), carried, way.fixed)
    return fitting_size(carried, data, needed, room_on(first.device))


def measured_pass(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    surrogates: Collection[type[Curvature]],
    run: Run,
    memory: int | None,
    sketch: Sketch | None,
    ranks: Ranks,
    progress: bool,
    way: Way = Way(),  # noqa: B008  a frozen value
) -> PassResult:
    """One pass over the data. Arguments and errors are those of `score`."""
    sequences, kinds = sum(len(batch["labels"]) for batch in data), kinds_of(surrogates)
    places = [labelled_places(batch) for batch in data]
    batches, weights = rows(model, data, any(kind.drawn for kind in kinds), ranks)
    matrix_free = [surrogate for surrogate in surrogates if issubclass(surrogate, MatrixFree)]
    drawn = len(batches) - len(data)
    needed = footprint(model, parts, batches, kinds, matrix_free, sketch, ranks, way.per_token, way.fixed, drawn)
    free = free_memory(CPU)
    store = _store(parts, batches, run, needed, memory, ranks)
    if progress:
        size = max(len(batch["labels"]) for batch in batches)
        tqdm.write(needed.words(isinstance(store, MemoryStore), size, free), file=sys.stderr)
    filled: list[Statistics] = [
        {kind: [kind(sequences) for _ in parts] for kind in kinds} for _ in range(sketch.repeats if sketch else 1)
    ]

    def consume(index: int, name: str, module: nn.Module, pairs: Pairs) -> None:
        for repeat, statistics in enumerate(filled):
            own = sketch.part(module, pairs, repeat) if sketch else pairs
            if parts[index].expert is None:
                take_in([of_blocks[index] for of_blocks in statistics.values()], places, name, module, own)
                continue
            sharing = [k for k, part in enumerate(parts) if name in part.modules]  # in the order of the experts
            by_expert = [[of_blocks[k] for of_blocks in statistics.values()] for k in sharing]
            take_in_by_expert(by_expert, places, module, own)

    losses = backward_pass(model, parts, batches, consume, weights, progress, store, sketch, ranks, way.passes)
    return PassResult(
        statistics=_means(filled, parts) if sketch else filled[0],
        repeats=tuple(filled) if sketch else (),
        losses=losses[:sequences],
        passes=way.passes,
        store=store,
        alone=ranks.alone,
        memory={
            "limit": memory,
            "free": free,
            "by_layer": way.passes is not None,
            "pairs": "disk" if isinstance(store, DiskStore) else "memory",
            "estimate": {
                "pass": needed.passing,
                "pairs": needed.held,
                "module": needed.turn,
                "statistics": needed.kept,
                "products": needed.later,
            },
            "waiting": store.peak,
        },
    )


def _store(
    parts: Sequence[Block], batches: Sequence[Batch], run: Run, needed: Footprint, memory: int | None, ranks: Ranks
) -> PairStore:
    needed.require_least(memory)
    if len(batches) > 1 and (run.folder or not needed.fits(memory, room_on(CPU))):
        names, folder = [name for part in parts for name in part.modules], run.pairs()
        store = DiskStore(folder, ranks.share(range(len(batches))), names)
        if run.folder is None:  # a temporary folder, deleted however the run ends
            weakref.finalize(store, shutil.rmtree, folder, ignore_errors=True)
        return store
    return MemoryStore(len(batches), early=ranks.alone)


def _means(repeats: Sequence[Statistics], parts: Sequence[Block]) -> Statistics:
    return {
        kind: [
            mean_products(cast(list[Gram], [one[kind][k] for one in repeats]), part.parameters)
            for k, part in enumerate(parts)
        ]
        for kind in repeats[0]
    }
