"""ECoFLaP: the gradient norm of a layer without a backward pass (Sung, Yoon & Bansal 2024, "ECoFLaP: Efficient
Coarse-to-Fine Layer-Wise Pruning for Vision-Language Models", ICLR).

L+ and L- are the losses at weights moved by +step z and -step z along a random direction z of the layer. The score is
the mean over directions of |L+ - L-| / (2 step). For z standard normal and a small step it is sqrt(2 / pi) |g|.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.validation import array


def ecoflap_score(above: ArrayLike, below: ArrayLike, step: float) -> float:
    """The score >= 0 of a layer, from losses (P,) at +step and at -step along P directions, step > 0.

    Raises:
        ScoringError: losses of different shapes, or a step that is not positive.
    """
    plus, minus = array("above", above, ndim=1), array("below", below, ndim=1)
    if plus.shape != minus.shape:
        raise ScoringError(f"below: expected {plus.size} losses as above, got {minus.size}")
    if not 0 < step < float("inf"):
        raise ScoringError(f"step: expected a positive number, got {step}")
    return float(np.abs(plus - minus).mean() / (2 * step))
