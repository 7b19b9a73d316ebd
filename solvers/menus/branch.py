"""Branch and bound under several budgets: every node's multipliers come from its linear relaxation (HiGHS).

A node is a leaf of the proof if its dual bound exceeds what is still better than the known choice, or if its reduced
costs leave so few choices that all are looked at. Other nodes are split at their most fractional menu: the option of
the largest weight, and all others. Bounds, reduced costs and budgets are whole numbers; only HiGHS works in doubles.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zetaplan.errors import InfeasibleError
from zetaplan.solvers.menus.sweep import Limits
from zetaplan.spec.menus.answer import Branch, ChoiceSolution, ChoiceStatus, Leaf, Multipliers, Stage, Tree
from zetaplan.spec.menus.choice import Array, Choice, Indices, integers

CERTAIN = 1e-6  # a weight this near to 1 is not split
FEW = 2048  # choices that are looked at one by one


@dataclass(frozen=True, eq=False)
class _Node:
    """A node that may have to be split: what is left of the menus, its relaxation, and what that proves."""

    left: NDArray[np.bool_]
    weights: Array
    multipliers: Multipliers
    bound: Fraction


class _Search:
    """The tree so far, the best choice known, and the nodes that are open, lowest bound first."""

    def __init__(self, instance: Choice) -> None:
        self.instance = instance
        losses, bits = integers(instance.losses)
        self.losses = [Fraction(n, 1 << bits) for n in losses]
        self.unit = Fraction(math.gcd(*losses) or 1, 1 << bits)
        self.most = sum(map(abs, self.losses), Fraction(1))
        self.best: Indices | None = None
        self.objective = self.most + 2 * self.unit  # of the best choice; no choice reaches this one
        self.nodes: list[Branch | Leaf] = []
        self.open: list[tuple[float, int, _Node]] = []
        self.add(np.ones(instance.losses.size, dtype=np.bool_))

    def add(self, left: NDArray[np.bool_]) -> int:
        """The place of a new node."""
        place = len(self.nodes)
        node = self._relaxed(left)
        self.nodes.append((Stage((node.multipliers,)),))
        if not self._settled(node):
            heapq.heappush(self.open, (float(node.bound), place, node))
        return place

    def split(self, place: int, node: _Node) -> None:
        """Replace an open leaf by a branch."""
        owner, sizes = self.instance.owner, self._sizes(node.left)
        free = (sizes > 1)[owner] & node.left
        fraction = np.where(free & (node.weights < 1.0 - CERTAIN), node.weights, 0.0)
        row = int(np.argmax(fraction)) if fraction.any() else int(np.argmax(np.where(free, node.weights, -1.0)))
        menu = np.flatnonzero(node.left & (owner == owner[row]))
        parts = (np.array([row]), menu[menu != row])
        children = []
        for part in parts:
            left = node.left.copy()
            left[menu] = False
            left[part] = True
            children.append(self.add(left))
        options = tuple(tuple(self.instance.option[part].tolist()) for part in parts)
        self.nodes[place] = Branch(int(owner[row]), options, tuple(children))

    def done(self, node: _Node) -> bool:
        """Does the node hold nothing better than the best choice known?"""
        return node.bound > self.objective - self.unit

    def _sizes(self, left: NDArray[np.bool_]) -> Indices:
        return np.add.reduceat(left, self.instance.first[:-1], dtype=np.intp)

    def _relaxed(self, left: NDArray[np.bool_]) -> _Node:
        part = restricted(self.instance, left)
        weights, multipliers, fits = relaxation(part)
        everywhere = np.zeros(left.size)
        everywhere[left] = weights
        for rows in _rounded(part, weights):
            self._propose(np.flatnonzero(left)[rows])
        exact = tuple(Fraction(float(m)) for m in multipliers)
        if not fits:
            exact = self._unaffordable(part, exact)
        return _Node(left, everywhere, exact, part.dual(exact))

    def _unaffordable(self, part: Choice, ray: Multipliers) -> Multipliers:
        """Multipliers that price everything out, if the ray shows that nothing fits; otherwise the ray as it is."""
        missing = replace(part, losses=np.zeros_like(part.losses)).dual(ray)
        return tuple(math.ceil(4 * self.most / missing) * m for m in ray) if missing > 0 else ray

    def _settled(self, node: _Node) -> bool:
        """Is it a leaf? Looks at all choices that the reduced costs leave where these are few."""
        if self.done(node):
            return True
        rows = np.flatnonzero(node.left)[self._within(restricted(self.instance, node.left), node)]
        sizes = np.bincount(self.instance.owner[rows], minlength=self.instance.decisions)
        if math.prod(sizes.tolist()) > FEW:
            return False
        for chosen in product(*np.split(rows, np.cumsum(sizes)[:-1])):
            self._propose(np.array(chosen))
        return True

    def _within(self, part: Choice, node: _Node) -> NDArray[np.bool_]:
        """The options that could be in a better choice: their reduced cost alone does not rule them out."""
        values, _, unit = part.exactly_priced(node.multipliers)
        spare = math.floor((self.objective - self.unit - node.bound) * unit)
        least = [min(values[a:b]) for a, b in pairwise(part.first.tolist())]
        owner = part.owner.tolist()
        return np.array([value - least[g] <= spare for value, g in zip(values, owner, strict=True)])

    def _propose(self, rows: Indices) -> None:
        """Keep the choice if it fits every budget and is better than the best one known; exactly."""
        instance = self.instance
        objective = sum((self.losses[row] for row in rows.tolist()), Fraction(0))
        if objective >= self.objective:
            return
        for used, budget in zip(instance.costs[rows].T.tolist(), instance.budgets.tolist(), strict=True):
            if math.fsum([*used, -budget]) > 0.0:
                return
        self.best, self.objective = rows, objective


def branch(instance: Choice, limits: Limits, gap: float) -> ChoiceSolution:
    """The best choice under several budgets; limits count from the first choice on. Raises InfeasibleError for none."""
    search = _Search(instance)
    while search.open and not (search.best is not None and _enough(search, limits, gap)):
        _, place, node = heapq.heappop(search.open)
        search.split(place, node)
    if search.best is None:
        several = instance.budgets.size
        raise InfeasibleError(
            f"budget: no choice that keeps all {several} budgets exists: raise a budget, or add cheaper options"
        )
    open_ = [float(node.bound) for _, _, node in search.open if not search.done(node)]
    bound = math.nextafter(min(open_), -math.inf) if open_ else float(search.objective)
    status = ChoiceStatus.GAP if open_ else ChoiceStatus.OPTIMAL
    choice, tree = instance.options_of(search.best), Tree(tuple(search.nodes))
    return ChoiceSolution(instance, choice, relaxation(instance)[1], bound, status, "exact", tree)


def _enough(search: _Search, limits: Limits, gap: float) -> bool:
    """Is the best choice known proved, near enough, or as far as the limits let the search go?"""
    bound, _, node = search.open[0]
    objective = float(search.objective)
    near = gap > 0.0 and objective - bound <= gap * abs(objective)
    return search.done(node) or near or limits.reached(len(search.nodes))


def restricted(instance: Choice, left: NDArray[np.bool_]) -> Choice:
    """The instance with these options only; at least one of every decision."""
    sizes = np.add.reduceat(left, instance.first[:-1], dtype=np.intp)
    return replace(
        instance,
        losses=instance.losses[left],
        costs=instance.costs[left],
        option=instance.option[left],
        first=np.concatenate(([0], np.cumsum(sizes))),
    )


def relaxation(instance: Choice) -> tuple[Array, Array, bool]:
    """(n,) weights, (M,) multipliers, and whether any fits; where none does, the multipliers of the least excess."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    n, several = instance.losses.size, instance.budgets.size
    one = csr_array((np.ones(n), (instance.owner, np.arange(n))), shape=(instance.decisions, n))
    scale = np.maximum(instance.costs.max(axis=0), 1e-300)
    size = max(float(np.abs(instance.losses).max()), 1e-300)
    costs, budgets = (instance.costs / scale).T, instance.budgets / scale
    found = linprog(instance.losses / size, costs, budgets, one, np.ones(instance.decisions), method="highs")
    if found.status == 0:
        return found.x, _prices(found, size / scale), True
    excess = np.column_stack((costs, -np.ones(several)))
    objective = np.append(np.zeros(n), 1.0)
    wider = csr_array((np.ones(n), (instance.owner, np.arange(n))), shape=(instance.decisions, n + 1))
    found = linprog(objective, excess, budgets, wider, np.ones(instance.decisions), method="highs")
    weights = found.x[:n] if found.x is not None else np.zeros(n)
    return weights, _prices(found, 1.0 / scale) if found.x is not None else np.zeros(several), False


def _prices(found: Any, unit: Array) -> Array:
    """The multipliers of the budgets, finite and not negative."""
    with np.errstate(over="ignore"):
        prices: Array = np.clip(np.nan_to_num(-found.ineqlin.marginals * unit), 0.0, 1e300)
    return prices


def _rounded(instance: Choice, weights: Array) -> list[Indices]:
    """Choices near a fractional one: its largest weights, and every way to settle the menus that are fractional."""
    owner, first = instance.owner, instance.first
    top = np.array([a + int(np.argmax(weights[a:b])) for a, b in pairwise(first.tolist())])
    split = np.flatnonzero(weights[top] < 1.0 - CERTAIN)
    menus = [np.flatnonzero(owner == g) for g in split]
    if math.prod(len(menu) for menu in menus) > FEW:
        return [top]
    found = []
    for settled in product(*menus):
        rows = top.copy()
        rows[split] = settled
        found.append(rows)
    return found
