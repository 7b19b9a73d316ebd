"""Batches of instances: N instances of one program with equal K, as torch tensors on any device.

Every array of an instance has a leading dimension N here. All instances of a batch share the knobs. The functions
are derived from the same declaration as in numpy. torch is imported on first use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import sympy as sp

from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec import checks
from zetaplan.spec.given import knobs
from zetaplan.spec.instance import Instance, check_feasible
from zetaplan.spec.program import MULTIPLIER, Program, Term
from zetaplan.spec.values import FrozenMap

if TYPE_CHECKING:
    import torch

ROUNDING = 2.0**-52
_LIMIT = f"0, or a number of at least {checks.LIGHTEST:g}; choose another unit"


@dataclass(frozen=True, eq=False)
class Batch:
    """N instances of K layers: float64 tensors of shape (N, K), limit of shape (N,); see `Instance`."""

    program: Program
    quality: torch.Tensor
    weight: torch.Tensor
    unit_cost: torch.Tensor
    limit: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    parameters: Mapping[str, float]

    @property
    def term(self) -> Term:
        return self.program.terms[0]

    @property
    def uses(self) -> bool:
        """Whether a larger decision uses more of the limit."""
        return self.program.costs(self.term)

    @cached_property
    def weightless(self) -> torch.Tensor | None:
        """Mask of the layers without weight, (N, K) bool; None if every layer has weight."""
        mask = self.weight == 0.0
        return mask if bool(mask.any()) else None

    @cached_property
    def scalars(self) -> list[torch.Tensor]:
        """The knobs in the order of the declaration, tensors of shape ()."""
        return [self.limit.new_tensor(self.parameters[scalar.name]) for scalar in self.program.scalars]

    def evaluate(self, expression: sp.Expr, x: Any = 0.0, multiplier: Any = 0.0) -> torch.Tensor:
        """Value of an expression of the declaration at (x, lambda); broadcasts against (N, K) or (N,)."""
        import torch

        value = tensor_function(self.program, expression)(x, multiplier, self.weight, self.unit_cost, *self.scalars)
        return torch.as_tensor(value, dtype=self.weight.dtype, device=self.weight.device)

    def rows(self, index: slice) -> Batch:
        """The batch of the selected instances."""
        names = ("quality", "weight", "unit_cost", "limit", "lower", "upper")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def instance(self, n: int) -> Instance:
        """Instance n as numpy arrays with the same doubles."""
        columns = (self.quality, self.weight, self.unit_cost, self.lower, self.upper)
        quality, weight, unit_cost, lower, upper = (column[n].cpu().numpy().copy() for column in columns)
        limit = float(self.limit[n])
        return Instance(self.program, quality, weight, unit_cost, limit, lower, upper, FrozenMap(self.parameters))


@cache
def tensor_function(program: Program, expression: sp.Expr) -> Callable[..., Any]:
    """The expression as a torch function of (x, lambda, weight, unit cost, *scalars)."""
    import torch
    from sympy.codegen.rewriting import expm1_opt, log1p_opt, optimize

    term = program.terms[0]
    symbols = [term.decision, MULTIPLIER, term.weight, term.unit_cost, *(scalar.symbol for scalar in program.scalars)]

    names = {"log": _log, "exp": torch.exp, "log1p": torch.log1p, "expm1": torch.expm1, "abs": torch.abs}
    accurate = optimize(expression, [log1p_opt, expm1_opt])
    return cast(Callable[..., Any], sp.lambdify(symbols, accurate, modules=[names, "math"], cse=True))


def _log(x: Any) -> Any:
    import torch

    return torch.log(x) if isinstance(x, torch.Tensor) else math.log(x)


def declare_batch(
    program: Program,
    quality: Any,
    data: Any,
    limits: Any,
    lower: Any = None,
    upper: Any = None,
    parameters: Mapping[str, float] | None = None,
    device: Any = None,
) -> Batch:
    """Validate N instances at once.

    quality : (N, K) gains >= 0, at least one above 0 per row; each row is normalised.
    data : the unit costs (costs or sizes), > 0. data, lower, upper : arrays that broadcast to (N, K).
    limits : one number or (N,). parameters : shared by all instances. device : default, the device of quality.

    Raises SpecError or InfeasibleError; the message names the instance and the layer.
    """
    if len(program.terms) > 1:
        raise SpecError(f"{program.name} has {len(program.terms)} decisions per layer; solve its instances one by one")
    term, values = program.terms[0], knobs(program, parameters or {})
    gains = _gains(quality, device)
    d = _within(term.argument, _like(term.argument, data, gains), gains.shape, above=0.0)
    _within(term.argument, d, gains.shape, least=checks.LEAST, most=checks.LARGEST)
    floors = _like("lower", term.lower if lower is None else lower, gains)
    low = _within("lower", floors, gains.shape, least=term.lower, most=checks.LARGEST)
    high = _capped(_like("upper", term.upper if upper is None else upper, gains), low, term, gains.shape)
    q = gains / gains.sum(1, keepdim=True)
    exponent = values[next(scalar.name for scalar in program.scalars if scalar.symbol == term.exponent)]
    weight = q if exponent == 1.0 else q**exponent
    light = (weight < checks.LIGHTEST) & (q > 0.0)
    _name_first("quality", q, light, f"0, or a share whose power {term.exponent} is at least {checks.LIGHTEST:g}")
    d, low, high = (column.expand(gains.shape) for column in (d, low, high))
    batch = Batch(program, q, weight, d, _limits(program, limits, gains), low, high, values)
    _check_feasible(batch)
    return batch


def _gains(quality: Any, device: Any) -> torch.Tensor:
    import torch

    gains = _tensor("quality", quality, torch.float64, device)
    if gains.ndim != 2 or not gains.numel():
        raise SpecError(f"quality: expected one row of gains per instance, shape (N, K), got {tuple(gains.shape)}")
    _within("quality", gains, least=0.0)
    empty = gains.amax(1) == 0.0
    if bool(empty.any()):
        raise SpecError(f"quality[{int(empty.nonzero()[0])}]: all layers are zero; check the scores")
    return torch.ldexp(gains, -torch.frexp(gains.amax(1, keepdim=True)).exponent)  # a power of two changes no bit


def _tensor(name: str, values: Any, dtype: Any, device: Any) -> torch.Tensor:
    import torch

    try:
        given = values.copy() if isinstance(values, np.ndarray) and not values.flags.writeable else values
        return torch.as_tensor(given, dtype=dtype, device=device)  # torch warns of memory that it must not write to
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{name}: expected numbers, got {type(values).__name__}: {str(values)[:60]}") from None


def _like(name: str, values: Any, gains: torch.Tensor) -> torch.Tensor:
    """Tensor that broadcasts to the gains; not expanded, so that one number is checked once."""
    given = _tensor(name, values, gains.dtype, gains.device)
    try:
        given.expand(gains.shape)
    except RuntimeError:
        shape = tuple(given.shape)
        raise SpecError(
            f"{name}: expected a shape that broadcasts to {tuple(gains.shape)}, got shape {shape}"
        ) from None
    return given


def _within(
    name: str,
    values: torch.Tensor,
    shape: Any = None,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> torch.Tensor:
    low, high = float(values.amin()), float(values.amax())
    if low > above and low >= least and high < math.inf and high <= most:
        return values
    every = values.expand(shape or values.shape)
    expected = f"above {above:g}" if above > -math.inf else f"of at least {least:g}"
    _name_first(name, every, ~((every > above) & (every >= least) & (every < math.inf)), f"a finite number {expected}")
    _name_first(name, every, every > most, f"at most {most:g}; choose another unit")
    return values


def _capped(upper: torch.Tensor, lower: torch.Tensor, term: Term, shape: Any) -> torch.Tensor:
    every = upper.expand(shape)
    if not bool((upper <= term.upper).all()):
        _name_first("upper", every, ~(every <= term.upper), f"at most {term.upper:g}")
    if not bool((lower <= upper).all()):
        _name_first("upper", every, ~(lower <= every), "at least the floor; lower the floor or raise the cap")
    large = (every > checks.LARGEST) & every.isfinite()
    _name_first("upper", every, large, f"at most {checks.LARGEST:g}, or infinity")
    return upper


def _limits(program: Program, limits: Any, gains: torch.Tensor) -> torch.Tensor:
    values = _tensor("limits", limits, gains.dtype, gains.device)
    if values.shape not in ((), (len(gains),)):
        raise SpecError(f"limits: expected one number or {len(gains)} of them, got shape {tuple(values.shape)}")
    values = values.expand(len(gains))
    least = 0.0 if program.limit.is_nonnegative else -math.inf
    _name_first(program.limit_argument, values, (values != 0.0) & (values.abs() < checks.LIGHTEST), _LIMIT)
    return _within(program.limit_argument, values, least=least, most=checks.LARGEST)


def _name_first(name: str, values: torch.Tensor, bad: torch.Tensor, expected: str) -> None:
    if not bool(bad.any()):
        return
    place = bad.nonzero()[0].tolist()
    raise SpecError(f"{name}{place} = {float(values[tuple(place)]):g}: expected {expected}")


def _check_feasible(batch: Batch) -> None:
    """Raise InfeasibleError for an infeasible row; rows in doubt after rounding are decided in fractions."""
    usage, sign = batch.term.usage, batch.program.sign
    reach = usage * (batch.unit_cost * (batch.lower if batch.uses else batch.upper)).sum(1)
    doubt = batch.unit_cost.shape[1] * ROUNDING * (reach.abs() + batch.limit.abs())
    for n in (sign * (reach - batch.limit) >= -doubt).nonzero().flatten().tolist():
        try:
            check_feasible(batch.instance(n))
        except InfeasibleError:
            name = batch.program.limit_argument
            what = "the box requires at least" if batch.uses else "the caps allow at most"
            raise InfeasibleError(
                f"{name}[{n}] = {float(batch.limit[n]):g}: {what} {float(reach[n]):g}; change one of them"
            ) from None
