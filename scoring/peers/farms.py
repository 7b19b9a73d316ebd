"""FARMS: the heavy-tail exponent without the bias of the matrix's shape (Hu et al. 2025, "Eigenspectrum Analysis of
Neural Networks without Aspect Ratio Bias", ICML, arXiv 2506.06280).

The spectra of sub-matrices of one fixed aspect ratio are averaged, that is pooled, and fitted once, as in `htsr`.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.htsr import spectrum, tail_exponent
from zetaplan.scoring.peers.validation import Array, array


def farms_alpha(
    weight: ArrayLike, *, aspect_ratio: float = 2.0, width: int = 128, windows: int = 4, bins: int = 100
) -> float:
    """The exponent alpha > 1 of a weight (out, in), equal to that of its transpose.

    Sub-matrices have `width` columns (fewer if the weight is smaller) along the shorter side and aspect_ratio * width
    rows along the longer one, at `windows` evenly spaced positions per side, edge to edge.

    Raises:
        ScoringError: bad data, an option out of range, a weight too small, or a spectrum without a tail.
    """
    matrix = array("weight", weight, ndim=2)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    if not 1 <= aspect_ratio < float("inf"):
        raise ScoringError(f"aspect_ratio: expected rows / columns of at least 1, got {aspect_ratio}")
    columns = min(width, tall.shape[1], int(tall.shape[0] / aspect_ratio))
    if columns < 2 or windows < 1:
        raise ScoringError(
            f"weight: shape {matrix.shape} at width {width}, aspect_ratio {aspect_ratio}, windows {windows} has no "
            "sub-matrix of at least 2 columns"
        )
    parts = _submatrices(tall, int(columns * aspect_ratio), columns, windows)
    return tail_exponent(np.sort(np.concatenate([spectrum(part) for part in parts])), bins=bins)


def _submatrices(matrix: Array, rows: int, columns: int, windows: int) -> list[Array]:
    tops, lefts = _places(matrix.shape[0] - rows, windows), _places(matrix.shape[1] - columns, windows)
    return [matrix[top : top + rows, left : left + columns] for top in tops for left in lefts]


def _places(last: int, windows: int) -> list[int]:
    """Evenly spaced starts from 0 to last, without duplicates."""
    return [int(start) for start in np.unique(np.linspace(0, last, windows).astype(int))]
