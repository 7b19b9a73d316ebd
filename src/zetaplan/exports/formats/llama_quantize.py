"""llama-quantize: a --tensor-type-file, one `PATTERN=TYPE` per tensor.

The tool splits the file at any white space and every item at its first "=", converts patterns to lower case, and
searches them in the names of tensors; the first match applies. It writes another type, without an error, for a tensor
whose columns do not fit. Tensors without a pattern get the mixture of the base type, so every matrix has a pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from zetaplan.errors import SpecError
from zetaplan.exports.gguf_names import tensor_names
from zetaplan.exports.job import Group, Job
from zetaplan.exports.labels import FormatJob
from zetaplan.exports.patterns import anywhere, effective
from zetaplan.exports.targets import Entry, Outline, Problem, Value
from zetaplan.menus.bits import Weight
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.quantizers._gguf import BLOCKS
from zetaplan.models.quantizers.floats import BYTES as FLOATS
from zetaplan.models.quantizers.k_types import written
from zetaplan.runtimes import llama_cpp

COUNTS, MODEL, FILE = ("formats",), True, "tensor-types.txt"
TYPES = (*BLOCKS, *FLOATS)
OTHERS = ("iq1_s", "iq1_m", "tq1_0", "tq2_0", "nvfp4")  # types in files of others, which no plan has
KNOWN = (*TYPES, *OTHERS)

BASE = "Q8_0"  # a quantised type: patterns have no effect beside F16, BF16 or COPY
ITEM = re.compile(r"[^\s=]+=\w+", re.ASCII)
FLOAT32 = ("ffn_gate_inp.weight",)  # ends of names of matrices that stay in float32, whatever the pattern
FLAGS = {"token_embd.weight": "--token-embedding-type", "output.weight": "--output-tensor-type"}


def settings(job: Job) -> dict[str, dict[str, Value]]:
    formats, tensors = cast(FormatJob, job).formats, tensor_names(job.known)
    labels: dict[str, Value] = {name: formats.get(weight.name, "f32") for name, weight in tensors.items()}
    for name, weight in tensors.items():
        _require(name, weight, str(labels[name]))
    return {"tensor types": labels}


def write(job: Job) -> bytes:
    lines = [f"^{re.escape(name)}$={label}\n" for name, label in settings(job)["tensor types"].items()]
    return "".join(lines).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    try:
        items = data.decode().split()
    except UnicodeDecodeError:
        return None
    if not items or not all(map(ITEM.fullmatch, items)):
        return None
    pairs = [item.split("=", 1) for item in items]
    if wrong := next((item for item, (_, kind) in zip(items, pairs, strict=True) if kind.lower() not in KNOWN), None):
        raise SpecError(f"{wrong}: expected a type of GGUF after '=': {', '.join(KNOWN)}; correct the file")
    entries = tuple(Entry(key, kind.lower(), anywhere(key.lower())) for key, kind in pairs)
    tensors = tensor_names(model)
    found = (*_lowered(entries), *_replaced(entries, tensors))
    return (Group("tensor types", entries, tuple(tensors), found=found),)


def usage(job: Job, file: str) -> str:
    labels = settings(job)["tensor types"]
    tied = {"output.weight": labels["token_embd.weight"]} if "token_embd.weight" in labels else {}
    flags = [f"{flag} {(tied | labels)[name]}" for name, flag in FLAGS.items() if name in tied | labels]
    return f"llama-quantize --tensor-type-file {file} {' '.join(flags)} MODEL-F16.gguf OUT.gguf {BASE}"


def _require(name: str, weight: Weight, label: str) -> None:
    """Raise SpecError for a format that llama-quantize cannot give to the tensor."""
    if why := _obstacle(name, weight, label):
        raise SpecError(
            f"to = 'llama-quantize': {weight.name} is planned in {label}: {why}; the tool takes {', '.join(TYPES)}"
        )


def _obstacle(name: str, weight: Weight, label: str) -> str:
    if name.endswith(FLOAT32) and label != "f32":
        return f"{name} stays in float32, whatever the pattern"
    if (other := written(label, weight.columns)) != label:
        return f"llama-quantize would write {other}, because its {weight.columns} columns are no multiple of 256"
    return llama_cpp.obstacle(find_quantizer(label), weight)


def _lowered(entries: Sequence[Entry]) -> Iterator[Problem]:
    for entry in entries:
        if re.search(r"\\[A-Z]", entry.key):
            yield Problem(entry.key, "the tool converts it to lower case, which changes the meaning of its classes")


def _replaced(entries: Sequence[Entry], tensors: Mapping[str, Weight]) -> Iterator[Problem]:
    """Tensors that get another type than the first pattern that matches them states."""
    for name, label in effective(entries, tuple(tensors)).items():
        columns = tensors[name].columns
        if name.endswith(FLOAT32) and label != "f32":
            yield Problem(name, f"would be ignored: it stays in float32, not {label}")
        elif (other := written(str(label), columns)) != label:
            yield Problem(name, f"would be written in {other} instead of {label}: it has {columns} columns")
