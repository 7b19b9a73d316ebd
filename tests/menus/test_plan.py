"""Plans of choices: true by trying every choice, the same back from the file, and refused once anything is forged."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import zetaplan as zp
from tests.menus.test_menu import menus
from zetaplan._digits import at_most
from zetaplan._files import canonical, digest
from zetaplan.cli.app import app
from zetaplan.documents.choices import check_choice, choice_document, choice_value, load_choice
from zetaplan.documents.schemas.choice import ChoiceFile
from zetaplan.errors import CertificateError, SpecError
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.verification.menus import checker

Keys = tuple[str | int, ...]
Value = dict[str, Any]

BITS = ("2", "3", "4")
ONE = Menu(
    names=("a", "b", "c", "d", "e"),
    options=(BITS, BITS, BITS, BITS, ("drop", "keep")),
    losses=((9.0, 4.0, 0.5), (9.5, 3.5, 0.5), (6.0, 1.0, 0.5), (7.0, 3.3, 0.1), (2.0, 0.0)),
    costs=(*(((2.0,), (3.0,), (4.0,)) for _ in range(4)), ((0.0,), (3.0,))),
    units=("MB",),
    budgets=("size",),
    standard_error=((0.1, 0.1, 0.1),) * 4 + ((0.1, 0.1),),
    provenance={"text": "wiki"},
)
TWO = Menu(
    names=("a", "b", "c"),
    options=(BITS, BITS, BITS),
    losses=((9.0, 4.0, 0.5), (6.0, 1.0, 0.5), (7.0, 3.3, 0.1)),
    costs=(
        ((2.0, 1.0), (3.0, 5.0), (4.0, 2.0)),
        ((2.0, 3.0), (3.0, 1.0), (4.0, 4.0)),
        ((1.0, 2.0), (3.0, 2.0), (5.0, 1.0)),
    ),
    budgets=("gpu", "cpu"),
    units=("MB", "MB"),
)
PLANS = {
    "fixed": zp.choose(ONE, 12.5, pins={"e": "keep"}, forbid={"c": ("2",)}, groups=[("a", "b")]),
    "free": zp.choose(ONE, 13),
    "two budgets": zp.choose(TWO, [9, 8]),
}


def sealed(value: Value) -> Value:
    """With both digests of somebody who knows how they are made."""
    value["menu_sha256"] = digest(canonical(value["menu"]))
    value["sha256"] = digest(canonical({**value, "sha256": ""}))
    return value


def written(plan: ChoicePlan) -> Value:
    value: Value = json.loads(choice_document(plan).text())
    return value


def failing(value: Value) -> set[str]:
    """The checks that fail; the schema counts as one."""
    try:
        document = ChoiceFile.model_validate_json(json.dumps(value))
    except ValueError:
        return {"schema"}
    return {failure.name for failure in check_choice(document).failures}


def best(plan: ChoicePlan) -> Fraction:
    """The least total loss within the budgets by trying every choice, in fractions, from the menu and the request."""
    menu, request = plan.menu, plan.request
    allowed = [
        [
            j
            for j, label in enumerate(labels)
            if request.pins.get(name, label) == label and label not in request.forbid.get(name, ())
        ]
        for name, labels in zip(menu.names, menu.options, strict=True)
    ]
    found = []
    for choice in itertools.product(*allowed):
        label = dict(zip(menu.names, (o[j] for o, j in zip(menu.options, choice, strict=True)), strict=True))
        if any(len({label[name] for name in group}) > 1 for group in (*menu.groups, *request.groups)):
            continue
        rows = [costs[j] for costs, j in zip(menu.costs, choice, strict=True)]
        if all(
            sum(map(Fraction, column)) <= b for column, b in zip(zip(*rows, strict=True), request.budgets, strict=True)
        ):
            found.append(sum((Fraction(row[j]) for row, j in zip(menu.losses, choice, strict=True)), Fraction(0)))
    return min(found)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_takes_the_best_choice(name: str) -> None:
    plan = PLANS[name]
    assert plan.optimal
    assert plan.loss == float(best(plan))


@given(menus(), st.floats(0.0, 1.0))
def test_a_plan_is_proved_and_comes_back(menu: Menu, share: float) -> None:
    """Budgets between the cheapest and the dearest choice: no choice is better, and the file holds."""
    columns = [[[row[m] for row in block] for block in menu.costs] for m in range(len(menu.budgets))]
    least = [math.fsum(map(min, column)) * (1 + 1e-12) for column in columns]
    most = [math.fsum(map(max, column)) for column in columns]
    try:
        plan = zp.choose(menu, [low + share * max(high - low, 0.0) for low, high in zip(least, most, strict=True)])
    except zp.InfeasibleError:
        assert len(menu.budgets) > 1
        return
    assert math.isclose(plan.loss, best(plan), rel_tol=1e-12, abs_tol=1e-9)
    value = written(plan)
    assert failing(value) == set()
    assert checker.check_certificate(json.loads(json.dumps(value["proof"]))).program == "choice"


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_comes_back_as_the_same_document(name: str, tmp_path: Path) -> None:
    path = PLANS[name].save(tmp_path / "plan.json")
    assert choice_document(load_choice(path)) == choice_document(PLANS[name])
    assert zp.check_certificate(path).program == "choice"
    assert checker.main([str(path)]) == 0


def leaves(value: Any, keys: Keys = ()) -> Iterator[Keys]:
    """The place of everything in a JSON value."""
    if keys:
        yield keys
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*keys, key))


def edits(old: Any) -> list[Any]:
    """Other values of the same type, and of another one."""
    if isinstance(old, dict):
        return [{}, {**old, "more": "x"}, None]
    if isinstance(old, list):
        return [old[:-1], [*old, old[-1]] if old else ["x"], old[::-1]]
    if isinstance(old, str):
        return ["other", "", 1.0]
    if isinstance(old, int | float):
        return [old + 1, -old - 1, old * (1 + 1e-15) + (old == 0) * 5e-324, "x"]
    return [1.0, "x"]


def put(value: Value, keys: Keys, new: Any) -> Value:
    changed = deepcopy(value)
    place: Any = changed
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = new
    return changed


def forgeries(value: Value) -> Iterator[tuple[Keys, Value]]:
    for keys in leaves(value):
        old: Any = value
        for key in keys:
            old = old[key]
        yield from ((keys, put(value, keys, new)) for new in edits(old) if new != old)


@pytest.mark.parametrize("name", PLANS)
def test_every_edit_is_refused(name: str) -> None:
    value = written(PLANS[name])
    count = 0
    for keys, forged in forgeries(value):
        count += 1
        assert failing(forged) & {"schema", "digest"}, keys
    assert count > 300


CLAIMS = {"schema", "choice", "loss", "spent", "status", "gap"}


@pytest.mark.parametrize("name", PLANS)
def test_a_resealed_edit_is_refused_or_the_file_is_still_true(name: str) -> None:
    """Edits that no check can refuse: free facts, another proof of the same claim, options that are ruled out."""
    value, accepted = written(PLANS[name]), set()
    for keys, forged in forgeries(value):
        if keys[0] in ("sha256", "menu_sha256") or failing(sealed(forged)):
            continue
        accepted.add(keys)
        assert is_true(forged), keys
    assert {("created",), ("menu", "estimator")} <= accepted
    assert not {keys[0] for keys in accepted} & CLAIMS


def is_true(value: Value) -> bool:
    """What a file claims, against every choice from its own menu, in fractions."""
    plan = choice_value(ChoiceFile.model_validate_json(json.dumps(value)))
    rows = [
        (row["loss"], row["costs"] if isinstance(row["costs"], list) else [row["costs"]])
        for block, entry in zip(value["menu"]["blocks"], value["choice"], strict=True)
        for row in block["options"]
        if (row["label"], block["name"]) == (entry["option"], entry["block"])
    ]
    stated = [(entry["loss"], entry["costs"]) for entry in value["choice"]]
    spent = [sum(map(Fraction, column)) for column in zip(*(costs for _, costs in rows), strict=True)]
    loss = float(sum((Fraction(w) for w, _ in rows), Fraction(0)))
    kept = all(s <= budget for s, budget in zip(spent, value["request"]["budgets"], strict=True))
    good = stated == rows and value["loss"] == loss and value["spent"] == list(map(float, spent)) and kept
    return good and value["status"] == "optimal" and loss == float(best(plan))


@pytest.mark.parametrize("name", PLANS)
def test_a_resealed_worse_choice_is_refused(name: str) -> None:
    """Somebody writes another option into every part of the file that says what is taken."""
    plan, count = PLANS[name], 0
    for k, labels in enumerate(plan.menu.options):
        for j in range(len(labels)):
            places = [j if i == k else place for i, place in enumerate(plan.places)]
            if j == plan.places[k]:
                continue
            value = written(plan)
            value["choice"] = [
                {"block": n, "option": o[i], "loss": w[i], "costs": list(c[i])}
                for n, o, w, c, i in zip(
                    plan.menu.names, plan.menu.options, plan.menu.losses, plan.menu.costs, places, strict=True
                )
            ]
            value["loss"] = math.fsum(entry["loss"] for entry in value["choice"])
            value["spent"] = [math.fsum(column) for column in zip(*(e["costs"] for e in value["choice"]), strict=True)]
            if len(value["proof"]["plan"]) == len(places):
                value["proof"]["plan"] = places
            assert failing(sealed(value)) & {"proof", "choice", "statement"}, (k, j)
            count += 1
    assert count >= 6


def test_a_choice_that_nobody_proves_optimal_states_its_gap(tmp_path: Path) -> None:
    plan = PLANS["free"]
    claimed = plan.proof.model_copy(update={"gap": 0.13})
    weaker = replace(plan, proof=claimed)
    path = weaker.save(tmp_path / "plan.json")
    assert not load_choice(path).optimal
    result = CliRunner().invoke(app, ["verify", str(path)])
    assert result.exit_code == 0
    assert f"within {at_most(0.13)} of the best possible" in result.output
    value = json.loads(path.read_text())
    assert "gap" in failing(sealed(put(value, ("status",), "optimal")))
    assert "gap" in failing(sealed(put(value, ("gap",), 0.0)))


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def menu_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return ONE.save("menu.json")


def test_the_command_does_what_the_function_does(menu_file: Path) -> None:
    fixed = ["--pin", "e=keep", "--forbid", "c=2", "--group", "a,b"]
    result = run("choose", menu_file, "--budget", 12.5, *fixed, "-o", "plan.json")
    assert result.exit_code == 0, result.output
    assert load_choice("plan.json").taken == PLANS["fixed"].taken
    assert "proved optimal" in result.output
    assert "of 12.5 MB" in result.output
    assert run("verify", "plan.json").exit_code == 0
    assert run("choose", menu_file, "--budget", 13, "--quiet").output == ""
    shown = json.loads(run("choose", menu_file, "--budget", 13, "--json").output)
    assert shown["choice"] == written(PLANS["free"])["choice"]


def test_two_budgets_on_the_command_line(tmp_path: Path) -> None:
    path, out = TWO.save(tmp_path / "menu.json"), tmp_path / "plan.json"
    assert run("choose", path, "--budget", 9, "--budget", 8, "-o", out).exit_code == 0
    assert load_choice(out).taken == PLANS["two budgets"].taken


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--budget", "1"], "the cheapest option of every block together costs"),
        (["--budget", "9", "--budget", "9"], "the menu has the budget size"),
        (["--budget", "13", "--pin", "a"], "--pin a: expected BLOCK=OPTION"),
        (["--budget", "13", "--pin", "x=2"], "no block is called 'x'"),
        (["--budget", "13", "--pin", "a=7"], "expected one of 2, 3, 4"),
        (["--budget", "13", "--pin", "a=2", "--pin", "a=3"], "remove one of the two"),
        (["--budget", "13", "--pin", "a=2", "--forbid", "a=2"], "forbidden"),
        (["--budget", "13", "--group", "a,e"], "different options"),
        (["--budget", "13", "--time-limit", "-1"], "time_limit"),
        (["--budget", "nan"], "budget"),
    ],
)
def test_bad_input_is_one_line_and_no_file(arguments: list[str], message: str, menu_file: Path) -> None:
    result = run("choose", menu_file, *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.splitlines()) == 1
    assert not Path("plan.json").exists()


def test_a_forged_file_has_exit_status_one(menu_file: Path) -> None:
    PLANS["free"].save("plan.json")
    Path("plan.json").write_text(canonical(sealed(put(written(PLANS["free"]), ("loss",), 0.0))))
    result = run("verify", "plan.json")
    assert result.exit_code == 1
    assert "refused: totals" in result.output
    with pytest.raises(CertificateError, match="totals"):
        zp.load_choice("plan.json")


def test_a_report_shows_every_block_the_frontier_and_the_proof(menu_file: Path) -> None:
    PLANS["fixed"].save("plan.json")
    result = run("report", "plan.json", "--out", "report.html")
    assert result.exit_code == 0, result.output
    page, text = Path("report.html").read_text(), Path("report.md").read_text()
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "<svg" in page
    for shown in (page, text):
        assert "Proved optimal" in shown
        assert "a, b take the same option" in shown
        assert "of 12.5 MB" in shown
    rows = [
        f"| {n} | {option} | {len(o)} |"
        for (n, option), o in zip(PLANS["fixed"].taken.items(), ONE.options, strict=True)
    ]
    assert all(row in text for row in rows)
    header, rule, first = text[text.index("| block") :].splitlines()[:3]
    assert header.count("|") == rule.count("|") == first.count("|")


def test_a_report_escapes_names_and_takes_several_budgets(tmp_path: Path) -> None:
    menu = replace(TWO, names=("<b>|", "b", "c"))
    path = zp.choose(menu, [9, 8]).save(tmp_path / "plan.json")
    assert run("report", path, "--out", tmp_path / "report.html").exit_code == 0
    assert "&lt;b&gt;|" in (tmp_path / "report.html").read_text()
    assert "<b>" not in (tmp_path / "report.html").read_text() + (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("command", ["regret"])
def test_commands_of_other_plans_refuse_it_in_one_line(command: str, menu_file: Path) -> None:
    PLANS["free"].save("plan.json")
    result = run(command, "plan.json")
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1


def test_a_plan_is_not_made_where_the_checker_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dual bound alone takes fewer steps than the proof of optimality; without that, no plan is made."""
    even = Menu(
        ("a", "b", "c"),
        (("out", "in"),) * 3,
        ((0.0, -4.0), (0.0, -6.0), (0.0, -8.0)),
        (((0.0,), (4.0,)), ((0.0,), (6.0,)), ((0.0,), (8.0,))),
    )
    full = zp.choose(even, 13)
    assert full.optimal
    monkeypatch.setattr(checker, "WORK", 10)
    plan = zp.choose(even, 13)
    assert plan.taken == full.taken
    assert plan.gap > 0
    monkeypatch.setattr(checker, "WORK", 1)
    with pytest.raises(CertificateError, match="no plan is made"):
        zp.choose(even, 13)


