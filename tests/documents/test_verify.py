"""A plan that was touched is refused, by the name of what fails, even where the digests were recomputed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import zetaplan as zp
from tests.made import edited
from zetaplan._digits import at_least, at_most, percent_at_most
from zetaplan.documents.convert import scores_document
from zetaplan.documents.io import load
from zetaplan.documents.schemas.plan import PlanFile
from zetaplan.documents.verify import check, load_plan
from zetaplan.errors import CertificateError
from zetaplan.plans.plan import Plan
from zetaplan.verification import checker

Keys = tuple[str | int, ...]


def leaves(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """Every value of a JSON value that holds no other, and its place."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*keys, key))
    else:
        yield keys, value


def numbers(value: Any) -> list[Keys]:
    """The place of every number."""
    return [keys for keys, leaf in leaves(value) if isinstance(leaf, int | float) and not isinstance(leaf, bool)]


def texts(value: Any) -> list[Keys]:
    """The place of every text."""
    return [keys for keys, leaf in leaves(value) if isinstance(leaf, str)]


def at(value: Any, keys: Keys) -> Any:
    for key in keys:
        value = value[key]
    return value


def put(value: Any, keys: Keys, number: object) -> Any:
    changed = deepcopy(value)
    at(changed, keys[:-1])[keys[-1]] = number
    return changed


def nudged(number: float) -> float:
    """The smallest edit of an integer, a small one of a double."""
    return number + 1 if isinstance(number, int) else number * (1 + 1e-14) + (number == 0) * 1e-300


def failing(value: Any) -> set[str]:
    document = PlanFile.model_validate_json(json.dumps(value))
    return {failure.name for failure in check(document).failures}


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_an_untouched_plan_passes_every_check(plans: dict[str, Plan], program: str) -> None:
    verdict = check(plans[program].document())
    assert verdict.valid
    names = [found.name for found in verdict.checks]
    assert names[:3] == ["digest", "scores digest", "instance"]
    assert {"stationarity", "duality gap", "objective", "certificate", "proof", "labels"} <= set(names)
    assert {"whole units", "whole limit", "whole gap"} <= set(names)


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_an_edit_of_any_number_is_refused(plans: dict[str, Plan], program: str) -> None:
    value = json.loads(plans[program].document().text())
    places = numbers(value)
    assert len(places) > 100
    for keys in places:
        assert "digest" in failing(put(value, keys, nudged(at(value, keys)))), keys


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_edits_of_flags_and_texts_are_refused(plans: dict[str, Plan], program: str) -> None:
    value = json.loads(plans[program].document().text())
    for keys in [
        ("created",),
        ("unit",),
        ("names", 0),
        ("warnings",),
        ("solution", "method"),
        ("certificate", "valid"),
    ]:
        old = at(value, keys)
        new = {bool: not old, list: ["nothing"]}.get(type(old), "other")
        assert "digest" in failing(put(value, keys, new)), keys


RESEALED = [
    (("solution", "x", 0), {"stationarity", "box multipliers", "coupling", "box"}),
    (("solution", "multiplier"), {"stationarity"}),
    (("solution", "objective"), {"objective"}),
    (("instance", "quality", 1), {"instance"}),
    (("instance", "weight", 1), {"instance"}),
    (("instance", "resource", 1), {"instance"}),
    (("instance", "limit"), {"instance"}),
    (("request", "limit", "value"), {"instance"}),
    (("scores", "layers", 1, "gain"), {"instance"}),
    (("certificate", "gap"), {"certificate"}),
    (("request", "drift"), {"regret"}),
    (("regret", 0, "amount"), {"regret"}),
    (("regret", 1, "share"), {"regret"}),
    (("regret", 1, "layers", 0), {"regret"}),
    (("certificate", "conditions", 0, "tolerance"), {"certificate"}),
]


