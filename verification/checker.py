"""Check a certificate of optimality with nothing but the standard library:  python checker.py plan.json

For  minimise sum_k f(x_k)  subject to  sum_k a_k x_k <= R (or >= R),  l_k <= x_k <= h_k,  with f convex, x* is optimal
if a multiplier makes the slope g_k = f'(x_k) +- multiplier a_k of the Lagrangian >= 0 at every floor, <= 0 at every cap
and 0 inside. g_k rises with x_k. So signs of g_k at l_k and h_k locate x*_k and bound |x_k - x*_k|, in fractions.
"""

import json
import math
import os
import re
import sys
from decimal import ROUND_CEILING, Context
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, NamedTuple

BYTES, LAYERS, DIGITS = 32 * 2**20, 20_000, 8192  # the largest file, plan, and (plus 32 per layer) multiplier
TINY, BELOW, HUGE = 2.0**-1074, 1 - 2.0**-53, sys.float_info.max  # the least double, the last below 1, the largest
TOLERANCE, ROUNDING = Fraction(1e-9), Fraction(2) ** -49  # relative to the limit, and to x + 1 inside a box
GRID, UP = 2**1100, Context(prec=2, rounding=ROUND_CEILING)  # sums are rounded up to 1 / GRID, printed numbers up

# The declared price, the strength s; +1 for a budget, -1 for a target; the largest x; the power p; f' without the
# declared price over v = s w, at x = n / d as a quotient of integers; (S, A) such that g = 0 at x = (S pi**p + A) / a,
# where pi = declared price + multiplier.
PROGRAMS: dict[str, tuple[Any, ...]] = {
    "allocation": ("alpha", "gamma", 1, math.inf, -1, lambda n, d: (-d, d + n), lambda a, v: (v, -a)),
    "pruning": ("bits", "eta", -1, 1.0, 1, lambda n, d: (2 * n, d), lambda a, v: (a * a / (2 * v), 0)),
    "barrier_pruning": ("bits", "eta", -1, BELOW, -1, lambda n, d: (d, d - n), lambda a, v: (-v, a)),
}  # fmt: skip
VECTORS = {"weight": 0.0, "resource": TINY, "lower": 0.0, "upper": 0.0, "plan": -HUGE}  # name: least entry
SIDES = ("interior", "floor", "cap")
CLAIMS = {
    "distance": "each layer is within {:.2g} max(1, x) of the optimum",
    "coupling": "the limit is violated by at most {:.2g}",
    "price": "the multiplier is within {:.2g} of an optimal one",
    "gap": "no plan has an objective smaller by more than {:.2g}",
}
FIELDS = {"schema", "program", "parameters", "limit", "multiplier", "price", "claim", *VECTORS, *SIDES}


class CertificateError(ValueError):
    """The condition that is not proved (status 1), or the fault of the file (status 2)."""

    status = 2


class Verdict(NamedTuple):
    """The proved claims as sentences. free : layers of zero weight at total price 0, whose distance is not proved."""

    program: str
    claims: tuple[str, ...]
    free: tuple[int, ...]


def check_certificate(source: dict[str, Any] | str | os.PathLike[str]) -> Verdict:
    """Check a certificate, or the one under "proof" in a plan; a dict or a path. Raises CertificateError."""
    document = source if isinstance(source, dict) else _read(source)
    plan = isinstance(document, dict) and str(document.get("schema")) == "zetaplan.plan/1"
    proof = _proof(document) if plan else document
    case = _parse(proof)
    _check_optimum(case)
    _check_plan(case)
    claims = tuple(sentence.format(UP.create_decimal(float(case.claim[name]))) for name, sentence in CLAIMS.items())
    return Verdict(proof["program"], claims, tuple(case.free))


def _need(condition: bool, message: str, status: int = 2) -> None:
    if not condition:
        error = CertificateError(message)
        error.status = status
        raise error


