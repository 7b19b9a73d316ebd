"""`gguf`: a model file of llama.cpp; the types of its tensors are the plan. Only the header is read."""

from __future__ import annotations

import math
import re

from zetaplan.audits.foreign import ForeignPlan, Source
from zetaplan.audits.header import MAGIC, Tensor, read_header
from zetaplan.menus.bits import Weight

#: The last part of the names of tensors that vLLM stores in one, by the names that `zetaplan.runtimes.vllm` has.
ALIASES = {
    "attn_q": "q_proj",
    "attn_k": "k_proj",
    "attn_v": "v_proj",
    "ffn_gate": "gate_proj",
    "ffn_up": "up_proj",
    "ffn_gate_exps": "w1",
    "ffn_up_exps": "w3",
}


def recognises(source: Source) -> bool:
    """Does the file begin with the magic of GGUF?"""
    return source.head == MAGIC


def read(source: Source) -> ForeignPlan:
    """The tensors of the file with their types and sizes, padding included."""
    header = read_header(source.path)
    parts = header.metadata.get("split.count", 1)
    remarks = (f"the file is one of {parts} parts, and only this one is read",) if parts not in (0, 1) else ()
    return ForeignPlan(
        form="gguf",
        tool="llama.cpp",
        names="gguf",
        stored=tuple(map(_weight, header.tensors)),
        labels={tensor.name: tensor.label for tensor in header.tensors},
        bytes={tensor.name: header.padded(tensor.bytes) for tensor in header.tensors},
        architecture=str(header.metadata.get("general.architecture", "")),
        remarks=remarks,
    )


def _weight(tensor: Tensor) -> Weight:
    *stack, rows, columns = (1, *tensor.shape)
    module = tensor.name.removesuffix(".weight")
    parent, _, last = module.rpartition(".")
    layer = re.match(r"blk\.\d+", module)
    return Weight(
        name=tensor.name,
        module=f"{parent}.{ALIASES.get(last, last)}",
        layer=layer[0] if layer else "",
        count=math.prod(stack),
        rows=rows,
        columns=columns,
    )
