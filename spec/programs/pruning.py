"""Pruning to a global target (Eq. 14 and Theorem 3 of the paper, with a box on every layer).

The penalty rho^2 has an increasing marginal loss. With bits = 0, the default, the target binds and eta cancels, so
the plan depends only on quality, sizes, target and kappa.
"""

from __future__ import annotations

import math
from fractions import Fraction

import sympy as sp

from zetaplan.errors import SpecError
from zetaplan.spec import checks
from zetaplan.spec.instance import EPSILON, Arrayish, Instance, declare
from zetaplan.spec.named import in_order, names_of
from zetaplan.spec.program import Program, Scalar, Term, layer
from zetaplan.spec.summation import dot, exact_dot, exact_sum, rational_dot

rho, w, n = layer("rho"), layer("w"), layer("n")
bits = sp.Symbol("b", nonnegative=True)
eta = sp.Symbol("eta", positive=True)
kappa = sp.Symbol("kappa", nonnegative=True)

PRUNING = Program(
    name="pruning",
    summary="sparsity to the layers with the lowest gain, up to a global target",
    terms=(
        Term(
            decision=rho,
            weight=w,
            exponent=kappa,
            unit_cost=n,
            argument="sizes",
            objective=bits * n * (1 - rho) + eta * w * rho**2,
            resource=n * rho,
            upper=1.0,
        ),
    ),
    scalars=(Scalar(bits, 0.0, argument="bits"), Scalar(eta, 1.0), Scalar(kappa, 1.0)),
    sense=">=",
    limit=sp.Symbol("P", positive=True),
    limit_argument="target",
)


def pruning(
    quality: Arrayish,
    sizes: Arrayish,
    *,
    sparsity: float | None = None,
    target: float | None = None,
    bits: float = 0.0,
    eta: float = 1.0,
    kappa: float = 1.0,
    lower: Arrayish = 0.0,
    upper: Arrayish = 1.0,
) -> Instance:
    """Declare the program that prunes K layers, the fraction rho_k of each, for `zetaplan.solve`.

    `pruning` is the program of given numbers; `zetaplan.prune` makes a plan of it from measured scores.

    quality : (K,) any non-negative gains, not all zero; normalised to sum to 1.
    sizes : (K,) or scalar, > 0, parameters per layer.
    sparsity : in [0, 1], share of all parameters to remove (0.5 if neither it nor target is given); or
    target : number of parameters to remove, between 0 and what the caps allow.
    bits : >= 0, reward for each removed parameter (bits). eta : > 0, strength of the penalty (bits).
    kappa : >= 0, curvature emphasis. lower, upper : (K,) or scalar, box within [0, 1].

    Raises SpecError for data outside these ranges and InfeasibleError for a target above what the caps allow.

    Examples:
        >>> inst = zp.pruning([1, 3], sizes=1.0, target=1.25)
        >>> zp.solve(inst).x  # the layer with the smaller gain has the higher sparsity
        array([0.9375, 0.3125])
    """
    limit = pruning_target(sparsity, target, quality, sizes, upper)
    return declare(PRUNING, quality, (sizes,), limit, (lower,), (upper,), {"bits": bits, "eta": eta, "kappa": kappa})


def pruning_target(
    sparsity: float | None, target: float | None, quality: Arrayish, sizes: Arrayish, upper: Arrayish
) -> float:
    """The number of parameters to remove: the target itself, or a global sparsity in [0, 1] (0.5 if neither is given).

    A sparsity equal to what the caps allow up to rounding is set to what they allow, so that 0.51 under caps of 0.51
    is feasible.
    """
    if sparsity is not None and target is not None:
        raise SpecError("sparsity and target: give one of the two, not both")
    if target is not None:
        return target
    names = names_of("quality", quality)
    layers = len(names) if names else checks.numbers("quality", in_order("quality", quality, None)).size
    share = checks.number("sparsity", 0.5 if sparsity is None else sparsity)
    if not 0.0 <= share <= 1.0:
        raise SpecError(f"sparsity = {share:g}: expected a share of the parameters between 0 and 1")
    n, u = checks.broadcast("sizes", sizes, layers, names), checks.broadcast("upper", upper, layers, names)
    if layers == 0 or not all(abs(end) <= checks.LARGEST for end in (*checks.span(n), *checks.span(u))):
        return 0.0  # declare() names the offending entry
    target, rough = share * exact_sum(n), dot(n, u)
    if abs(target - rough) > (layers + 4) * EPSILON * (target + rough):
        return target
    reach = exact_dot(n, u)
    if abs(target - reach) > 4.0 * EPSILON * target:
        return target
    return reach if Fraction(reach) <= rational_dot(n, u) else math.nextafter(reach, 0.0)