def test_a_request_is_checked() -> None:
    with pytest.raises(SpecError, match="budget"):
        zp.choose(ONE, "much")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="pins"):
        zp.choose(ONE, 13, pins={"a": 2})  # type: ignore[dict-item]


def test_a_search_that_is_stopped_gives_its_best_choice_with_a_proved_gap() -> None:
    """The number of nodes decides, not the clock: the plan is the same again. Second truth: the search to its end."""
    draw = np.random.default_rng(3)
    sizes = [sorted(map(float, draw.integers(1, 1000, 9)), reverse=True) for _ in range(12)]
    costs = tuple(tuple((size, float(j != 4)) for j, size in enumerate(row)) for row in sizes)
    losses = tuple(tuple(0.0 if j == 4 else float(draw.normal() + j - 4) for j in range(9)) for _ in range(12))
    names, options = tuple(f"b{k}" for k in range(12)), (tuple(map(str, range(9))),) * 12
    menu = Menu(names, options, losses, costs, budgets=("kept", "changed"), units=("weights", "blocks"))
    budgets = (sum(row[4] for row in sizes), 5.0)
    stopped, again = (zp.choose(menu, budgets, states=1) for _ in range(2))
    best = zp.choose(menu, budgets)
    assert stopped.taken == again.taken
    assert best.proof.gap == 0.0 < stopped.proof.gap
    assert best.loss <= stopped.loss <= best.loss + stopped.proof.gap
    assert check_choice(choice_document(stopped)).valid
    with pytest.raises(SpecError, match="states = -1: expected at least 0"):
        zp.choose(menu, budgets, states=-1)
