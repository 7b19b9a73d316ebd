"""The pass: forward hooks keep the input of every module, and tensor hooks meet the gradient of its output.

Once a module has met all N sequences its pairs (input, output gradient) are handed on and dropped, one module at a
time: inside the backward pass if there is one batch, else in the last batch's, so that products between
sequences of different batches are exact. The pairs of earlier batches wait on the CPU.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from zetaplan.errors import ScoringError
from zetaplan.scoring.frozen import frozen
from zetaplan.scoring.per_sequence import Pairs


@dataclass
class Capture:
    """Collects the pairs (input, output gradient) of one module until it has met all sequences.

    Attributes:
        name: qualified name of the module.
        module: the module.
        sequences: N, over all batches.
        consume: takes name, module and the pairs of all sequences.
        progress: is told the number of sequences just met.
        seen: sequences met so far.
    """

    name: str
    module: nn.Module
    sequences: int
    consume: Callable[[str, nn.Module, Pairs], None]
    progress: Callable[[int], object]
    seen: int = 0
    _pairs: Pairs = field(default_factory=list)
    _input: Tensor | None = None

    def forward(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        """Forward hook: keep the input, and wait for the gradient of the output."""
        if self.seen == self.sequences:
            return  # the general way to a gradient calls the module once more
        if self._input is not None:
            raise ScoringError(f"model: module {self.name!r} is used twice in one pass, which is not supported")
        if len(args) != 1 or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            raise ScoringError(
                f"model: module {self.name!r} ({type(module).__name__}) owns parameters but does not map one "
                "tensor to one tensor, so its per-sequence gradients cannot be formed; it is not supported"
            )
        if not output.requires_grad:
            raise ScoringError(f"model: no gradient reaches module {self.name!r}; it cannot be scored")
        self._input = args[0].detach()
        output.register_hook(self._backward)  # type: ignore[no-untyped-call]

    def _backward(self, gradient: Tensor) -> None:
        if not gradient.sum().isfinite():
            raise ScoringError(f"model: the gradient at module {self.name!r} is not finite; try dtype float32")
        pair, self._input = (cast(Tensor, self._input), gradient.detach()), None
        self.seen += len(gradient)
        self.progress(len(gradient))
        if self.seen == self.sequences:
            self._finish([*self._pairs, pair], gradient.device)
        else:
            self._pairs.append((pair[0].cpu(), pair[1].cpu()))

    def _finish(self, pairs: Pairs, device: torch.device) -> None:
        self._pairs.clear()
        self.consume(self.name, self.module, [(x.to(device), d.to(device)) for x, d in pairs])

    def require(self, sequences: int) -> None:
        """Raise unless the module has met exactly this many sequences."""
        if self.seen != sequences:
            raise ScoringError(
                f"model: module {self.name!r} met {self.seen} rows where {sequences} sequences went through the "
                "model: its output is unused, or it sees tokens without their sequence (as a mixture of "
                "experts does); it is not supported"
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
            undo.callback(capture.module.register_forward_hook(capture.forward).remove)
        yield


def _require_gradient(module: nn.Module, args: object, output: Tensor) -> None:
    output.requires_grad_(True)
