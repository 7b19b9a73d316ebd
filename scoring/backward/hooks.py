"""The pass: forward hooks keep the input of every module, and tensor hooks meet the gradient of its output.

Every pair (input, output gradient) is handed on as soon as it is complete, one module at a time, inside the backward
pass; where it waits for those of other batches is the business of `store`.
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
from zetaplan.scoring.model.eval_mode import frozen


@dataclass
class Capture:
    """Forms the pair (input, output gradient) of one module in each batch.

    Attributes:
        name: qualified name of the module.
        modules: the module, and others that share all of its parameters: their uses are its own.
        take: is handed the module's name, the module and the pair.
        shape: (B, T) of the batch in progress.
        met: whether the module has met that batch.
    """

    name: str
    modules: tuple[nn.Module, ...]
    take: Callable[[str, nn.Module, Pair], None]
    shape: tuple[int, int] = (0, 0)
    met: bool = False
    _calls: Pairs = field(default_factory=list)
    _open: int = 0

    def begin(self, shape: tuple[int, int]) -> None:
        """A batch (B, T) comes next."""
        self.shape, self.met = shape, False

    @property
    def module(self) -> nn.Module:
        """The module that stands for all that share its parameters."""
        return self.modules[0]

    def forward(self, module: nn.Module, args: tuple[object, ...], kwargs: object, output: object) -> object:
        """Forward hook: keep the inputs, and wait for the gradients of the outputs."""
        if self.met:
            return None  # the general way to a gradient calls the module once more
        outputs = output if isinstance(output, tuple) else (output,)
        if kwargs or not all(isinstance(value, Tensor) for value in (*args, *outputs)):
            raise ScoringError(
                f"model: module {self.name!r} ({type(module).__name__}) owns parameters but does not map tensors to "
                "tensors by position, so its per-sequence gradients cannot be formed; it is not supported"
            )
        tensors = cast(tuple[Tensor, ...], outputs)
        if len(tensors) > 1:  # one output may be a function of another: views meet the gradient from outside only
            tensors = tuple(value.view_as(value) for value in tensors)
        followed = [i for i, value in enumerate(tensors) if value.requires_grad]
        if not followed:
            raise ScoringError(f"model: no gradient reaches module {self.name!r}; it cannot be scored")
        if (self._open or self._calls) and not isinstance(module, LINEAR):
            raise ScoringError(
                f"model: module {self.name!r} is used twice in one pass, which is supported for linears only"
            )
        self._open += 1
        # What the hook holds lives as long as the graph: it keeps no output, and gives its inputs away.
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
        if len(inputs) == len(gradients) == 1:
            return self._rows(inputs[0]), self._rows(gradients[0])
        return tuple(map(self._alone, inputs)), tuple(map(self._alone, gradients))

    def _alone(self, value: Tensor) -> Tensor:
        """Entry i is what a call with sequence i alone would hold."""
        rows = self._rows(value)
        return rows[:, None] if len(value) == self.shape[0] else rows

    def _rows(self, value: Tensor) -> Tensor:
        """Rows by sequence, (B, ...): a module that meets tokens without their sequence has them in its order."""
        sequences, tokens = self.shape
        if len(value) == sequences:
            return value.detach()
        if len(value) == sequences * tokens:
            return value.detach().reshape(sequences, tokens, *value.shape[1:])
        raise ScoringError(
            f"model: module {self.name!r} met {len(value)} rows where {sequences} sequences of {tokens} tokens went "
            "through the model, so which row belongs to which sequence is unknown; it is not supported"
        )

    def require(self) -> None:
        """Raise unless the module has met the batch."""
        if not self.met:
            raise ScoringError(
                f"model: module {self.name!r} met 0 of {self.shape[0]} sequences that went through the model: "
                "it is not called, its weight is used apart from it, or its output is unused; it cannot be scored"
            )


@contextmanager
def captured(model: nn.Module, captures: Iterable[Capture]) -> Iterator[None]:
    """Hooks in place, parameters frozen and the model in evaluation mode; all as it was afterwards.

    Frozen parameters spare the ordinary weight gradients; the embedding's output asks for a gradient instead.
    """
    with frozen(model), ExitStack() as undo:
        embedding = model.get_input_embeddings()  # type: ignore[operator]
        undo.callback(embedding.register_forward_hook(_require_gradient).remove)
        for capture in captures:
            for module in capture.modules:
                undo.callback(module.register_forward_hook(capture.forward, with_kwargs=True).remove)
        yield


def _require_gradient(module: nn.Module, args: object, output: Tensor) -> Tensor:
    return output.requires_grad_(True).clone()  # a model may scale its embeddings in place, which no leaf allows