def _read(path: str | os.PathLike[str]) -> Any:
    try:
        _need(os.path.isfile(os.fspath(path)), "not a regular file")
        with open(path, "rb") as stream:
            data = stream.read(BYTES + 1)
        _need(len(data) <= BYTES, f"larger than {BYTES} bytes")
        return json.loads(data.decode(), object_pairs_hook=_unique, parse_int=float)
    except (OSError, RecursionError, TypeError, ValueError) as error:
        raise CertificateError(f"{path}: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _need(len(dict(pairs)) == len(pairs), "a key appears twice in one object")
    return dict(pairs)


def _proof(plan: dict[str, Any]) -> Any:
    """The certificate inside a plan; its data and solution must equal those of the plan."""
    try:
        proof, data, solution = plan["proof"], plan["instance"], plan["solution"]
        beside = {key: data[key] for key in ("program", "limit", *VECTORS) if key != "plan"}
        beside["parameters"] = {key: data["parameters"][key] for key in proof["parameters"]}
        same = proof == proof | beside | {"plan": solution["x"], "price": solution["multiplier"]}
    except (LookupError, RecursionError, TypeError, ValueError):
        raise CertificateError("plan: no instance, solution and proof") from None
    _need(same, "proof: its data differ from those of the plan", 1)
    return proof


def _numbers(values: Any, name: str, low: float = 0.0, optional: bool = False) -> list[Any]:
    _need(isinstance(values, list) and len(values) <= LAYERS, f"{name}: expected a list of at most {LAYERS} numbers")
    good = [(type(v) in (int, float) and low <= v <= HUGE) or (optional and v is None) for v in values]  # no NaN
    _need(all(good), f"{name}[{[*good, False].index(False)}]: expected a finite number of at least {low:g}")
    return [*map({v: None if v is None else Fraction(float(v)) for v in {*values}}.get, values)]


def _parse(document: Any) -> SimpleNamespace:
    _need(isinstance(document, dict) and set(document) == FIELDS, f"expected the keys {', '.join(sorted(FIELDS))}")
    _need(str(document["schema"]) == "zetaplan.certificate/1", "schema: expected zetaplan.certificate/1")
    name, knobs, claim, text = (document[key] for key in ("program", "parameters", "claim", "multiplier"))
    _need(isinstance(name, str) and name in PROGRAMS, f"program: expected one of {', '.join(PROGRAMS)}")
    declared, strength, sign, top, power, slope, line = PROGRAMS[name]
    _need(isinstance(knobs, dict) and set(knobs) == {declared, strength}, f"parameters: not {declared}, {strength}")
    _need(isinstance(claim, dict) and set(claim) == set(CLAIMS), f"claim: expected {', '.join(CLAIMS)}")
    c = SimpleNamespace(sign=sign, power=power, slope=slope, line=line)
    c.declared, c.limit = _numbers([knobs[declared], document["limit"]], f"{declared}, limit")
    (s,), (c.claimed,) = _numbers([knobs[strength]], strength, TINY), _numbers([document["price"]], "price", -HUGE)
    c.claim = dict(zip(claim, _numbers(list(claim.values()), "claim"), strict=True))
    c.w, c.a, c.l, c.h, c.x = (_numbers(document[v], v, low, v == "upper" and sign > 0) for v, low in VECTORS.items())
    _need(len({len(v) for v in (c.w, c.a, c.l, c.h, c.x)}) == 1 <= len(c.w), "plan: expected one number per layer")
    _need(all(h is None or l <= h <= top for l, h in zip(c.l, c.h, strict=True)), f"upper: not from lower to {top}")
    sides = sorted((k, side) for side in SIDES for k in map(float, _numbers(document[side], side)))
    _need([k for k, _ in sides] == list(range(len(c.w))), f"{', '.join(SIDES)}: expected each layer once")
    c.side = [side for _, side in sides]
    c.bound = [{"floor": l, "cap": h}.get(side) for side, l, h in zip(c.side, c.l, c.h, strict=True)]
    _need(c.bound.count(None) == c.side.count("interior"), "cap: a layer without a cap cannot be at its cap")
    short = isinstance(text, str) and len(text) <= DIGITS + 32 * len(c.w)
    fits = short and re.fullmatch("-?0x[0-9a-f]+/0x[1-9a-f][0-9a-f]*", text) is not None
    _need(fits, "multiplier: expected hexadecimal integers like 0x1/0x8, of reasonable length")
    c.top, c.below = (int(part, 16) for part in text.split("/"))  # not reduced, as pi: that would take longest of all
    c.pi = c.declared.numerator * c.below + c.top * c.declared.denominator, c.declared.denominator * c.below
    c.unit = 2 ** max(0, 256 + c.pi[1].bit_length() - abs(c.pi[0]).bit_length())
    c.about = c.pi[0] * c.unit // c.pi[1], -(-c.pi[0] * c.unit // c.pi[1])  # pi is between both, over the unit
    c.v, c.free = [s * w for w in c.w], [k for k, w in enumerate(c.w) if w == 0 == c.pi[0]]
    return c


def _total(terms: list[Fraction]) -> tuple[int, int]:
    """Numerator and denominator of the sum, by pairs: reducing sums of a thousand fractions would take seconds."""
    parts = [(term.denominator, term.numerator) for term in terms]
    while len(parts) > 1:
        pairs = map(sorted, zip(parts[::2], parts[1::2], strict=False))
        sums = [(d, a * (d // c) + b) if d % c == 0 else (c * d, a * d + b * c) for (c, a), (d, b) in pairs]
        parts = sums + parts[2 * len(sums) :]
    return parts[0][1], parts[0][0]


def _slope(c: SimpleNamespace, k: int, x: Fraction) -> tuple[int, int, int]:
    """Integers p, q and r > 0 with g_k = (p + q pi) / r at x."""
    (top, below), v, a = c.slope(*x.as_integer_ratio()), c.v[k], c.sign * c.a[k]
    below *= v.denominator
    return top * v.numerator * a.denominator, a.numerator * below, a.denominator * below


def _sign(c: SimpleNamespace, k: int, x: Fraction) -> int:
    """An integer with the sign of g_k at x, from the bounds on pi if both give the same."""
    free, priced, _ = _slope(c, k, x)
    low, high = (free * c.unit + priced * pi for pi in c.about)
    return int(low if low * high > 0 else free * c.pi[1] + priced * c.pi[0])


def _check_optimum(c: SimpleNamespace) -> None:
    """Check the Karush-Kuhn-Tucker conditions for the sides and the multiplier, which define the optimum x*."""
    _need(c.top >= 0, "multiplier: negative", 1)
    for k, (side, low, high) in enumerate(zip(c.side, c.l, c.h, strict=True)):
        if side == "interior":
            inside = c.pi[0] > 0 and _sign(c, k, low) <= 0 and (high is None or _sign(c, k, high) >= 0)
            _need(inside, f"stationarity: layer {k} is not stationary inside its box", 1)
        else:
            outward = _sign(c, k, c.bound[k]) * (1 if side == "floor" else -1)
            _need(outward >= 0, f"box multipliers: the Lagrangian falls if layer {k} leaves its {side}", 1)
    c.lines = [c.line(a, v) if b is None else (0, a * b) for a, v, b in zip(c.a, c.v, c.bound, strict=True)]
    (s, below), (top, unit) = _total([s for s, _ in c.lines]), (c.pi if c.pi[0] else (1, 1))[:: c.power]
    rest = c.limit - Fraction(*_total([a for _, a in c.lines]))
    slack = c.sign * (rest.numerator * below * unit - s * top * rest.denominator)
    _need(slack >= 0, "primal feasibility: the plan of these sides violates the limit", 1)
    _need(slack == 0 or c.top == 0, "complementary slackness: slack limit, positive multiplier", 1)


def _distance(c: SimpleNamespace, k: int, used: Fraction) -> tuple[int, int]:
    """|x_k - x*_k| from above, as a quotient of integers."""
    (s, a), bound = c.lines[k], c.bound[k]
    if bound is not None:
        (x, by), (end, per) = c.x[k].as_integer_ratio(), bound.as_integer_ratio()
        return abs(x * per - end * by), by * per
    low, high = c.about
    levels, unit = ((low, high), c.unit) if c.power > 0 else ((c.unit * low, c.unit * high), low * high)  # of pi**power
    (rest, by), (slope, over), (cost, per) = (f.as_integer_ratio() for f in (used - a, s, c.a[k]))
    return max(abs(rest * over * unit - slope * by * u) for u in levels) * per, by * over * unit * cost


def _check_plan(c: SimpleNamespace) -> None:
    """Check that the claimed distances to the optimum hold and are within the tolerances."""
    for k, (low, x, high) in enumerate(zip(c.l, c.x, c.h, strict=True)):
        _need(low <= x and (high is None or x <= high), f"box: layer {k} is outside its box", 1)
    distance, coupling, price, gap = (c.claim[name] for name in CLAIMS)
    excess = c.sign * (Fraction(*_total(used := [a * x for a, x in zip(c.a, c.x, strict=True)])) - c.limit)
    moved = Fraction(*_total(used + [a for a, x, bound in zip(c.a, c.x, c.bound, strict=True) if x != bound]))
    _need(excess <= coupling <= TOLERANCE * c.limit + ROUNDING * moved, "coupling: error above claim or tolerance", 1)
    near = abs(c.claimed * c.below - c.top) <= price * c.below and price * c.pi[1] <= TOLERANCE * c.pi[0]
    _need(near, "price: error above claim or tolerance", 1)
    tolerated = distance <= TOLERANCE
    left = (Fraction(c.about[1], c.unit) - c.declared) * max(-excess, 0)
    lost = -(-left.numerator * GRID // left.denominator)  # F(x) - F(x*) <= sum |g| |x - x*| + multiplier left
    for k, x in enumerate(c.x):
        off, below = _distance(c, k, used[k])
        top, by = x.as_integer_ratio()
        near = tolerated and off * by * distance.denominator <= max(top, by) * distance.numerator * below
        _need(near or k in c.free, f"distance: error of layer {k} above claim or tolerance", 1)
        if off:
            free, priced, unit = _slope(c, k, x)
            steepest = max(abs(free * c.unit + priced * pi) for pi in c.about)
            lost += -(-off * steepest * GRID // (below * unit * c.unit))
    _need(lost <= gap * GRID, "gap: larger than claimed", 1)


def main(arguments: list[str]) -> int:
    """Print the verdict in one line; returns 0 if every claim is proved, 1 if not, 2 for an invalid file."""
    try:
        _need(len(arguments) == 1, "usage: python checker.py certificate.json | plan.json")
        verdict = check_certificate(arguments[0])
    except CertificateError as error:
        print(f"{'invalid' if error.status == 1 else 'unreadable'}: {error}", file=sys.stderr)
        return error.status
    print(f"valid {verdict.program}: {'; '.join(verdict.claims)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
