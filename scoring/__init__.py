"""Where the scores come from: the curvature-adjusted gain zeta^2 = g'(H + tau I)^-1 g of every block of a model.

Names load when first used: whoever only reads scores does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zetaplan.scoring.curvature import Curvature, curvature_names
    from zetaplan.scoring.curvature._damping import Damping
    from zetaplan.scoring.measure import score, score_each
    from zetaplan.scoring.model.load import LoadedModel, load_model
    from zetaplan.scoring.scores import Scores
    from zetaplan.scoring.text.sequences import Sequences
    from zetaplan.scoring.text.texts import read_sequences, sequences_between

_HOME = {
    "Curvature": "curvature",
    "Damping": "curvature._damping",
    "LoadedModel": "model.load",
    "Scores": "scores",
    "Sequences": "text.sequences",
    "curvature_names": "curvature",
    "load_model": "model.load",
    "read_sequences": "text.texts",
    "score": "measure",
    "score_each": "measure",
    "sequences_between": "text.texts",
}

__all__ = [
    "Curvature",
    "Damping",
    "LoadedModel",
    "Scores",
    "Sequences",
    "curvature_names",
    "load_model",
    "read_sequences",
    "score",
    "score_each",
    "sequences_between",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"zetaplan.scoring has no name {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
