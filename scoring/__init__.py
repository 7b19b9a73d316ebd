"""Where the scores come from: the curvature-adjusted gain zeta^2 = g'(H + tau I)^-1 g of every block of a model."""

from zetaplan.scoring.curvature import Curvature, curvature_names
from zetaplan.scoring.damping import Damping
from zetaplan.scoring.measure import score, score_each
from zetaplan.scoring.models import LoadedModel, load_model
from zetaplan.scoring.scores import Scores
from zetaplan.scoring.sequences import Sequences
from zetaplan.scoring.texts import read_sequences

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
]
