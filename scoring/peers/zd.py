"""ZD, the z-score distribution (Dumitru et al. 2024, "Layer-Wise Quantization", arXiv 2406.17415): the share of a
layer's weights whose z-score (w - mean) / standard deviation is above 1. A larger share indicates a more important
layer.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.validation import array


def zd_score(weight: ArrayLike) -> float:
    """Share in [0, 1/2) of the entries of a weight (out, in) above its mean by more than a standard deviation.

    Raises:
        ScoringError: bad data, or a weight whose entries are all equal.
    """
    matrix = array("weight", weight, ndim=2)
    if np.ptp(matrix) == 0:
        raise ScoringError(f"weight: every entry is {matrix[0, 0]}, so no z-score is defined; leave this layer out")
    return float(np.mean(matrix - matrix.mean() > matrix.std()))
