"""Experts in one tensor: stacks of weights (E, out, in) or (E, in, out), owned by one module of a layer."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.conv import _ConvNd


def stacks(module: nn.Module) -> dict[str, nn.Parameter]:
    """The module's own stacks of experts' weights by their names in it; no kernel of a convolution."""
    if isinstance(module, _ConvNd):  # the last dimension of its weight is the kernel size
        return {}
    return {name: p for name, p in module.named_parameters(recurse=False) if p.ndim == 3}


def is_transposed(module: nn.Module, name: str) -> bool:
    """Whether the stack of this name is stored as (E, in, out).

    transformers states it for the modules whose implementation it can choose. Of the others, the stack that leads back
    to the hidden states is called "down", and all others receive the hidden states.
    """
    if isinstance(known := getattr(module, "is_transposed", None), bool):
        return known
    shape = module.get_parameter(name).shape
    inputs = getattr(module, "in_features", None) or getattr(module, "input_size", None)
    if inputs:
        return bool(shape[1] == inputs != shape[2])
    hidden = getattr(module, "hidden_size", None)
    return bool(shape[2] == hidden if "down" in name else shape[1] == hidden != shape[2])


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
