"""What a plan of formats is worth: SmolLM2 in GGUF types and in integers, every estimator at the bytes of uniform.

Losses are measured on 8 sequences of 128 tokens from the first half of a text, calibration uses 32 others of it. The
divergence from the dense model and the perplexity are reported on 32 windows of 256 tokens that are spread over the
second half. Differences of the loss are paired, window by window, to the uniform plan of the same bytes.

    python -m benchmarks.bits --text wiki.valid.raw

One JSON file per cell, written when it is done: a run that was stopped goes on where it was. With --write the cells
become benchmarks/results/bits.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import common
from zetaplan._files import write
from zetaplan._interval import mean_interval
from zetaplan.bits.presets import raised
from zetaplan.bits.quantize import quantize
from zetaplan.bits.sizes import sizes_of
from zetaplan.documents.choices import load_menu, save_menu
from zetaplan.measuring.measure import measure
from zetaplan.menus.bits import bits_facts
from zetaplan.menus.menu import Menu
from zetaplan.models.operating_point import OperatingPoint
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import matrices, others, weights
from zetaplan.runtimes import find_runtime
from zetaplan.scoring import LoadedModel, load_model, read_sequences
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.text.sequences import checked_batches

GGUF = ("mxfp4", "q4_0", "q5_0", "q8_0")  # without q4_1, in which the file is stored
INTEGERS = ("int2-g64", "int3-g64", "int4-g64", "int5-g64", "int6-g64", "int8-g64")
WINDOWS, LENGTH, TOGETHER = 32, 256, 8
#: A menu by name: formats, runtime, blocks, estimator.
MENUS = {
    "linear by module": ("modules", "linear"),
    "Fisher by module": ("modules", "fisher"),
    "K-FAC by module": ("modules", "kfac"),
    "measured by layer": ("layers", "measured"),
    "first order by module": ("modules", "first-order"),
}


@dataclass(frozen=True, eq=False)
class Bench:
    loaded: LoadedModel
    measuring: Path
    reporting: Path
    cells: Path

    @cached_property
    def windows(self) -> list[Tensor]:
        """Groups of windows of the reported text, which are spread over it."""
        ids = torch.tensor(self.loaded.tokenizer(self.reporting.read_text(), verbose=False)["input_ids"])
        starts = np.linspace(0, len(ids) - LENGTH, WINDOWS).astype(int)
        rows = torch.stack([ids[start : start + LENGTH] for start in starts.tolist()])
        return list(rows.split(TOGETHER))

    @cached_property
    def points(self) -> list[OperatingPoint]:
        """The dense model on every group of windows."""
        model = self.loaded.model
        return [OperatingPoint(model, checked_batches(rows, model=model)) for rows in self.windows]

    def menu(self, name: str, formats: tuple[str, ...]) -> Menu:
        blocks, estimator = MENUS[name]
        file = self.cells / f"menu-{formats[0][:3]}-{blocks}-{estimator}.json"
        if not file.exists():
            text = read_sequences([str(self.measuring)], self.loaded.tokenizer, sequences=8, length=128)
            started = time.monotonic()
            menu = measure(self.loaded, formats, text, blocks=blocks, estimator=estimator, check=True, progress=True)
            save_menu(menu, file)
            write(file.with_suffix(".time"), f"{time.monotonic() - started:.1f}")
        return load_menu(file)

    def reported(self, name: str, labels: Mapping[str, str]) -> dict[str, list[float]]:
        """Divergence and loss of every window, with the matrices in these formats, by the name of the parameter."""
        file = self.cells / f"cell-{name}.json".replace(" ", "-").replace("/", "-")
        if not file.exists():
            write(file, json.dumps(self._evaluated(labels)))
        found: dict[str, list[float]] = json.loads(file.read_text())
        return found

    def _evaluated(self, labels: Mapping[str, str]) -> dict[str, list[float]]:
        rounded = _rounded(self.loaded.model, labels)
        with eval_mode(self.loaded.model), torch.no_grad():
            readings = [point.reading(rounded) for point in self.points]
        return {
            "divergence": [value for reading in readings for value in reading.divergence.tolist()],
            "loss": [value for reading in readings for value in reading.loss.tolist()],
        }


def _rounded(model: nn.Module, labels: Mapping[str, str]) -> dict[str, Tensor]:
    pairs = ((weight, find_quantizer(labels[weight.name])) for weight in weights(model) if weight.name in labels)
    return {
        weight.name: torch.stack([quantizer.rounded(matrix) for matrix in matrices(model, weight).float()])
        for weight, quantizer in pairs
    }


def rule(names: Sequence[str], layers: int) -> dict[str, str]:
    """The rule of llama.cpp's Q4_K_M with q8_0 for Q6_K, as llama-quantize writes it here, and q4_0 for Q4_K."""
    return {name: "q8_0" if raised(name, layers) else "q4_0" for name in names}


