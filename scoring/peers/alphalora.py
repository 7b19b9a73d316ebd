"""AlphaLoRA: experts from heavy-tail exponents (Qing et al. 2024, "AlphaLoRA: Assigning LoRA Experts Based on Layer
Training Quality", EMNLP, arXiv 2410.10054): e_k proportional to alpha_k^beta with beta = 2.5, rounded to a total.
"""

from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.rounding import Counts, check_total, nearest_repaired, shares
from zetaplan.scoring.peers.validation import positive


def alphalora_experts(alpha: ArrayLike, total: int = 160, *, beta: float = 2.5) -> Counts:
    """Experts (K,), integers >= 1 with sum `total`, for exponents alpha (K,) > 0.

    The published script repairs the total by comparing counts with unnormalised alpha^beta. Here each step changes the
    count that is furthest from its share.

    Raises:
        ScoringError: alpha not positive, or fewer experts than layers.
    """
    exponent = positive("alpha", alpha)
    if not 0 <= beta < float("inf"):
        raise ScoringError(f"beta: expected a non-negative number, got {beta}")
    weight = (exponent / exponent.max()) ** beta
    return nearest_repaired(shares(weight, check_total(total, len(weight))), int(total))
