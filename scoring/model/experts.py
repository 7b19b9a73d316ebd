"""Experts in one tensor: stacks of weights (E, out, in) or (E, in, out), owned by one module of a layer."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.conv import _ConvNd


def stacks(module: nn.Module) -> dict[str, nn.Parameter]:
    """The module's own stacks of experts' weights by their names in it.

    A kernel of a convolution is none, nor is a vector with leading dimensions of 1. A module that holds experts has no
    other modules with parameters below it.
    """
    if isinstance(module, _ConvNd) or has_parameters_below(module):
        return {}
    return {name: p for name, p in module.named_parameters(recurse=False) if p.ndim == 3 and min(p.shape[1:]) > 1}


def has_parameters_below(module: nn.Module) -> bool:
    """Whether a module below it has parameters."""
    return any(next(child.parameters(), None) is not None for child in module.children())


def experts_in(module: nn.Module) -> int:
    """The number of experts, if each of the module's own parameters has a part for every expert; else 0."""
    if not stacks(module):
        return 0
    numbers = {len(p) if p.ndim else 0 for p in module.parameters(recurse=False)}
    return numbers.pop() if len(numbers) == 1 else 0


def is_transposed(module: nn.Module, name: str) -> bool:
    """Whether the stack of this name is stored as (E, in, out).

    transformers states it for the modules whose implementation it can choose. Of the others, the stack that leads back
    to the hidden states is called "down", and all others receive the hidden states. Square ones are taken as factors of
    a batched product, which are stored transposed. A product from the other side is refused where it is observed.
    """
    if isinstance(known := getattr(module, "is_transposed", None), bool):
        return known
    _, rows, columns = module.get_parameter(name).shape
    inputs = getattr(module, "in_features", None) or getattr(module, "input_size", None)
    if inputs:
        return bool(rows == inputs != columns)
    hidden = getattr(module, "hidden_size", None)
    return rows == columns or bool(columns == hidden if "down" in name else rows == hidden)


@contextmanager
def plain_experts(model: nn.Module) -> Iterator[None]:
    """Run experts one after another, as plain products with their matrices; undone on exit.

    The grouped kernels have no float64 and no forward-mode derivative.
    """
    chosen: dict[str, str | None] = getattr(model, "get_experts_implementation", dict)()
    if {None, "eager"}.issuperset(chosen.values()):
        yield
        return
    model.set_experts_implementation("eager")  # type: ignore[operator]
    try:
        yield
    finally:
        model.set_experts_implementation(chosen)  # type: ignore[operator]
