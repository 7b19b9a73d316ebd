"""MoLA: 2, 4, 6, 8 experts by quarter of the depth (Gao et al. 2024, "Higher Layers Need More LoRA Experts",
arXiv 2402.08562).
"""

import numpy as np

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.rounding import Counts


def mola_experts(layers: int, *, quarters: tuple[int, int, int, int] = (2, 4, 6, 8)) -> Counts:
    """Experts (K,) for K = `layers` >= 1: layer k lies in quarter floor(4 k / K).

    Raises:
        ScoringError: no layer, or a quarter without experts.
    """
    if layers < 1:
        raise ScoringError(f"layers: expected at least 1, got {layers}")
    if len(quarters) != 4 or min(quarters) < 1:
        raise ScoringError(f"quarters: expected four numbers of experts, each at least 1, got {quarters}")
    return np.asarray(quarters, dtype=np.int64)[4 * np.arange(layers) // layers]
