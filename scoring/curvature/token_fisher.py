"""The empirical Fisher with tokens as samples: sum_t w_t g_t g_t', g_t the gradient of token t's own loss.

Not the Fisher of sequences, where the gradients of a sequence's tokens are summed before they are squared. Known by its
products, so that zeta^2 is enclosed by Lanczos.
"""

from torch import Tensor

from zetaplan.scoring.curvature._krylov import KrylovCurvature
from zetaplan.scoring.curvature._products import LinearisedBlock


class TokenFisher(KrylovCurvature):
    """H = sum_t w_t g_t g_t', w_t = 1 / (N T_i)."""

    @staticmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        return block.token_fisher(v)
