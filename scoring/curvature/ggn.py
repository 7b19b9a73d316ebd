"""The Gauss-Newton matrix (Schraudolph 2002), which for cross-entropy is the true Fisher: curvature without the labels.

Positive semi-definite, of rank up to d; known by its products, so that zeta^2 is enclosed by Lanczos.
"""

from torch import Tensor

from zetaplan.scoring.curvature._krylov import KrylovCurvature
from zetaplan.scoring.curvature._products import LinearisedBlock


class Ggn(KrylovCurvature):
    """H = J'(diag p - p p')J, averaged as the loss is."""

    @staticmethod
    def product(block: LinearisedBlock, v: Tensor) -> Tensor:
        return block.ggn(v)
