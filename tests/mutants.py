"""Certificates that must be accepted, forgeries that must be refused, and broken checkers that must be found out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from tests.strategies import random_instance
from zetaplan.solvers.exact import solve_exact
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.allocation import allocation
from zetaplan.spec.programs.barrier_pruning import barrier_pruning
from zetaplan.spec.programs.pruning import pruning
from zetaplan.verification.exact import certify_exactly

Document = dict[str, Any]

GAINS, DATA = [0.4, 0.3, 0.2, 0.06, 0.04], [1.0, 0.5, 2.0, 3.0, 0.25]

EVERY_KIND: dict[str, Instance] = {
    "allocation": allocation(GAINS, DATA, 7.3, lower=[0, 0, 0, 0.1, 0], upper=[1.5, 9, 9, 9, 9]),
    "allocation without caps": allocation(GAINS, DATA, 3.0, beta=2.0, gamma=0.9),
    "allocation with a price": allocation(GAINS, DATA, 2.0, alpha=0.01),
    "slack budget": allocation(GAINS, DATA, 50.0, alpha=0.05),
    "no budget": allocation(GAINS, DATA, 0.0),
    "budget at the caps": allocation(GAINS, 1.0, 10.0, upper=2.0),
    "allocation that leaves layers free": allocation([0.5, 0.5, 0.0], 1.0, 9.0, upper=2.0),
    "weightless at its floor": allocation([0.5, 0.5, 0.0], 1.0, 3.0, lower=0.25),
    "pinned layers": allocation(GAINS, DATA, 20.0, lower=[0.5, 0, 0, 0.5, 0], upper=[0.5, 9, 9, 0.5, 9]),
    "tie at a breakpoint": allocation([0.5, 0.25, 0.25], 1.0, 1.0),
    "pruning": pruning(GAINS, DATA, sparsity=0.5, lower=[0.2, 0, 0, 0, 0], upper=0.8),
    "pruning with bits": pruning(GAINS, DATA, sparsity=0.5, bits=0.001, eta=2.0, kappa=2.0),
    "slack target": pruning(GAINS, DATA, sparsity=0.1, bits=0.2),
    "target at the caps": pruning(GAINS, DATA, sparsity=0.51, upper=0.51),
    "no target": pruning(GAINS, DATA, target=0.0),
    "weightless at its cap": pruning([0.5, 0.5, 0.0], 1.0, sparsity=0.6, upper=0.9),
    "pruning that leaves layers free": pruning([0.5, 0.5, 0.0, 0.0], [1.0, 1.0, 2.0, 3.0], target=1.0),
    "barrier": barrier_pruning(GAINS, DATA, sparsity=0.5, upper=0.9),
    "slack barrier": barrier_pruning(GAINS, DATA, sparsity=0.1, bits=0.5),
}


TWO: Document = {"weight": [0.5, 0.5], "resource": [1.0, 1.0], "lower": [0.0, 0.0], "upper": [None, None]}


def honest() -> dict[str, Document]:
    """Certificates of every kind, as they read back from JSON."""
    instances = EVERY_KIND | {f"random {seed}": random_instance(seed) for seed in range(20)}
    documents = {name: certificate(instance) for name, instance in instances.items()}
    tied = TWO | {"weight": [0.5, 0.25]}
    documents["a tie counted as inside"] = _forged(tied, 1.0, [1.0, 0.0], (1, 4), interior=[0, 1])
    spent = _forged(TWO, 0.0, [2.0**-52, 0.0], (1, 2), floor=[0, 1])
    documents["a budget of 0 that rounding exceeds"] = spent | {"claim": spent["claim"] | {"coupling": 2.0**-52}}
    return {name: json.loads(json.dumps(document)) for name, document in documents.items()}


def certificate(instance: Instance) -> Document:
    document = certify_exactly(instance, solve_exact(instance)).document
    assert document is not None
    return document


def broken_fields() -> Iterator[tuple[str, str, Document]]:
    """(what was done, the condition that names it, the forgery): every field, changed one at a time."""
    document = certificate(EVERY_KIND["allocation"])
    missing = next(document for document in honest().values() if document["claim"]["coupling"] > 0.0)
    pruned = certificate(EVERY_KIND["pruning"])
    inside, floor, cap = document["interior"][0], document["floor"][0], document["cap"][0]

    def changed(field: str, value: Any, base: Document = document) -> Document:
        return copy.deepcopy(base) | {field: value}

    def at(field: str, k: int, factor: float) -> Document:
        forged = copy.deepcopy(document)
        forged[field][k] *= factor
        return forged

    def moved(k: int, source: str, target: str, base: Document = document) -> Document:
        forged = copy.deepcopy(base)
        forged[source].remove(k)
        forged[target].append(k)
        return forged

    def claiming(name: str, factor: float, base: Document = document) -> Document:
        return changed("claim", base["claim"] | {name: factor * base["claim"][name]}, base)

    yield "schema", "schema", changed("schema", "zetaplan.certificate/2")
    yield "program", "parameters", changed("program", "pruning")
    yield "declared price", "complementary slackness", changed("parameters", {"alpha": 1e-6, "gamma": 1.0})
    yield "strength", "complementary slackness", changed("parameters", {"alpha": 0.0, "gamma": 0.999})
    yield "limit raised", "complementary slackness", changed("limit", 7.5)
    yield "limit lowered", "primal feasibility", changed("limit", 7.0)
    yield "interior weight", "primal feasibility", at("weight", inside, 1.01)
    yield "weight at the cap", "box multipliers", at("weight", cap, 0.1)
    yield "weight at the floor", "box multipliers", at("weight", floor, 100.0)
    yield "interior resource", "complementary slackness", at("resource", inside, 1.01)
    yield "resource at the floor", "box multipliers", at("resource", floor, 0.01)
    yield "floor lowered", "complementary slackness", at("lower", floor, 0.5)
    yield "floor raised", "primal feasibility", at("lower", floor, 1.5)
    yield "cap lowered", "complementary slackness", at("upper", cap, 0.9)
    yield "cap of an interior layer", "stationarity", at("upper", inside, 0.1)
    yield "interior plan", "coupling", at("plan", inside, 1.0 + 1e-7)
    yield "plan outside its box", "box", at("plan", floor, 1.0 - 1e-15)
    yield "price", "price", changed("price", document["price"] * (1 + 1e-12))
    yield (
        "multiplier",
        "complementary slackness",
        changed("multiplier", document["multiplier"].replace("/", "1/") + "0"),
    )
    yield "interior listed as floor", "box multipliers", moved(inside, "interior", "floor")
    yield "floor listed as interior", "stationarity", moved(floor, "floor", "interior")
    yield "cap listed as interior", "stationarity", moved(cap, "cap", "interior")
    yield "cap listed as floor", "box multipliers", moved(cap, "cap", "floor")
    yield "floor listed as cap", "box multipliers", moved(floor, "floor", "cap")
    yield "distance", "distance", claiming("distance", 0.5)
    yield "coupling", "coupling", claiming("coupling", 0.5, missing)
    yield "price claim", "price", claiming("price", 0.5)
    yield "gap", "gap", claiming("gap", 0.5)
    yield "pruning target", "primal feasibility", changed("limit", pruned["limit"] * 1.01, pruned)
    yield "pruning strength", "primal feasibility", changed("parameters", {"bits": 0.0, "eta": 1.01}, pruned)


def broken_conditions() -> Iterator[tuple[str, str, Document]]:
    """Forgeries that break one condition of optimality each, with claims as generous as is tolerated."""
    two = TWO
    yield (
        "a price paid for using the budget",
        "multiplier",
        _forged(two, 6.0, [3.0, 3.0], (-1, 8), interior=[0, 1], alpha=0.25),
    )
    yield "a floor that should rise", "box multipliers", _forged(two, 2.0, [2.0, 0.0], (1, 6), interior=[0], floor=[1])
    capped = two | {"upper": [9.0, 1.5]}
    yield "a cap that should fall", "box multipliers", _forged(capped, 2.0, [0.5, 1.5], (1, 3), interior=[0], cap=[1])
    below = two | {"lower": [2.0, 0.0]}
    yield "an interior below its floor", "stationarity", _forged(below, 2.0, [1.0, 1.0], (1, 4), interior=[0, 1])
    above = two | {"upper": [0.5, 9.0]}
    yield "an interior above its cap", "stationarity", _forged(above, 2.0, [1.0, 1.0], (1, 4), interior=[0, 1])
    yield "budget left over", "complementary slackness", _forged(two, 2.0, [0.5, 0.5], (1, 3), interior=[0, 1])
    yield (
        "budget exceeded at no price",
        "primal feasibility",
        _forged(two, 1.0, [1.0, 1.0], (0, 1), interior=[0, 1], alpha=0.25),
    )
    yield (
        "budget exceeded at a price",
        "primal feasibility",
        _forged(two, 1.0, [1.0, 1.0], (1, 4), interior=[0, 1]),
    )
    target = two | {"upper": [1.0, 1.0], "program": "pruning"}
    yield "target missed", "primal feasibility", _forged(target, 1.5, [0.5, 0.5], (1, 2), interior=[0, 1])
    yield "target exceeded", "complementary slackness", _forged(target, 0.5, [0.5, 0.5], (1, 2), interior=[0, 1])
    yield "a plan below its floor", "box", _forged(two, 0.0, [0.0, -1e-12], (1, 2), floor=[0, 1])
    yield "a plan above its cap", "box", _forged(capped, 2.0, [1.0, 1.5 + 1e-12], (1, 4), interior=[0, 1])
    yield "a plan off its floor", "distance", _forged(two, 1.0, [0.0, 1e-8], (0, 1), floor=[0, 1], alpha=0.5)
    yield "an interior plan off", "distance", _forged(two, 2.0, [1 - 1e-8, 1.0], (1, 4), interior=[0, 1])
    quarters = two | {"resource": [0.25, 0.25]}
    cheap = _forged(quarters, 0.5, [1 - 2e-9, 1.0], (1, 1), interior=[0, 1])
    yield "a cheap layer off", "distance", cheap | {"claim": cheap["claim"] | {"coupling": 0.0}}
    far = _forged(two, 2.0, [1 - 1e-8, 1.0], (1, 4), interior=[0, 1])
    yield "a distance beyond tolerance", "distance", far | {"claim": far["claim"] | {"distance": 1e-7}}
    over = _forged(two, 2.0, [1.0 + 1e-10, 1.0], (1, 4), interior=[0, 1])
    yield "a budget exceeded", "coupling", over | {"claim": over["claim"] | {"coupling": 0.0}}
    yield "a miss beyond tolerance", "coupling", over | {"claim": over["claim"] | {"coupling": 1e-3}}
    dear = _forged(two | {"resource": [1.0, 1e12]}, 10.0, [10.0, 1e-10], (1, 22), interior=[0], floor=[1])
    yield "ten times the budget on a dear layer", "coupling", dear | {"claim": dear["claim"] | {"coupling": 100.1}}
    wrong = _forged(two, 2.0, [1.0, 1.0], (1, 4), interior=[0, 1])
    yield "a price off", "price", wrong | {"price": 0.2500001}
    yield "a price too low", "price", wrong | {"price": 0.2499999}
    yield "a price beyond tolerance", "price", wrong | {"price": 0.26, "claim": wrong["claim"] | {"price": 0.1}}
    left = _forged(two, 2.0, [1 - 5e-10, 1.0], (1, 4), interior=[0, 1])
    yield "budget left by the plan", "gap", left | {"claim": left["claim"] | {"gap": 1e-11}}
    swapped = _forged(two, 2.0, [1 + 2.0**-31, 1 - 2.0**-31], (1, 4), interior=[0, 1])
    yield "two layers off", "gap", swapped | {"claim": swapped["claim"] | {"gap": 0.0}}
    costless = two | {"upper": [2.0, 2.0]}
    yield "a plan off its cap at no price", "distance", _forged(costless, 9.0, [2.0, 1.5], (0, 1), cap=[0, 1])
    yield "an optimum at no price", "stationarity", _forged(quarters, 9.0, [1.0, 1.0], (0, 1), interior=[0, 1])
    weightless = two | {"weight": [1.0, 0.0]}
    yield "weight from nothing", "stationarity", _forged(weightless, 2.0, [1.0, 1.0], (1, 2), interior=[0, 1])
    free = weightless | {"upper": [1.0, 1.0]}
    yield (
        "a free layer does not pay",
        "distance",
        _forged(free, 1.5, [1.0, 0.5], (0, 1), cap=[0], floor=[1], alpha=0.25),
    )


def _forged(
    data: Document, limit: float, plan: list[float], multiplier: tuple[int, int], alpha: float = 0.0, **sides: list[int]
) -> Document:
    p, q = multiplier
    program = data.get("program", "allocation")
    price, strength = ("alpha", "gamma") if program == "allocation" else ("bits", "eta")
    return {
        "schema": "zetaplan.certificate/1",
        "program": program,
        "parameters": {price: alpha, strength: 1.0},
        "limit": limit,
        **data,
        "plan": plan,
        "price": p / q,
        "multiplier": f"{p:#x}/{q:#x}",
        **{side: sides.get(side, []) for side in ("interior", "floor", "cap")},
        "claim": {"distance": 1e-9, "coupling": 1e-9, "price": 1e-9 * (p / q + alpha), "gap": 1.0},
    }


#: Ways to break the checker: (what is wrong now, text in its source, what stands there instead).
CHECKERS: list[tuple[str, str, str]] = [
    ("a negative multiplier is let through", "_need(c.top >= 0,", "_need(True,"),
    ("a multiplier of zero is refused", "c.top >= 0", "c.top > 0"),
    (
        "sign of the dual flipped",
        "c.v[k], c.sign * c.a[k]",
        "c.v[k], -c.sign * c.a[k]",
    ),
    (
        "every limit taken for a budget",
        "c.v[k], c.sign * c.a[k]",
        "c.v[k], c.a[k]",
    ),
    (
        "the slope without the price",
        "a.numerator * below, a.denominator",
        "0, a.denominator",
    ),
    (
        "twice the price",
        "a.numerator * below, a.denominator",
        "2 * a.numerator * below, a.denominator",
    ),
    ("the declared price forgotten", "c.declared.numerator * c.below + c.top", "c.top"),
    ("half the slope of pruning", "(2 * n, d)", "(n, d)"),
    ("the line of pruning without its 2", "a * a / (2 * v)", "a * a / v"),
    ("log m in place of log(1 + m)", "(-d, d + n)", "(-d, n or d)"),
    ("strength forgotten", "s * w for w in c.w", "w for w in c.w"),
    ("weight forgotten", "s * w for w in c.w", "s for w in c.w"),
    ("weight forgotten in the slope", "top * v.numerator", "top"),
    ("unit of the weight forgotten in the slope", "    below *= v.denominator\n", ""),
    ("unit of the resource forgotten in the slope", "top * v.numerator * a.denominator", "top * v.numerator"),
    ("offset of allocation forgotten", "(v, -a)", "(v, 0)"),
    ("the barrier on the wrong side", "(d, d - n)", "(d, d + n)"),
    ("offset of the barrier forgotten", "(-v, a)", "(-v, 0)"),
    ("stationarity dropped", "_need(inside,", "_need(True,"),
    ("stationarity at the floor dropped", "_sign(c, k, low) <= 0 and (high", "(high"),
    ("stationarity at the cap dropped", " and (high is None or _sign(c, k, high) >= 0)", ""),
    ("stationarity strict at the floor", "_sign(c, k, low) <= 0 and", "_sign(c, k, low) < 0 and"),
    ("an interior layer without price", "inside = c.pi[0] > 0 and ", "inside = "),
    ("box multipliers dropped", "_need(outward >= 0,", "_need(True,"),
    ("box multipliers strict", "outward >= 0", "outward > 0"),
    ("cap multipliers signed as floors'", '(1 if side == "floor" else -1)', "1"),
    ("floor multipliers signed as caps'", '(1 if side == "floor" else -1)', "-1"),
    ("primal feasibility dropped", "_need(slack >= 0,", "_need(True,"),
    ("primal feasibility of targets as of budgets", "slack = c.sign * (", "slack = ("),
    ("complementary slackness dropped", "_need(slack == 0 or c.top == 0,", "_need(True,"),
    ("slack always refused", "_need(slack == 0 or c.top == 0,", "_need(slack == 0,"),
    ("fixed layers use nothing", "(0, a * b)", "(0, 0 * a)"),
    ("offsets use nothing", " - Fraction(*_total([a for _, a in c.lines]))", ""),
    ("layers inside the box use nothing", " - s * top * rest.denominator", ""),
    (
        "the first layer skipped",
        "for k, (side, low, high) in enumerate(zip(c.side, c.l, c.h, strict=True)):",
        "for k, (side, low, high) in list(enumerate(zip(c.side, c.l, c.h, strict=True)))[1:]:",
    ),
    (
        "the last layer skipped",
        "for k, (side, low, high) in enumerate(zip(c.side, c.l, c.h, strict=True)):",
        "for k, (side, low, high) in list(enumerate(zip(c.side, c.l, c.h, strict=True)))[:-1]:",
    ),
    ("floors not kept", "_need(low <= x and (high", "_need((high"),
    ("caps not kept", "low <= x and (high is None or x <= high)", "low <= x"),
    ("the box is open", "low <= x and", "low < x and"),
    ("coupling dropped", "_need(excess <= coupling <= TOLERANCE * c.limit + ROUNDING * moved,", "_need(True,"),
    ("coupling not tolerated", "excess <= coupling <= TOLERANCE * c.limit + ROUNDING * moved", "excess <= coupling"),
    ("coupling not measured", "excess <= coupling <= TOLERANCE * c.limit", "coupling <= TOLERANCE * c.limit"),
    ("coupling relative to a unit of the dearest layer", "c.limit + ROUNDING * moved", "(c.limit + moved)"),
    ("no rounding of what a plan uses", " + ROUNDING * moved", ""),
    (
        "no rounding of slope u + offset",
        "used + [a for a, x, bound in zip(c.a, c.x, c.bound, strict=True) if x != bound]",
        "used",
    ),
    ("coupling of targets as of budgets", "excess = c.sign * (", "excess = ("),
    ("price dropped", '_need(near, "price', '_need(True, "price'),
    ("price not tolerated", " and price * c.pi[1] <= TOLERANCE * c.pi[0]", ""),
    ("price not measured", "abs(c.claimed * c.below - c.top) <= price * c.below and ", ""),
    ("price measured on one side", "abs(c.claimed * c.below - c.top)", "c.claimed * c.below - c.top"),
    ("price measured on the other side", "abs(c.claimed * c.below - c.top)", "c.top - c.claimed * c.below"),
    ("distance dropped", "_need(near or k in c.free,", "_need(True,"),
    ("distance not tolerated", "tolerated = distance <= TOLERANCE", "tolerated = True"),
    ("distance not measured", " and off * by * distance.denominator <= max(top, by) * distance.numerator * below", ""),
    ("distance of every layer relative", "max(top, by) * distance", "top * distance"),
    ("distance of no layer relative", "max(top, by) * distance", "by * distance"),
    ("distance on one side of a bound", "abs(x * per - end * by)", "(x * per - end * by)"),
    ("distance on one side of a line", "max(abs(rest * over", "max((rest * over"),
    ("distance twice as large", "max(abs(rest", "max(2 * abs(rest"),
    ("a price in place of its inverse", "if c.power > 0 else", "if True else"),
    ("an inverse in place of its price", "if c.power > 0 else", "if False else"),
    ("unit of an amount forgotten in a distance", "end * by), by * per", "end * by), per"),
    ("unit of a cost forgotten in a distance", "for u in levels) * per,", "for u in levels),"),
    ("cost forgotten in a distance", "by * over * unit * cost", "by * over * unit"),
    ("unit of a line forgotten in a distance", "by * over * unit * cost", "by * unit * cost"),
    ("free layers not excused", " or k in c.free", ""),
    ("layers without weight always excused", "if w == 0 == c.pi[0]", "if w == 0"),
    ("all excused where the resource is free", "if w == 0 == c.pi[0]", "if c.pi[0] == 0"),
    ("gap dropped", "_need(lost <= gap * GRID,", "_need(True,"),
    ("gap without what is left over", "declared) * max(-excess, 0)", "declared) * 0"),
    ("gap without the slopes", "        lost += ", "        _ = "),
    ("gap with what is exceeded", "max(-excess, 0)", "max(excess, 0)"),
    ("gap without the price in the slope", "abs(free * c.unit + priced * pi)", "abs(free * c.unit)"),
    ("gap grid too coarse", "2**1100", "2**10"),
    ("tolerance a thousand times too large", "Fraction(1e-9)", "Fraction(1e-6)"),
    ("tolerance a million times too small", "Fraction(1e-9)", "Fraction(1e-15)"),
    ("a layer on two sides", "_need([k for k, _ in sides] == list(range(len(c.w))),", "_need(len(sides) >= len(c.w),"),
    ("caps below floors", "l <= h <= top", "h <= top"),
    ("sparsity above one", "l <= h <= top", "l <= h"),
    ("resource of zero or less", '"resource": TINY', '"resource": -HUGE'),
    ("negative weight", '"weight": 0.0', '"weight": -HUGE'),
    ("negative floor", '"lower": 0.0', '"lower": -HUGE'),
    ("strength of zero", "_numbers([knobs[strength]], strength, TINY)", "_numbers([knobs[strength]], strength)"),
    ("booleans for numbers", "type(v) in (int, float)", "isinstance(v, (int, float))"),
    ("infinite numbers", "low <= v <= HUGE", "low <= v"),
    ("extra fields", "set(document) == FIELDS", "set(document) >= FIELDS"),
    ("any schema", '_need(str(document["schema"]) == "zetaplan.certificate/1",', "_need(True,"),
    ("extra claims", "set(claim) == set(CLAIMS)", "set(claim) >= set(CLAIMS)"),
    ("extra parameters", "set(knobs) == {declared, strength}", "set(knobs) >= {declared, strength}"),
    (
        "a plan of another length",
        "_need(len({len(v) for v in (c.w, c.a, c.l, c.h, c.x)}) == 1 <= len(c.w),",
        "_need(True,",
    ),
    ("a proof about another plan", "    _need(same,", "    _need(True,"),
    ("duplicate keys", "_need(len(dict(pairs)) == len(pairs),", "_need(True,"),
    ("files of any size", "_need(len(data) <= BYTES,", "_need(True,"),
    ("the last of an odd number of terms left out", " + parts[2 * len(sums) :]", ""),
    ("terms with equal denominators only", "a * (d // c) + b", "a + b"),
    ("signs by a bound on the price alone", "low if low * high > 0 else", "low if True else"),
    ("fractions of any length", " and len(text) <= DIGITS + 32 * len(c.w)", ""),
]
