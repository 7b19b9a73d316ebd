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

import sympy as sp

from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec import checks, tensor_checks
from zetaplan.spec.accurate import accurate
from zetaplan.spec.given import knobs
from zetaplan.spec.instance import Channel, Instance, check_feasible
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
        return [self.limit.new_tensor(knob) for knob in self.knobs]

    @property
    def knobs(self) -> tuple[float, ...]:
        return tuple(self.parameters[scalar.name] for scalar in self.program.scalars)

    def evaluate(self, expression: sp.Expr, x: Any = 0.0, multiplier: Any = 0.0) -> torch.Tensor:
        """Value of an expression of the declaration at (x, lambda); broadcasts against (N, K) or (N,)."""
        import torch

        value = tensor_function(self.program, expression)(x, multiplier, self.weight, self.unit_cost, *self.scalars)
        return torch.as_tensor(value, dtype=self.weight.dtype, device=self.weight.device)

    @cached_property
    def channel(self) -> Channel:
        """The numpy arrays of the instances, (N, K); for the CPU."""
        columns = (self.weight, self.unit_cost, self.lower, self.upper)
        return Channel(self.term, *(column.contiguous().numpy() for column in columns))

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

    term = program.terms[0]
    symbols = [term.decision, MULTIPLIER, term.weight, term.unit_cost, *(scalar.symbol for scalar in program.scalars)]

    names = {"log": _log, "exp": torch.exp, "log1p": torch.log1p, "expm1": torch.expm1, "abs": torch.abs}
    return cast(Callable[..., Any], sp.lambdify(symbols, accurate(expression), modules=[names, "math"], cse=True))


def _log(x: Any) -> Any:
    import torch

    return torch.log(x) if isinstance(x, torch.Tensor) else math.log(x)


@dataclass(frozen=True, eq=False)
class BatchData:
    """The data of N instances: shapes are checked, numbers are not.

    gains : (N, K). unit_cost, lower, upper : broadcast to (N, K). limit : () or (N,).
    """

    program: Program
    gains: torch.Tensor
    unit_cost: torch.Tensor
    limit: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor
    parameters: Mapping[str, float]

    def rows(self, index: slice) -> BatchData:
        """The data of the selected instances."""
        count = len(self.gains)
        names = [name for name in ("gains", "unit_cost", "lower", "upper") if _by_row(getattr(self, name), count)]
        names += ["limit"] if self.limit.ndim else []
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def declared(self) -> Batch:
        """The instances. Raises SpecError or InfeasibleError; the message names the instance and the layer."""
        program, term, shape = self.program, self.program.terms[0], self.gains.shape
        gains = _gains(self.gains)
        d = tensor_checks.within(term.argument, self.unit_cost, shape, above=0.0)
        tensor_checks.within(term.argument, d, shape, least=checks.LEAST, most=checks.LARGEST)
        low = tensor_checks.within("lower", self.lower, shape, least=term.lower, most=checks.LARGEST)
        high = tensor_checks.capped(self.upper, low, term, shape)
        q = gains / gains.sum(1, keepdim=True)
        weight = _weights(program, q, self.parameters)
        d, low, high = (column.expand(shape) for column in (d, low, high))
        batch = Batch(program, q, weight, d, _limits(program, self.limit, gains), low, high, self.parameters)
        _check_feasible(batch)
        return batch


def _by_row(values: torch.Tensor, count: int) -> bool:
    return values.ndim == 2 and len(values) == count


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
    return batch_data(program, quality, data, limits, lower, upper, parameters, device).declared()


def batch_data(
    program: Program,
    quality: Any,
    data: Any,
    limits: Any,
    lower: Any = None,
    upper: Any = None,
    parameters: Mapping[str, float] | None = None,
    device: Any = None,
) -> BatchData:
    """The arguments of `declare_batch` as tensors. Raises SpecError for an array of another shape, or a wrong knob."""
    import torch

    if len(program.terms) > 1:
        raise SpecError(f"{program.name} has {len(program.terms)} decisions per layer; solve its instances one by one")
    term, values = program.terms[0], knobs(program, parameters or {})
    gains = tensor_checks.tensor("quality", quality, torch.float64, device)
    if gains.ndim != 2 or not gains.numel():
        raise SpecError(f"quality: expected one row of gains per instance, shape (N, K), got {tuple(gains.shape)}")
    limit = tensor_checks.tensor("limits", limits, gains.dtype, gains.device)
    if limit.shape not in ((), (len(gains),)):
        raise SpecError(f"limits: expected one number or {len(gains)} of them, got shape {tuple(limit.shape)}")
    d = tensor_checks.like(term.argument, data, gains)
    low = tensor_checks.like("lower", term.lower if lower is None else lower, gains)
    high = tensor_checks.like("upper", term.upper if upper is None else upper, gains)
    return BatchData(program, gains, d, limit, low, high, values)


def _gains(gains: torch.Tensor) -> torch.Tensor:
    import torch

    tensor_checks.within("quality", gains, least=0.0)
    largest = gains.amax(1, keepdim=True)
    empty = largest == 0.0
    if bool(empty.any()):
        raise SpecError(f"quality[{int(empty.nonzero()[0][0])}]: all layers are zero; check the scores")
    exponent = torch.frexp(largest).exponent.clamp(min=-1000)  # 2 to the opposite power is a double
    return gains * torch.ldexp(torch.ones_like(largest), -exponent)  # a power of two changes no bit


def _weights(program: Program, q: torch.Tensor, values: Mapping[str, float]) -> torch.Tensor:
    """w = q^e, (N, K)."""
    term = program.terms[0]
    exponent = values[program.exponents[0]]
    weight = q if exponent == 1.0 else q**exponent
    if float(weight.amin()) < checks.LIGHTEST:
        light = (weight < checks.LIGHTEST) & (q > 0.0)
        tensor_checks.name_first(
            "quality", q, light, f"0, or a share whose power {term.exponent} is at least {checks.LIGHTEST:g}"
        )
    return weight


def _limits(program: Program, limits: torch.Tensor, gains: torch.Tensor) -> torch.Tensor:
    values = limits.expand(len(gains))
    least = 0.0 if program.limit.is_nonnegative else -math.inf
    tensor_checks.name_first(program.limit_argument, values, (values != 0.0) & (values.abs() < checks.LIGHTEST), _LIMIT)
    return tensor_checks.within(program.limit_argument, values, least=least, most=checks.LARGEST)


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