@pytest.mark.parametrize("program", ["allocation", "pruning"])
@pytest.mark.parametrize(("keys", "expected"), RESEALED)
def test_recomputed_digests_do_not_help(
    plans: dict[str, Plan], program: str, keys: Keys, expected: set[str], tmp_path: Path
) -> None:
    path = plans[program].save(tmp_path / "plan.json")

    def edit(value: Any) -> None:
        number = at(value, keys)
        at(value, keys[:-1])[keys[-1]] = number * (1.01 if expected == {"regret"} else 1.001) + (keys[-1] == "gap")

    found = {failure.name for failure in check(load(edited(path, edit, resealed=True), PlanFile)).failures}
    assert found & expected
    assert not found & {"digest", "scores digest"}


@pytest.mark.parametrize("change", [1e-3, 1e-6, 3e-9, -3e-9, -1e-6, -1e-3])
@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_a_bound_on_the_regret_is_checked_up_to_rounding(
    plans: dict[str, Plan], program: str, change: float, tmp_path: Path
) -> None:
    def edit(value: Any) -> None:
        value["regret"][1]["share"] *= 1 + change

    path = edited(plans[program].save(tmp_path / "plan.json"), edit, resealed=True)
    assert {failure.name for failure in check(load(path, PlanFile)).failures} == {"regret"}


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_an_edit_of_any_text_is_no_traceback(plans: dict[str, Plan], program: str) -> None:
    """With its digest recomputed; a request that no kind knows names itself."""
    value = json.loads(plans[program].document().text())
    for keys in texts(value | {"scores": None, "versions": None}):
        try:
            document = PlanFile.model_validate_json(json.dumps(put(value, keys, f"{at(value, keys)}x")))
        except ValidationError:
            continue
        found = check(document.sealed()).failures
        if keys[0] == "request":
            assert [(failure.name, f"{keys[-1]} = " in failure.detail) for failure in found] == [("instance", True)]


@pytest.mark.parametrize("program", ["allocation", "pruning"])
@pytest.mark.parametrize(
    "forge",
    [
        lambda proof: proof["plan"].__setitem__(0, proof["plan"][0] * (1 - 1e-15)),
        lambda proof: proof["weight"].__setitem__(2, proof["weight"][2] * 1.001),
        lambda proof: proof.update(multiplier="0x1/0x1"),
        lambda proof: proof.update(price=proof["price"] * 1.001),
        lambda proof: proof["claim"].update(gap=0.0, distance=0.0, price=0.0),
        lambda proof: proof.update(interior=[], floor=list(range(6)), cap=[]),
        lambda proof: proof.update(program="precision"),
    ],
    ids=["plan", "weight", "multiplier", "price", "claim", "sides", "program"],
)
def test_a_forged_proof_is_refused(plans: dict[str, Plan], program: str, forge: Any, tmp_path: Path) -> None:
    path = edited(plans[program].save(tmp_path / "plan.json"), lambda value: forge(value["proof"]), resealed=True)
    assert {failure.name for failure in check(load(path, PlanFile)).failures} == {"proof"}


@pytest.mark.parametrize("program", ["allocation", "pruning"])
def test_the_standard_library_alone_proves_a_plan(plans: dict[str, Plan], program: str, tmp_path: Path) -> None:
    """The checker copied elsewhere, started without any installed package."""
    alone = shutil.copy(checker.__file__, tmp_path / "alone.py")
    path = plans[program].save(tmp_path / "plan.json")
    line = [sys.executable, "-I", "-S", str(alone), str(path)]
    good = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.startswith(f"valid {program}: each layer is within")
    edited(path, lambda value: value["solution"].update(multiplier=value["solution"]["multiplier"] * 1.1))
    bad = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "proof: its data differ from those of the plan" in bad.stderr


@pytest.mark.parametrize("lost", [1, 4])
def test_ranks_removed_from_a_plan_that_says_optimal_are_found(
    plans: dict[str, Plan], lost: int, tmp_path: Path
) -> None:
    """Every figure of the forgery follows from its own data, digests included; only the claim is false."""
    plan = plans["allocation"]
    assert plan.rounded.optimal
    units = plan.rounded.units.copy()
    units[units.argmax()] -= lost
    forged = replace(plan, rounded=replace(plan.rounded, units=units))
    document = load(forged.save(tmp_path / "plan.json"), PlanFile)
    assert {failure.name for failure in check(document).failures} == {"whole optimum"}
    without = replace(forged, rounded=replace(forged.rounded, proof=None))
    document = load(without.save(tmp_path / "plan.json"), PlanFile)
    assert {failure.name for failure in check(document).failures} == {"whole optimum"}
    honest = replace(forged, rounded=replace(forged.rounded, optimal=False, proof=None))
    assert check(load(honest.save(tmp_path / "plan.json"), PlanFile)).valid  # claims the gap alone


