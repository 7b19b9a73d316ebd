"""Batches of programs: solutions on tensors, each with a certificate computed from the declaration."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from zetaplan._display import Columns, Display
from zetaplan._plural import counted
from zetaplan.errors import SpecError, require, shown
from zetaplan.spec.program import Program
from zetaplan.spec.programs import named

if TYPE_CHECKING:
    import torch

    from zetaplan.spec.batch import Batch, BatchData

FEW, MANY = 2**14, 2**18  # numbers in a tensor of one step: few cost less than the calls, many leave the CPU cache


@dataclass(frozen=True, eq=False, repr=False)
class BatchSolution(Display):
    """N claimed optima and their certificates, as float64 tensors on the requested device.

    x : (N, K) plans. multiplier : (N,) >= 0. valid : (N,) bool, whether every condition of optimality holds.
    residuals : (N, 7), one column per condition; `conditions` names the columns.

    Examples:
        >>> found = zp.solve_batch("pruning", [[1.0, 3.0], [1.0, 1.0]], 1.0, [1.0, 1.0])
        >>> found.valid.all().item(), found.multiplier.tolist()
        (True, [0.375, 0.5])
    """

    x: torch.Tensor
    multiplier: torch.Tensor
    valid: torch.Tensor
    residuals: torch.Tensor

    @property
    def conditions(self) -> tuple[str, ...]:
        """The names of the columns of `residuals`."""
        from zetaplan.verification.batch import CONDITIONS

        return CONDITIONS

    @property
    def worst(self) -> dict[str, float]:
        """The largest residual of every condition; NaN if any claim is NaN."""
        return dict(zip(self.conditions, self.residuals.amax(0).tolist(), strict=True))

    def __len__(self) -> int:
        return len(self.multiplier)

    def _headline(self) -> str:
        proved, (n, layers) = int(self.valid.sum()), self.x.shape
        size = f"{counted(n, 'instance')} of {counted(layers, 'layer')} on {self.x.device}"
        return f"{size}, {proved:,} proved optimal, largest residual {max(self.worst.values(), default=0.0):.2g}"

    def _columns(self) -> Columns:
        worst = self.residuals.amax(1).tolist()
        facts = {"multiplier": self.multiplier.tolist(), "valid": self.valid.tolist(), "largest residual": worst}
        return {"instance": range(len(self)), **facts}


def solve_batch(
    program: Program | str,
    quality: Any,
    data: Any,
    limits: Any,
    *,
    lower: Any = None,
    upper: Any = None,
    device: Any = None,
    **parameters: float,
) -> BatchSolution:
    """Solve and certify N instances of one program with one decision per layer.

    program : a program's name, or a declared program. quality : (N, K) gains >= 0, no row all zero. data : costs or
    sizes; data, lower and upper broadcast to (N, K). limits : budgets or targets, one number or (N,). parameters : the
    program's scalar parameters, shared by all instances. device : any torch device; by default that of `quality`.

    Raises SpecError or InfeasibleError; the message names the instance and the layer.

    Examples:
        >>> found = zp.solve_batch("allocation", [[1.0, 3.0], [1.0, 1.0]], 1.0, [6.0, 4.0])
        >>> found.x.tolist()
        [[1.0, 5.0], [2.0, 2.0]]
    """
    from zetaplan.spec.batch import batch_data

    declared = named(program) if isinstance(program, str) else program
    require(declared, Program, "program", "give a declared program, or its name")
    arrays = {"quality": quality, "data": data, "limits": limits, "lower": lower, "upper": upper}
    q, d, r, low, high = (_tensor(name, values) for name, values in arrays.items())
    given = batch_data(declared, q, d, r, low, high, parameters, device)
    try:
        return _solved(given)
    except SpecError:
        given.declared()  # names the instance by its place in the batch, not in a piece of it
        raise


def _solved(given: BatchData) -> BatchSolution:
    """Solutions and certificates, in pieces: on the CPU one per thread that torch may use, elsewhere all at once."""
    import torch

    from zetaplan.verification.batch import CONDITIONS

    (count, layers), threads = given.gains.shape, torch.get_num_threads()
    cores, step = (threads, _step(count, layers, threads)) if given.gains.device.type == "cpu" else (1, count)
    pieces = [slice(start, start + step) for start in range(0, count, step)]
    empty = given.gains.new_empty
    found = BatchSolution(
        empty(count, layers), empty(count), empty(count, dtype=torch.bool), empty(count, len(CONDITIONS))
    )
    torch.set_num_threads(1)  # one piece per core is faster than every operation on all cores
    try:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(partial(_fill, given, found), pieces))
    finally:
        torch.set_num_threads(threads)
    return found


def _step(count: int, layers: int, cores: int) -> int:
    """Instances of one piece: a share per core, unless it is too small to be worth the calls, or too large."""
    return max(min(max(math.ceil(count / cores), FEW // layers), MANY // layers), 1)


def _tensor(name: str, values: Any) -> torch.Tensor | None:
    """The numbers of an argument as float64; None for a bound that is not given."""
    import torch

    if values is None and name in ("lower", "upper"):
        return None
    if hasattr(values, "to_numpy"):  # pandas
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and not values.flags.writeable:
        values = values.copy()  # torch warns of memory that it must not write to
    try:
        return torch.as_tensor(values, dtype=torch.float64).detach()
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise SpecError(f"{name} = {shown(values)}: expected numbers") from None


def _fill(given: BatchData, found: BatchSolution, rows: slice) -> None:
    """Solve and certify some instances."""
    from zetaplan.verification.batch import certified

    batch = given.rows(rows).declared()
    x, multiplier, residuals = (_in_loops if batch.weight.device.type == "cpu" else _on_tensors)(batch)
    found.x[rows], found.multiplier[rows], found.residuals[rows] = x, multiplier, residuals
    found.valid[rows] = certified(residuals)


def _in_loops(batch: Batch) -> tuple[torch.Tensor, ...]:
    import torch

    from zetaplan.solvers.rows import solve_rows
    from zetaplan.verification.rows import residuals

    x, multiplier = solve_rows(batch)
    return tuple(map(torch.from_numpy, (x, multiplier, residuals(batch, x, multiplier))))


def _on_tensors(batch: Batch) -> tuple[torch.Tensor, ...]:
    from zetaplan.solvers.batch import solve_rows
    from zetaplan.verification.batch import residuals

    x, multiplier = solve_rows(batch)
    return x, multiplier, residuals(batch, x, multiplier)
