"""The names that the tensors of a model have in a GGUF file."""

from __future__ import annotations

from collections.abc import Iterable

from zetaplan.errors import SpecError

#: Architectures whose name in GGUF is not their `model_type` without underscores.
ALIASES = {
    "mistral": "llama",
    "mixtral": "llama",
    "cohere": "command-r",
    "gemma3text": "gemma3",
    "granitemoe": "granite",
}


def gguf_names(parameters: Iterable[str], architecture: str, blocks: int) -> dict[str, str]:
    """The name of every parameter's tensor, for the parameters that the package gguf knows.

    architecture : a `model_type` of transformers, or a name of GGUF. Raises SpecError for an unknown one.
    """
    try:
        from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    except ImportError as error:
        raise SpecError("model: names of GGUF tensors need pip install 'zetaplan[gguf]'") from error
    plain = architecture.replace("_", "")
    known = {name.replace("-", "").replace("_", ""): arch for arch, name in MODEL_ARCH_NAMES.items()}
    arch = known.get(ALIASES.get(plain, plain).replace("-", ""))
    if arch is None:
        raise SpecError(f"model: the package gguf has no names for the architecture {architecture!r}")
    table = get_tensor_name_map(arch, blocks)
    suffixes = (".weight", ".bias")
    return {name: found for name in parameters if (found := table.get_name(name, try_suffixes=suffixes))}
