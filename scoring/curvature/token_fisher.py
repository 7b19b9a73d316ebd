"""The empirical Fisher with tokens as samples: sum_t w_t g_t g_t', g_t the gradient of token t's own loss.

The Fisher of sequences differs: there the gradients of a sequence's tokens are summed before they are squared. Products
with this Fisher are available, so Lanczos encloses zeta^2.
"""

from torch import Tensor

from zetaplan.scoring.curvature._krylov import KrylovCurvature
from zetaplan.scoring.curvature._products import LinearisedBlock


class TokenFisher(KrylovCurvature):
    """H = sum_t w_t g_t g_t', w_t = 1 / (N T_i)."""

    @staticmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        return block.token_fisher(v)
