"""Menus: the same value back from every format, and one clear line for anything that is no menu."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zetaplan as zp
from zetaplan import _found
from zetaplan._files import canonical
from zetaplan.documents.choices import menu_document, menu_value
from zetaplan.documents.schemas.menu import MenuFile
from zetaplan.errors import SpecError
from zetaplan.menus import readers
from zetaplan.menus.menu import Menu
from zetaplan.menus.readers import csv as csv_reader
from zetaplan.menus.readers import exllamav3

LOSS = st.floats(-1e6, 1e6, allow_nan=False)
COST = st.just(0.0) | st.floats(1e-6, 1e6)
WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=6)


@st.composite
def menus(draw: st.DrawFn) -> Menu:
    """One to four blocks of one to four options, one or two budgets, with and without intervals."""
    names = draw(st.lists(WORD, min_size=1, max_size=4, unique=True))
    options = [draw(st.lists(WORD, min_size=1, max_size=4, unique=True)) for _ in names]
    budgets = draw(st.sampled_from([("bytes",), ("gpu", "cpu")]))
    losses = [[draw(LOSS) for _ in labels] for labels in options]
    known: dict[str, Any] = {}
    if draw(st.booleans()):
        known["low"] = tuple(tuple(w - draw(COST) for w in row) for row in losses)
        known["high"] = tuple(tuple(w + draw(COST) for w in row) for row in losses)
    if draw(st.booleans()):
        known["standard_error"] = tuple(tuple(draw(COST) for _ in row) for row in losses)
    return Menu(
        names=tuple(names),
        options=tuple(map(tuple, options)),
        losses=tuple(map(tuple, losses)),
        costs=tuple(tuple(tuple(draw(COST) for _ in budgets) for _ in labels) for labels in options),
        budgets=budgets,
        units=("",) * len(budgets),
        **known,
    )


@given(menus())
def test_a_menu_comes_back_from_its_document(menu: Menu) -> None:
    text = menu_document(menu).text()
    again = MenuFile.model_validate_json(text)
    assert menu_value(again) == menu
    assert again.text() == text


@given(menus())
def test_a_menu_comes_back_from_csv(menu: Menu) -> None:
    text = as_csv(menu)
    assert csv_reader.recognises(text)
    again = csv_reader.read(text)
    assert replace(again, budgets=menu.budgets, loss_unit="") == menu


def as_csv(menu: Menu) -> str:
    """The rows of a menu, written by the standard library."""
    known = [name for name in csv_reader.OPTIONAL if getattr(menu, name) is not None]
    costs = ["cost"] if len(menu.budgets) == 1 else [f"cost:{name}" for name in menu.budgets]
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(["block", "option", "loss", *costs, *known])
    for k, (name, labels) in enumerate(zip(menu.names, menu.options, strict=True)):
        for j, label in enumerate(labels):
            extra = [repr(getattr(menu, column)[k][j]) for column in known]
            writer.writerow([name, label, repr(menu.losses[k][j]), *map(repr, menu.costs[k][j]), *extra])
    return stream.getvalue()


@given(menus())
def test_a_menu_is_the_choice_of_its_own_numbers(menu: Menu) -> None:
    """Every loss and cost of the instance is that of the menu, block after block."""
    most = [2.0 * math.fsum(row[m] for block in menu.costs for row in block) for m in range(len(menu.budgets))]
    instance = menu.choice(most)
    assert instance.losses.tolist() == [loss for row in menu.losses for loss in row]
    assert instance.costs.tolist() == [list(cost) for block in menu.costs for cost in block]
    assert (tuple(instance.names), tuple(map(tuple, instance.labels))) == (menu.names, menu.options)


MEASURED: dict[str, Any] = {
    "base": {"dir": "models/2.0", "bpw": 2.0},
    "alts": [{"dir": "models/3.0", "bpw": 3.0}, {"dir": "models/4.0", "bpw": 4.0}],
    "groups": [
        {
            "idx": 0,
            "layers": ["l.0.q", "l.0.k", "l.0.v"],
            "candidates": [{"dkld": -0.02, "dbits": 1000}, {"dkld": -0.03, "dbits": 2000}],
        },
        {"idx": 1, "layers": ["l.0.o"], "candidates": [{"dkld": 0.001, "dbits": 500}, {"dkld": -0.01, "dbits": 900}]},
    ],
    "base_kld": 0.25,
    "arch_string": "LlamaForCausalLM",
}


def test_a_measurement_of_exllamav3_is_read(tmp_path: Path) -> None:
    path = tmp_path / "measurement.json"
    path.write_text(json.dumps(MEASURED))
    menu = zp.load_menu(path)
    assert menu.names == ("l.0.q+2", "l.0.o")
    assert menu.options == (("2.0", "3.0", "4.0"),) * 2
    assert menu.losses == ((0.0, -0.02, -0.03), (0.0, 0.001, -0.01))
    assert menu.costs == (((0.0,), (1000.0,), (2000.0,)), ((0.0,), (500.0,), (900.0,)))
    assert menu.provenance["layers"] == {"l.0.q+2": ["l.0.q", "l.0.k", "l.0.v"], "l.0.o": ["l.0.o"]}
    assert zp.choose(menu, 1900).taken == {"l.0.q+2": "3.0", "l.0.o": "4.0"}
    assert zp.load_menu(menu.save(tmp_path / "menu.json")) == menu


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": []}, "groups"),
        ({"alts": []}, "expected 0 candidates, got 2"),
        ({"base": {}}, "base.bpw: Field required"),
        ({"alts": [{"bpw": 2.0}, {"bpw": 4.0}]}, "there twice"),
        ({"groups": [{"layers": ["a"], "candidates": [{"dkld": "x", "dbits": 1}] * 2}]}, "dkld"),
        ({"groups": [{"layers": ["a"], "candidates": [{"dkld": 0.1, "dbits": -1}] * 2}]}, "dbits"),
        ({"groups": [{"layers": [], "candidates": [{"dkld": 0.1, "dbits": 1}] * 2}]}, "layers"),
    ],
)
def test_a_broken_measurement_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        exllamav3.read(json.dumps(MEASURED | change))


HEADER = "block,option,loss,cost\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("block,option,cost\na,b,1\n", "'loss' is missing"),
        ("block,option,loss\na,b,1\n", "'cost' is missing"),
        ("block,option,loss,cost,price\n", "'price' is unknown"),
        ("block,option,loss,cost,cost\n", "there twice"),
        (HEADER, "there is no option"),
        (f"{HEADER}a,b,1\n", "line 2: expected 4 cells, as in the header, got 3"),
        (f"{HEADER}a,b,1,2,3\n", "got 5"),
        (f"{HEADER}a,b,one,2\n", "line 2: loss = 'one': expected a number"),
        (f"{HEADER}a,b,nan,2\n", "'nan': expected a number"),
        (f"{HEADER}a,b,1_0,2\n", "'1_0': expected a number"),
        (f"{HEADER}a,b,,2\n", "'': expected a number"),
        (f"{HEADER}a,b,1e999,2\n", "losses"),
        (f"{HEADER}a,b,1,-2\n", "costs.*at least 0"),
        (f"{HEADER}a,b,1,2\na,b,2,3\n", "'b' is there twice"),
        ('block,option,loss,cost\n"a,b,1,2\n', "line 2"),
        ("block,option,loss,cost,low\na,b,1,2,0\n", "low, high"),
        ("block,option,loss,cost,low,high\na,b,1,2,3,4\n", "low.*at most the loss"),
        ("block,option,loss,cost,low,high\na,b,1,2,0,0\n", "high.*at least the loss"),
        ("block,option,loss,cost,standard_error\na,b,1,2,-1\n", "standard_error.*at least 0"),
    ],
)
def test_a_broken_csv_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "menu.csv"
    path.write_text(text)
    with pytest.raises(SpecError, match=message) as refusal:
        zp.load_menu(path)
    assert "\n" not in str(refusal.value)
    assert str(path) in str(refusal.value)


GOOD = Menu(("q", "k"), (("2", "4"), ("2", "4")), ((9.0, 1.0), (4.0, 1.0)), (((2.0,), (4.0,)), ((2.0,), (4.0,))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("q", "q")}, "names: 'q' is there twice"),
        ({"names": ("q",)}, "names"),
        ({"options": (("2", "4"), ("2",))}, "options"),
        ({"options": (("2", "2"), ("2", "4"))}, "there twice"),
        ({"losses": ((9.0, math.nan), (4.0, 1.0))}, "losses"),
        ({"losses": ((9.0,), (4.0, 1.0))}, "costs|losses"),
        ({"costs": (((2.0,), (-4.0,)), ((2.0,), (4.0,)))}, "costs"),
        ({"costs": (((2.0,), (math.inf,)), ((2.0,), (4.0,)))}, "costs"),
        ({"costs": (((2.0, 1.0), (4.0, 1.0)), ((2.0,), (4.0,)))}, "costs"),
        ({"budgets": (), "units": ()}, "budgets"),
        ({"budgets": ("a", "a"), "units": ("", "")}, "budgets"),
        ({"units": ()}, "units"),
        ({"groups": (("q", "x"),)}, "groups"),
        ({"low": ((0.0, 0.0), (0.0, 0.0))}, "low, high"),
        ({"standard_error": ((0.0,), (0.0, 0.0))}, "standard_error"),
    ],
)
def test_a_menu_that_breaks_a_rule_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        replace(GOOD, **change)


@pytest.mark.parametrize("field", [field.name for field in fields(Menu)])
@pytest.mark.parametrize("value", [3, object(), [3], [[3]], [[[object()]]], [["q"], 3]], ids=range(6))
def test_a_field_of_another_type_is_refused_by_name(field: str, value: Any) -> None:
    full = replace(GOOD, low=((8, 0), (3, 0)), high=((10, 2), (5, 2)), standard_error=((1, 1), (1, 1)))
    with pytest.raises(SpecError, match=field):
        replace(full, **{field: value})


def test_a_menu_keeps_no_list_that_a_caller_can_change() -> None:
    losses = [[9.0, 1.0], [4.0, 1.0]]
    menu = replace(GOOD, losses=losses)  # type: ignore[arg-type]
    losses[0][0] = -1.0
    assert menu == GOOD


def test_options_with_and_without_intervals_do_not_mix(tmp_path: Path) -> None:
    value = json.loads(menu_document(GOOD).text())
    value["blocks"][0]["options"][0] |= {"low": 8.0, "high": 10.0}
    (tmp_path / "menu.json").write_text(json.dumps(value))
    with pytest.raises(SpecError, match=r"menu\.json: low: some options have one and some have none"):
        zp.load_menu(tmp_path / "menu.json")


def test_a_short_menu_file_is_read(tmp_path: Path) -> None:
    """What a person writes by hand: no units, no provenance, costs as numbers."""
    options = [{"label": "2", "loss": 9, "costs": 2}, {"label": "4", "loss": 1, "costs": 4}]
    (tmp_path / "menu.json").write_text(
        json.dumps({"schema": "zetaplan.menu/1", "blocks": [{"name": "q", "options": options}]})
    )
    assert zp.load_menu(tmp_path / "menu.json").losses == ((9.0, 1.0),)


def test_groups_of_a_menu_and_of_a_request_both_hold() -> None:
    tied = replace(GOOD, groups=(("q", "k"),))
    assert zp.choose(tied, 6).taken == {"q": "2", "k": "2"}
    assert zp.choose(GOOD, 6, groups=[("q", "k")]).taken == {"q": "2", "k": "2"}
    assert zp.choose(GOOD, 6).taken == {"q": "4", "k": "2"}


TEXTS = [menu_document(GOOD).text(), json.dumps(MEASURED), f"{HEADER}q,2,9,2\nq,4,1,4\n", ""]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.sampled_from(TEXTS), data=st.data())
def test_edited_files_are_menus_or_refused_in_one_line(text: str, data: st.DataObject, tmp_path: Path) -> None:
    """Cuts, repeats and insertions anywhere in files of every format."""
    for _ in range(data.draw(st.integers(1, 3))):
        a = data.draw(st.integers(0, len(text)))
        b = data.draw(st.integers(a, min(a + 20, len(text))))
        text = (
            text[:a]
            + data.draw(
                st.sampled_from(["", text[a:b] * 2, "-", "NaN", '"', "null", "[", "{}", ",", "1e999", "\x00", "é"])
            )
            + text[b:]
        )
    path = tmp_path / "menu"
    path.write_bytes(text.encode())
    try:
        menu = zp.load_menu(path)
    except SpecError as refusal:
        said = str(refusal)
    else:
        assert menu_value(MenuFile.model_validate_json(menu_document(menu).text())) == menu
        return
    assert "\n" not in said
    assert str(path) in said


@pytest.mark.parametrize("text", ["[" * 100_000, '{"groups":' * 100_000, '{"groups": 1}', "\x00", "block,option", "{}"])
def test_hostile_files_are_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "menu").write_text(text)
    with pytest.raises(SpecError) as refusal:
        zp.load_menu(tmp_path / "menu")
    assert "\n" not in str(refusal.value)


def test_every_reader_keeps_the_contract() -> None:
    found = _found.modules(readers)
    assert set(found) == {"csv", "exllamav3"}
    own = canonical(json.loads(menu_document(GOOD).text()))
    assert not any(reader.recognises(own) for reader in found.values())
