"""Requirements on single blocks: floors, caps and pins by name, and groups of blocks that share one value.

A name may contain wildcards (`*.q_proj`). The tightest requirement on a block applies: the highest floor, the lowest
cap. The message about infeasible requirements lists a smallest conflicting set: each requirement whose removal leaves
the others infeasible is dropped from the list, one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from glob import escape
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.spec.instance import Array, Arrayish

if TYPE_CHECKING:
    from zetaplan.scoring import Scores

LARGEST = 1e150  # upper bound of a gain
TIE = "+"  # separator of the names of blocks that share one value

Bound = Arrayish | Mapping[str, float]
Result = TypeVar("Result")
Attempt = Callable[[Array, Array], Result]


@dataclass(frozen=True, eq=False)
class Requirement:
    """A floor and a cap on some blocks, (K,) each, infinite for other blocks. label : the requirement as given."""

    label: str
    low: Array
    high: Array


def requirements(names: Sequence[str], lower: Bound, upper: Bound, pins: Mapping[str, float]) -> list[Requirement]:
    """The requirements of a request.

    lower, upper : one number, (K,) numbers, or numbers by name; pins : numbers by name. Raises SpecError for a name
    that no layer has.
    """
    free = np.full(len(names), math.inf)
    found = [Requirement(label, values, free) for label, values in _bounds("lower", lower, names, -math.inf)]
    found += [Requirement(label, -free, values) for label, values in _bounds("upper", upper, names, math.inf)]
    for label, low in _bounds("pins", pins, names, -math.inf):
        found.append(Requirement(label, low, np.where(np.isfinite(low), low, math.inf)))
    return found


def require_range(scores: Scores) -> None:
    """Raise SpecError for a gain whose square, or whose sum with others, would overflow a double."""
    for name, gain in zip(scores.names, np.maximum(scores.gain, scores.high).tolist(), strict=True):
        if not gain <= LARGEST:
            remedy = "divide all gains by one number, which changes no plan"
            raise SpecError(f"{name}: gain = {gain:g}: expected at most {LARGEST:g}; {remedy}")


def least_of_all(names: Sequence[str], least: float, unit: str) -> Requirement:
    """A floor that the kind of plan needs: a layer without any expert, for example, could not route tokens."""
    free = np.full(len(names), math.inf)
    return Requirement(f"lower = {least:g} (every layer needs {unit})", np.full(len(names), least), free)


def feasible(names: Sequence[str], required: Sequence[Requirement], attempt: Attempt[Result], cap: float) -> Result:
    """The result of the attempt under all requirements.

    attempt : from lower and upper, (K,) each, to a plan. cap : the cap of blocks without another; their floor is 0.

    Raises SpecError where two requirements admit no common value, and InfeasibleError with a smallest set of
    requirements that no plan can satisfy together.
    """
    _refuse_contradictions(names, required)
    try:
        return attempt(*_box(required, cap))
    except InfeasibleError as error:
        kept = list(required)
        for one in required:
            without = [other for other in kept if other is not one]
            if not _possible(without, attempt, cap):
                kept = without
        conflict = ", ".join(one.label for one in kept)
        raise InfeasibleError(f"{error}; in conflict with it: {conflict or 'nothing else'}") from error


def grouped(scores: Scores, groups: Sequence[Sequence[str]]) -> Scores:
    """The scores with every group of blocks merged into one block, because its members get the same value.

    A group is a list of names, wildcards allowed. Gains, enclosures, noise floors and parameters are summed, which is
    exact under a block-diagonal curvature. Standard errors are summed too, which is conservative. Raises SpecError for
    overlapping groups.
    """
    if not groups:
        return scores
    members = [_members(group, scores.names) for group in groups]
    taken = [k for group in members for k in group]
    if twice := next((k for k in taken if taken.count(k) > 1), None):
        raise SpecError(f"groups: {scores.names[twice]} is in more than one of them; leave it in one")
    rows = [*members, *([k] for k in range(len(scores.names)) if k not in set(taken))]
    rows.sort(key=min)
    columns = {item.name: getattr(scores, item.name) for item in fields(scores)}
    joined: dict[str, Any] = {
        name: np.array([_joined(name, column[row]) for row in rows])
        for name, column in columns.items()
        if isinstance(column, np.ndarray)
    }
    names = tuple(TIE.join(scores.names[k] for k in row) for row in rows)
    note = {"tied": [[scores.names[k] for k in row] for row in rows if len(row) > 1]}
    steps = {"decrease": None, "held_out_decrease": None}  # the joint steps were not taken
    return replace(scores, **{**joined, **steps, "names": names, "provenance": {**scores.provenance, **note}})


def _joined(name: str, part: NDArray[Any]) -> Any:
    """The value of one column for a group, from the entries of its members."""
    if name == "gradient_norm":
        return math.hypot(*part)
    return part.max() if name == "damping" else part.sum(axis=0)


def _bounds(argument: str, given: Bound, names: Sequence[str], free: float) -> list[tuple[str, Array]]:
    """The label and the (K,) values of each requirement."""
    if not isinstance(given, Mapping):
        values = np.asarray(given, np.float64)
        if values.shape not in ((), (len(names),)):
            raise SpecError(
                f"{argument}: expected one number, {len(names)} of them or numbers by name, got {values.shape}"
            )
        label = f"{argument} = {values:g}" if values.ndim == 0 else argument
        return [(label, np.broadcast_to(values, len(names)))]
    found = []
    for key, value in given.items():
        if math.isnan(value):
            raise SpecError(f"{argument}[{key!r}] = {value}: expected a number")
        values = np.full(len(names), free)
        values[_hits(argument, key, names)] = value
        found.append((f"{argument}[{key!r}] = {value:g}", values))
    return found


def _hits(argument: str, key: str, names: Sequence[str]) -> list[int]:
    """The layers that match a name or a pattern; a group of blocks matches by the name of any member."""
    members = [(name, *name.split(TIE)) for name in names]
    hits: list[int] = []
    for pattern in (escape(key), key.replace("[", "[[]"), key):  # brackets are first literal, then a character set
        hits = hits or [k for k, parts in enumerate(members) if any(fnmatchcase(part, pattern) for part in parts)]
    if not hits:
        near = get_close_matches(key, names, 1, 0.0)
        raise SpecError(
            f"{argument}[{key!r}]: no layer has this name; the closest is {near[0]!r}, and * matches any characters"
        )
    return hits


def _members(group: Sequence[str], names: Sequence[str]) -> list[int]:
    return sorted({k for key in group for k in _hits("groups", key, names)})


def _box(required: Sequence[Requirement], cap: float) -> tuple[Array, Array]:
    """The tightest bounds, 0 and `cap` where nothing is required. The program rejects bounds outside its domain."""
    low = np.max([one.low for one in required], axis=0, initial=-math.inf)
    high = np.min([one.high for one in required], axis=0, initial=math.inf)
    return np.where(low == -math.inf, 0.0, low), np.where(high == math.inf, cap, high)


def _possible(required: Sequence[Requirement], attempt: Attempt[Any], cap: float) -> bool:
    try:
        attempt(*_box(required, cap))
    except InfeasibleError:
        return False
    return True


def _refuse_contradictions(names: Sequence[str], required: Sequence[Requirement]) -> None:
    for k, name in enumerate(names):
        floor, cap = max(required, key=lambda w: w.low[k]), min(required, key=lambda w: w.high[k])
        if floor.low[k] > cap.high[k]:
            raise SpecError(f"{name}: {floor.label} and {cap.label} admit no common value; relax one of them")
