"""Blocks k = 1..K: disjoint groups of the parameters of the decoder layers.

"layers": one block per decoder layer, with the parameters of all its modules. "modules": one block per linear of the
decoder layers, and per module of experts. "experts": like "modules", with one block per expert. Parameters outside
every block (embeddings, final norm, head; for "modules" the norms) are left out and listed by name. A layer without any
linear is in no block, because plans take nothing from it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import LINEAR
from zetaplan.scoring.model.causal import require_causal, require_unquantised
from zetaplan.scoring.model.experts import experts_in, stacks

#: Names for the number of decoder layers in configurations.
DEPTHS = ("num_hidden_layers", "decoder_layers")


@dataclass(frozen=True)
class Block:
    """A group of modules, by qualified name. The block's parameters are those that the modules own themselves.

    shared : by the name of a module of the block, other modules of the model with exactly the same parameters.
    alone : names of modules whose gradients come from passes of single sequences. unscored : modules that no estimator
    covers; their weights are no parameters of the block, and plans count them. expert : the number of the only expert
    of the block, whose part of the parameters is that of its module; None: all of them.
    """

    name: str
    modules: dict[str, nn.Module]
    shared: Mapping[str, tuple[nn.Module, ...]] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()
    unscored: Mapping[str, nn.Module] = field(default_factory=dict)
    expert: int | None = None

    def twins(self, name: str) -> tuple[nn.Module, ...]:
        """The modules that share all parameters of this one, whose calls count as its own."""
        return self.shared.get(name, ())

    @property
    def matrices(self) -> tuple[tuple[int, int, int], ...]:
        """(count, in, out) of every linear weight, and of every stack of experts' weights (E, out, in)."""
        modules = (*self.modules.values(), *self.unscored.values())
        found = (shape for module in modules for shape in _matrices(module))
        return tuple((1, *shape[1:]) if self.expert is not None else shape for shape in found)

    @property
    def named_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters by qualified name, each once; for a block of one expert those of all experts."""
        named = (
            (f"{name}.{key}", p) for name, m in self.modules.items() for key, p in m.named_parameters(recurse=False)
        )
        return dict(named)

    @property
    def parameters(self) -> int:
        return sum(p.numel() // (1 if self.expert is None else len(p)) for p in self.named_parameters.values())

    @property
    def linear_parameters(self) -> int:
        """The number of weights that pruning may remove."""
        return sum(count * inputs * outputs for count, inputs, outputs in self.matrices)

    @property
    def rank_parameters(self) -> int:
        """Parameters that one unit of LoRA rank adds: in + out of every linear and of every expert."""
        return sum(count * (inputs + outputs) for count, inputs, outputs in self.matrices)


def layer_blocks(model: nn.Module) -> tuple[Block, ...]:
    """One block per decoder layer."""
    found = (Block(name, _owners(name, layer)) for name, layer in decoder_layers(model))
    blocks = tuple(block for block in found if block.matrices)
    if not blocks:
        raise ScoringError(
            f"blocks: no decoder layer of {type(model).__name__} has a linear module (nn.Linear or Conv1D) or experts, "
            "so there is nothing to allocate or prune"
        )
    return blocks


def module_blocks(model: nn.Module) -> tuple[Block, ...]:
    """One block per linear of the decoder layers, and one per module that holds a layer's experts."""
    owners = (item for layer in layer_blocks(model) for item in layer.modules.items())
    return tuple(Block(name, {name: module}) for name, module in owners if _matrices(module))


def expert_blocks(model: nn.Module) -> tuple[Block, ...]:
    """One block per linear of the decoder layers, and one per expert."""
    found = module_blocks(model)
    if not any(experts_in(module) for block in found for module in block.modules.values()):
        raise ScoringError(
            f"blocks = 'experts': {type(model).__name__} has no experts in one tensor; use blocks = 'modules'"
        )
    return tuple(part for block in found for part in _by_expert(block))


def _by_expert(block: Block) -> tuple[Block, ...]:
    [(name, module)] = block.modules.items()
    numbers = range(experts_in(module))
    return tuple(replace(block, name=f"{name}.{number}", expert=number) for number in numbers) or (block,)


PARTITIONS = {"layers": layer_blocks, "modules": module_blocks, "experts": expert_blocks}


def partition(model: nn.Module, blocks: str) -> tuple[Block, ...]:
    """The blocks of the model. Modules that share all their parameters are one, in the block of the first of them.

    Raises ScoringError if the weights are quantised; a model on the meta device has none.
    """
    if blocks not in PARTITIONS:
        raise ScoringError(f"blocks: expected one of {', '.join(PARTITIONS)}, got {blocks!r}")
    if not any(parameter.is_meta for parameter in model.parameters()):
        require_unquantised(getattr(model, "config", None), type(model).__name__)
    return _once(model, PARTITIONS[blocks](model))


