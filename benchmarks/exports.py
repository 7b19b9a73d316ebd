"""Compares the dry run of LoRA settings with PEFT itself on configurations drawn at random.

Run: python -m benchmarks.exports [CONFIGURATIONS]. It prints each disagreement and how many configurations PEFT takes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.face.architectures import tiny
from tests.face.peft_oracle import drawn, outcome
from tests.face.test_peft_rules import LAYERS, disagreement


def main(count: int) -> None:
    model = tiny("llama", num_hidden_layers=LAYERS)
    with TemporaryDirectory() as folder:
        found = [disagreement(seed, model, Path(folder) / "adapter_config.json") for seed in range(count)]
    taken = sum(outcome(drawn(seed), model) is not None for seed in range(count))
    print(*filter(None, found), sep="\n")
    print(f"{count} configurations, of which PEFT takes {taken}: {sum(map(bool, found))} disagreements")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
