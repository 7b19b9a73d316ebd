"""Blocks k = 1..K: disjoint groups of the parameters of the decoder layers.

"layers": one block per decoder layer, with all its parameters. "modules": one block per linear of the decoder
layers. What belongs to no block (embeddings, final norm, head; for "modules" the norms) is left out, by name.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers.pytorch_utils import Conv1D

from zetaplan.errors import ScoringError

LINEAR = (nn.Linear, Conv1D)


@dataclass(frozen=True)
class Block:
    """A group of modules, by qualified name; the parameters that they own themselves are the block's."""

    name: str
    modules: dict[str, nn.Module]

    @property
    def linear_weights(self) -> tuple[nn.Parameter, ...]:
        return tuple(m.get_parameter("weight") for m in self.modules.values() if isinstance(m, LINEAR))

    @property
    def named_parameters(self) -> dict[str, nn.Parameter]:
        """By qualified name, each once."""
        named = (
            (f"{name}.{key}", p) for name, m in self.modules.items() for key, p in m.named_parameters(recurse=False)
        )
        return dict(named)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.named_parameters.values())

    @property
    def linear_parameters(self) -> int:
        """The weights that pruning may remove."""
        return sum(weight.numel() for weight in self.linear_weights)

    @property
    def rank_parameters(self) -> int:
        """Parameters that one unit of LoRA rank adds: in + out of every linear."""
        return sum(sum(weight.shape) for weight in self.linear_weights)


def layer_blocks(model: nn.Module) -> tuple[Block, ...]:
    """One block per decoder layer."""
    blocks = tuple(Block(name, _owners(name, layer)) for name, layer in _decoder_layers(model))
    for block in blocks:
        if not block.linear_weights:
            raise ScoringError(
                f"blocks: layer {block.name!r} has no linear module (nn.Linear or Conv1D), so there is nothing to "
                "allocate or prune in it; experts stored as one tensor are not supported"
            )
    return blocks


def module_blocks(model: nn.Module) -> tuple[Block, ...]:
    """One block per linear of the decoder layers."""
    owners = (item for layer in layer_blocks(model) for item in layer.modules.items())
    return tuple(Block(name, {name: module}) for name, module in owners if isinstance(module, LINEAR))


PARTITIONS = {"layers": layer_blocks, "modules": module_blocks}


def partition(model: nn.Module, blocks: str) -> tuple[Block, ...]:
    """The blocks of the model; refuses weights that the gradient of one module does not tell in full."""
    if blocks not in PARTITIONS:
        raise ScoringError(f"blocks: expected one of {', '.join(PARTITIONS)}, got {blocks!r}")
    found = PARTITIONS[blocks](model)
    _refuse_tied(model, found)
    return found


def left_out(model: nn.Module, blocks: Iterable[Block]) -> tuple[str, ...]:
    """Names of the parameters that belong to no block."""
    inside = {id(p) for b in blocks for m in b.modules.values() for p in m.parameters(recurse=False)}
    return tuple(name for name, p in model.named_parameters() if id(p) not in inside)


def _decoder_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    config = getattr(model, "config", None)
    depth = getattr(config.get_text_config(), "num_hidden_layers", None) if config is not None else None
    stacks = [
        (name, stack)
        for name, stack in model.named_modules()
        if isinstance(stack, nn.ModuleList) and len(stack) == depth
    ]
    if len(stacks) != 1:
        raise ScoringError(
            f"model: expected one list of num_hidden_layers = {depth} decoder layers in {type(model).__name__}, "
            f"found {[name for name, _ in stacks]}; give a decoder-only transformers model"
        )
    [(name, stack)] = stacks
    return [(f"{name}.{index}", layer) for index, layer in enumerate(stack)]


def _owners(prefix: str, layer: nn.Module) -> dict[str, nn.Module]:
    modules = ((f"{prefix}.{name}" if name else prefix, module) for name, module in layer.named_modules())
    return {name: module for name, module in modules if next(module.parameters(recurse=False), None) is not None}


def _refuse_tied(model: nn.Module, blocks: Iterable[Block]) -> None:
    uses = Counter(id(p) for _, p in model.named_parameters(remove_duplicate=False))
    for block in blocks:
        for name, module in block.modules.items():
            if any(uses[id(p)] > 1 for p in module.parameters(recurse=False)):
                raise ScoringError(
                    f"model: module {name!r} shares a weight with another module, so its gradient is not its own; "
                    "untie the weights (for example by cloning the parameter) before scoring"
                )
