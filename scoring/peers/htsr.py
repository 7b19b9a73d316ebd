"""HTSR: the power-law exponent of a weight's spectrum (Martin & Mahoney 2021, "Implicit Self-Regularization in Deep
Neural Networks", JMLR 22; used by AlphaPruning and AlphaLoRA).

Above lambda_min the eigenvalues of W'W follow p(lambda) ~ lambda^-alpha; maximum likelihood (Hill) gives
alpha = 1 + n / sum_i ln(lambda_i / lambda_min) over the n largest. lambda_min is the eigenvalue within
[0.95, 1.5] times the histogram's peak whose fit has the smallest Kolmogorov-Smirnov distance.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.validation import Array, array


def htsr_alpha(weight: ArrayLike, *, bins: int = 100) -> float:
    """The exponent alpha > 1 of a weight (out, in); a small alpha is heavy-tailed, which indicates good training.

    Raises:
        ScoringError: bad data, or a spectrum without a tail (fewer than two distinct non-zero eigenvalues).
    """
    return tail_exponent(spectrum(array("weight", weight, ndim=2)), bins=bins)


def spectrum(matrix: Array) -> Array:
    """Non-zero eigenvalues of W'W, ascending, without those at the level of rounding."""
    eigenvalues: Array = np.square(np.linalg.svd(matrix, compute_uv=False)[::-1], dtype=np.float64)
    threshold = float(np.finfo(np.float64).eps) * float(eigenvalues[-1])
    return np.asarray(eigenvalues[eigenvalues > threshold])


def tail_exponent(eigenvalues: Array, *, bins: int = 100) -> float:
    """alpha of ascending positive eigenvalues, at the best lambda_min near the peak of their log-histogram."""
    if bins < 1:
        raise ScoringError(f"bins: expected at least 1, got {bins}")
    fits = [_fit(eigenvalues[start:]) for start in _starts(eigenvalues, bins)]
    if not fits:
        raise ScoringError("weight: the spectrum has no tail to fit; expected distinct non-zero eigenvalues")
    return min(fits)[1]


def _starts(eigenvalues: Array, bins: int) -> list[int]:
    if len(eigenvalues) < 2 or np.isclose(eigenvalues[0], eigenvalues[-1], rtol=1e-9):
        return []
    counts, edges = np.histogram(np.log10(eigenvalues), bins)
    peak = 10 ** edges[counts.argmax()]
    near = (eigenvalues >= 0.95 * peak) & (eigenvalues <= 1.5 * peak) & (eigenvalues < eigenvalues[-1])
    return [int(start) for start in np.flatnonzero(near)]


def _fit(tail: Array) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance and alpha of a tail whose first entry is lambda_min."""
    ratio, n = tail / tail[0], len(tail)
    alpha = 1 + n / float(np.log(ratio).sum())
    distance = np.abs(1 - ratio ** (1 - alpha) - np.arange(n) / n).max()
    return float(distance), alpha
