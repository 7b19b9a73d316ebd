"""OWL: sparsity from outlier shares (Yin et al. 2023, "Outlier Weighed Layerwise Sparsity (OWL)", arXiv 2310.05175).

D_k is the percentage of entries of a layer's |W| |X| above M times their mean. Layers with more outliers are pruned
less: rho = 1 - (v - mean v + (1 - sparsity)) with v = 2 L minmax(D), so mean rho = sparsity and max - min = 2 L.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.minmax_sparsity import minmax
from zetaplan.scoring.peers.validation import Array, array, fractions, within


def owl_outliers(weight: ArrayLike, input_norms: ArrayLike, *, multiple: float = 5.0) -> float:
    """D in percent, for a weight (out, in) and the 2-norms (in,) of its input features over the tokens.

    Raises:
        ScoringError: shapes that do not match, negative norms, or a multiple that is not positive.
    """
    matrix, norms = np.abs(array("weight", weight, ndim=2)), array("input_norms", input_norms, ndim=1)
    if norms.shape != matrix.shape[1:] or (norms < 0).any():
        raise ScoringError(f"input_norms: expected {matrix.shape[1]} numbers >= 0, one per column of the weight")
    if not multiple > 0:
        raise ScoringError(f"multiple: expected a positive number, got {multiple}")
    product = matrix * norms
    return 100 * float(np.mean(product > multiple * product.mean()))


def owl_sparsity(outliers: ArrayLike, sparsity: float, *, spread: float = 0.08) -> Array:
    """Sparsity (K,) in [0, 1] of mean `sparsity`, for outlier shares D (K,); `spread` is L.

    The mean gives every layer the same weight, whatever its size.

    Raises:
        ScoringError: bad data, or a layer's sparsity would be outside [0, 1].
    """
    within("sparsity", sparsity, 0, 1)
    within("spread", spread, 0, 0.5)
    kept = 2 * spread * minmax(array("outliers", outliers, ndim=1))
    return fractions("outliers", sparsity + kept.mean() - kept)
