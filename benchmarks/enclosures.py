"""How often an enclosure of zeta^2 misses, and how wide it is: `python -m benchmarks.enclosures`.

Architectures as transformers ship them, with random weights: their norms, and their linears in turn, in three
precisions, dampings from far below to far above the mean curvature, several widths, Lanczos stopped early and late; so
are conjugate gradients, on the Gauss-Newton matrix, whose x the residual encloses; of Nystrom the steps are the
products. The truth is by another way: dense matrices from the architecture's code rewritten for float64 (see
tests.wide_models), solved in 200 bits. Writes results/enclosures.json.
"""

import itertools
import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch
from tqdm.auto import tqdm

from benchmarks import common
from tests.tiny_models import SHIPPED, shipped
from tests.wide_models import dense, exact_gain, holds, wide
from zetaplan.errors import ScoringError
from zetaplan.scoring.curvature import _krylov as krylov
from zetaplan.scoring.curvature import find_curvature, nystrom
from zetaplan.scoring.curvature._enclosure import enclosed, measured_gradient
from zetaplan.scoring.curvature._products import LinearisedBlock
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

RESULT = common.result("enclosures")
MATRICES = {
    "ggn": "ggn",
    "token-fisher": "token_fisher",
    "hessian": "hessian",
    "nystrom": "ggn",
    "conjugate gradients": "ggn",
}
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
STEPS = (1, 3, 10, 60)
DAMPING = tuple(10.0**power for power in range(-4, 6))
WIDTHS = (1e-1, 1e-3, 1e-6, 1e-12)
CASES = 2
LARGEST = 150


def blocks(kind, dtype, seed):
    """All norms and one linear of a one-layer model with its own weights and text."""
    model = shipped(kind, seed=seed, dtype=dtype, vocabulary=7, layers=1)
    ids = torch.randint(0, 6, (2, 6), generator=torch.Generator().manual_seed(seed))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    data = checked_batches({"input_ids": ids, "attention_mask": mask})
    norms = {name: p for name, p in model.named_parameters() if "norm" in name or ".ln_" in name}
    linears = [part.named_parameters for part in partition(model, "modules")]
    for parameters in (norms, linears[seed % len(linears)]):
        block = LinearisedBlock(model, parameters, data)
        if 0 < block.dimension <= LARGEST:
            yield block


def by_cg(block, tau, steps):
    """x after some steps of the textbook's conjugate gradients (Hestenes & Stiefel 1952), as the precision has it.

    They end where the residual is rounding: below it steps are 0 / 0.
    """
    residual = block.gradient()
    rounding = torch.finfo(residual.dtype).eps * residual.norm()
    x, direction = torch.zeros_like(residual), residual
    for _ in range(min(steps, block.dimension)):
        if residual.norm() <= rounding:
            break
        image = block.ggn(direction) + tau * direction
        length = (residual @ residual) / (direction @ image)
        x, before = x + length * direction, residual
        residual = residual - length * image
        direction = residual + (residual @ residual) / (before @ before) * direction
    return x


def interval(block, name, tau, steps, width):
    """(low, high) of one case."""
    if name == "conjugate gradients":
        return enclosed(LinearisedBlock.ggn, block, measured_gradient(block), by_cg(block, tau, steps), tau)[:2]
    krylov.STEPS = nystrom.RANK = steps
    return find_curvature(name)(block, width).enclosure(tau)


def above_the_spectrum(matrix, damping, draw):
    """That multiple of the mean curvature, and more where an eigenvalue is negative: barely enough, or ample."""
    lowest = float(torch.linalg.eigvalsh(matrix)[0])
    return damping * float(matrix.diagonal().abs().mean()) + draw.choice((1.1, 3.0)) * max(-lowest, 0.0)


def trials(seed, kind, dtype):
    """All cases of one model, as rows."""
    torch.set_num_threads(1)
    draw, rows = random.Random(seed), []  # noqa: S311
    for block in blocks(kind, DTYPES[dtype], seed):
        truth = dense(wide(block.model), list(block.parameters), block.batches)
        for name, _ in itertools.product(MATRICES, range(CASES)):
            matrix, steps, damping, width = truth[MATRICES[name]], *map(draw.choice, (STEPS, DAMPING, WIDTHS))
            tau = above_the_spectrum(matrix, damping, draw)
            row = {"model": kind, "surrogate": name, "dtype": dtype, "steps": steps, "damping": damping, "asked": width}
            try:
                low, high = interval(block, name, tau, steps, width)
            except ScoringError:  # of the Hessian: not shown to be positive definite
                rows.append({**row, "refused": True})
                continue
            exact = exact_gain(matrix, truth["gradient"], tau)
            relative = (high - low) / float(exact.mid())
            rows.append({**row, "refused": False, "width": relative, "hit": holds(low, exact, high)})
    return rows


def main():
    models = list(itertools.product(SHIPPED, DTYPES))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = pool.map(trials, itertools.count(), *zip(*models, strict=True))
        rows = [row for rows in tqdm(found, total=len(models)) for row in rows]
    answered = [row for row in rows if not row["refused"]]
    table = []
    for name, dtype, steps in itertools.product(MATRICES, DTYPES, STEPS):
        own = [row for row in answered if (row["surrogate"], row["dtype"], row["steps"]) == (name, dtype, steps)]
        table.append(
            {
                "surrogate": name,
                "dtype": dtype,
                "steps": steps,
                "cases": len(own),
                "misses": sum(not row["hit"] for row in own),
                "median_relative_width": float(np.median([row["width"] for row in own])),
            }
        )
    result = {
        "command": "python -m benchmarks.enclosures",
        "machine": common.machine(),
        "architectures": list(SHIPPED),
        "damping": [min(DAMPING), max(DAMPING)],
        "cases": len(answered),
        "misses": sum(not row["hit"] for row in answered),
        "refused": len(rows) - len(answered),
        "narrowest": min(row["width"] for row in answered),
        "table": table,
        "missed": [row for row in answered if not row["hit"]],
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{result['cases']} cases, {result['misses']} misses")


if __name__ == "__main__":
    main()
