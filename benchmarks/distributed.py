"""Are the scores of several processes those of one? A random Llama of six layers on 1, 2 and 4 ranks, joined by gloo.

The largest relative difference to one rank, over blocks and numbers; float32 has 6e-8 per operation.

    python benchmarks/distributed.py               writes benchmarks/results/distributed.json
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import common
from zetaplan.scoring import score_each

RESULT = common.result("distributed")
SURROGATES = ("block-fisher", "diagonal-fisher")
COLUMNS = ("gain", "noise_floor", "cross_fitted", "gradient_norm", "damping")


def scores_of_this_rank() -> dict[str, dict[str, list[float]]]:
    """What `score_each` returns on this rank, the same model and text on each."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
    )
    text = {"input_ids": torch.randint(0, 512, (16, 64))}
    found = score_each(LlamaForCausalLM(config), text, curvatures=SURROGATES, batch_size=4, distributed=True)
    return {name: {c: np.asarray(getattr(s, c)).ravel().tolist() for c in COLUMNS} for name, s in found.items()}


def on_ranks(size: int) -> list[dict[str, dict[str, list[float]]]]:
    """The scores that each of so many processes returns."""
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        port = listening.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(  # noqa: S603  this very file
            [sys.executable, __file__, "--rank"],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"a process of {size} failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def difference(one: dict[str, dict[str, list[float]]], other: dict[str, dict[str, list[float]]]) -> float:
    """The largest relative difference, over surrogates, numbers and blocks."""
    return max(
        float(np.max(np.abs(np.divide(other[name][c], values) - 1)))
        for name, columns in one.items()
        for c, values in columns.items()
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rank", action="store_true", help="be one of the processes")
    if arguments.parse_args().rank:
        print(json.dumps(scores_of_this_rank()))
        return
    [alone] = on_ranks(1)
    result = {
        "torch": version("torch"),
        "surrogates": SURROGATES,
        "columns": COLUMNS,
        "largest_relative_difference_to_one_rank": {
            str(size): max(difference(alone, found) for found in on_ranks(size)) for size in (2, 4)
        },
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
