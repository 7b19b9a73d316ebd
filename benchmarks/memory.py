"""Peak memory and time of `zetaplan score`: as a whole, layer by layer, and streamed; every run a process of its own.

SmolLM2 at the defaults of the command, and random Llamas in bfloat16 that are written once to a temporary folder.
"whole" is the pass that holds the activations of all layers, "by layer" the same command without `--stream`. The
seconds of the processor (user and system) change less with other work on the machine than those of the clock.

    python benchmarks/memory.py                    SmolLM2 and 1.3B; writes benchmarks/results/memory.json
    python benchmarks/memory.py 8B                 adds or replaces one of smollm2, 1.3B, 8B
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import common
from zetaplan.scoring import load_model

#: Sizes of the random models, and the largest memory that is wanted, GB.
SIZES: dict[str, dict[str, int]] = {
    "1.3B": {"hidden_size": 2048, "intermediate_size": 5504, "num_hidden_layers": 24, "num_attention_heads": 16},
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
    },
}
WANTED = {"smollm2": 3.0, "1.3B": 3.0, "8B": 6.0}

#: Runs the command with passes as a whole, whatever their size.
WHOLE = "from zetaplan.scoring.backward import way; way.SMALL = 1 << 60; from zetaplan.__main__ import main; main()"


def written(name: str, folder: Path) -> Path:
    """A random Llama in the folder, one file per layer, with the tokenizer of SmolLM2."""
    config = LlamaConfig(**{"vocab_size": 49152, **SIZES[name]}, dtype="bfloat16", architectures=["LlamaForCausalLM"])
    with torch.device("meta"):
        shapes = {key: tuple(value.shape) for key, value in LlamaForCausalLM(config).state_dict().items()}
    torch.manual_seed(0)
    noise = torch.randn(1 << 24).mul_(0.02).to(torch.bfloat16)
    places, total = {}, 0
    for number, keys in enumerate(_by_layer(shapes)):
        tensors = {key: _values(noise, shapes[key]) for key in keys}
        total += sum(value.nbytes for value in tensors.values())
        places |= dict.fromkeys(keys, f"model-{number:05d}.safetensors")
        save_file(tensors, folder / f"model-{number:05d}.safetensors", {"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config.save_pretrained(folder)
    load_model("smollm2").tokenizer.save_pretrained(folder)
    return folder


def _by_layer(shapes: dict[str, tuple[int, ...]]) -> Iterator[list[str]]:
    stems = list(dict.fromkeys(".".join(key.split(".")[:3]) for key in shapes))
    for stem in stems:
        yield [key for key in shapes if ".".join(key.split(".")[:3]) == stem]


def _values(noise: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Ones for a norm, else the noise from a random place on, repeated."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    count, start = shape[0] * shape[1], int(torch.randint(len(noise), ()))
    rolled = torch.cat([noise[start:], noise[:start]])
    return rolled.repeat(-(-count // len(noise)))[:count].reshape(shape)


def run(way: str, model: str, *options: str) -> dict[str, Any]:
    """Peak memory and time of one command."""
    program = ["-c", WHOLE] if way == "whole" else ["-m", "zetaplan"]
    streamed = ["--stream"] if way == "streamed" else []
    with tempfile.TemporaryDirectory() as folder:
        command = ["score", model, "--data", "pydoc", "--no-cache", "--quiet", "--out", f"{folder}/scores.json"]
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *program, *command, *options, *streamed])  # noqa: S603
        _, status, used = os.wait4(process.pid, 0)
        clock = time.perf_counter() - started
    if status:
        raise SystemExit(f"{way} of {model} ends with {os.waitstatus_to_exitcode(status)}")
    peak = used.ru_maxrss * 1024 / 1e9
    return {
        "way": way,
        "peak_gb": round(peak, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "clock_seconds": round(clock, 1),
    }


def measured(name: str, ways: list[str], folder: Path | None, sequences: int) -> Iterator[dict[str, Any]]:
    """The runs of one model, one after another."""
    if name == "smollm2":
        for way in ways:
            yield {"model": name, "sequences": 32, "length": 128, "wanted_gb": WANTED[name], **run(way, name)}
        return
    with tempfile.TemporaryDirectory() as temporary:
        source = folder or written(name, Path(temporary))
        for way in ways:
            found = run(way, str(source), "--sequences", str(sequences), "--length", "64")
            yield {"model": name, "sequences": sequences, "length": 64, "wanted_gb": WANTED[name], **found}


def save(found: dict[str, Any]) -> None:
    """Add a run to the results, in place of an earlier one of this model and way."""
    file = common.result("memory")
    known = json.loads(file.read_text())["runs"] if file.exists() else []
    others = [one for one in known if (one["model"], one["way"]) != (found["model"], found["way"])]
    environment = common.environment("torch", "transformers")
    common.save("memory", {"machine": common.machine(), "runs": [*others, {**found, "environment": environment}]})


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("models", nargs="*", default=["smollm2", "1.3B"], help="smollm2, 1.3B, 8B")
    arguments.add_argument("--ways", default="whole,by layer,streamed", help="the runs, separated by commas")
    arguments.add_argument("--folder", type=Path, help="folder with the weights of an earlier run")
    arguments.add_argument("--sequences", type=int, default=8, help="sequences of 64 tokens for the random models")
    given = arguments.parse_args()
    for name in given.models:
        for found in measured(name, given.ways.split(","), given.folder, given.sequences):
            print(json.dumps(found))
            save(found)


if __name__ == "__main__":
    main()
