"""AlphaPruning: sparsity from heavy-tail exponents (Lu et al. 2024, "AlphaPruning: Using Heavy-Tailed Self
Regularization Theory for Improved Layer-wise Pruning of Large Language Models", NeurIPS).

A small alpha (heavy tail) indicates a well-trained layer, which is pruned less.
"""

from numpy.typing import ArrayLike

from zetaplan.scoring.peers.minmax_sparsity import minmax_sparsity
from zetaplan.scoring.peers.validation import Array


def alphapruning_sparsity(alpha: ArrayLike, sizes: ArrayLike, sparsity: float, *, epsilon: float = 0.3) -> Array:
    """Sparsity (K,) in [0, 1] with sum_k n_k rho_k = sparsity * sum n; see `minmax_sparsity`.

    alpha (K,): the mean exponent of each layer's matrices (`htsr_alpha`).
    """
    return minmax_sparsity(alpha, sizes, sparsity, epsilon)
