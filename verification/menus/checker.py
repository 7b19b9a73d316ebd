"""Check the proof of a choice, or that in a plan, with the standard library alone:  python checker.py plan.json

One option is taken of each menu; losses add up, costs must stay within every budget. Claim: no such choice loses less
than the plan by more than the gap. The proof is a tree. A branch splits a menu's options into parts that cover them. A
leaf is a sweep: it adds menu after menu to partial choices and drops those that cannot keep the limits (the budgets,
and a goal for the loss), those that cost as much as another one (under one budget: as much or more) and lose no less,
and those whose dual bound, loss + multipliers . (costs - budgets) + the least of the menus left, exceeds the goal.
"""

import json
import math
import os
import re
import sys
from fractions import Fraction
from itertools import compress
from typing import Any, NamedTuple

BYTES, OPTIONS, BUDGETS, NODES, DIGITS, HUGE = 32 * 2**20, 100_000, 8, 100_000, 4000, sys.float_info.max
WORK = 20_000_000  # options priced and partial choices made, in all: about a minute
SCHEMA, PLAN, FRACTION = "zetaplan.certificate/2", "zetaplan.plan/2", "[0-9]+/[1-9][0-9]*"
FIELDS = {"schema", "menus", "budgets", "plan", "gap", "proof"}
Vector = tuple[int, ...]  # costs, one for every budget, then the loss; of multipliers: numerators, then the denominator


