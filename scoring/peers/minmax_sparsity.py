"""Linear map from scores to sparsity, shared by AlphaPruning and LayerIF.

    m = (1 - epsilon) + 2 epsilon (s - min s) / (max s - min s),    rho = m P / sum_k n_k m_k,    P = sparsity sum_k n_k

A layer with a higher score is pruned more; sum_k n_k rho_k = P.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.scoring.peers.validation import Array, array, fractions, positive, within


def minmax(values: Array) -> Array:
    """(v - min) / (max - min); 1/2 for every value if all are equal."""
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else np.full_like(values, 0.5)


def minmax_sparsity(scores: ArrayLike, sizes: ArrayLike, sparsity: float, epsilon: float) -> Array:
    """Sparsity rho (K,), fractions, for scores (K,), sizes (K,) in parameters, a global sparsity and epsilon in [0, 1].

    Raises:
        ScoringError: bad data, or a layer's sparsity would be outside [0, 1].
    """
    score = array("scores", scores, ndim=1)
    size = positive("sizes", sizes, shape=score.shape)
    within("sparsity", sparsity, 0, 1)
    within("epsilon", epsilon, 0, 1)
    ratio = (1 - epsilon) + 2 * epsilon * minmax(score)
    if sparsity == 0:
        return np.zeros_like(ratio)
    return fractions("scores", ratio * sparsity * size.sum() / (size @ ratio))
