"""How often an enclosure of zeta^2 misses, and how wide it is: `python -m benchmarks.enclosures`.

Random small models, every linear of a layer, three precisions, dampings from far below to far above the mean
curvature, Lanczos stopped early and late; so are conjugate gradients, on the Gauss-Newton matrix, whose x the residual
encloses; of Nystrom the steps are the products. The truth is a dense solve in float64 of the weights as that precision
has them. Writes results/enclosures.json.
"""

import copy
import itertools
import json
import platform
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from tests.tiny_models import in_float64, tiny_gpt2, tiny_llama
from zetaplan.scoring.curvature import _krylov as krylov
from zetaplan.scoring.curvature import find_curvature, nystrom
from zetaplan.scoring.curvature._enclosure import enclosed
from zetaplan.scoring.curvature._products import LinearisedBlock
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.text.sequences import checked_batches

RESULT = Path(__file__).parent / "results" / "enclosures.json"
PRODUCTS = {
    "ggn": LinearisedBlock.ggn,
    "token-fisher": LinearisedBlock.token_fisher,
    "hessian": LinearisedBlock.hessian,
    "nystrom": LinearisedBlock.ggn,
    "conjugate gradients": LinearisedBlock.ggn,
}
DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}
STEPS = (1, 3, 10, 60)
DAMPING = (1e-3, 1e-1, 1.0, 30.0)
MODELS = 8
WIDTH = 1e-3


def blocks():
    """Every linear of one-layer models, each with its own weights and text."""
    for seed, tiny in itertools.product(range(MODELS // 2), (tiny_llama, tiny_gpt2)):
        model = in_float64(tiny(layers=1, hidden=4, vocabulary=11, seed=seed))
        ids = torch.randint(0, 11, (3, 8), generator=torch.Generator().manual_seed(seed))
        mask = torch.ones_like(ids)
        mask[1, 5:] = 0
        data = checked_batches({"input_ids": ids, "attention_mask": mask})
        for part in partition(model, "modules"):
            yield LinearisedBlock(model, part.named_parameters, data)


def in_dtype(block, dtype):
    model = copy.deepcopy(block.model).to(dtype)
    return LinearisedBlock(model, {name: model.get_parameter(name) for name in block.parameters}, block.batches)


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


def trial(block, name, damping, steps):
    """(low, truth, high) of one case."""
    wide = block.in_float64()
    eye = torch.eye(block.dimension, dtype=torch.float64)
    h, g = torch.stack([PRODUCTS[name](wide, row) for row in eye]), wide.gradient()
    tau = damping * float(h.diagonal().abs().mean())
    if name == "hessian":
        tau += 3 * float(torch.linalg.matrix_norm(h, 2))
    if name == "conjugate gradients":
        low, high = enclosed(PRODUCTS[name], block, g, by_cg(block, tau, steps), tau)[:2]
    else:
        krylov.STEPS = nystrom.RANK = steps
        low, high = find_curvature(name)(block, WIDTH).enclosure(tau)
    return low, float(g @ torch.linalg.solve(h + tau * eye, g)), high


def main():
    cases = [
        (name, dtype, STEPS[i % 4], DAMPING[(i // 4 + i) % 4], block)
        for name, dtype in itertools.product(PRODUCTS, DTYPES)
        for i, block in enumerate([b for b in blocks() for _ in range(3)])
    ]
    rows = []
    for name, dtype, steps, damping, block in tqdm(cases, disable=None):
        low, truth, high = trial(in_dtype(block, DTYPES[dtype]), name, damping, steps)
        rows.append(
            {
                "surrogate": name,
                "dtype": dtype,
                "steps": steps,
                "hit": low <= truth <= high,
                "width": (high - low) / truth,
            }
        )
    kinds = itertools.product(PRODUCTS, DTYPES, STEPS)
    table = []
    for name, dtype, steps in kinds:
        own = [row for row in rows if (row["surrogate"], row["dtype"], row["steps"]) == (name, dtype, steps)]
        widths = np.array([row["width"] for row in own])
        table.append(
            {
                "surrogate": name,
                "dtype": dtype,
                "steps": steps,
                "cases": len(own),
                "misses": sum(not row["hit"] for row in own),
                "median_relative_width": float(np.median(widths)),
            }
        )
    result = {
        "command": "python -m benchmarks.enclosures",
        "machine": f"{platform.machine()}, 2 cores",
        "cases": len(rows),
        "misses": sum(not row["hit"] for row in rows),
        "table": table,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{result['cases']} cases, {result['misses']} misses")


if __name__ == "__main__":
    main()
