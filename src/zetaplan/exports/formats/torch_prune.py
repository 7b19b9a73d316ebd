"""torch.nn.utils.prune: a standalone script that removes exactly the planned counts, smallest weights first."""

from __future__ import annotations

import ast

from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, UnitJob
from zetaplan.exports.targets import Outline, Problem, linears, literal

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
    lines = "\n".join(f'    "{name}": {count},' for name, count in job.units.items() if count)
    return SCRIPT.replace("AMOUNTS_LINES", lines).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    amounts = _amounts(data)
    if amounts is None:
        return None
    entries = tuple(literal(name, float(amount)) for name, amount in amounts.items())
    sizes = {module.name: module.weights for module in linears(model.modules)}
    found = tuple(
        Problem(name, f"raises an error: {amount:,} of its {sizes[name]:,} weights cannot be removed")
        for name, amount in amounts.items()
        if not 0 <= amount <= sizes.get(name, amount)
    )
    return (Group("AMOUNTS", entries, tuple(sizes), found=found),)


def usage(job: UnitJob, file: str) -> str:
    return f"python {file} MODEL FOLDER"


def _amounts(data: bytes) -> dict[str, int] | None:
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
    if not isinstance(amounts, dict) or not all(isinstance(count, int) for count in amounts.values()):
        raise SpecError("AMOUNTS: expected a count for every name; correct the script")
    return amounts
