"""The tensors in the safetensors files of a folder, as parameters of a model.

A folder may store tensors under other names than the model has them, or in other parts, such as every expert by itself.
The conversions between the two are those of transformers, made for the parameters that are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
    revert_weight_conversion,
)

#: The file of a model in one file, and the index of a model in several.
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True, eq=False)
class Part:
    """Stored tensors that make one parameter, or several.

    name : of the first parameter. keys : of the tensors, each with the pattern of the converter that it matches.
    converter : makes the parameters from the tensors; None where a tensor is the parameter itself.
    """

    name: str
    keys: Sequence[tuple[str, str]]
    converter: WeightConverter | None

    def made(self, tensors: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
        """The parameters by their names, from the stored tensors by their keys."""
        if self.converter is None:
            [(_, key)] = self.keys
            return {self.name: tensors[key]}
        converter = deepcopy(self.converter)
        for pattern, key in self.keys:
            converter.add_tensor(self.name, key, pattern, partial(tensors.__getitem__, key))
        found = converter.convert(self.name, model=model, config=model.config)
        return {name: value[0] if isinstance(value, list) else value for name, value in found.items()}


class Stored:
    """The stored tensors of a model.

    files, shapes : by the key of a stored tensor. parts : by the name of a parameter or buffer.
    """

    def __init__(self, folder: Path) -> None:
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.parts: dict[str, tuple[Part, str]] = {}
        for file in sorted(folder.glob("*.safetensors")):
            self._add(file)

    def _add(self, file: Path) -> list[str]:
        """Add the tensors of a file. Returns their keys."""
        with safe_open(file, "pt") as tensors:
            keys = list(tensors.keys())
            for key in keys:
                self.files[key] = file
                self.shapes[key] = tuple(tensors.get_slice(key).get_shape())
        return keys

    def assign(self, model: Any) -> list[str]:
        """Find the stored tensors of every parameter and buffer. Returns the names of those that have none."""
        self.model, self._conversions = model, get_model_conversion_mapping(model)
        self._find(self.files)
        model._weight_conversions = [each for each in self._conversions if each.was_used()]  # for `save_pretrained`
        return [name for name, _ in named(model) if name not in self.parts]

    def _find(self, keys: Iterable[str]) -> None:
        """Set the parts of the parameters that these tensors make."""
        own = dict(named(self.model))
        found = {name: part for part in self._parts(keys, own) for name in self._made_by(part, own)}
        by_value = {id(own[name]): (part, name) for name, part in found.items()}  # tied weights are stored once
        self.parts |= {name: by_value[id(value)] for name, value in own.items() if id(value) in by_value}

    def _parts(self, keys: Iterable[str], own: dict[str, Tensor]) -> list[Part]:
        """The stored tensors, joined with those that they make a parameter with."""
        prefix = self.model.base_model_prefix
        renamings = [each for each in self._conversions if isinstance(each, WeightRenaming)]
        converters = [each for each in self._conversions if isinstance(each, WeightConverter)]
        by_pattern = {pattern: each for each in converters for pattern in each.source_patterns}
        found: dict[tuple[str, bool], list[tuple[str, str]]] = {}
        for key in sorted(keys, key=dot_natural_key):
            name, pattern = rename_source_key(key, renamings, converters, prefix, own)
            if name not in own:  # a key that the conversions do not expect may be a name of the model
                name, pattern = rename_source_key(key, [], [], prefix, own)
            if pattern is None:
                found[name, False] = [("", key)]
            else:
                found.setdefault((name, True), []).append((pattern, key))
        return [
            Part(name, pairs, by_pattern[pairs[0][0]] if converted else None)
            for (name, converted), pairs in found.items()
        ]

    def _made_by(self, part: Part, own: Mapping[str, Tensor]) -> list[str]:
        """The parameters of the model that the part makes in their shapes; none where a conversion fails."""
        shapes = {key: torch.empty(self.shapes[key], device="meta") for _, key in part.keys}
        try:
            made = part.made(shapes, self.model)
        except Exception:  # the library's own code, for tensors of another number or shape
            return []
        return [name for name, value in made.items() if name in own and value.shape == own[name].shape]

    def read_into(self, values: Mapping[str, Tensor]) -> None:
        """Set the values by their names in the model. Files are mapped into memory; what is converted is copied."""
        wanted: dict[Part, list[str]] = {}
        for name in values:
            wanted.setdefault(self.parts[name][0], []).append(name)
        tensors = self._tensors(key for part in wanted for _, key in part.keys)
        for part, names in wanted.items():
            made = part.made(tensors, self.model)
            for name in names:
                values[name].data = made[self.parts[name][1]].to(values[name].dtype)

    def _tensors(self, keys: Iterable[str]) -> dict[str, Tensor]:
        by_file: dict[Path, list[str]] = {}
        for key in keys:
            by_file.setdefault(self.files[key], []).append(key)
        found: dict[str, Tensor] = {}
        for file, own in by_file.items():
            with safe_open(file, "pt") as tensors:
                found |= {key: tensors.get_tensor(key) for key in own}
        return found

    def file_of(self, name: str) -> Path:
        """The file of a parameter, or of its first part."""
        return self.files[self.parts[name][0].keys[0][1]]

    def write(self, values: Mapping[str, Tensor], file: Path) -> None:
        """Store values by their names in the model as `save_pretrained` does, and read them from there from now on."""
        stored = revert_weight_conversion(self.model, {name: value.detach() for name, value in values.items()})
        save_file({key: value.contiguous() for key, value in stored.items()}, file, {"format": "pt"})
        self._find(self._add(file))

    @property
    def unused(self) -> set[str]:
        """The keys of tensors that make no parameter."""
        return self.files.keys() - {key for part, _ in self.parts.values() for _, key in part.keys}


def named(model: Any) -> list[tuple[str, Tensor]]:
    """All parameters and persistent buffers under all their names."""
    return [*model.state_dict(keep_vars=True).items()]


def join_files(folder: Path) -> None:
    """Give the files of the layers, and that of all other tensors if there is one, their final names and an index."""
    files = [*sorted(folder.glob("layer-*.safetensors")), *folder.glob(WHOLE)]
    places, total = dict[str, str](), 0
    for number, file in enumerate(files, 1):
        name = f"model-{number:05d}-of-{len(files):05d}.safetensors"
        for key, size in _sizes(file):
            places[key], total = name, total + size
        file.rename(folder / name)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _sizes(file: Path) -> list[tuple[str, int]]:
    """The name and the bytes of every tensor of a file."""
    with safe_open(file, "pt") as tensors:
        return [(key, tensors.get_tensor(key).nbytes) for key in tensors.keys()]  # noqa: SIM118  no dict
