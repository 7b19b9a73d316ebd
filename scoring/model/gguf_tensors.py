"""The tensors of a GGUF file as float32 safetensors, one block after another, so that the model never is in memory.

Names, order of rows and stacks of experts are those of transformers' own reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from zetaplan.scoring.model.stored import Stored, join_files


def write_model(file: Path, config: Any, folder: Path) -> tuple[Any, list[str]]:
    """Write the weights and the configuration of a GGUF model. Returns the model on the meta device, and what it lacks.

    config : as transformers reads it from the file.
    """
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config.__dict__.pop("quantization_config", None)  # with it, transformers would read the folder as quantised
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.tie_weights()
    _write_tensors(file, model, load_gguf_checkpoint(str(file))["config"], folder)
    join_files(folder)
    absent = Stored(folder).assign(model)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    return model, absent


def _write_tensors(file: Path, model: Any, settings: dict[str, Any], folder: Path) -> None:
    """Write one file for every block. settings : of the model, as transformers' processors use them."""
    from gguf import GGUFReader, dequantize

    reader = GGUFReader(file)
    processor, names = conversion(reader.fields["general.architecture"].contents(), model, settings)
    for number, tensors in enumerate(_by_block(reader.tensors)):
        found: dict[str, torch.Tensor] = {}
        for tensor in tensors:
            done = processor.process(
                weights=dequantize(tensor.data, tensor.tensor_type),
                name=tensor.name,
                tensor_key_mapping=names,
                parsed_parameters={"tensors": found},  # receives stacks of experts
            )
            if done.name in names:
                found[names[done.name]] = torch.from_numpy(np.array(done.weights, np.float32, order="C"))
        if found:
            save_file(found, folder / f"layer-{number:05d}.safetensors", {"format": "pt"})


def conversion(architecture: str, model: Any, settings: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    """transformers' processor of the tensors of an architecture, and the parameter of every tensor that it maps."""
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor, get_gguf_hf_weights_map

    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=settings)
    return processor, get_gguf_hf_weights_map(model, processor)


def _by_block(tensors: Iterable[Any]) -> Iterable[list[Any]]:
    """The tensors of every block together, every other tensor by itself."""
    found: dict[str, list[Any]] = {}
    for tensor in tensors:
        block = re.match(r"blk\.\d+\.", tensor.name)
        found.setdefault(block[0] if block else tensor.name, []).append(tensor)
    return found.values()
