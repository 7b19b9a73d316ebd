"""The Gauss-Newton matrix (Schraudolph 2002), which for cross-entropy is the true Fisher: curvature without the labels.

Positive semi-definite, of rank up to d, and available through its products; Lanczos encloses zeta^2.
"""

from torch import Tensor

from zetaplan.scoring.curvature._krylov import KrylovCurvature
from zetaplan.scoring.curvature._products import LinearisedBlock


class Ggn(KrylovCurvature):
    """H = J'(diag p - p p')J, averaged like the loss."""

    @staticmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        return block.ggn(v)
