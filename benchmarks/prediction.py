"""Does zeta^2 predict? Lemma 1 on SmolLM2-135M, for every surrogate: `python -m benchmarks.prediction`.

Each decoder layer alone takes the step d* = -(H + tau I)^-1 g of a surrogate, and the loss is measured on the text that
was scored and on held-out text, against the promise zeta^2 / 2. One surrogate after the other; what is in the result
file already is not run again. Writes results/prediction.json.
"""

import argparse
import json
import time

import numpy as np
import torch

from benchmarks import common
from zetaplan.errors import ScoringError
from zetaplan.scoring import Damping, curvature_names, load_model, read_sequences, score, sequences_between

RESULT = common.result("prediction")


def measured(model, name, sequences, length, damping):
    """One row of the table, with the numbers of every layer; or why there is none."""
    text, fresh = (
        read(["pydoc"], model.tokenizer, sequences=sequences, length=length)
        for read in (read_sequences, sequences_between)
    )
    started = time.perf_counter()
    try:
        found = score(model, text, curvature=name, damping=damping, held_out=fresh, batch_size=4)
    except ScoringError as error:
        return {"refused": str(error), "seconds": round(time.perf_counter() - started, 1)}
    promise = found.gain / 2
    kept = np.isfinite(found.decrease)
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "tau": float(found.damping.mean()),
        "gain": found.gain.tolist(),
        "low": found.low.tolist(),
        "high": found.high.tolist(),
        "decrease": np.nan_to_num(found.decrease, nan=-1e9).tolist(),
        "held_out_decrease": np.nan_to_num(found.held_out_decrease, nan=-1e9).tolist(),
        "layers_that_fell": int((found.decrease > 0).sum()),
        "layers_that_fell_held_out": int((found.held_out_decrease > 0).sum()),
        "median_share_of_the_promise": float(np.median(found.decrease[kept] / promise[kept])),
        "median_share_held_out": float(np.median(found.held_out_decrease[kept] / promise[kept])),
        "rank_correlation": round(found.rank_correlation(found.decrease), 3),
        "rank_correlation_held_out": round(found.rank_correlation(found.held_out_decrease), 3),
        "reliability": found.reliability,
        "noise_share": None if found.noise_floor is None else float(found.noise_floor.sum() / found.gain.sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--damping", type=float, default=1.0, help="relative to the mean curvature")
    parser.add_argument("--tau", type=float, help="absolute, instead")
    parser.add_argument("--surrogate", action="append", help="repeatable; all but the Hessian if not given")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = load_model("smollm2")
    done = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": {}}
    names = options.surrogate or [name for name in curvature_names() if name != "hessian"]
    for name in sorted(names, key=lambda name: name in ("ggn", "token-fisher", "nystrom")):
        damping = Damping(options.tau, mode="absolute") if options.tau else Damping(options.damping)
        said = f"tau {options.tau:g}" if options.tau else f"damping {options.damping:g}"
        key = f"{name}, {options.sequences} x {options.length} tokens, {said}"
        if key in done["rows"]:
            continue
        row = measured(model, name, options.sequences, options.length, damping)
        done["rows"][key] = {"surrogate": name, **row}
        done |= {
            "command": "python -m benchmarks.prediction",
            "machine": f"{common.machine()}, not measured on a GPU",
            "model": model.name,
            "model_sha256": model.sha256,
            "text": "pydoc_data.topics",
        }
        common.save("prediction", done)
        print(key, {k: v for k, v in row.items() if not isinstance(v, list)}, flush=True)


if __name__ == "__main__":
    main()
