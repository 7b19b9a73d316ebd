"""Enclosure of zeta^2, from any approximation x of (H + tau I)^-1 g: by Lanczos, by CG, by Nystrom.

With the residual r = g - (H + tau I) x, and a > 0 below the spectrum of H + tau I,

    zeta^2 = g'x + r'x + r'(H + tau I)^-1 r,    so    g'x + r'x  <=  zeta^2  <=  g'x + r'x + |r|^2 / a,

for every x. Both bounds are computed in float64 at the multiple of x for which r'x = 0, the best multiple; x = 0 gives
the upper bound |g|^2 / a.

zeta^2 is the gain of the model in real arithmetic: parameters and buffers are the numbers as stored, in any dtype,
operations are exact, and a cast to a narrower dtype changes nothing. The reference computes in float64 throughout (see
`precision`), and its rounding is measured: g and H v are computed again with the result of every operation changed at
random by up to 64 units in the last place, and the observed change is added to the error bound. For products this is
done at x + u and x - u, with random signs u of the length of x, compared with Hx and Hu, so that deviations from
linearity are included. The error of the model's own precision is the difference of its products at x and u from the
reference.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from zetaplan.scoring.curvature._products import LinearisedBlock

BlockProduct = Callable[[LinearisedBlock, Tensor], Tensor]

SEED = 20260303
#: Assumed relative error of sums over the numbers of a block, in float64.
ROUNDING = 1e-13
#: How often the gradient is computed with its intermediate results changed.
DRAWS = 2
#: Factor by which an error measured at some vectors may underestimate the error at others.
SAFETY = 4.0


class Gradient(NamedTuple):
    """g (d,) in float64, and an upper bound on the length of its error."""

    value: Tensor
    error: float


class Measured(NamedTuple):
    """H v in float64, its error, and the larger error of a product in the model's precision; both errors per |v|."""

    image: Tensor
    exact: float
    error: float


class Enclosed(NamedTuple):
    """low <= zeta^2 <= high.

    x: the multiple of x used, (d,) in float64.
    error: of a product in the model's precision, per length of the vector.
    length: an upper bound on |(H + tau I)^-1 g|.
    """

    low: float
    high: float
    x: Tensor
    error: float
    length: float


def measured_gradient(block: LinearisedBlock) -> Gradient:
    """g in float64, in whatever precision the block computes, with its measured error."""
    exact = block.in_float64()
    value = exact.gradient()
    changes = [float((exact.shaken(SEED + draw).gradient() - value).norm()) for draw in range(DRAWS)]
    return Gradient(value, max(changes) + ROUNDING * float(value.norm()))


def measured(product: BlockProduct, block: LinearisedBlock, v: Tensor) -> Measured:
    """H v for a vector (d,) in the block's precision, with the measured errors of products in both precisions."""
    exact, u = block.in_float64(), next(signs(block, SEED + 1))
    u *= v.norm() / u.norm()
    image, other = product(exact, v.double()), product(exact, u.double())
    changes = [
        float((product(exact.shaken(SEED + draw), v.double() + sign * u.double()) - image - sign * other).norm())
        for draw, sign in enumerate((1, -1))
    ]
    rough = () if exact is block else ((v, image), (u, other))
    errors = [float((product(block, w).double() - truth).norm()) for w, truth in rough]
    scale = 1 / float(v.double().norm())
    return Measured(image, scale * max(changes), scale * max([SAFETY * error for error in errors] + changes))


def enclosed(
    product: BlockProduct, block: LinearisedBlock, gradient: Gradient, x: Tensor, tau: float, floor: float = 0.0
) -> Enclosed:
    """The interval from x.

    Args:
        product: H v, on a block in either precision.
        block: the block.
        gradient: g, not zero.
        x: (d,) in the block's precision, with g'x > 0.
        tau: damping.
        floor: a number below every eigenvalue of H, above -tau.
    """
    image, exact, error = measured(product, block, x)
    (g, unsure), wide, a = gradient, x.double(), floor + tau
    stretch = float(g @ wide) / float(wide @ image + tau * (wide @ wide))
    wide, image = stretch * wide, stretch * image
    residual, length = g - image - tau * wide, float(wide.norm())
    sums = ROUNDING * (float(g.norm()) + float(image.norm()) + tau * length)
    missing = float(residual.norm()) + unsure + exact * length + sums
    value, slack = float(g @ wide + residual @ wide), (2 * unsure + exact * length + 2 * sums) * length
    high = min(value + slack + missing**2 / a, (float(g.norm()) + unsure) ** 2 / a * (1 + ROUNDING))
    return Enclosed(max(value - slack, 0.0), high, wide, error, length + missing / a)


def signs(block: LinearisedBlock, seed: int) -> Iterator[Tensor]:
    """Random sign vectors (d,) of the block, one after another."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        drawn = 2.0 * torch.randint(0, 2, (block.dimension,), generator=generator) - 1.0
        yield drawn.to(block.device, block.dtype)
