"""Layer ablation: the rise of the loss when a layer is replaced by the identity (as in Men et al. 2024, ShortGPT)."""

from numpy.typing import ArrayLike

from zetaplan.scoring.peers.validation import Array, array


def ablation_scores(without: ArrayLike, loss: float) -> Array:
    """Scores (K,) in the loss's unit, from the losses (K,) without each layer and the loss of the whole model.

    Raises:
        ScoringError: bad losses.
    """
    return array("without", without, ndim=1) - loss
