"""Proofs of choices that must be accepted, forgeries that must be refused, and checkers that must be found out."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

import zetaplan as zp
from tests.menus import tensors
from zetaplan.errors import InfeasibleError
from zetaplan.spec.menus.choice import Choice
from zetaplan.spec.menus.declare import choice
from zetaplan.verification.audit.menu_families import FAMILIES, plant_choice

Document = dict[str, Any]

PER_PROOF = 5  # forgeries of one honest proof

LOSSES, COSTS = [[9.0, 4.0, 0.0], [6.0, 1.0, 0.5], [2.0, 0.0]], [[2.0, 4.0, 8.0], [2.0, 4.0, 8.0], [1.0, 3.0]]
EVEN = choice([[0.0, -4.0], [0.0, -6.0], [0.0, -8.0]], [[0.0, 4.0], [0.0, 6.0], [0.0, 8.0]], 13.0)


def two_budgets() -> Choice:
    """An instance that takes a tree of several nodes."""
    rng = np.random.default_rng(2)
    costs = rng.integers(1, 30, (12, 4, 2)).astype(np.float64)
    losses = rng.integers(1, 100, (12, 4)).astype(np.float64)
    return choice(losses, costs, np.floor(0.8 * costs.mean(axis=1).sum(axis=0)))


EVERY_KIND: dict[str, Choice] = {
    "three menus": choice(LOSSES, COSTS, 11.0),
    "one menu": choice([[3.0, 1.0, 2.0]], [[1.0, 2.0, 3.0]], 2.5),
    "one option": choice([[3.0]], [[1.0]], 1.0),
    "no budget": choice([[3.0, 1.0]], [[0.0, 1.0]], 0.0),
    "slack budget": choice(LOSSES, COSTS, 100.0),
    "even costs, odd budget": EVEN,
    "ruled out and tied": choice(LOSSES, COSTS, 13.0, groups=[(0, 1)], forbid={2: 1}),
    "pinned": choice(LOSSES, COSTS, 14.0, pins={0: 2}),
    "negative losses": choice([[-1.0, -5.0], [-2.0, -3.0]], [[1.0, 3.0], [1.0, 3.0]], 4.0),
    "tenths": choice([[0.3, 0.1], [0.7, 0.2], [0.1, 0.0]], [[0.1, 0.3], [0.2, 0.7], [0.3, 0.4]], 1.1),
    "tensors": tensors(3, blocks=1),
    "two budgets": two_budgets(),
}


def proof_of(instance: Choice, **options: Any) -> Document:
    document = zp.certify(instance, zp.solve(instance, **options)).document
    assert document is not None
    loaded: Document = json.loads(json.dumps(document))
    return loaded


def honest() -> dict[str, Document]:
    """Proofs of every kind, as they read back from JSON."""
    found = {name: proof_of(instance) for name, instance in EVERY_KIND.items()}
    found["a gap"] = proof_of(EVERY_KIND["tensors"], states=0)
    found["a greedy choice"] = proof_of(EVERY_KIND["three menus"], method="greedy")
    found["a choice without a proof"] = proof_of(EVERY_KIND["tensors"], method="milp")
    found["two budgets, a gap"] = proof_of(EVERY_KIND["two budgets"], states=1)
    leaf, parts = [{"multipliers": [["0/1"]], "decisions": []}], [[0, 1, 2], [], [0]]
    branch = {"decision": 0, "parts": parts, "children": [1, 2, 3]}
    found["parts that overlap, and one without options"] = found["three menus"] | {"proof": [branch, leaf, leaf, leaf]}
    only = {"menus": [[[1.0, 5.0]], [[1.0, 2.0]]], "budgets": [9.0], "plan": [0, 0], "gap": 0.0}
    one = {"multipliers": [["1/1"]], "decisions": []}
    found["menus of one option at a price that bounds nothing"] = found["three menus"] | only | {"proof": [[one]]}
    for index in range(3 * len(FAMILIES)):
        planted = plant_choice(0, index)
        if planted.instance.decisions > 5:
            continue
        try:
            found[f"{planted.family} {index}"] = proof_of(planted.instance)
        except InfeasibleError:
            continue
    return found


def worse_plans(documents: dict[str, Document]) -> Iterator[tuple[str, Document]]:
    """Every proof for every choice that differs in one menu, keeps the budgets and loses more: a false claim."""
    for name, document in documents.items():
        if document["gap"]:
            continue
        menus, plan, left = document["menus"], document["plan"], PER_PROOF
        loss = sum(menu[j][-1] for menu, j in zip(menus, plan, strict=True))
        for k, menu in enumerate(menus):
            for j, option in enumerate(menu):
                other = [*plan[:k], j, *plan[k + 1 :]]
                if left and option is not None and _fits(document, other) and _exceeds(menus, other, loss):
                    left -= 1
                    yield f"{name}: option {j} of menu {k}", document | {"plan": other}


def _fits(document: Document, plan: list[int]) -> bool:
    rows = [menu[j] for menu, j in zip(document["menus"], plan, strict=True)]
    return all(sum(row[m] for row in rows) <= budget for m, budget in enumerate(document["budgets"]))


def _exceeds(menus: list[Any], plan: list[int], loss: float) -> bool:
    other = sum(menu[j][-1] for menu, j in zip(menus, plan, strict=True))
    return bool(other > loss + 1e-9 * abs(loss))


def changed(base: Document, path: tuple[Any, ...], value: Any) -> Document:
    """A copy of the document with another value at one place."""
    forged = copy.deepcopy(base)
    place: Any = forged
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return forged


def changed_fields(good: Document, tree: Document, gap: Document) -> Iterator[tuple[str, str, Document]]:
    """(what was done, the condition that names it, the forgery). good : three menus; tree : one with branches."""

    branch = next(i for i, node in enumerate(tree["proof"]) if isinstance(node, dict))
    node = tree["proof"][branch]
    part, child = node["parts"][-1], node["children"]
    yield "schema", "schema", good | {"schema": "zetaplan.certificate/1"}
    yield "budget lowered", "budget", good | {"budgets": [6.0]}
    yield "budget raised", "optimality", good | {"budgets": [16.0]}
    yield "a dearer option", "budget", changed(good, ("menus", 0, good["plan"][0], 0), 50.0)
    yield "another option gets better", "optimality", changed(good, ("menus", 1, 0, 1), -9.0)
    yield "another option gets cheaper", "optimality", changed(good, ("menus", 0, 2, 0), 0.0)
    yield "the option taken gets worse", "optimality", changed(good, ("menus", 0, good["plan"][0], 1), 9.5)
    yield "the option taken is ruled out", "plan", changed(good, ("menus", 0, good["plan"][0]), None)
    yield "an option that there is not", "plan", changed(good, ("plan", 2), 2)
    yield "a smaller gap", "optimality", gap | {"gap": 0.0}
    yield "a negative gap", "optimality", good | {"gap": -1e-3}
    yield "a part without an option", "proof: the parts", changed(tree, ("proof", branch, "parts", -1), part[:-1])
    yield (
        "no part but one",
        "proof: the parts",
        changed(changed(tree, ("proof", branch, "parts"), [part]), ("proof", branch, "children"), [child[-1]]),
    )
    yield (
        "a node with two parents",
        "proof: node",
        changed(tree, ("proof", branch, "children"), [child[0]] * len(child)),
    )
    yield "a node that is its own parent", "proof: node", changed(tree, ("proof", branch, "children", 0), branch)
    yield "a node that no branch leads to", "proof: no branch", tree | {"proof": [*tree["proof"], tree["proof"][-1]]}
    first = tree["proof"].index(next(node for node in tree["proof"] if isinstance(node, list)))
    leaf = [{"multipliers": [["0/1"]], "decisions": [0, 0]}]
    yield "a decision twice", "decisions", good | {"proof": [leaf]}
    yield "a decision in two stages", "decisions", good | {"proof": [[leaf[0] | {"decisions": [0]}] * 2]}
    shared = {"decision": 0, "parts": [[0], [1], [2]], "children": [1, 1, 1]}
    yield "one leaf for all parts", "proof: node", good | {"proof": [shared, good["proof"][0]]}
    excess = _excess(gap)
    yield "three quarters of the gap that there is", "optimality", gap | {"gap": 0.75 * excess}
    pair = {"schema": good["schema"], "menus": PAIR, "budgets": [2.0, 5.0], "plan": [0, 1, 1], "gap": 0.0}
    yield "a rival that is dearer in one budget", "optimality", pair | {"proof": [[ZERO]]}
    yield "a leaf of no stage", "proof", changed(tree, ("proof", first), [])
    negative = good | {"budgets": [12.5], "gap": 0.0, "plan": [0, 0, 0]}
    yield "a negative multiplier", "multipliers", changed(negative, ("proof", 0, 0, "multipliers"), [["-4/1"]])


PAIR = [  # the better choice begins with an option that is dearer in the first budget and loses more
    [[1.0, 5.0, 0.0], [2.0, 0.0, 1.0]],
    [[0.0, 3.0, 0.0], [0.0, 0.0, 5.0]],
    [[0.0, 2.0, 0.0], [0.0, 0.0, 5.0]],
]
ZERO = {"multipliers": [["0/1", "0/1"]], "decisions": []}


def _excess(gap: Document) -> float:
    """By how much the plan of a proof with a gap really is above the optimum."""
    best = zp.solve(EVERY_KIND["tensors"]).objective
    loss = sum(menu[j][-1] for menu, j in zip(gap["menus"], gap["plan"], strict=True))
    return float(loss - best)


CHECKERS = [  # (name, text of the checker, what stands there instead)
    ("any schema", "document.get(\"schema\") == SCHEMA", "bool(document)"),
    ("plans unread", 'document.get("schema") == PLAN', "False"),
    ("any proof inside", 'document.get("schema") == PLAN', '"proof" in document and "menus" not in document'),
    ("budgets unread", "all(map(int.__le__, spent, budgets))", "True"),
    ("options unread", "all(map(dict.__contains__, whole, plan))", "True"),
    ("better by two units", "goal = loss - gap - 1", "goal = loss - gap - 2"),
    ("gap counted twice", "goal = loss - gap - 1", "goal = loss - 2 * gap - 1"),
    ("goal not better", "goal = loss - gap - 1", "goal = loss - gap"),
    ("parts need not cover", "options <= set().union(*parts)", "True"),
    ("two parents", "places[place] is None", "True"),
    ("orphans", "_need(here is not None,", "_need(True,"),
    ("root bound at the goal", "if spare < 0 or not all(menus):", "if spare <= 0 or not all(menus):"),
    ("leaves unread", "if spare < 0 or not all(menus):", "if True:"),
    ("no leaf without options", "if spare < 0 or not all(menus):", "if spare < 0:"),
    ("struck off too early", "v - low <= spare", "v - low < spare"),
    ("negative multipliers", '"[0-9]+/[1-9][0-9]*"', '"-?[0-9]+/[1-9][0-9]*"'),
    ("limits rounded up", "for menu in menus)) // units[i]", "for menu in menus) + units[i] - 1) // units[i]"),
    ("limits not shifted", "(limits[i] - sum(menu[0][i] for menu in menus))", "limits[i]"),
    ("budgets not tested", "tests += [tuple(int(i == kind) for i in kinds) for kind in kinds]", "tests += []"),
    ("rest not counted", "goals = [goal + min(_dot(p, o) for o in menu)", "goals = [goal + 0 * len(menu)"),
    ("bound at the goal", "_dot(p, s) <= goal for", "_dot(p, s) < goal for"),
    ("only one bound", "if all(_dot(p, s) <= goal for", "if any(_dot(p, s) <= goal for"),
    ("dominance by one of two budgets", "(len(s) > 2 and s[:-1] != states[-1][:-1])", "False"),
    ("dominance by cost alone", "s[-1] < states[-1][-1] or", "False or"),
    ("menus left out", "if number == len(stages) else []", "if number > len(stages) else []"),
    ("any decisions", "len({*order} & left.keys()) == len(order)", "True"),
    ("what is left is ignored", "_need(not states,", "_need(True,"),
    ("any keys", "set(value) == keys", "keys <= set(value)"),
    ("booleans", "kinds <= {int, float}", "kinds <= {int, float, bool}"),
    ("infinities", " and all(map(HUGE.__ge__, map(abs, values)))", ""),
    ("halves of options", "0 <= value < size and value == int(value)", "0 <= value < size"),
    ("negative places", "0 <= value < size and", "value < size and"),
    ("lists of any length", "isinstance(value, list) and least <= len(value) <= most", "isinstance(value, list)"),
    ("fractions of any length", "len(text) < DIGITS and", ""),
    ("keys that are there twice", "d if len(d := dict(p)) == len(p) else None", "dict(p)"),
    ("the last menu passed over", "menu[1:] or not left", "menu[1:]"),
    ("files of any size", "len(data) <= BYTES", "True"),
]  # fmt: skip
