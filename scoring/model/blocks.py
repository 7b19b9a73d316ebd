"""Blocks k = 1..K: disjoint groups of the parameters of the decoder layers.

"layers": one block per decoder layer, with the parameters of all its modules. "modules": one block per linear of the
decoder layers. Parameters outside every block (embeddings, final norm, head; for "modules" the norms) are left out and
listed by name. Parameters that a module owns beside submodules with parameters (the state matrix of a mixer, attention
sinks) are left out too: no estimator can separate their use from that of the submodules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn
from torch.nn.modules.conv import _ConvNd

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.per_sequence import LINEAR
from zetaplan.scoring.model.causal import require_causal


@dataclass(frozen=True)
class Block:
    """A group of modules, by qualified name. The block's parameters are those that the modules own themselves.

    shared : by the name of a module of the block, other modules of the model with exactly the same parameters.
    """

    name: str
    modules: dict[str, nn.Module]
    shared: Mapping[str, tuple[nn.Module, ...]] = field(default_factory=dict)

    def twins(self, name: str) -> tuple[nn.Module, ...]:
        """The modules that share all parameters of this one, whose calls count as its own."""
        return self.shared.get(name, ())

    @property
    def matrices(self) -> tuple[tuple[int, int, int], ...]:
        """(count, in, out) of every linear weight, and of every stack of experts' weights (E, out, in)."""
        return tuple(shape for module in self.modules.values() for shape in _matrices(module))

    @property
    def named_parameters(self) -> dict[str, nn.Parameter]:
        """The parameters by qualified name, each once."""
        named = (
            (f"{name}.{key}", p) for name, m in self.modules.items() for key, p in m.named_parameters(recurse=False)
        )
        return dict(named)

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.named_parameters.values())

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
    blocks = tuple(Block(name, _owners(name, layer)) for name, layer in decoder_layers(model))
    for block in blocks:
        if not block.matrices:
            raise ScoringError(
                f"blocks: layer {block.name!r} has no linear module (nn.Linear or Conv1D) and no experts, so it has "
                "nothing to allocate or prune"
            )
    return blocks


def module_blocks(model: nn.Module) -> tuple[Block, ...]:
    """One block per linear of the decoder layers, and one per module that holds a layer's experts."""
    owners = (item for layer in layer_blocks(model) for item in layer.modules.items())
    return tuple(Block(name, {name: module}) for name, module in owners if _matrices(module))


PARTITIONS = {"layers": layer_blocks, "modules": module_blocks}


def partition(model: nn.Module, blocks: str) -> tuple[Block, ...]:
    """The blocks of the model. Modules that share all their parameters are one, in the block of the first of them."""
    if blocks not in PARTITIONS:
        raise ScoringError(f"blocks: expected one of {', '.join(PARTITIONS)}, got {blocks!r}")
    return _once(model, PARTITIONS[blocks](model))


def left_out(model: nn.Module, blocks: Iterable[Block]) -> tuple[str, ...]:
    """Names of the parameters that belong to no block."""
    inside = {id(p) for b in blocks for m in b.modules.values() for p in m.parameters(recurse=False)}
    return tuple(name for name, p in model.named_parameters() if id(p) not in inside)


def decoder_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The decoder layers by qualified name, in order. Raises ScoringError unless the model is a causal LM."""
    require_causal(model)
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
    return {name: module for name, module in modules if _has(module, recurse=False) and not _has_below(module)}


def _has(module: nn.Module, recurse: bool = True) -> bool:
    return next(module.parameters(recurse=recurse), None) is not None


def _has_below(module: nn.Module) -> bool:
    return any(map(_has, module.children()))


def has_matrices(module: nn.Module) -> bool:
    """Whether plans count the module's weights: a linear, or experts."""
    return bool(_matrices(module))


def _matrices(module: nn.Module) -> list[tuple[int, int, int]]:
    if isinstance(module, _ConvNd):
        return []  # the last dimension of its weight is the kernel size
    if isinstance(module, LINEAR):
        rows, columns = module.get_parameter("weight").shape
        return [(1, columns, rows)]
    return [(len(p), p.shape[2], p.shape[1]) for p in module.parameters(recurse=False) if p.ndim == 3]


def _once(model: nn.Module, blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks with every parameter in one block, under the first module that owns it."""
    _refuse_tied(model, blocks)
    first: dict[tuple[int, ...], str] = {}
    twins: dict[str, list[nn.Module]] = {}
    for block in blocks:
        for name, module in block.modules.items():
            twins.setdefault(first.setdefault(_identity(module), name), []).append(module)
    kept = [(block.name, {name: module for name, module in block.modules.items() if name in twins}) for block in blocks]
    others = {name: tuple(dict.fromkeys(modules))[1:] for name, modules in twins.items()}
    return tuple(Block(name, modules, {own: others[own] for own in modules}) for name, modules in kept if modules)


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
