"""The checker of choices accepts honest proofs, names what is wrong with a forgery, cannot be broken unnoticed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zetaplan as zp
from tests import menu_mutants as mutants
from tests.checkers import imported, load, verdict
from tests.menu_mutants import Document, changed
from zetaplan.verification.menus import checker
from zetaplan.verification.menus.checker import CertificateError, check_certificate

SOURCE = Path(checker.__file__)
HONEST = mutants.honest()
GOOD, TREE, GAP = HONEST["three menus"], HONEST["two budgets"], HONEST["a gap"]
WORSE = list(mutants.worse_plans(HONEST))
FIELDS = list(mutants.changed_fields(GOOD, TREE, GAP))
LEAF = {"multipliers": [["0/1"]], "decisions": []}


def at(path: tuple[Any, ...], value: Any, base: Document = GOOD) -> Document:
    return changed(base, path, value)


def malformed() -> list[tuple[str, str, Any]]:
    """(what is wrong, a word of the message, the value)."""
    bad = [math.nan, math.inf, -math.inf, True, "1", None, [1.0], {"a": 1}, 10**400]
    return [
        *((f"no {key}", "schema|expected the keys", {k: v for k, v in GOOD.items() if k != key}) for key in GOOD),
        *((f"a word for {key}", key, GOOD | {key: "7"}) for key in GOOD if key != "gap"),
        *((f"{value!r:.9} as budget", "budgets", GOOD | {"budgets": [value]}) for value in bad),
        *((f"{value!r:.9} as gap", "gap", GOOD | {"gap": value}) for value in bad),
        *((f"{value!r:.9} as loss", "menu 0", at(("menus", 0, 0, 1), value)) for value in bad),
        *((f"{value!r:.9} as option", "plan", at(("plan", 0), value)) for value in [*bad, 0.5, -1]),
        ("an extra field", "expected the keys", GOOD | {"extra": 1}),
        ("no menus", "menus", GOOD | {"menus": [], "plan": []}),
        ("an empty menu", "menus", at(("menus", 0), [])),
        ("too few numbers", "menu 0", at(("menus", 0, 0), [1.0])),
        ("too many budgets", "budgets", GOOD | {"budgets": [1.0] * (checker.BUDGETS + 1)}),
        ("too many options", "menus", at(("menus", 0), [[1.0, 1.0]] * checker.OPTIONS)),
        ("a plan too long", "plan", GOOD | {"plan": [*GOOD["plan"], 0]}),
        ("no proof", "proof", GOOD | {"proof": []}),
        ("a word for a node", r"proof\[0\]", GOOD | {"proof": ["x"]}),
        ("a leaf without stages", "proof", GOOD | {"proof": [[]]}),
        ("a stage with more", "proof", GOOD | {"proof": [[LEAF | {"more": 1}]]}),
        ("no multipliers", "multipliers", GOOD | {"proof": [[LEAF | {"multipliers": []}]]}),
        ("multipliers of two budgets", "multipliers", GOOD | {"proof": [[LEAF | {"multipliers": [["0/1", "0/1"]]}]]}),
        ("a multiplier as a number", "multipliers", GOOD | {"proof": [[LEAF | {"multipliers": [[0.5]]}]]}),
        ("a fraction over zero", "multipliers", GOOD | {"proof": [[LEAF | {"multipliers": [["1/0"]]}]]}),
        ("a decimal", "multipliers", GOOD | {"proof": [[LEAF | {"multipliers": [["0.5"]]}]]}),
        ("a fraction too long", "length", GOOD | {"proof": [[LEAF | {"multipliers": [["1" * 10**5 + "/1"]]}]]}),
        ("a decision that there is not", "decisions", GOOD | {"proof": [[LEAF | {"decisions": [3]}]]}),
        ("half a decision", "decisions", GOOD | {"proof": [[LEAF | {"decisions": [0.5]}]]}),
        ("a branch with more", "expected the keys", at(("proof", 0), {**TREE["proof"][0], "more": 1}, TREE)),
        ("a branch of half a menu", "decision", at(("proof", 0, "decision"), 0.5, TREE)),
        ("a child that there is not", "children", at(("proof", 0, "children", 0), 10**6, TREE)),
        ("fewer children than parts", "children", at(("proof", 0, "children"), [1], TREE)),
        ("a branch without parts", "parts", at(("proof", 0, "parts"), [], TREE)),
    ]


PLANS: list[tuple[str, object, Document]] = [  # (what it is, the verdict on it, a file with a proof inside)
    ("a plan", True, {"schema": checker.PLAN, "choice": [], "proof": GOOD}),
    ("a plan of a worse choice", "optimality", {"schema": checker.PLAN, "proof": WORSE[0][1]}),
    ("a plan without a proof", "schema", {"schema": checker.PLAN}),
    ("a plan in a plan", "schema", {"schema": checker.PLAN, "proof": {"schema": checker.PLAN, "proof": GOOD}}),
    ("a plan of another version", "schema", {"schema": "zetaplan.plan/1", "proof": GOOD}),
    ("a file that is no plan", "schema", {"proof": GOOD}),
]


HOSTILE: list[tuple[str, str]] = [
    ("not JSON", "]"),
    ("truncated", json.dumps(GOOD)[:-7]),
    ("a list", "[1, 2]"),
    ("an empty file", ""),
    ("deep nesting", "[" * 100_000),
    ("deep objects", '{"a":' * 100_000),
    ("a duplicate key", json.dumps(GOOD)[:-1] + ', "gap": 0.0}'),
    ("a duplicate key inside", json.dumps(GOOD).replace('"decisions": []', '"decisions": [], "decisions": []')),
    ("NaN", json.dumps(GOOD | {"gap": math.nan})),
    ("a huge exponent", json.dumps(GOOD).replace('"gap": 0.0', '"gap": 1e999999999')),
    ("a million digits", json.dumps(GOOD).replace('"gap": 0.0', '"gap": ' + "7" * 10**6)),
    ("a million-digit fraction", json.dumps(GOOD | {"proof": [[LEAF | {"multipliers": [["7" * 10**6 + "/1"]]}]]})),
]


@pytest.mark.parametrize("name", HONEST)
def test_accepts_every_honest_proof(name: str) -> None:
    claims = check_certificate(HONEST[name]).claims
    better = f"better by more than {HONEST[name]['gap']!r}" if HONEST[name]["gap"] else "better"
    assert claims == ("the budgets are kept", f"no choice within the budgets is {better}")


@pytest.mark.parametrize("forged", [pytest.param(document, id=name) for name, document in WORSE])
def test_refuses_every_proof_of_a_worse_choice(forged: Document) -> None:
    with pytest.raises(CertificateError, match=r"^optimality") as refusal:
        check_certificate(forged)
    assert refusal.value.status == 1


@pytest.mark.parametrize(("condition", "forged"), [pytest.param(c, d, id=name) for name, c, d in FIELDS])
def test_names_what_was_changed(condition: str, forged: Document) -> None:
    with pytest.raises(CertificateError, match=f"^{condition}"):
        check_certificate(forged)


@pytest.mark.parametrize(("word", "value"), [pytest.param(w, v, id=name) for name, w, v in malformed()])
def test_refuses_what_is_no_certificate(word: str, value: Any) -> None:
    with pytest.raises(CertificateError, match=word) as refusal:
        check_certificate(value)
    assert refusal.value.status == (1 if "ruled out" in str(refusal.value) else 2)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("answer", "value"), [pytest.param(a, v, id=name) for name, a, v in PLANS])
def test_reads_the_proof_in_a_plan(answer: object, value: Document) -> None:
    assert verdict(check_certificate, value) == answer


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE])
def test_refuses_hostile_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(text)
    with pytest.raises(CertificateError) as refusal:
        check_certificate(path)
    assert refusal.value.status == 2
    assert "\n" not in str(refusal.value)


def test_refuses_large_files_pipes_devices_folders_and_nothing(tmp_path: Path) -> None:
    large, pipe = tmp_path / "large.json", tmp_path / "pipe"
    with open(large, "wb") as stream:
        stream.truncate(10 * 2**30)  # sparse: ten gigabytes that take no room
    os.mkfifo(pipe)
    for path in (large, pipe, Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(CertificateError, match=r"larger than|not a regular file"):
            check_certificate(path)


def test_gives_up_on_proofs_that_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "WORK", 20_000)
    costs = np.random.default_rng(0).random((30, 2))
    menus = [[[a, -a], [b, -b]] for a, b in costs.tolist()]
    plan = [int(a > b) for a, b in costs.tolist()]
    hard = {"schema": checker.SCHEMA, "menus": menus, "budgets": [float(costs.mean()) * 30], "plan": plan, "gap": 0.0}
    with pytest.raises(CertificateError, match="it takes more than 20000 steps"):
        check_certificate(hard | {"proof": [[LEAF]]})


def test_the_public_function_takes_both_kinds(tmp_path: Path) -> None:
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(GOOD))
    assert zp.check_certificate(path) == zp.check_certificate(GOOD) == check_certificate(GOOD)
    with pytest.raises(zp.CertificateError, match="optimality"):
        zp.check_certificate(WORSE[0][1])
    instance = zp.allocation([1, 3], costs=1.0, budget=6.0)
    proof = zp.certify(instance, zp.solve(instance), exact=True).document
    assert zp.check_certificate(proof).program == "allocation"


def test_runs_alone_with_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """Isolated mode has no site-packages: an import of anything else would fail."""
    good, bad, broken = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "broken.json"
    good.write_text(json.dumps(GOOD))
    bad.write_text(json.dumps(WORSE[0][1]))
    broken.write_text("{")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", SOURCE, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)

    accepted, invalid, unreadable, lost = run(good), run(bad), run(broken), run()
    assert (accepted.returncode, invalid.returncode, unreadable.returncode, lost.returncode) == (0, 1, 2, 2)
    assert accepted.stdout == "valid choice: the budgets are kept; no choice within the budgets is better\n"
    assert invalid.stderr.startswith("invalid: optimality")
    assert unreadable.stderr.startswith("unreadable: ")
    assert lost.stderr.startswith("unreadable: usage")


def test_is_one_short_file_that_imports_the_standard_library_alone() -> None:
    assert len(SOURCE.read_text().splitlines()) <= 200
    assert imported(SOURCE) <= sys.stdlib_module_names


def test_a_proof_is_short() -> None:
    """Of one budget: a few multipliers, and every decision at most once. Of several: as long as the tree."""
    for name, document in HONEST.items():
        if len(document["proof"]) == 1:
            (stages,) = document["proof"]
            decisions = [k for stage in stages for k in stage["decisions"]]
            assert len(set(decisions)) == len(decisions) <= len(document["menus"]), name
            assert len(stages) <= 2 + 2 * math.log(len(document["menus"]) + 1, 1.5), name


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Every proof, forgery, malformed value and hostile file of this page."""
    folder = tmp_path_factory.mktemp("corpus")
    values: list[Any] = [
        *(d for _, d in WORSE),
        *(d for *_, d in FIELDS),
        *(d for *_, d in malformed()),
        *HONEST.values(),
        *(d for *_, d in PLANS),
    ]
    for k, (_, text) in enumerate(HOSTILE):
        (folder / f"{k}.json").write_text(text)
    (folder / "large.json").write_text(json.dumps(GOOD) + " " * checker.BYTES)
    return [*sorted(folder.iterdir()), folder, *values]


@pytest.fixture(scope="module")
def sound(corpus: list[Any]) -> list[object]:
    check = load(SOURCE.read_text()).check_certificate
    return [verdict(check, value) for value in corpus]


def test_the_sound_checker_never_crashes(sound: list[object]) -> None:
    assert not [answer for answer in sound if isinstance(answer, type)]
    assert sound.count(True) == len(HONEST) + 1


@pytest.mark.parametrize(("text", "instead"), [pytest.param(a, b, id=name) for name, a, b in mutants.CHECKERS])
def test_a_broken_checker_is_found_out(text: str, instead: str, corpus: list[Any], sound: list[object]) -> None:
    source = SOURCE.read_text()
    assert source.count(text) == 1
    check = load(source.replace(text, instead)).check_certificate
    assert any(verdict(check, value) != answer for value, answer in zip(corpus, sound, strict=True))


def test_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\n{len(HONEST)} honest proofs, {len(WORSE) + len(FIELDS)} forgeries, "
            f"{len(malformed()) + len(HOSTILE)} malformed or hostile inputs, "
            f"{len(mutants.CHECKERS)} mutants of the checker"
        )
    assert len(WORSE) + len(FIELDS) >= 100
