"""AVSS, the activation variance-sparsity score (Song et al. 2024, "AVSS: Layer Importance Evaluation in Large Language
Models via Activation Variance-Sparsity Analysis", arXiv 2411.02117):

    AVSS_k = (variance_k / sum_j variance_j) / sparsity_k,    sparsity = share of activations with |a| < threshold
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.validation import Array, array


def avss_scores(activations: Sequence[ArrayLike], *, threshold: float) -> Array:
    """Scores (K,) >= 0 for K arrays of activations (tokens, hidden); `threshold` > 0 in the activations' unit.

    Raises:
        ScoringError: bad data, constant activations, or a layer with no activation below the threshold.
    """
    layers = [array(f"activations of layer {k}", layer, ndim=2) for k, layer in enumerate(activations)]
    if not layers:
        raise ScoringError("activations: expected one array per layer, got none")
    variance = np.array([layer.var() for layer in layers])
    if not variance.sum() > 0:
        raise ScoringError("activations: every layer is constant, so the variances cannot be normalised")
    sparsity = np.array([np.mean(np.abs(layer) < threshold) for layer in layers])
    if (sparsity == 0).any():
        raise ScoringError(
            f"threshold: layer {int(np.argmin(sparsity))} has no activation below {threshold}, so its score is "
            "infinite; raise the threshold"
        )
    return np.asarray(variance / variance.sum() / sparsity)
