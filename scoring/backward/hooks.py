"""Hooks of the pass: forward hooks record the input of every module, tensor hooks the gradient of its output.

Every pair (input, output gradient) is passed on inside the backward pass as soon as it is complete, one module at a
time. `pair_store` stores it until the other batches have passed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook
from torch.utils.hooks import RemovableHandle

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import LINEAR, Pair, Pairs, joined_calls
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.experts import stacks


@dataclass
class PairHook:
    """Forward hook that forms the pair (input, output gradient) of one module in each batch.

    Attributes:
        name: qualified name of the module.
        modules: the module, and others that share all of its parameters, whose calls count as its own.
        take: called with the module's name, the module and the pair.
        reached: called when the forward pass of a batch reaches the module.
        shape: (B, T) of the current batch.
        met: whether the current batch has passed through the module.
    """

    name: str
    modules: tuple[nn.Module, ...]
    take: Callable[[str, nn.Module, Pair], None]
    reached: Callable[[], object]
    shape: tuple[int, int] = (0, 0)
    met: bool = False
    _calls: Pairs = field(default_factory=list)
    _open: int = 0

    def begin(self, shape: tuple[int, int]) -> None:
        """Start a batch (B, T)."""
        self.shape, self.met = shape, False

    @property
    def module(self) -> nn.Module:
        """The first of the modules that share their parameters."""
        return self.modules[0]

    def forward(self, module: nn.Module, args: tuple[object, ...], kwargs: object, output: object) -> object:
        """Forward hook: record the inputs, and register hooks for the gradients of the outputs."""
        if self.met or not torch.is_grad_enabled():
            return None  # a call by `per_sequence` while it computes a gradient, or the forward half of a pass by layer
        outputs = output if isinstance(output, tuple) else (output,)
        if kwargs or not all(isinstance(value, Tensor) for value in (*args, *outputs)):
            raise ScoringError(
                f"model: module {self.name!r} ({type(module).__name__}) owns parameters but does not map tensors to "
                "tensors by position, so its per-sequence gradients cannot be formed; it is not supported"
            )
        tensors = cast(tuple[Tensor, ...], outputs)
        if len(tensors) > 1:  # one output may be a function of another: views receive only the gradient from outside
            tensors = tuple(value.view_as(value) for value in tensors)
        followed = [i for i, value in enumerate(tensors) if value.requires_grad]
        if not followed:
            raise ScoringError(f"model: no gradient reaches module {self.name!r}; it cannot be scored")
        if (self._open or self._calls) and not isinstance(module, LINEAR):
            raise ScoringError(
                f"model: module {self.name!r} is used twice in one pass, which is supported for linears only"
            )
        if not self._open:
            self.reached()
        self._open += 1
        # The graph keeps alive what the hook holds: it holds no output, and drops its inputs when it has run.
        waiting = [tuple(value.detach() for value in cast(tuple[Tensor, ...], args))]
        zeros = [partial(torch.zeros, value.shape, dtype=value.dtype, device=value.device) for value in tensors]

        def meet(gradients: Sequence[Tensor | None]) -> None:
            known = {i: gradient for i, gradient in zip(followed, gradients, strict=True) if gradient is not None}
            self._backward(waiting.pop(), tuple(known[i] if i in known else zero() for i, zero in enumerate(zeros)))
            while handles:
                handles.pop().remove()  # a hook on several gradients holds its own graph until it is removed

        handles: list[RemovableHandle] = []
        if len(followed) == 1:
            tensors[followed[0]].register_hook(lambda gradient: meet([gradient]))  # type: ignore[no-untyped-call]
        else:
            handles.append(register_multi_grad_hook([tensors[i] for i in followed], meet))
        return tensors if len(tensors) > 1 else None

    def _backward(self, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        if not all(gradient.sum().isfinite() for gradient in gradients):
            raise ScoringError(f"model: the gradient at module {self.name!r} is not finite; try dtype float32")
        self._calls.append(self._by_sequence(inputs, gradients))
        self._open -= 1
        if self._open:
            return
        pair, self._calls = joined_calls(self._calls), []
        self.met = True
        self.take(self.name, self.module, pair)

    def _by_sequence(self, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Pair:
        if len(inputs) == len(gradients) == 1 and len(inputs[0]) <= self.shape[0] * self.shape[1]:
            return self._rows(inputs[0]), self._rows(gradients[0])
        return tuple(map(self._alone, inputs)), tuple(map(self._alone, gradients))

    def _alone(self, value: Tensor) -> Tensor:
        """The value with entry i equal to that of a call with sequence i alone."""
        rows = self._rows(value)
        return rows[:, None] if len(value) == self.shape[0] else rows

    def _rows(self, value: Tensor) -> Tensor:
        """Rows by sequence, (B, ...). Rows of tokens without a sequence dimension are in the order of the sequences.

        Where every expert receives every token, the rows of one expert come after those of the other.
        """
        sequences, tokens = self.shape
        if len(value) == sequences:
            return value.detach()
        if len(value) == sequences * tokens:
            return value.detach().reshape(sequences, tokens, *value.shape[1:])
        if len(value) in {len(stack) * sequences * tokens for stack in stacks(self.module).values()}:
            by_expert = value.detach().reshape(-1, sequences, tokens, *value.shape[1:])
            return by_expert.movedim(1, 0).flatten(1, 2)
        raise ScoringError(
            f"model: module {self.name!r} received {len(value)} rows for {sequences} sequences of {tokens} tokens, "
            "so the sequence of each row is unknown; it is not supported"
        )

    def require(self) -> None:
        """Raise ScoringError unless the batch has passed through the module."""
        if not self.met:
            raise ScoringError(
                f"model: module {self.name!r} received 0 of {self.shape[0]} sequences: it is not called, its weight is "
                "used outside of it, or its output is unused; it cannot be scored"
            )


@contextmanager
def hooked(model: nn.Module, hooks: Iterable[PairHook]) -> Iterator[None]:
    """Register the hooks, with frozen parameters and in evaluation mode; restore the model on exit.

    Frozen parameters skip the ordinary weight gradients. The embedding's output requires a gradient instead.
    """
    with eval_mode(model), ExitStack() as undo:
        embedding = model.get_input_embeddings()  # type: ignore[operator]
        undo.callback(embedding.register_forward_hook(_require_gradient).remove)
        for hook in hooks:
            for module in hook.modules:
                undo.callback(module.register_forward_hook(hook.forward, with_kwargs=True).remove)
        yield


def _require_gradient(module: nn.Module, args: object, output: Tensor) -> Tensor:
    return output.requires_grad_(True).clone()  # a model may scale its embeddings in place, which no leaf allows
