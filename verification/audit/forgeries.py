"""Forgeries of certificates whose optimum is planted: each is a false claim, so a checker must refuse it.

Every function of the tables takes an honest document and returns a forged one, or None where this document has no place
for it. They are the classes of mutants that the audit counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

Document = dict[str, Any]
Forge = Callable[[Document], Document | None]

OFF = 1e-6  # a thousand times the tolerance of a certificate
FEW = 3  # menus of a false choice: a checker refuses it only after it has tried what the proof leaves open


def _with(document: Document, field: str, k: int, value: float) -> Document:
    forged = copy.deepcopy(document)
    forged[field][k] = value
    return forged


def _movable(document: Document) -> int | None:
    """An interior layer that is clear of its bounds, where the multiplier is positive; None if there is none."""
    if Fraction(*(int(part, 16) for part in document["multiplier"].split("/"))) <= 0:
        return None
    rows = zip(document["lower"], document["plan"], document["upper"], strict=True)
    room = [min(x - low, x if high is None else high - x) / max(1.0, x) for low, x, high in rows]
    return next((k for k in document["interior"] if room[k] > 10.0 * OFF), None)


def _interior(change: Callable[[Document, int], Document]) -> Forge:
    def forge(document: Document) -> Document | None:
        k = _movable(document)
        return None if k is None else change(document, k)

    return forge


def _moved(document: Document, k: int) -> Document:
    x = document["plan"][k]
    return _with(document, "plan", k, x + OFF * max(1.0, x))


def _elsewhere(document: Document, k: int) -> Document:
    """The layer is listed at its floor."""
    forged = copy.deepcopy(document)
    forged["interior"].remove(k)
    forged["floor"] = sorted([*forged["floor"], k])
    return forged


def _limit(document: Document) -> Document:
    """A limit that the plan violates."""
    use = sum(a * x for a, x in zip(document["resource"], document["plan"], strict=True))
    off = OFF * use + OFF * OFF * (use + sum(document["resource"]))
    return document | {"limit": use - off if document["program"] == "allocation" else use + off}


def _multiplier(document: Document, k: int) -> Document:
    above, below = document["multiplier"].split("/")
    return document | {"multiplier": f"{int(above, 16) * (2**20 + 1):#x}/{int(below, 16) * 2**20:#x}"}


def _claim(name: str, value: float) -> Forge:
    return lambda document: document | {"claim": document["claim"] | {name: value}}


CERTIFICATES: dict[str, Forge] = {
    "plan moved by 1e-6": _interior(_moved),
    "interior layer listed at its floor": _interior(_elsewhere),
    "weight changed by 1e-6": _interior(lambda d, k: _with(d, "weight", k, d["weight"][k] * (1.0 + OFF))),
    "unit cost changed by 1e-6": _interior(lambda d, k: _with(d, "resource", k, d["resource"][k] * (1.0 + OFF))),
    "multiplier of the proof changed by 1e-6": _interior(_multiplier),
    "claimed price changed by 1e-6": _interior(lambda d, k: d | {"price": d["price"] * (1.0 + OFF)}),
    "limit that the plan violates by 1e-6": _limit,
    "distance beyond the tolerance": _claim("distance", OFF),
    "negative gap": _claim("gap", -5e-324),
}


def _taken(document: Document) -> list[list[float]]:
    return [menu[j] for menu, j in zip(document["menus"], document["plan"], strict=True)]


def _few(menus: Iterable[Any], document: Document) -> Iterable[Any]:
    return menus if len(document["menus"]) <= FEW else ()


def _worse(document: Document) -> Document | None:
    """One block takes an option that costs no more in any budget and loses more."""
    for k, (menu, row) in enumerate(_few(zip(document["menus"], _taken(document), strict=True), document)):
        for j, option in enumerate(menu):
            if option and all(a <= b for a, b in zip(option[:-1], row[:-1], strict=True)) and option[-1] > row[-1]:
                return document | {"plan": [*document["plan"][:k], j, *document["plan"][k + 1 :]]}
    return None


def _budget(document: Document) -> Document:
    """The first budget is below what the plan uses."""
    use = float(sum((Fraction(row[0]) for row in _taken(document)), Fraction(0)))
    return document | {"budgets": [use - OFF * abs(use) if use else -1.0, *document["budgets"][1:]]}


def _better(document: Document) -> Document | None:
    """Some option that the plan does not take becomes as cheap as the one it takes, and loses less."""
    for k, (menu, taken) in enumerate(_few(zip(document["menus"], document["plan"], strict=True), document)):
        for j, option in enumerate(menu):
            if option and j != taken:
                forged = copy.deepcopy(document)
                forged["menus"][k][j] = [*menu[taken][:-1], menu[taken][-1] - max(1.0, abs(menu[taken][-1]))]
                return forged
    return None


def _no_gap(document: Document) -> Document | None:
    """No choice is better than the plan, nor as good as it, nor worse by less than 1: the plan itself is."""
    return document | {"gap": -1.0} if len(document["menus"]) <= FEW else None


CHOICES: dict[str, Forge] = {
    "worse choice": _worse,
    "budget below the use": _budget,
    "better option than the one taken": _better,
    "negative gap": _no_gap,
}
