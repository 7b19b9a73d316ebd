"""The backward pass over N sequences, which records the pairs (input, output gradient) of every module of every block.

Sequences do not interact, so one backward pass of the sum of their losses computes the gradient of each.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.alone import gradients_alone
from zetaplan.scoring.backward.by_layer import losses_by_layer
from zetaplan.scoring.backward.hooks import PairHook, hooked
from zetaplan.scoring.backward.pair_store import MemoryStore, PairStore
from zetaplan.scoring.backward.per_sequence import Pair, Pairs, moved
from zetaplan.scoring.backward.sketch import Sketch
from zetaplan.scoring.distributed import Ranks
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.causal import require_no_leak, told, with_another_end
from zetaplan.scoring.model.losses import require_finite, sequence_losses
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.text.sequences import Batch


def backward_pass(
    model: nn.Module,
    parts: Sequence[Block],
    data: Sequence[Batch],
    consume: Callable[[int, str, nn.Module, Pairs], None],
    weights: Sequence[Tensor],
    progress: bool = False,
    store: PairStore | None = None,
    sketch: Sketch | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008  a frozen value
    passes: Passes | None = None,
) -> Tensor:
    """The losses (N,) in float64. `consume(block, name, module, pairs)` is called once per module with all sequences.

    Args:
        model: a causal language model. The model is not changed.
        parts: the blocks; `consume` receives their index, of blocks that share a module that of the first.
        data: batches, N sequences in all.
        consume: called once per module, after its last sequence.
        weights: the weight of each sequence's loss in the backward pass, (B,) per batch.
        progress: show a progress bar.
        store: the store of the pairs; batches that it already holds are not passed again. None: in memory.
        sketch: the projection applied to a pair before it is stored.
        ranks: the assignment of batches to ranks, and of `consume` calls to ranks.
        passes: if given, a batch is passed layer by layer, which takes one more forward pass and less memory.

    Raises:
        ScoringError: a loss or a gradient is not finite, or a module's pairs cannot be recorded.
    """
    store = store or MemoryStore(len(data))
    owners = {name: index for index, part in reversed([*enumerate(parts)]) for name in part.modules}
    modules = [
        [(index, name, module) for name, module in part.modules.items() if owners[name] == index]
        for index, part in enumerate(parts)
    ]
    consumed = set()

    def handed(index: int, name: str, module: nn.Module, pairs: Pairs) -> None:
        device = next(module.parameters(recurse=False)).device
        consume(index, name, module, [moved(pair, device) for pair in pairs[: len(data)]])
        consumed.add(name)

    def take(index: int, name: str, module: nn.Module, pair: Pair) -> None:
        store.put(name, sketch.of(name, module, pair) if sketch else pair)
        bar.update()
        if store.whole(name):
            handed(index, name, module, store.take(name))

    def differentiate(number: int) -> None:
        single = {name: module for _, name, module in alone}
        pairs = gradients_alone(model, single, data[number], weights[number]) if single else {}
        for index, name, module in alone:
            take(index, name, module, pairs.pop(name))

    hooks = [
        PairHook(name, (module, *parts[index].twins(name)), partial(take, index), lambda: bar.update())
        for block in modules
        for index, name, module in block
        if name not in parts[index].alone
    ]
    alone = [item for block in modules for item in block if item[1] in parts[item[0]].alone]
    own = ranks.share(range(len(data)))
    steps = 2 * len(hooks) + len(alone)  # a hook is met forwards and backwards
    with tqdm(total=steps * len(own), desc="scoring", unit="modules", disable=not progress) as bar:
        _probe(model, data[0], passes)
        with hooked(model, () if passes else hooks), torch.enable_grad():
            found = {
                n: _losses(model, n, data, weights, hooks, store, partial(differentiate, n), passes, progress)
                for n in own
            }
    for items in ranks.rounds([[item for item in block if item[1] not in consumed] for block in modules]):
        met = [
            (item, ranks.collected(owner, store.take(item[1]), len(data)))
            for owner, item in enumerate(items)
            if item is not None
        ]
        for item, pairs in met:
            if pairs:
                handed(*item, pairs)
    absent = (torch.zeros(len(batch["labels"]), dtype=torch.float64) for batch in data)
    return ranks.total(torch.cat([found.get(n, zeros) for n, zeros in enumerate(absent)]))


def _losses(
    model: nn.Module,
    number: int,
    data: Sequence[Batch],
    weights: Sequence[Tensor],
    hooks: Sequence[PairHook],
    store: PairStore,
    differentiate: Callable[[], None],
    passes: Passes | None,
    progress: bool,
) -> Tensor:
    """The losses of one batch, read from the store or computed by a pass through the model.

    differentiate : stores the gradients of the modules that have no pairs.
    """
    if (known := store.losses(number)) is not None:
        return known
    for hook in hooks:
        hook.begin((data[number]["labels"].shape[0], data[number]["labels"].shape[1]))
    check = partial(require_finite, model=model, done=sum(len(batch["labels"]) for batch in data[:number]))
    with told(model):
        if passes:
            losses = losses_by_layer(passes, data[number], weights[number], hooks, check, progress)
        else:
            check(losses := sequence_losses(model, data[number]))
            (losses @ weights[number].to(losses)).backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.require()
    with told(model):
        differentiate()
    found = losses.detach().cpu().double()
    store.finish(number, found)
    return found


def _probe(model: nn.Module, batch: Batch, passes: Passes | None, tokens: int = 16) -> None:
    """Raise ScoringError unless two passes of one short sequence agree and no token depends on a later one.

    passes : of a model that can be passed by layer, for which two passes agree.
    """
    if passes:
        require_no_leak(model, passes.ends)
        return
    short = {name: value[:1, :tokens].clone() for name, value in batch.items()}
    short["labels"] = short["input_ids"].clone()
    with hooked(model, ()), torch.no_grad(), told(model):
        first, second = (sequence_losses(model, short) for _ in range(2))
    if not torch.allclose(first, second, rtol=torch.finfo(first.dtype).eps ** 0.5, atol=0, equal_nan=True):
        raise ScoringError(
            f"model: two passes of the same sequence gave the losses {first.item()} and {second.item()}; the "
            "model draws random numbers in evaluation mode: disable them before scoring"
        )
    with hooked(model, ()), torch.no_grad(), told(model):
        ids = with_another_end(short["input_ids"].to(next(model.parameters()).device))
        require_no_leak(model, model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits)
