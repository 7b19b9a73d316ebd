"""Low-rank replacements of weight matrices, with the least error of the outputs or of the weights.

Of all M of rank r, the one with the least error |X W' - X M'| in the Frobenius norm projects the outputs on their r
principal directions: M = U U' W. With X'X = L L' the error is |W L - M L|, and U U' W L is the truncated singular value
decomposition of W L (Eckart & Young 1936), so that U are its left singular vectors. This is the optimum of SVD-LLM
(arXiv 2403.07378), without its inverse of L. ASVD (arXiv 2312.05821) scales by a diagonal instead of L. L = I gives the
truncated singular value decomposition of W itself. M is stored as the factors U (m x r) and U' W (r x n).
"""

from __future__ import annotations

import torch
from torch import Tensor

from zetaplan.errors import ScoringError

#: Damping as a share of the mean diagonal of X'X. It orders the directions that the text does not reach by their
#: weights, and makes X'X positive definite where tokens are fewer than inputs.
DAMPING = 1e-3


def principal_directions(weight: Tensor, gram: Tensor | None) -> Tensor:
    """U (m, k): the left singular vectors of W L, largest singular value first, up to the largest rank that saves.

    weight : W (m, n). gram : X'X (n, n) of the inputs, or None for the vectors of W. Computed in float64.

    Raises:
        ScoringError: W or X'X is not finite.
    """
    exact = weight.double()
    scaled = exact if gram is None else exact @ _root(gram.double())
    if not scaled.isfinite().all():
        raise ScoringError("the weights or their inputs are not finite; calibrate on other text, or in float32")
    rows, columns = weight.shape
    found: Tensor = torch.linalg.svd(scaled, full_matrices=False).U[:, : rows * columns // (rows + columns)]
    return found.to(torch.promote_types(weight.dtype, torch.float32))


def factors(weight: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """U (..., m, r) and U' W (..., r, n), whose product replaces W (..., m, n)."""
    return directions, directions.mT @ weight.to(directions.dtype)


def _root(gram: Tensor) -> Tensor:
    """L (n, n) with L L' = X'X + damping I; the identity if all inputs are zero."""
    damping = DAMPING * gram.diagonal().mean()
    damped = gram + (damping if damping > 0 else 1.0) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    lower, failed = torch.linalg.cholesky_ex(damped)
    return lower if not failed else torch.full_like(lower, torch.nan)
