"""EK-FAC: the Kronecker eigenbasis with the Fisher's own diagonal in it (George et al. 2018).

Of all matrices that are diagonal in that basis this one is nearest to the empirical Fisher in the Frobenius norm; its
trace is that of the Fisher.
"""

from torch import Tensor

from zetaplan.scoring.curvature._kronecker import Kronecker, Rotated


class Ekfac(Kronecker):
    """H = (V (x) U) diag(mean squared gradients there) (V (x) U)' per linear."""

    @staticmethod
    def spectrum(module: Rotated) -> Tensor:
        return module.square
