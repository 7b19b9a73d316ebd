"""The names of `zetaplan.scoring` and the modules that define them."""

from .curvature import Curvature as Curvature
from .curvature import curvature_names as curvature_names
from .curvature._damping import Damping as Damping
from .measure import score as score
from .measure import score_each as score_each
from .model.load import LoadedModel as LoadedModel
from .model.load import load_model as load_model
from .scores import Scores as Scores
from .text.sequences import Sequences as Sequences
from .text.texts import read_sequences as read_sequences
from .text.texts import sequences_between as sequences_between

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