def test_a_division_by_remainders_cannot_say_optimal(plans: dict[str, Plan], tmp_path: Path) -> None:
    forged = replace(plans["pruning"], rounded=replace(plans["pruning"].rounded, optimal=True))
    document = load(forged.save(tmp_path / "plan.json"), PlanFile)
    assert {failure.name for failure in check(document).failures} == {"whole optimum"}


@given(st.floats(0.0, 1e300), st.integers(1, 6))
def test_bounds_are_printed_on_the_safe_side(value: float, digits: int) -> None:
    assert Fraction(at_most(value, digits)) >= Fraction(value) >= Fraction(at_least(value, digits))
    percent = percent_at_most(value).rstrip("%").replace(",", "")
    assert Fraction(percent) >= 100 * Fraction(value)


def test_a_verdict_without_proof_is_refused(plan_file: Path) -> None:
    """All conditions deleted but one, or all residuals set to zero on a plan that is not optimal."""

    def lie(value: Any) -> None:
        value["solution"]["x"] = [4.0] * 6

    path = edited(plan_file, lie, resealed=True)
    assert json.loads(path.read_text())["certificate"]["valid"] is True
    assert {"stationarity", "duality gap", "certificate", "proof"} <= {
        f.name for f in check(load(path, PlanFile)).failures
    }


def test_other_scores_under_the_plan_are_refused(plan_file: Path, scores: Any) -> None:
    def swap(value: Any) -> None:
        value["scores"]["layers"][0]["gain"], value["scores"]["layers"][1]["gain"] = 0.3, 0.9

    assert scores_document(scores).layers[0].gain == 0.9
    found = {failure.name for failure in check(load(edited(plan_file, swap), PlanFile)).failures}
    assert {"digest", "scores digest", "instance"} <= found


def test_data_that_describe_no_program_fail_the_instance(plan_file: Path) -> None:
    def break_box(value: Any) -> None:
        value["instance"]["lower"][2] = 99.0

    [*_, last] = check(load(edited(plan_file, break_box), PlanFile)).checks
    assert (last.name, last.ok) == ("instance", False)
    assert "lower[2] = 99 is above upper[2] = 8" in last.detail


def test_an_unknown_status_fails_the_instance(plan_file: Path) -> None:
    path = edited(plan_file, lambda value: value["solution"].update(status="PERFECT"), resealed=True)
    assert "expected one of BINDING" in check(load(path, PlanFile)).failures[0].detail


def test_load_plan_refuses_loudly(plan_file: Path) -> None:
    def halve(value: Any) -> None:
        value["solution"]["multiplier"] /= 2

    with pytest.raises(CertificateError, match=r"plan\.json is refused: digest, .*stationarity"):
        load_plan(edited(plan_file, halve))


def test_a_certificate_is_refused_by_the_error_of_the_library() -> None:
    """The checker, one file without zetaplan, has an error of its own."""
    instance = zp.pruning([1, 3], sizes=1.0)
    proof = zp.certify(instance, zp.solve(instance), exact=True).document
    assert proof is not None
    assert zp.check_certificate(proof).program == "pruning"
    with pytest.raises(zp.CertificateError, match="multiplier"):
        zp.check_certificate(proof | {"multiplier": "-1"})
    with pytest.raises(zp.CertificateError, match="not a regular file"):
        zp.check_certificate("missing.json")


def test_the_wording_of_an_older_version_is_no_fault(plan_file: Path) -> None:
    """Conditions are compared by their numbers; a file written before the words changed is still valid."""

    def reword(value: dict[str, Any]) -> None:
        for condition in value["certificate"]["conditions"]:
            condition["meaning"] = f"formerly: {condition['meaning']}"

    edited(plan_file, reword, resealed=True)
    assert zp.load_plan(plan_file).certificate.valid
