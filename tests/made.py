"""Scores made by hand, and edits of plan files by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zetaplan._files import canonical, digest
from zetaplan.bits.quantize import quantize
from zetaplan.menus.bits import BitsFacts, Weight
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.scoring import Scores

LAYERS = 6


def made_scores(**changes: Any) -> Scores:
    """Six layers with unequal gains, sizes and ranks; about a third of the gain is noise floor."""
    k = np.arange(LAYERS)
    fields: dict[str, Any] = {
        "names": tuple(f"model.layers.{i}" for i in k),
        "gain": np.array([0.9, 0.1 + 0.2, 0.55, 1 / 3, 0.7, 0.25]),
        "low": np.array([0.9, 0.1 + 0.2, 0.55, 1 / 3, 0.7, 0.25]),
        "high": np.array([0.9, 0.1 + 0.2, 0.55, 1 / 3, 0.7, 0.25]),
        "noise_floor": np.array([0.3, 0.1, 0.2, 0.1, 0.2, 0.3]),
        "gradient_norm": 0.5 + 0.1 * k,
        "standard_error": 0.01 + 0.003 * k,
        "cross_fitted": np.array([[0.6, 0.7], [0.2, 0.3], [0.4, 0.5], [0.3, 0.35], [0.5, 0.6], [0.0, -0.1]]),
        "effective_dimension": 3.2 + 0.5 * k,
        "decrease": None,
        "held_out_decrease": None,
        "parameters": 1000 + 10 * k,
        "linear_parameters": 900 + 7 * k,
        "rank_parameters": 60 + k,
        "damping": np.full(LAYERS, 0.05),
        "curvature": "block-fisher",
        "blocks": "layers",
        "loss": 3.25,
        "left_out": ("model.norm.weight",),
        "provenance": {"model": "tiny", "sequences": 32, "damping": {"value": 1.0}, "seconds": 1.5},
    }
    return Scores(**{**fields, **changes})


Edit = Callable[[dict[str, Any]], None]


def edited(path: Path, edit: Edit, *, resealed: bool = False) -> Path:
    """The file after an edit by hand; `resealed`, by somebody who also recomputes both digests."""
    value = json.loads(path.read_text())
    edit(value)
    if resealed:
        value["scores_sha256"] = digest(canonical(value["scores"]))
        value["sha256"] = digest(canonical({**value, "sha256": ""}))
    path.write_text(canonical(value))
    return path


def made_format_menu() -> Menu:
    """Three layers with two linears each and an embedding, in three formats; losses fall with the bits, not evenly."""
    names = [f"model.layers.{i}.mlp.{part}" for i in range(3) for part in ("up_proj", "down_proj")]
    shapes = [(64, 32) if "up" in name else (32, 64) for name in names]
    weights = {
        "model.embed_tokens": (
            Weight(name="model.embed_tokens.weight", module="model.embed_tokens", rows=96, columns=32),
        ),
        **{
            name: (Weight(name=f"{name}.weight", module=name, layer=name[:14], rows=rows, columns=columns),)
            for name, (rows, columns) in zip(names, shapes, strict=True)
        },
    }
    labels, bits = ("q4_0", "q5_0", "q8_0"), (4.5, 5.5, 8.5)
    facts = BitsFacts(model="made", model_sha256="0" * 64, weights=weights, others={"model.norm.weight": 32})
    numel = [sum(weight.numel for weight in members) for members in weights.values()]
    return Menu(
        names=tuple(weights),
        options=(labels,) * len(weights),
        losses=tuple(tuple((1 + k % 3) * 2.0**-b for b in bits) for k in range(len(weights))),
        costs=tuple(tuple((n * b / 8,) for b in bits) for n in numel),
        budgets=("size",),
        units=("bytes",),
        loss_unit="nats per token",
        estimator="measured",
        provenance=facts.model_dump(mode="json"),
    )


def made_formats() -> ChoicePlan:
    """A plan of formats from the menu made by hand."""
    return quantize(made_format_menu(), bits_per_weight=5.5)
