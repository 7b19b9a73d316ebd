"""MoLA: the number of LoRA experts of every decoder layer, and the number of experts per token."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, UnitJob, by_block
from zetaplan.exports.targets import Outline, Problem, by_position, linears

COUNTS, MODEL, FILE = ("experts",), True, "mola.args"


def settings(job: UnitJob) -> dict[str, dict[str, float]]:
    experts = by_block(job)
    return {
        "number_experts": {block: float(count) for block, count in experts.items()},
        "top_k": {block: float(min(job.plan.top_k, count)) for block, count in experts.items()},
    }


def write(job: UnitJob) -> bytes:
    lists = {name: ",".join(f"{value:.0f}" for value in values.values()) for name, values in settings(job).items()}
    return (" ".join(f'--{name} "{values}"' for name, values in lists.items()) + "\n").encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    if not data.startswith(b"--number_experts"):
        return None
    try:
        words = shlex.split(data.decode())
        lists = {
            flag.removeprefix("--"): [float(int(value)) for value in values.split(",")]
            for flag, values in zip(words[::2], words[1::2], strict=True)
        }
    except ValueError as error:
        raise SpecError(f"expected flags, each with whole numbers between commas: {error}; correct the file") from error
    blocks = tuple(dict.fromkeys(module.block for module in linears(model.modules)))
    found = tuple(_impossible(lists))
    return (
        *(Group(name, by_position(name, values, blocks), blocks, complete=True) for name, values in lists.items()),
        Group("experts", (), (), found=found),
    )


def _impossible(lists: Mapping[str, Sequence[float]]) -> Iterator[Problem]:
    """The problems of numbers below 1, and of more experts per token than the layer has."""
    for name, values in lists.items():
        for i, value in enumerate(values):
            if value < 1:
                yield Problem(f"{name}[{i}]", f"is {value:g}: expected at least 1")
    for i, (experts, chosen) in enumerate(zip(lists.get("number_experts", ()), lists.get("top_k", ()), strict=False)):
        if chosen > experts:
            yield Problem(f"top_k[{i}]", f"is {chosen:g}: the layer has {experts:g} experts")


def usage(job: UnitJob, file: str) -> str:
    return f"append the contents of {file} to MoLA's training command"
