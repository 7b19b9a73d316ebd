"""EK-FAC: the Kronecker eigenbasis with the Fisher's own diagonal in it (George et al. 2018).

EK-FAC is the matrix nearest to the empirical Fisher in the Frobenius norm among all matrices that are diagonal in that
basis; its trace equals that of the Fisher.
"""

from torch import Tensor

from zetaplan.scoring.curvature._kronecker import Kronecker, Rotated


class Ekfac(Kronecker):
    """H = (V (x) U) diag(mean squared gradients in that basis) (V (x) U)' per linear."""

    @staticmethod
    def spectrum(module: Rotated) -> Tensor:
        return module.square
