"""How the gradients of each module are found: from its pairs, from passes of single sequences, or not at all.

One short pass compares the gradient that the pairs of a module give with plain differentiation of the same sequence. A
module that is called twice, or never, or with rows that belong to no sequence, or whose weight is also used outside of
it, fails the comparison: a convolution that is applied through its weight, a norm over heads, the states of a mixer.
Its gradients come from passes of single sequences. A module that no gradient reaches is left out of the score and
listed, and so is one whose gradients would be too large to store.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.by_layer import Watch, backward_in_portions
from zetaplan.scoring.backward.hooks import PairHook, hooked
from zetaplan.scoring.backward.per_sequence import LINEAR, Pair, in_wide, per_sequence_gradients, tokens
from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.causal import told
from zetaplan.scoring.model.experts import has_parameters_below
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.model.passes import Passes
from zetaplan.scoring.text.sequences import Batch

#: Sequences and tokens of the short pass.
SEQUENCES, TOKENS = 2, 16

#: Parameters of a module whose gradients are stored for every sequence, at most.
MOST = 1 << 24


@dataclass
class Trial(PairHook):
    """A hook that records its error instead of raising it, and the norm of the first sequence's gradient."""

    refused: bool = False
    norm: float | None = None

    def forward(self, module: nn.Module, args: tuple[object, ...], kwargs: object, output: object) -> object:
        try:
            return super().forward(module, args, kwargs, output)
        except ScoringError:
            self.refused = True
            return None

    def _backward(self, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        try:
            super()._backward(inputs, gradients)
        except ScoringError:
            self.refused = True

    def measure(self, name: str, module: nn.Module, pair: Pair) -> None:
        """Take the pair of the batch."""
        try:
            self.norm = first_norm(module, pair)
        except Exception:  # the module's own code, called for one sequence
            self.refused = True

    def agrees(self, norm: float, tolerance: float) -> bool:
        """Whether the pair gives a gradient of this norm. One that is not finite is left for the pass to refuse."""
        if not math.isfinite(norm):
            return True
        return not self.refused and self.norm is not None and abs(self.norm - norm) <= tolerance * norm


@dataclass
class Differentiated(Watch):
    """Squared norms of the gradients that reach parameters, by their ids; no gradient is kept.

    In a pass by layer, the parameters of the first portion are frozen, as they are in the pass that is tried.
    """

    parameters: Sequence[nn.Parameter]
    squares: dict[int, float] = field(default_factory=dict)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Let the parameters require gradients, and record them."""
        with ExitStack() as undo:
            for parameter in self.parameters:
                parameter.requires_grad_(True)
                undo.callback(parameter.register_post_accumulate_grad_hook(self).remove)  # type: ignore[no-untyped-call]
            yield

    def begin(self, place: int, portion: int, shape: tuple[int, int]) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(portion > 0)

    def __call__(self, parameter: Tensor) -> None:
        gradient = parameter.grad
        if gradient is not None:
            wide = torch.promote_types(gradient.dtype, torch.float32)
            self.squares[id(parameter)] = float(vector_norm(gradient, dtype=wide)) ** 2
        parameter.grad = None

    def norm(self, module: nn.Module) -> float | None:
        """The norm over the module's own parameters; None if no gradient reaches any of them."""
        found = [self.squares[id(p)] for p in module.parameters(recurse=False) if id(p) in self.squares]
        return sum(found) ** 0.5 if found else None


def covered(model: nn.Module, parts: Sequence[Block], batch: Batch, passes: Passes | None = None) -> tuple[Block, ...]:
    """The blocks with the way in which the gradients of every module are found. passes : for passes by layer."""
    short = {name: value[:SEQUENCES, :TOKENS].clone() for name, value in batch.items()}
    short = {**short, "attention_mask": torch.ones_like(short["input_ids"]), "labels": short["input_ids"]}
    modules = {name: module for part in parts for name, module in part.modules.items()}
    leaves = {name for name, module in modules.items() if not has_parameters_below(module)}  # others call hooked ones
    trials = {name: _trial(name, part) for part in parts for name in part.modules if name in leaves}
    for trial in trials.values():
        trial.begin((short["labels"].shape[0], short["labels"].shape[1]))
    truth = Differentiated([*{id(p): p for part in parts for p in part.named_parameters.values()}.values()])
    _compare(model, short, passes, trials.values(), truth)
    tolerance = torch.finfo(next(model.parameters()).dtype).eps ** 0.5
    norms = {name: truth.norm(module) for name, module in modules.items()}
    lost = {name for name, norm in norms.items() if norm is None}
    paired = {n for n, trial in trials.items() if n not in lost and trial.agrees(norms[n] or 0.0, tolerance)}
    own = modules.keys() - lost - paired
    large = {name for name in own if sum(p.numel() for p in modules[name].parameters(recurse=False)) > MOST}
    return without([replace(part, alone=frozenset(own & part.modules.keys())) for part in parts], lost | large)


def first_norm(module: nn.Module, pair: Pair) -> float:
    """The norm of the gradient that the pair gives of its first sequence.

    Of a linear, |sum_t d_t x_t'|^2 = sum_ts (d_t . d_s)(x_t . x_s), so that no gradient is formed.
    """
    x, d = (side[:1] if isinstance(side, Tensor) else tuple(value[:1] for value in side) for side in pair)
    if type(module) not in LINEAR:
        return float(torch.stack([vector_norm(chunk) for chunk in per_sequence_gradients(module, [(x, d)])]).norm())
    [(wide_x, wide_d)] = in_wide([(x, d)])
    rows, slopes = tokens(wide_x)[0], tokens(wide_d)[0]
    bias = 0.0 if module.bias is None else float(slopes.sum(0).square().sum())
    weight = float(((rows @ rows.mT) * (slopes @ slopes.mT)).sum())
    return math.sqrt(max(weight, 0.0) + bias)


def _trial(name: str, part: Block) -> Trial:
    trial = Trial(name, (part.modules[name], *part.twins(name)), lambda name, module, pair: None, lambda: None)
    trial.take = trial.measure
    return trial


def _compare(
    model: nn.Module, batch: Batch, passes: Passes | None, trials: Iterable[Trial], truth: Differentiated
) -> None:
    """Pass the batch for the trials, and its first sequence for the truth; by layer, both go together."""
    first = {name: value[:1] for name, value in batch.items()}
    if passes:
        with hooked(model, trials), told(model), truth.recording():
            backward_in_portions(passes, [batch, first], torch.ones(len(batch["labels"]) + 1), truth)
        return
    with hooked(model, trials), torch.enable_grad(), told(model):
        sequence_losses(model, batch).sum().backward()  # type: ignore[no-untyped-call]
    with hooked(model, ()), torch.enable_grad(), told(model), truth.recording():
        sequence_losses(model, first).sum().backward()  # type: ignore[no-untyped-call]


def without(parts: Sequence[Block], names: Collection[str]) -> tuple[Block, ...]:
    """The blocks with the modules of these names among the unscored ones; a block without others is left out."""
    return tuple(found for part in parts if (found := _without(part, names)).modules)


def _without(part: Block, names: Collection[str]) -> Block:
    lost = {name: module for name, module in part.modules.items() if name in names}
    kept = {name: module for name, module in part.modules.items() if name not in names}
    return replace(part, modules=kept, alone=part.alone - lost.keys(), unscored={**part.unscored, **lost})
