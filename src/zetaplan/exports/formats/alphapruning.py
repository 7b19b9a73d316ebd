"""AlphaPruning: a numpy vector, one number per linear of the decoder layers in the order of the model.

The file contains scores s, which the tool maps to ratios: (s - min) / (max - min) (1 + E - (1 - E)) + 1 - E, scaled
so that the mean over all weights is the requested sparsity. With s = p and E = (max - min) / (max + min) the map gives
2 p / (max + min), and the scaling returns p.
"""

from __future__ import annotations

import io
import math
from operator import mul

import numpy as np

from zetaplan.errors import SpecError
from zetaplan.exports.job import Group, UnitJob
from zetaplan.exports.targets import Outline, Problem, by_position, linears

COUNTS, MODEL, FILE = ("weights",), True, "zetaplan.npy"


def settings(job: UnitJob) -> dict[str, dict[str, float]]:
    return {"ratios": job.shares}


def write(job: UnitJob) -> bytes:
    job.require_linears("alphapruning")
    ratios = _ratios(job)
    if kind := next((module.kind for module in linears(job.modules) if module.kind != "Linear"), None):
        raise SpecError(f"to = 'alphapruning': it prunes nn.Linear only, this model has {kind}; use torch-prune")
    if min(ratios) == max(ratios):
        raise SpecError(f"to = 'alphapruning': all ratios are {ratios[0]:g}, and the tool divides by their spread")
    buffer = io.BytesIO()
    np.save(buffer, np.array(ratios), allow_pickle=False)
    return buffer.getvalue()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    if not data.startswith(b"\x93NUMPY"):
        return None
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy raises many classes of error for a damaged header
        raise SpecError(f"not a complete numpy vector: {error}; write it again") from error
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise SpecError(f"expected one number per linear, got an array of shape {values.shape} and type {values.dtype}")
    names = tuple(module.name for module in linears(model.modules) if module.kind == "Linear")
    found = tuple(
        Problem(f"ratios[{i}]", f"is {value:g}: expected a finite score")
        for i, value in enumerate(values.tolist())
        if not math.isfinite(value)
    )
    if not found and values.size and values.min() == values.max():
        found = (Problem("ratios", "raises an error: all scores are equal, and the tool divides by their spread"),)
    return (Group("ratios", by_position("ratios", values.tolist(), names), names, complete=True, found=found),)


def _ratios(job: UnitJob) -> list[float]:
    return [job.shares[module.name] for module in linears(job.modules)]


def usage(job: UnitJob, file: str) -> str:
    ratios, sizes = _ratios(job), [module.weights for module in linears(job.modules)]
    spread = (max(ratios) - min(ratios)) / (max(ratios) + min(ratios))
    mean = math.fsum(map(mul, ratios, sizes)) / sum(sizes)
    name = file.removesuffix(".npy")
    return (
        f"--ww_metric {name} --ww_metric_cache FOLDER --mapping_type layer --epsilon {spread!r} "
        f"--sparsity_ratio {mean!r}"
    )