def left_out(model: nn.Module, blocks: Iterable[Block]) -> tuple[str, ...]:
    """Names of the parameters that belong to no block."""
    inside = {id(p) for b in blocks for m in b.modules.values() for p in m.parameters(recurse=False)}
    return tuple(name for name, p in model.named_parameters() if id(p) not in inside)


def decoder_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The decoder layers by qualified name, in order. Raises ScoringError unless the model is a causal LM.

    They are the one list of the decoder whose length its configuration states, or of the whole model if the decoder
    that the model names has none. A vision tower of the same depth is no part of the decoder: it has a configuration
    of another class.
    """
    require_causal(model)
    depths = _depths(model)
    lists = {name: m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) in depths}
    inside = set(_decoder(model).modules())
    found = {name: stack for name, stack in lists.items() if stack in inside} or lists
    if len(found) > 1:
        found = {name: stack for name, stack in found.items() if _has_text_config(model, name)} or found
    if len(found) != 1:
        raise ScoringError(
            f"model: expected one list of num_hidden_layers = {next(iter(depths), None)} decoder layers in "
            f"{type(model).__name__}, found {list(found)}; give a decoder-only transformers model"
        )
    [(name, stack)] = found.items()
    return [(f"{name}.{index}", layer) for index, layer in enumerate(stack)]


def _depths(model: nn.Module) -> dict[int, None]:
    """The numbers of layers that the configuration of the decoder states, under the names for it."""
    if getattr(model, "config", None) is None:
        return {}
    stated = (getattr(_text_config(model), name, None) for name in DEPTHS)
    return {depth: None for depth in stated if isinstance(depth, int)}


def _text_config(model: nn.Module) -> Any:
    """The configuration of the decoder."""
    return model.config.get_text_config(decoder=True)  # type: ignore[operator,union-attr]


def _has_text_config(model: nn.Module, name: str) -> bool:
    """Whether the innermost model around the module of this name has a configuration as the decoder has."""
    parts = name.split(".")
    around = (model.get_submodule(".".join(parts[:length])) for length in range(len(parts), -1, -1))
    own = next((module for module in around if isinstance(module, PreTrainedModel)), model)
    return type(own.config) is type(_text_config(model))


def _decoder(model: nn.Module) -> nn.Module:
    found = getattr(model, "get_decoder", lambda: None)()
    return found if isinstance(found, nn.Module) else model


def _owners(prefix: str, layer: nn.Module) -> dict[str, nn.Module]:
    modules = ((f"{prefix}.{name}" if name else prefix, module) for name, module in layer.named_modules())
    return {name: module for name, module in modules if next(module.parameters(recurse=False), None) is not None}


def has_matrices(module: nn.Module) -> bool:
    """Whether plans count the module's weights: a linear, or experts."""
    return bool(_matrices(module))


def _matrices(module: nn.Module) -> list[tuple[int, int, int]]:
    if isinstance(module, LINEAR):
        rows, columns = module.get_parameter("weight").shape
        return [(1, columns, rows)]
    return [(len(p), p.shape[2], p.shape[1]) for p in stacks(module).values()]


def _once(model: nn.Module, blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks with every parameter in one block, under the first module that owns it."""
    _refuse_tied(model, blocks)
    first: dict[tuple[int, ...], str] = {}
    twins: dict[str, list[nn.Module]] = {}
    for block in blocks:
        for name, module in block.modules.items():
            twins.setdefault(first.setdefault(_identity(module), name), []).append(module)
    others = {name: tuple(dict.fromkeys(modules))[1:] for name, modules in twins.items()}
    kept = [
        replace(block, modules=(own := {n: m for n, m in block.modules.items() if n in twins}), shared=_of(others, own))
        for block in blocks
    ]
    return tuple(block for block in kept if block.modules)


def _of(others: Mapping[str, tuple[nn.Module, ...]], names: Iterable[str]) -> dict[str, tuple[nn.Module, ...]]:
    return {name: others[name] for name in names}


def _identity(module: nn.Module) -> tuple[int, ...]:
    return tuple(id(parameter) for parameter in module.parameters(recurse=False))


def _refuse_tied(model: nn.Module, blocks: Iterable[Block]) -> None:
    """Raise ScoringError if a block's module shares a weight with a module outside the blocks or with other weights.

    The gradient at such a module is only a part of the gradient of the weight.
    """
    inside = [(name, module) for block in blocks for name, module in block.modules.items()]
    known = {id(module) for _, module in inside}
    holders = {id(p): (name, module) for name, module in reversed(inside) for p in module.parameters(recurse=False)}
    for other, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            name, holder = holders.get(id(parameter), (other, module))
            if holder is not module and (id(module) not in known or _identity(module) != _identity(holder)):
                raise ScoringError(
                    f"model: module {name!r} shares a weight with {other!r}, which is in no block or has other "
                    "weights, so the gradient at the module is incomplete; untie the weights (for example by cloning "
                    "the parameter)"
                )
