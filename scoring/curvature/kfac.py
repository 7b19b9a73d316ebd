"""K-FAC: every linear's empirical Fisher as one Kronecker product of two small matrices (Martens & Grosse 2015)."""

from torch import Tensor

from zetaplan.scoring.curvature._kronecker import Kronecker, Rotated


class Kfac(Kronecker):
    """H = B (x) A per linear; the diagonal of the Fisher for other modules."""

    @staticmethod
    def spectrum(module: Rotated) -> Tensor:
        return module.factors
