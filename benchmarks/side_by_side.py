"""zeta^2 by zetaplan beside curvlinops and the recipe of published code: `python -m benchmarks.side_by_side`.

SmolLM2-135M in float32, one text; the runs alternate in one process, and the median of the ratios of
processor time is reported.

    block-fisher   every layer: one pass, against one backward pass per sample and the Gram matrix of what they leave
    ggn            one layer, the damping that mc-fisher has by default: Lanczos to a proved relative width of 1e-3,
                   against curvlinops' operator in CG of scipy, stopped at a relative residual of 1e-2, which proves
                   nothing of zeta^2 but suffices here, and against 80 steps as published

The error of the first is against the same sums in float64, that of the second against the midpoint of an enclosure to a
relative width of 1e-6.
"""

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np
import torch
from curvlinops import GGNLinearOperator
from scipy.sparse.linalg import LinearOperator, cg
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks import common
from benchmarks.scoring import plain_pass
from zetaplan.scoring import Damping, load_model, read_sequences, score
from zetaplan.scoring.curvature import find_curvature
from zetaplan.scoring.curvature._products import LinearisedBlock, in_float64
from zetaplan.scoring.model.blocks import partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import sequence_losses
from zetaplan.scoring.text.sequences import checked_batches

RESULT = common.result("side_by_side")
LAYER = 15


def per_sample(network, text, tau):
    """zeta^2 of every layer from one backward pass per sequence."""
    parts = partition(network, "layers")
    parameters = [p for part in parts for p in part.named_parameters.values()]
    sizes = [sum(p.numel() for p in part.named_parameters.values()) for part in parts]
    with eval_mode(network):
        for parameter in parameters:
            parameter.requires_grad_(True)
        rows = []
        for i in range(len(text)):
            loss = sequence_losses(network, {key: value[i : i + 1] for key, value in text.batch.items()})[0]
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)]))
    n, gains = len(rows), []
    for block in zip(*(row.split(sizes) for row in rows), strict=True):
        g = torch.stack(block)
        a = (g @ g.mT).double() / n
        gains.append(float((a @ torch.linalg.inv(a + tau * torch.eye(n, dtype=torch.float64))).sum()) / n)
    return np.array(gains)


class Logits(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, ids):
        return self.network(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1)


def by_cg(model, text, part, tau, gradient, steps, tolerance):
    """g'(H + tau I)^-1 g with curvlinops' Gauss-Newton products in scipy's conjugate gradients."""
    with eval_mode(model.model), sdpa_kernel(SDPBackend.MATH):  # the one that has a forward derivative
        parameters = list(part.named_parameters.values())
        for parameter in parameters:
            parameter.requires_grad_(True)
        data = [(text.input_ids, text.input_ids[:, 1:].flatten())]
        loss = torch.nn.CrossEntropyLoss()
        operator = GGNLinearOperator(Logits(model.model), loss, parameters, data, check_deterministic=False)

        def damped(v):
            return (operator @ torch.from_numpy(v.astype(np.float32)).flatten()).detach().numpy() + tau * v

        shape = (len(gradient), len(gradient))
        x, _ = cg(LinearOperator(shape, matvec=damped, dtype=np.float32), gradient, rtol=tolerance, maxiter=steps)
    return float(gradient.astype(np.float64) @ x)


def error(value, truth):
    return None if value is None else float(np.max(np.abs(value / truth - 1)))


def timed(run):
    """Seconds of processor time, over all threads, which other work on the machine does not lengthen; and the value."""
    started = time.process_time()
    value = run()
    return time.process_time() - started, value


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = load_model("smollm2")
    text = read_sequences("pydoc", model.tokenizer, sequences=options.sequences, length=options.length)
    tau = float(score(model, text).damping[0])
    fisher = {
        "zetaplan": lambda: score(model, text, damping=Damping(tau, mode="absolute")).gain,
        "one backward per sample": lambda: per_sample(model.model, text, tau),
        "a plain forward and backward pass": lambda: plain_pass(model, text),
    }
    dense = per_sample(in_float64(model.model), text, tau)
    part = partition(model.model, "layers")[LAYER]
    block = LinearisedBlock(model.model, part.named_parameters, checked_batches(text))
    gradient, ggn = block.gradient().numpy(), find_curvature("ggn")
    damping = float(score(model, text, curvature="mc-fisher").damping[0])  # at tr(H) / d no CG of 80 steps converges
    low, high = ggn(block, 1e-6).enclosure(damping)
    newton = {
        "zetaplan": lambda: ggn(block, 1e-3).gain(damping),
        "curvlinops, CG to 1e-2": lambda: by_cg(model, text, part, damping, gradient, 80, 1e-2),
        "80 steps of CG": lambda: by_cg(model, text, part, damping, gradient, 80, 0.0),
    }
    result = {
        "command": "python -m benchmarks.side_by_side",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before",
        "text": text.description,
        "tau": {"block-fisher": tau, "ggn": damping},
        "half_width_of_the_truth": (high - low) / (high + low),
        "quantities": {},
    }
    for name, runs in (("block-fisher", fisher), ("ggn", newton)):
        rounds = [{key: timed(run) for key, run in runs.items()} for _ in range(options.rounds)]
        truth = dense if name == "block-fisher" else (low + high) / 2
        result["quantities"][name] = {
            key: {
                "median_processor_seconds": round(statistics.median(r[key][0] for r in rounds), 2),
                "median_ratio_to_zetaplan": round(statistics.median(r[key][0] / r["zetaplan"][0] for r in rounds), 2),
                "largest_relative_error": error(rounds[0][key][1], truth),
            }
            for key in runs
        }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
