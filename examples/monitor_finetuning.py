"""Fine-tune a model and let a plan watch: `python examples/monitor_finetuning.py`.

Every few steps a callback of the transformers Trainer scores the model on the same probe text and hands the scores to
a `Monitor`, which says whether the plan made before training is still within the regret that is tolerated. The model
here is a tiny Llama with random weights, and the text is this file, so that the example takes seconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

import zetaplan as zp

LENGTH = 64
LAYERS = 4


class MonitorCallback(TrainerCallback):
    """Reads the monitor every `every` steps; `readings` holds one (step, reading) for each."""

    def __init__(self, monitor: zp.Monitor, probe: dict[str, torch.Tensor], every: int) -> None:
        self.monitor, self.probe, self.every = monitor, probe, every
        self.readings: list[tuple[int, zp.Reading]] = []

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step % self.every:
            return
        scores = zp.score(model, self.probe)  # the model is left as it was found, in training
        self.readings.append((state.global_step, self.monitor.update(scores)))


def tiny_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            max_position_embeddings=LENGTH,
        )
    )


def windows() -> torch.Tensor:
    """The bytes of this file in windows of LENGTH, (N, LENGTH)."""
    tokens = torch.tensor(list(Path(__file__).read_bytes()))
    return tokens[: len(tokens) // LENGTH * LENGTH].view(-1, LENGTH)


def finetune(steps: int = 24, every: int = 4, tolerance: float = 0.01) -> MonitorCallback:
    """Train for some steps under the eyes of a monitor; the callback that read it."""
    ids = windows()
    probe, training = {"input_ids": ids[:8]}, [{"input_ids": row, "labels": row} for row in ids[8:]]
    model = tiny_model()
    plan = zp.prune(zp.score(model, probe), sparsity=0.5, upper=0.8, paper=True)
    callback = MonitorCallback(zp.Monitor(plan, tolerance=tolerance), probe, every)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=4,
            learning_rate=3e-3,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
        )
        Trainer(model, arguments, train_dataset=training, callbacks=[callback]).train()
    return callback


if __name__ == "__main__":
    for step, reading in finetune().readings:
        print(f"step {step}: {reading}")