class CertificateError(ValueError):
    """What is not proved (status 1), or why this is no certificate (status 2)."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class Verdict(NamedTuple):
    """What has been proved, in sentences."""

    program: str
    claims: tuple[str, ...]


def check_certificate(source: dict[str, Any] | str | os.PathLike[str]) -> Verdict:
    """Prove a certificate, or the one under the key "proof" of a plan; a dict or a path. Raises CertificateError."""
    menus, limits, gap, nodes = _parse(source if isinstance(source, dict) else read(source))
    places: list[Any] = [{}] + [None] * (len(nodes) - 1)  # of every node: menu -> the options that are left there
    work = [0]
    for number, node in enumerate(nodes):
        here = places[number]
        _need(here is not None, f"proof: no branch leads to node {number}")
        if isinstance(node, list):
            _sweep([[menu[j] for j in here.get(k, menu)] for k, menu in enumerate(menus)], limits, node, work)
            continue
        fields = _keys(node, f"proof[{number}]", {"decision", "parts", "children"})
        k, rows = _index(fields["decision"], "decision", len(menus)), _list(fields["parts"], "parts", 1, OPTIONS)
        parts = [{_index(j, "parts", OPTIONS) for j in _list(row, "parts", 0, OPTIONS)} for row in rows]
        options = set(here.get(k, menus[k]))
        _need(options <= set().union(*parts), f"proof: the parts of node {number} do not cover menu {k}", 1)
        for part, child in zip(parts, _list(fields["children"], "children", len(parts), len(parts)), strict=True):
            place = _index(child, "children", len(nodes))
            _need(places[place] is None, f"proof: node {place} comes before its parent, or has two of them")
            _toil(work, 10 * (len(here) + len(part)))
            places[place] = here | {k: options & part}
    better = f"no choice within the budgets is better{f' by more than {gap!r}' if gap else ''}"
    return Verdict("choice", ("the budgets are kept", better))


def _need(condition: bool, message: str, status: int = 2) -> None:
    if not condition:
        raise CertificateError(message, status)


def _toil(work: list[int], amount: int) -> None:
    work[0] += amount
    _need(work[0] <= WORK, f"proof: it takes more than {WORK} steps")


def read(path: str | os.PathLike[str]) -> Any:
    """The JSON of a regular file of reasonable size. Raises CertificateError."""
    _need(os.path.isfile(path), f"{path}: not a regular file")
    try:
        with open(path, "rb") as stream:
            data = stream.read(BYTES + 1)
        _need(len(data) <= BYTES, f"larger than {BYTES} bytes")
        return json.loads(  # an object with a key that is there twice is none
            data.decode(), parse_int=float, object_pairs_hook=lambda p: d if len(d := dict(p)) == len(p) else None
        )
    except (OSError, RecursionError, ValueError) as error:
        raise CertificateError(f"{path}: {error}") from None


def _list(value: Any, name: str, least: int, most: int) -> list[Any]:
    _need(isinstance(value, list) and least <= len(value) <= most, f"{name}: expected {least} to {most} entries")
    return value  # type: ignore[no-any-return]


def _keys(value: Any, name: str, keys: set[str]) -> dict[str, Any]:
    _need(isinstance(value, dict) and set(value) == keys, f"{name}: expected the keys {', '.join(sorted(keys))}")
    return value  # type: ignore[no-any-return]


def _numbers(values: Any, name: str, least: int, most: int) -> list[tuple[int, int]]:
    kinds = {*map(type, _list(values, name, least, most))}
    _need(kinds <= {int, float} and all(map(HUGE.__ge__, map(abs, values))), f"{name}: expected finite numbers")
    return [float(v).as_integer_ratio() for v in values]


def _index(value: Any, name: str, size: int) -> int:
    good = type(value) in (int, float) and 0 <= value < size and value == int(value)
    _need(good, f"{name}: expected a whole number below {size}")
    return int(value)


def _parse(document: Any) -> tuple[list[dict[int, Vector]], Vector, float, list[Any]]:
    """Menus (place -> vector), budgets and goal in whole numbers, the gap, the nodes. The plan keeps the budgets."""
    document = document.get("proof") if isinstance(document, dict) and document.get("schema") == PLAN else document
    _need(isinstance(document, dict) and document.get("schema") == SCHEMA, f"schema: expected {SCHEMA}")
    fields = _keys(document, "certificate", FIELDS)
    limits = _numbers(fields["budgets"], "budgets", 1, BUDGETS) + _numbers([fields["gap"]], "gap", 1, 1)
    menus = [_list(menu, "menus", 1, OPTIONS) for menu in _list(fields["menus"], "menus", 1, OPTIONS)]
    _need(sum(map(len, menus)) <= OPTIONS, f"menus: expected at most {OPTIONS} options")
    pairs = [[(j, option) for j, option in enumerate(menu) if option is not None] for menu in menus]
    rows = [{j: _numbers(o, f"menu {k}", len(limits), len(limits)) for j, o in menu} for k, menu in enumerate(pairs)]
    unit = math.lcm(*{below for menu in rows for row in (*menu.values(), limits) for _, below in row})
    *budgets, gap = (top * (unit // below) for top, below in limits)
    whole = [{j: tuple([top * (unit // below) for top, below in row]) for j, row in menu.items()} for menu in rows]
    plan = [_index(j, "plan", OPTIONS) for j in _list(fields["plan"], "plan", len(menus), len(menus))]
    _need(all(map(dict.__contains__, whole, plan)), "plan: it takes an option that there is not", 1)
    *spent, loss = map(sum, zip(*map(dict.__getitem__, whole, plan), strict=True))
    _need(all(map(int.__le__, spent, budgets)), "budget: the plan exceeds it", 1)
    goal = loss - gap - 1  # better by more than the gap: by one unit more at least
    return whole, (*budgets, goal), float(fields["gap"]), _list(fields["proof"], "proof", 1, NODES)


def _prices(stage: dict[str, Any], budgets: int) -> list[Vector]:
    """The multipliers of a stage, each row over its common denominator."""
    found = []
    for row in _list(stage["multipliers"], "multipliers", 1, 8):
        texts = _list(row, "multipliers", budgets, budgets)
        good = all(isinstance(text, str) and len(text) < DIGITS and re.fullmatch(FRACTION, text) for text in texts)
        _need(good, "multipliers: expected fractions like 1/8, of reasonable length")
        below = math.lcm(*(Fraction(text).denominator for text in texts))
        found.append((*(int(Fraction(text) * below) for text in texts), below))
    return found


def _dot(a: Vector, b: Vector) -> int:
    return sum(map(int.__mul__, a, b))


def _sweep(menus: list[list[Vector]], limits: Vector, leaf: list[Any], work: list[int]) -> None:
    """No choice from these menus stays within the limits: the budgets, and for the loss the goal."""
    stages = [_keys(stage, "proof", {"multipliers", "decisions"}) for stage in _list(leaf, "proof", 1, NODES)]
    for prices in _prices(stages[0], len(limits) - 1):  # strike off what is in no choice that reaches the goal
        _toil(work, sum(map(len, menus)))
        values = [[_dot(prices, option) for option in menu] for menu in menus]
        least = [min(row, default=0) for row in values]
        spare = _dot(prices, limits) - sum(least)
        if spare < 0 or not all(menus):
            return
        keep = [[v - low <= spare for v in row] for row, low in zip(values, least, strict=True)]
        menus = [list(compress(menu, row)) for menu, row in zip(menus, keep, strict=True)]
    # From here on relative to the first options, in units that all differences are multiples of, limits rounded down.
    kinds = range(len(limits))
    units = [math.gcd(*(o[i] - menu[0][i] for menu in menus for o in menu)) or 1 for i in kinds]
    left = {k: [tuple((o[i] - m[0][i]) // units[i] for i in kinds) for o in m] for k, m in enumerate(menus)}
    limits = tuple((limits[i] - sum(menu[0][i] for menu in menus)) // units[i] for i in kinds)
    states: list[Vector] = [(0,) * len(limits)]
    for number, stage in enumerate(stages, start=1):
        order = [_index(k, "decisions", len(menus)) for k in _list(stage["decisions"], "decisions", 0, len(menus))]
        _need(len({*order} & left.keys()) == len(order), "decisions: expected each of them once")
        order += sorted(left.keys() - {*order}) if number == len(stages) else []
        tests = [tuple(map(int.__mul__, p, units)) for p in _prices(stage, len(limits) - 1)]
        tests += [tuple(int(i == kind) for i in kinds) for kind in kinds]  # every limit by itself
        _toil(work, len(tests) * sum(map(len, left.values())))
        goals = [
            _dot(p, limits) - sum(min(_dot(p, o) for o in menu) for menu in left.values() if menu[1:]) for p in tests
        ]
        for menu in (menu for menu in map(left.pop, order) if menu[1:] or not left):  # an only option changes nothing
            goals = [goal + min(_dot(p, o) for o in menu) for p, goal in zip(tests, goals, strict=True)]
            _toil(work, len(states) * len(menu))
            sums, states = sorted({tuple(map(int.__add__, s, o)) for s in states for o in menu}), []
            for s in sums:
                if not states or s[-1] < states[-1][-1] or (len(s) > 2 and s[:-1] != states[-1][:-1]):
                    states += [s] if all(_dot(p, s) <= goal for p, goal in zip(tests, goals, strict=True)) else []
    _need(not states, "optimality: a choice within the budgets is better than claimed", 1)


def main(arguments: list[str]) -> int:
    """Print the verdict in one line; 0 every claim is proved, 1 one is not, 2 the file is no certificate."""
    try:
        _need(len(arguments) == 1, "usage: python checker.py proof.json")
        verdict = check_certificate(arguments[0])
    except CertificateError as error:
        print(f"{'invalid' if error.status == 1 else 'unreadable'}: {error}", file=sys.stderr)
        return error.status
    print(f"valid {verdict.program}: {'; '.join(verdict.claims)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