def table(
    bench: Bench,
    formats: tuple[str, ...],
    runtime: str,
    rivals: Mapping[str, Mapping[str, str]],
    menus: Sequence[str] = tuple(MENUS),
) -> list[dict[str, object]]:
    """Rivals, and for the bytes of each of them the plan of every menu."""
    rows: list[dict[str, object]] = []
    program = find_runtime(runtime)
    for rival, labels in rivals.items():
        known = {weight.name: weight for weight in weights(bench.loaded.model)}
        size = sum(program.size(find_quantizer(label), known[name]) for name, label in labels.items())
        size += sum(map(program.kept, others(bench.loaded.model).values()))
        base = bench.reported(rival, labels)
        rows.append(_row(rival, rival, size, base, base, None))
        for name in menus:
            plan = quantize(bench.menu(name, formats), size=size, runtime=runtime)
            facts = bits_facts(plan.menu)
            taken = {weight.name: plan.taken[block] for block, weight in facts.items()}
            cell = bench.reported(f"{rival}-{name}", taken)
            rows.append(_row(rival, name, sizes_of(plan).tensors, cell, base, plan.loss))
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _row(
    at: str,
    name: str,
    size: int,
    cell: Mapping[str, list[float]],
    base: Mapping[str, list[float]],
    promised: float | None,
) -> dict[str, object]:
    loss, divergence = np.array(cell["loss"]), np.array(cell["divergence"])
    difference = mean_interval(loss - np.array(base["loss"])) if cell is not base else None
    spread = mean_interval(divergence)
    return {
        "at the bytes of": at,
        "plan": name,
        "bytes": size,
        "perplexity": float(np.exp(loss.mean())),
        "divergence": [spread.mean, spread.low, spread.high],
        "difference": difference and [difference.mean, difference.low, difference.high],
        "promised": promised,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--cells", type=Path, default=Path("bits-cells"))
    parser.add_argument("--only", choices=("gguf", "integers"))
    parser.add_argument("--integer-menus", nargs="+", choices=tuple(MENUS), default=tuple(MENUS))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = options.text.read_text()
    halves = [options.cells / name for name in ("measuring.txt", "reporting.txt")]
    for file, part in zip(halves, (text[: len(text) // 2], text[len(text) // 2 :]), strict=True):
        write(file, part)
    bench = Bench(load_model(options.model), *halves, options.cells)
    names = [weight.name for weight in weights(bench.loaded.model)]
    layers = 1 + max(int(n.split("layers.")[1].split(".")[0]) for n in names if "layers." in n)
    rows: list[dict[str, object]] = []
    if options.only != "integers":
        rivals = {
            "uniform q5_0": dict.fromkeys(names, "q5_0"),
            "a rule like Q4_K_M": rule(names, layers),
        }
        rows += table(bench, GGUF, "llama.cpp", rivals)
    if options.only != "gguf":
        inside = [name for name in names if "layers." in name]
        outside = {name: "bf16" for name in names if "layers." not in name}
        uniform = {f"uniform {label}": outside | dict.fromkeys(inside, label) for label in ("int4-g64", "int3-g64")}
        rows += table(bench, INTEGERS, "vllm", uniform, options.integer_menus)
    if options.write:
        common.save("bits", {"environment": common.environment("torch", "transformers", "gguf"), "rows": rows})


if __name__ == "__main__":
    main()
