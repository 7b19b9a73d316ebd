"""torch.nn.utils.prune: a standalone script that removes exactly the planned counts, smallest weights first.

A tensor of experts has one count for each of them, which the script removes itself: the tool knows whole tensors only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from zetaplan._plural import counted
from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, UnitJob
from zetaplan.exports.targets import Module, Outline, Problem, literal

COUNTS, MODEL, FILE = ("weights",), True, "prune.py"

SCRIPT = '''"""Remove the planned number of weights from every linear of a model, by magnitude.

Run: python prune.py MODEL FOLDER
"""

import sys

from torch.nn.utils import prune
from transformers import AutoModelForCausalLM, AutoTokenizer

AMOUNTS = {
AMOUNTS_LINES
}


def main(source, folder):
    model = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
    for name, amount in AMOUNTS.items():
        if isinstance(amount, list):
            for expert, count in zip(model.get_parameter(name).data, amount):
                expert.view(-1)[expert.flatten().abs().argsort(stable=True)[:count]] = 0
            continue
        module = model.get_submodule(name)
        prune.l1_unstructured(module, "weight", amount=amount)
        prune.remove(module, "weight")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
'''


def settings(job: UnitJob) -> dict[str, dict[str, float]]:
    return {"AMOUNTS": {name: float(count) for name, count in job.units.items() if count}}


def write(job: UnitJob) -> bytes:
    amounts = {name: list(job.experts[name]) if name in job.experts else count for name, count in job.units.items()}
    lines = "\n".join(f'    "{name}": {amounts[name]},' for name, count in job.units.items() if count)
    return SCRIPT.replace("AMOUNTS_LINES", lines).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    amounts = _amounts(data)
    if amounts is None:
        return None
    entries = tuple(literal(name, float(sum(parts))) for name, parts in amounts.items())
    known = {module.name: module for module in model.planned}
    found = tuple(_impossible(amounts, known))
    return (Group("AMOUNTS", entries, tuple(known), found=found),)


def _impossible(amounts: dict[str, list[int]], known: dict[str, Module]) -> Iterator[Problem]:
    """The problems of counts that a matrix does not have, and of one count for several experts."""
    for name, parts in amounts.items():
        if (module := known.get(name)) is None:
            continue
        if len(parts) != module.count:
            yield Problem(name, f"has {counted(len(parts), 'count')}, expected {module.count:,}: one for every matrix")
        size = module.inputs * module.outputs
        for amount in parts:
            if not 0 <= amount <= size:
                yield Problem(name, f"raises an error: {amount:,} of its {size:,} weights cannot be removed")


def usage(job: UnitJob, file: str) -> str:
    return f"python {file} MODEL FOLDER"


def _amounts(data: bytes) -> dict[str, list[int]] | None:
    """The table of a script, read as a literal; no code of the script is run."""
    try:
        body = ast.parse(data).body
    except (SyntaxError, ValueError):
        return None
    tables = [s.value for s in body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "AMOUNTS"]
    if not tables:
        return None
    try:
        amounts = ast.literal_eval(tables[0])
    except ValueError as error:
        raise SpecError("AMOUNTS: expected a count for every name; correct the script") from error
    parts = {k: v if isinstance(v, list) else [v] for k, v in amounts.items()} if isinstance(amounts, dict) else {}
    if not parts or not all(isinstance(count, int) for several in parts.values() for count in several):
        raise SpecError("AMOUNTS: expected a count for every name; correct the script")
    return parts
