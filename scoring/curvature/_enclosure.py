"""An interval that holds zeta^2, from any x that is meant to be (H + tau I)^-1 g: of Lanczos, of CG, of Nystrom.

With the residual r = g - (H + tau I) x, and a > 0 below the spectrum of H + tau I,

    zeta^2 = g'x + r'x + r'(H + tau I)^-1 r,    so    g'x + r'x  <=  zeta^2  <=  g'x + r'x + |r|^2 / a,

whatever x is. Both are taken in float64 at the multiple of x for which r'x = 0, the best of all; x = 0 says |g|^2 / a.

The rounding of the products is measured, at x and at random signs u as long as x. That of the model's precision: by how
much it differs from float64. That of float64 itself, in which a model may compute some things in float32 still: by the
lack of linearity |H(x + u) - Hx - Hu|.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from zetaplan.scoring.curvature._products import LinearisedBlock

BlockProduct = Callable[[LinearisedBlock, Tensor], Tensor]

SEED = 20260303
#: Relative error granted to sums, and to the gradient, in float64.
ROUNDING = 1e-14
#: How far a measured error may underestimate that of other vectors.
SAFETY = 4.0


class Measured(NamedTuple):
    """H v in float64, its error, and the larger one of a product in the model's precision; both per |v|."""

    image: Tensor
    exact: float
    error: float


class Enclosed(NamedTuple):
    """low <= zeta^2 <= high.

    x: the multiple that was taken, (d,) in float64.
    error: of a product in the model's precision, per length of the vector.
    length: what |(H + tau I)^-1 g| is not above.
    """

    low: float
    high: float
    x: Tensor
    error: float
    length: float


def measured(product: BlockProduct, block: LinearisedBlock, v: Tensor) -> Measured:
    """H v for a vector (d,) in the block's precision, and what products in both precisions are worth."""
    exact, u = block.in_float64(), next(signs(block, SEED + 1))
    u *= v.norm() / u.norm()
    image, other = product(exact, v.double()), product(exact, u.double())
    curved = float((product(exact, v.double() + u.double()) - image - other).norm())
    rough = () if exact is block else ((v, image), (u, other))
    errors = [float((product(block, w).double() - truth).norm()) for w, truth in rough]
    scale = SAFETY / float(v.double().norm())
    return Measured(image, scale * curved, scale * max([curved, *errors]))


def enclosed(
    product: BlockProduct, block: LinearisedBlock, gradient: Tensor, x: Tensor, tau: float, floor: float = 0.0
) -> Enclosed:
    """The interval from x.

    Args:
        product: H v, on a block in either precision.
        block: the block.
        gradient: g, (d,) in float64, not zero.
        x: (d,) in the block's precision, with g'x > 0.
        tau: damping.
        floor: a number below every eigenvalue of H, above -tau.
    """
    image, exact, error = measured(product, block, x)
    wide, a = x.double(), floor + tau
    stretch = float(gradient @ wide) / float(wide @ image + tau * (wide @ wide))
    wide, image = stretch * wide, stretch * image
    residual, length = gradient - image - tau * wide, float(wide.norm())
    sums = ROUNDING * (float(gradient.norm()) + float(image.norm()) + tau * length)
    missing = float(residual.norm()) + exact * length + sums
    value, slack = float(gradient @ wide + residual @ wide), (exact * length + 2 * sums) * length
    high = min(value + slack + missing**2 / a, float(gradient @ gradient) / a * (1 + ROUNDING))
    return Enclosed(max(value - slack, 0.0), high, wide, error, length + missing / a)


def signs(block: LinearisedBlock, seed: int) -> Iterator[Tensor]:
    """Random signs (d,) of the block, one vector after the other."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        drawn = 2.0 * torch.randint(0, 2, (block.dimension,), generator=generator) - 1.0
        yield drawn.to(block.device, block.dtype)
