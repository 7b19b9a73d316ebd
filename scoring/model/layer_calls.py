"""Calls of decoder layers: their hidden states and other arguments, recorded in a pass, and called again."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a decoder layer: its hidden states, if stored, and its other arguments."""

    layer: nn.Module
    hidden: Tensor | None
    others: tuple[Any, ...]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, layer: nn.Module, forward: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Call | None:
        """The call of the layer's method `forward` with these arguments; None if the first of them is no tensor."""
        others = dict(options)
        hidden = args[0] if args else others.pop(next(iter(inspect.signature(forward).parameters)), None)
        return cls(layer, hidden, args[1:], others) if isinstance(hidden, Tensor) else None

    def replayed(self, hidden: Tensor) -> Tensor:
        """The hidden states that the layer returns."""
        return hidden_of(self.layer(hidden, *self.others, **self.options))


def given(call: Call) -> Tensor:
    """The hidden states that the call received, which are stored."""
    if call.hidden is None:
        raise AssertionError("the hidden states of this call are not stored")
    return call.hidden


def hidden_of(found: Any) -> Tensor:
    """The hidden states among all that a layer returns."""
    return found[0] if isinstance(found, tuple | list) else found  # type: ignore[no-any-return]


@contextmanager
def without_logits(model: nn.Module) -> Iterator[None]:
    """Logits of no place in every pass: those of all places would be the largest tensor.

    Asking the model for fewer logits is no alternative: some models then also cut the hidden states of their last
    layers. Not even one place is computed, because products with one row in bfloat16 may take seconds.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    hook = head.register_forward_pre_hook(_cut) if isinstance(head, nn.Module) else None
    try:
        yield
    finally:
        if hook:
            hook.remove()


def _cut(head: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return (args[0][:, :0], *args[1:]) if args and isinstance(args[0], Tensor) and args[0].ndim == 3 else None
