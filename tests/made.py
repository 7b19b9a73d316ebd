"""Scores made by hand, and edits of plan files by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zetaplan._files import canonical, digest
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
