"""`evopress`: one line `NAME: BITS` for every linear, as EvoPress and its toolkit for GGUF write it.

The toolkit adds the file that it takes the matrix from, `NAME: 3.4375 (3.4375-Q3_K.pth)`; its type is the format.
Without a type the bits are those of GPTQ, and the file does not state the group of the scales.
"""

from __future__ import annotations

import re
from collections import Counter

from zetaplan.audits.foreign import ForeignPlan, Setting, Source, setting
from zetaplan.audits.sizes import TYPES
from zetaplan.errors import SpecError, shown

LINE = re.compile(r"([^\s:]+)\s*:\s*(\d+(?:\.\d+)?)\s*(?:\(([^()]*)\))?", re.ASCII)
TYPE = re.compile(r"(?<![a-z0-9])(?:i?q|tq)\d_[a-z0-9_]+|(?:bf16|f16|f32)(?![a-z0-9])", re.ASCII)


def recognises(source: Source) -> bool:
    """Is the first line NAME: BITS, with a name of several parts?"""
    found = LINE.fullmatch(next(iter(_lines(source.text)), ""))
    return found is not None and "." in found[1]


def read(source: Source) -> ForeignPlan:
    """The bits of every linear. Raises SpecError for a line of another form, or a name that is there twice."""
    settings = [_setting(source, number, line) for number, line in enumerate(_lines(source.text), 1)]
    names = [entry.key for entry in settings]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise SpecError(f"{source.path}: {twice[0]} is there twice; keep one line")
    plain = [entry for entry in settings if entry.label.startswith("gptq")]
    remark = f"the file states no group; scales of {source.group} columns are counted (--group)"
    return ForeignPlan(
        form="evopress",
        tool="vllm" if plain else "llama.cpp",
        settings=tuple(settings),
        names="gguf" if names[0].startswith("blk.") else "modules",
        rest="bf16" if plain else "",
        remarks=(remark,) if plain else (),
    )


def _lines(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _setting(source: Source, number: int, line: str) -> Setting:
    found = LINE.fullmatch(line)
    if not found:
        raise SpecError(f"{source.path}: line {number}: {shown(line)}: expected NAME: BITS")
    name, bits, file = found[1], found[2], (found[3] or "").lower().removesuffix(".pth")
    if (kind := TYPE.search(file)) and kind[0] in TYPES:
        return setting(name, kind[0])
    if float(bits) in (16, 32):
        return setting(name, "bf16" if float(bits) == 16 else "f32")
    if float(bits) not in range(2, 9):
        raise SpecError(f"{source.path}: line {number}: {bits} bits: expected 2 to 8, 16, 32, or a type of GGUF")
    return setting(name, f"gptq{float(bits):g}-g{source.group}")
