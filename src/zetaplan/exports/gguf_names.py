"""Names that GGUF files give to the matrices of a model, by the tables of the package gguf."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zetaplan.errors import SpecError
from zetaplan.exports.addresses import STACKED
from zetaplan.exports.targets import Outline
from zetaplan.menus.bits import Weight

#: Model types of transformers whose GGUF architecture has another name, all without `_` and `-`.
ARCHITECTURES = {
    "cohere": "commandr",
    "gemma3text": "gemma3",
    "gemma4text": "gemma4",
    "gptbigcode": "starcoder",
    "mistral": "llama",
    "mixtral": "llama",
    "phi": "phi2",
}


def tensor_names(model: Outline) -> dict[str, Weight]:
    """The matrix of every GGUF tensor, by the tensor's name; gate and up of experts in one tensor are two tensors.

    Raises SpecError if the package gguf is not installed, or has no name for the architecture or for a matrix.
    """
    config: Any = model.network.config
    kind = config.model_type
    table = _table(kind, config.num_hidden_layers)
    found: dict[str, Weight] = {}
    for weight in model.matrices:
        names = [table.get_name(key, try_suffixes=(".weight",)) for key in _keys(weight)]
        if None in names:
            raise SpecError(f"{weight.name}: the package gguf has no name for it in models of type {kind!r}")
        found |= dict.fromkeys((f"{name}.weight" for name in names), weight)
    return found


def gguf_names(parameters: Iterable[str], architecture: str, blocks: int) -> dict[str, str]:
    """The name of every parameter's tensor, for the parameters that the package gguf knows.

    architecture : a `model_type` of transformers, or a name of GGUF. Raises SpecError for an unknown one, or if the
    package is not installed.
    """
    table = _table(architecture, blocks)
    suffixes = (".weight", ".bias")
    return {name: found for name in parameters if (found := table.get_name(name, try_suffixes=suffixes))}


def _keys(weight: Weight) -> list[str]:
    parts = STACKED.get(weight.name.removeprefix(f"{weight.module}."), ()) if weight.count > 1 else ()
    return [f"{weight.module}.{part}" for part in parts] or [weight.module]


def _table(kind: str, blocks: int) -> Any:
    try:
        import gguf
    except ImportError as error:
        raise SpecError("GGUF names of tensors: they need pip install 'zetaplan[gguf]'") from error
    known = {_plain(name): architecture for architecture, name in gguf.MODEL_ARCH_NAMES.items()}
    name = ARCHITECTURES.get(_plain(kind), _plain(kind))
    if name not in known:
        raise SpecError(f"model of type {kind!r}: the package gguf has no table of names for this architecture")
    return gguf.get_tensor_name_map(known[name], blocks)


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "")
