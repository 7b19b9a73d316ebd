"""A packed checkpoint of compressed-tensors, which transformers and vLLM load: format "pack-quantized".

Every linear with an integer format is stored as `weight_packed`, `weight_scale`, `weight_shape` and, if asymmetric,
`weight_zero_point`. Codes are packed without gaps, the first in the lowest bits, and every row ends with a whole word
of 32 bits. All other tensors are stored in bfloat16. Linears with the same format are one group of the configuration;
groups list the names of their modules, no two groups the same, because tools differ in the order of patterns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zetaplan.menus.bits import Weight
from zetaplan.models.checkpoints import Manifest, Source
from zetaplan.models.checkpoints._folder import write_folder
from zetaplan.models.quantize import Formats, Rounded
from zetaplan.models.quantizers import Quantizer
from zetaplan.models.quantizers._integers import WORD, Codes, Integer
from zetaplan.runtimes import find_runtime, fused
from zetaplan.scoring.model.streamed import is_blank

DTYPE = torch.bfloat16  # of scales and of all tensors that are not quantised
CARD = (
    "The linears are stored packed, as compressed-tensors does; transformers reads them with pip install "
    "compressed-tensors. All other tensors are bfloat16."
)


def obstacle(quantizer: Quantizer, weight: Weight) -> str:
    if isinstance(quantizer, Integer) and (weight.count > 1 or weight.transposed):
        kind = "stacks of experts" if weight.count > 1 else "transposed linears"
        return f"compressed-tensors has no packed form for {kind}; use bf16"
    return find_runtime("vllm").obstacle(quantizer, weight)


def outputs(out: Path) -> tuple[Path, ...]:
    return (out,)


def write(formats: Formats, source: Source, out: Path) -> Manifest:
    packed: dict[str, dict[str, Tensor]] = {}

    def keep(rounded: Rounded) -> None:
        if isinstance(rounded.quantizer, Integer):
            packed[rounded.weight.name] = dict(_tensors(rounded.weight, rounded.quantizer, rounded.codes[0]))

    def form(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        parts = [packed.pop(name) if name in packed else {name: _half(value)} for name, value in values.items()]
        return {name: value for own in parts for name, value in own.items()}

    def finish(model: nn.Module) -> None:
        for value in (*model.parameters(), *model.buffers()):
            if not is_blank(value):  # in place, so that tied parameters stay one tensor
                value.data = _half(value.data)
        model.config.quantization_config = _configuration(model, formats)  # type: ignore[union-attr]

    return write_folder("compressed-tensors", CARD, formats, source, out, keep, finish, form, _notes(formats))


def _half(value: Tensor) -> Tensor:
    return value.to(DTYPE) if value.is_floating_point() else value


def _tensors(weight: Weight, quantizer: Integer, codes: Codes) -> Iterator[tuple[str, Tensor]]:
    """What is stored of a linear, by name."""
    yield f"{weight.module}.weight_packed", _packed(codes.q, quantizer.bits)
    yield f"{weight.module}.weight_scale", codes.scale.to(DTYPE)
    yield f"{weight.module}.weight_shape", torch.tensor([weight.rows, weight.columns])
    if not quantizer.symmetric:
        yield f"{weight.module}.weight_zero_point", _packed(codes.zero.mT, quantizer.bits).mT.contiguous()


def _packed(codes: Tensor, bits: int) -> Tensor:
    """The codes (rows, n) from 0 to 2^bits - 1 in words, (rows, words), int32."""
    digits = np.unpackbits(codes.cpu().numpy()[..., None], axis=-1, count=bits, bitorder="little")
    rows = digits.reshape(len(codes), -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % (8 * WORD))))
    return torch.from_numpy(np.packbits(rows, axis=-1, bitorder="little").view("<i4"))


def _configuration(model: nn.Module, formats: Formats) -> dict[str, Any]:
    groups: dict[tuple[int, int, bool], list[str]] = {}
    for weight in formats.weights:
        quantizer = formats.quantizers[weight.name]
        if isinstance(quantizer, Integer):
            groups.setdefault((quantizer.bits, quantizer.group, quantizer.symmetric), []).append(weight.module)
    taken = {name for names in groups.values() for name in names}
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            f"group_{number}": {"targets": names, "weights": _arguments(*key)}
            for number, (key, names) in enumerate(sorted(groups.items()))
        },
        "ignore": [name for name in linears if name not in taken],
    }


def _arguments(bits: int, group: int, symmetric: bool) -> dict[str, Any]:
    strategy = {"strategy": "group", "group_size": group} if group else {"strategy": "channel"}
    return {"num_bits": bits, "type": "int", "symmetric": symmetric, "dynamic": False, **strategy}


def _notes(formats: Formats) -> list[str]:
    return [*_split(formats), *_zero_points(formats)]


def _split(formats: Formats) -> list[str]:
    """Linears that vLLM stores in one tensor, and that have different formats."""
    labels = {name: quantizer.label for name, quantizer in formats.quantizers.items()}
    groups = fused(find_runtime("vllm"), formats.weights)
    split = [group for group in groups if len({labels[name] for name in group}) > 1]
    first = f"vLLM refuses this checkpoint: it stores {' and '.join(split[0])} in one tensor" if split else ""
    return [f"{first}, and they have different formats ({len(split)} such groups)"] * bool(split)


def _zero_points(formats: Formats) -> list[str]:
    asymmetric = [q for q in formats.quantizers.values() if isinstance(q, Integer) and not q.symmetric]
    text = "transformers 5.23 with compressed-tensors 0.20 cannot load packed zero points; symmetric formats load"
    return [text] * bool(asymmetric)
