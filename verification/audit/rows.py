"""Is a batch of solutions right, and does its certificate refuse what is wrong? Counts over planted rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from zetaplan.batch import BatchSolution, solve_batch
from zetaplan.spec.batch import Batch, declare_batch
from zetaplan.spec.instance import Array
from zetaplan.spec.programs.allocation import ALLOCATION
from zetaplan.verification.audit.forgeries import OFF
from zetaplan.verification.audit.planted_rows import Rows
from zetaplan.verification.audit.trial import ROUNDING
from zetaplan.verification.batch import certified, residuals


@dataclass
class RowTally:
    """Counts of planted rows. decades : by program and decade of quality. worst : the largest errors of exact rows."""

    rows: Counter[str] = field(default_factory=Counter)
    decades: Counter[str] = field(default_factory=Counter)
    worst: dict[str, float] = field(default_factory=dict)


def solve_rows(rows: Rows) -> BatchSolution:
    """The solutions of a batch, with their certificates."""
    return solve_batch(
        rows.program,
        rows.quality,
        rows.unit_cost,
        rows.limit,
        lower=rows.lower,
        upper=rows.upper,
        device=None,
        **rows.knobs,
    )


def judge_rows(rows: Rows, found: BatchSolution) -> tuple[RowTally, NDArray[np.bool_]]:
    """The counts of one batch, and which rows are off by more than rounding; wrong are those that are certified too."""
    errors = _errors(rows, found.x.numpy(), found.multiplier.numpy())
    allowed = ROUNDING + rows.slip
    off = ~(
        (errors["sharp"] <= allowed) & (errors["dual"] <= allowed) & (errors["violation"] <= ROUNDING)
    )  # NaN is off
    valid, tally = found.valid.numpy(), RowTally()
    kind = "exact" if rows.exact else "rounded"
    tally.rows.update({kind: len(off), "not certified": int((~valid).sum())})
    tally.rows.update({"wrong": int((off & valid).sum()), "off": int(off.sum())})
    counts = np.bincount(rows.decades.astype(int))
    tally.decades.update({f"{rows.program.name} {decade}": int(n) for decade, n in enumerate(counts)})
    if rows.exact:
        tally.worst = {name: float(values.max()) for name, values in errors.items()}
    return tally, off


def _errors(rows: Rows, x: Array, multiplier: Array) -> dict[str, Array]:
    """Relative to the rounding unit of every layer, to the total price, and to the sum of all terms of the limit."""
    distance = np.abs(x - rows.x)
    scale = np.where(rows.scale > 0.0, rows.scale, np.maximum(1.0, np.abs(rows.x)))
    nearest = np.clip(multiplier, rows.least, rows.most)
    missed = multiplier != nearest
    uses = rows.program is ALLOCATION
    excess = ((rows.unit_cost * x).sum(1) - rows.limit) * (1.0 if uses else -1.0)
    volume = (rows.unit_cost * (x + rows.scale)).sum(1) + rows.limit
    outside = np.maximum(rows.lower - x, x - rows.upper).max(1)
    return {
        "sharp": (distance / scale).max(1),
        "dual": np.where(
            missed, np.abs(multiplier - nearest) / np.where(missed, nearest + rows.declared_price, 1.0), 0.0
        ),
        "violation": np.maximum(np.maximum(excess / volume, outside), 0.0),
    }


def forge_rows(rows: Rows, found: BatchSolution, most: int) -> dict[str, dict[str, int]]:
    """Move plan, multiplier and limit of the first rows by 1e-6: counts of forgeries made, and of those accepted."""
    batch = _batch(rows)
    x, multiplier = found.x[:most], found.multiplier[:most]
    batch = batch.rows(slice(0, most))
    clear = _clear(rows, most)
    at = torch.arange(len(x)), torch.tensor(clear.argmax(1))
    moved = x.clone()
    moved[at] += OFF * x[at].clamp(min=1.0)
    sign = batch.program.sign
    use = (batch.unit_cost * (x + 1.0)).sum(1)
    limit = batch.limit * (1.0 - sign * OFF) - sign * OFF * OFF * use
    forged = {
        "plan moved by 1e-6": (batch, moved, multiplier),
        "multiplier changed by 1e-6": (batch, x, multiplier * (1.0 + OFF)),
        "limit that the plan violates by 1e-6": (replace(batch, limit=limit), x, multiplier),
    }
    can = torch.tensor(clear.any(1)) & (multiplier > 0.0)
    counts = {}
    for name, claim in forged.items():
        accepted = certified(residuals(*claim)) & can
        counts[name] = {"made": int(can.sum()), "accepted": int(accepted.sum())}
    return counts


def _clear(rows: Rows, most: int) -> NDArray[np.bool_]:
    """(most, K) interior layers that are clear of their bounds."""
    room = np.minimum(rows.x - rows.lower, rows.upper - rows.x)[:most]
    clear: NDArray[np.bool_] = rows.interior[:most] & (room > 10.0 * OFF * np.maximum(1.0, rows.x[:most]))
    return clear


def _batch(rows: Rows) -> Batch:
    columns = (rows.quality, rows.unit_cost, rows.limit, rows.lower, rows.upper)
    quality, unit_cost, limit, lower, upper = map(torch.as_tensor, columns)
    return declare_batch(rows.program, quality, unit_cost, limit, lower, upper, rows.knobs)
