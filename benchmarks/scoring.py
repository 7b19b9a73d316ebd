"""What a score costs: `score` beside a plain forward and backward pass on SmolLM2, 32 sequences of 128 tokens, float32.

The runs alternate in one process, so that what else the machine does falls on all alike; the ratio of each round is
taken, and the median over the rounds reported: of wall-clock time, and of CPU time, which other work disturbs less
(set OMP_WAIT_POLICY=passive, so that waiting threads do not count).

    python benchmarks/scoring.py --rounds 5        writes benchmarks/results/scoring.json
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

from scipy.stats import spearmanr

from benchmarks import common
from zetaplan.scoring import Damping, LoadedModel, Sequences, load_model, read_sequences, score_each

RESULT = common.result("scoring")


def plain_pass(loaded: LoadedModel, sequences: Sequences) -> None:
    """What a training step does before the optimiser: all parameters get their gradient."""
    loaded.model.requires_grad_(True)
    loaded.model.zero_grad(set_to_none=True)
    loaded.model(**sequences.batch, use_cache=False).loss.backward()
    loaded.model.zero_grad(set_to_none=True)


def seconds(run: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return {"wall": round(time.perf_counter() - wall, 2), "cpu": round(time.process_time() - cpu, 2)}


def measure(loaded: LoadedModel, sequences: Sequences, rounds: int) -> dict[str, object]:
    runs: dict[str, Callable[[], object]] = {
        "plain": lambda: plain_pass(loaded, sequences),
        "block-fisher": lambda: score_each(loaded, sequences, curvatures=["block-fisher"]),
        "block-fisher and diagonal-fisher": lambda: score_each(
            loaded, sequences, curvatures=["block-fisher", "diagonal-fisher"]
        ),
    }
    plain_pass(loaded, sequences)
    times = [{name: seconds(run) for name, run in runs.items()} for _ in range(rounds)]
    ratios = {
        clock: {
            name: round(statistics.median(t[name][clock] / t["plain"][clock] for t in times), 3)
            for name in runs
            if name != "plain"
        }
        for clock in ("wall", "cpu")
    }
    return {"median_ratio": ratios, "seconds": times}


def gains(loaded: LoadedModel, sequences: Sequences) -> dict[str, object]:
    """The scores themselves, and how far the surrogates agree on the order of the layers."""
    surrogates = ["block-fisher", "diagonal-fisher", "gradient"]
    result: dict[str, object] = {}
    for scope in ("global", "block"):
        scores = score_each(loaded, sequences, curvatures=surrogates, damping=Damping(scope=scope))
        block = scores["block-fisher"]
        result[f"{scope} damping"] = {
            "gain": block.gain.round(4).tolist(),
            "noise_floor": block.noise_floor.round(4).tolist(),
            "diagonal_fisher_gain": scores["diagonal-fisher"].gain.round(0).tolist(),
            "rank_correlation_with_block_fisher": {
                name: round(float(spearmanr(block.gain, scores[name].gain).statistic), 3) for name in surrogates[1:]
            },
        }
    return result


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    loaded = load_model("smollm2")
    sequences = read_sequences("pydoc", loaded.tokenizer, sequences=32, length=128)
    result = {
        "machine": common.environment("torch", "transformers", "zetaplan"),
        "data": sequences.description,
        "cost": measure(loaded, sequences, rounds),
        "scores": gains(loaded, sequences),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["cost"], indent=2))


if __name__ == "__main__":
    main()
