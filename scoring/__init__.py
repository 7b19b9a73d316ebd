"""Where the scores come from: the curvature-adjusted gain zeta^2 = g'(H + tau I)^-1 g of every block of a model.

Names load when first used: whoever only reads scores does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zetaplan.scoring.curvature import Curvature, curvature_names
    from zetaplan.scoring.damping import Damping
    from zetaplan.scoring.measure import score, score_each
    from zetaplan.scoring.models import LoadedModel, load_model
    from zetaplan.scoring.scores import Scores
    from zetaplan.scoring.sequences import Sequences
    from zetaplan.scoring.texts import read_sequences, sequences_between

_HOME = {
    "Curvature": "curvature",
    "Damping": "damping",
    "LoadedModel": "models",
    "Scores": "scores",
    "Sequences": "sequences",
    "curvature_names": "curvature",
    "load_model": "models",
    "read_sequences": "texts",
    "score": "measure",
    "score_each": "measure",
    "sequences_between": "texts",
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
