"""The inverse Hessian of a linear's output error, as the optimal brain surgeon of SparseGPT and GPTQ uses it.

The squared error of the outputs, |X (w - w')'|^2 for a row w, has the Hessian H = X'X up to a factor. With
H = X'X + damping I and C_j = (H_{j:, j:})^-1, changing w_j by e and adjusting the columns right of it optimally costs
e^2 / (2 [C_j]_00) and changes them by (e / [C_j]_00) [C_j]_0,: . The upper Cholesky factor U of H^-1 = U'U contains
both: [C_j]_00 = U_jj^2 and [C_j]_0,: = U_jj U_j,j: .
"""

from __future__ import annotations

import torch
from torch import Tensor

from zetaplan.errors import ScoringError

#: Damping as a share of the mean diagonal of H: as in the papers.
DAMPING = 0.01


def gram_of(inputs: Tensor) -> Tensor:
    """X'X of inputs X (tokens, in), which is the Hessian H without damping."""
    return inputs.mT @ inputs


def inverse_factor(gram: Tensor) -> Tensor:
    """U, upper triangular, with U'U = (X'X + damping I)^-1; computed in float64.

    An input that is always zero gets the mean diagonal entry of the others (1 if there are none), so that it does not
    change the damping of the others; it is independent of all others for every entry.

    Raises:
        ScoringError: X'X is not positive definite to rounding.
    """
    damped = gram.to(torch.float64, copy=True)
    diagonal = damped.diagonal()
    live = diagonal[diagonal > 0]
    diagonal[diagonal == 0] = live.mean() if len(live) else 1.0
    diagonal.add_(DAMPING * diagonal.mean())
    lower, failed = torch.linalg.cholesky_ex(damped)
    factor, failed_too = torch.linalg.cholesky_ex(torch.cholesky_inverse(lower), upper=True)
    if failed or failed_too:
        raise ScoringError("batches: the inputs of this linear overflow or are not finite; calibrate in float32")
    found: Tensor = factor.to(gram)
    return found
