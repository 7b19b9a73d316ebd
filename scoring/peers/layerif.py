"""LayerIF: experts and sparsity from layer influence scores S (Askari et al. 2025, "LayerIF: Estimating Layer Quality
for Large Language Models using Influence Functions", NeurIPS).

S_k is a sum of influences on the validation loss; a more negative S is a better trained layer. The influences are those
of DataInf (Kwon et al. 2024): for a weight matrix with gradients g_m of n training and v_j of validation samples,

    lambda = 0.1 mean_m |g_m|^2 / d,    r_j = (1/(n lambda)) sum_m [v_j - <g_m, v_j> / (lambda + |g_m|^2) g_m],
    s_i = -sum_j <r_j, g_i>,

which contains the gradients only in products. Experts use w = (max S - S)^beta, sparsity uses the min-max map; S may be
smoothed first (Savitzky-Golay).
"""

from typing import Literal

from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.minmax_sparsity import minmax_sparsity
from zetaplan.scoring.peers.rounding import Counts, check_total, largest_fractions, nearest_repaired, shares
from zetaplan.scoring.peers.validation import Array, array


def layerif_influences(own: ArrayLike, cross: ArrayLike, parameters: int) -> Array:
    """Influences s (n,) of the training samples for one weight matrix; those of a layer are the sum over its matrices.

    Args:
        own: (n, n) products <g_m, g_i> of training gradients.
        cross: (n, v) products <g_m, v_j> with validation gradients.
        parameters: d, the number of entries of the matrix.

    Raises:
        ScoringError: products of other shapes, gradients that are all zero, or d < 1.
    """
    products, outside = array("own", own, ndim=2), array("cross", cross, ndim=2)
    n = len(products)
    if products.shape != (n, n) or len(outside) != n:
        raise ScoringError(f"own, cross: expected (n, n) and (n, v), got {products.shape} and {outside.shape}")
    if parameters < 1:
        raise ScoringError(f"parameters: expected at least 1, got {parameters}")
    squares = products.diagonal()
    damping = 0.1 * float(squares.mean()) / parameters
    if not damping > 0:
        raise ScoringError("own: every gradient is zero, so the influences are undefined")
    totals = outside.sum(axis=1)
    found: Array = (products @ (totals / (damping + squares)) - n * totals) / (n * damping)
    return found


def layerif_score(influences: ArrayLike, kind: Literal["all", "+ve"] = "all") -> float:
    """S of a layer from its influences s (n,): their sum, or for "+ve" the sum over helpful samples, s_i < 0.

    Raises:
        ScoringError: bad influences or another kind.
    """
    s = array("influences", influences, ndim=1)
    if kind not in ("all", "+ve"):
        raise ScoringError(f"kind: expected 'all' or '+ve', got {kind!r}")
    return float(s.sum() if kind == "all" else s[s < 0].sum())


def layerif_experts(scores: ArrayLike, total: int = 160, *, beta: float = 2.0) -> Counts:
    """Experts (K,), integers >= 1 with sum `total`: one each, and the other total - K in proportion to w.

    Units that remain after rounding down are given to the layers with the largest fractions. beta > 0: 2 for the scores
    "All", 3 for "+ve".

    Raises:
        ScoringError: bad scores, beta <= 0, or fewer experts than layers.
    """
    weight = _weight(scores, beta)
    spare = check_total(total, len(weight)) - len(weight)
    return 1 + largest_fractions(shares(weight, spare), spare)


def layerif_experts_rounded(scores: ArrayLike, total: int = 160, *, beta: float = 2.0) -> Counts:
    """The older variant: total * w / sum w to the nearest integer, at least 1, repaired by steps of one.

    Each step changes the count that is furthest from its share. Arguments and errors are those of `layerif_experts`.
    """
    weight = _weight(scores, beta)
    return nearest_repaired(shares(weight, check_total(total, len(weight))), int(total))


def layerif_sparsity(scores: ArrayLike, sizes: ArrayLike, sparsity: float, *, epsilon: float) -> Array:
    """Sparsity (K,) in [0, 1] with sum_k n_k rho_k = sparsity * sum n; see `minmax_sparsity`."""
    return minmax_sparsity(scores, sizes, sparsity, epsilon)


def layerif_smoothed(scores: ArrayLike) -> Array:
    """Scores (K,), K >= 7, smoothed over depth: local cubics over windows of 7 layers (Savitzky-Golay).

    Raises:
        ScoringError: bad scores, or fewer than 7 layers.
    """
    from scipy.signal import savgol_filter

    score = array("scores", scores, ndim=1)
    if len(score) < 7:
        raise ScoringError(f"scores: smoothing needs at least 7 layers, got {len(score)}; use the raw scores")
    return array("smoothed scores", savgol_filter(score, window_length=7, polyorder=3), ndim=1)


def _weight(scores: ArrayLike, beta: float) -> Array:
    score = array("scores", scores, ndim=1)
    if not 0 < beta < float("inf"):
        raise ScoringError(f"beta: expected a positive number, got {beta}")
    spread = score.max() - score.min()
    weight: Array = ((score.max() - score) / (spread or 1.0)) ** beta
    return weight
