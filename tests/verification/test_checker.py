"""The checker accepts every honest certificate, names what is wrong with a forgery, and cannot be broken unnoticed."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import zetaplan as zp
from tests import mutants
from tests.checkers import load, verdict
from tests.mutants import Document
from zetaplan.verification import checker
from zetaplan.verification.checker import CertificateError, check_certificate

SOURCE = Path(checker.__file__)
HONEST = mutants.honest()
FIELDS = list(mutants.broken_fields())
CONDITIONS = list(mutants.broken_conditions())
GOOD = HONEST["allocation"]


def plan_of(proof: Document) -> Document:
    """What the checker reads of a plan file: data, solution and proof."""
    data = {key: proof[key] for key in ("program", "limit", "weight", "resource", "lower", "upper")}
    return {
        "schema": "zetaplan.plan/1",
        "names": ["a"],
        "instance": data | {"parameters": proof["parameters"] | {"beta": 1.0}, "quality": proof["weight"]},
        "solution": {"x": proof["plan"], "multiplier": proof["price"], "method": "exact"},
        "proof": proof,
    }


def plans_that_differ() -> list[tuple[str, Document]]:
    """A plan for each field that differs from what its proof is about."""
    forged = []
    for part, key, value in [
        ("instance", "program", "pruning"),
        ("instance", "limit", 7.0),
        ("instance", "weight", [0.2] * 5),
        ("instance", "resource", [1.0] * 5),
        ("instance", "lower", [0.0] * 5),
        ("instance", "upper", [None] * 5),
        ("instance", "parameters", {"alpha": 0.0, "gamma": 2.0}),
        ("solution", "x", [1.0] * 5),
        ("solution", "multiplier", 0.5),
    ]:
        plan = copy.deepcopy(plan_of(GOOD))
        plan[part][key] = value
        forged.append((key, plan))
    return forged


def without(document: Document, key: str) -> Document:
    return {name: value for name, value in document.items() if name != key}


def malformed() -> list[tuple[str, str, Any]]:
    """(what is wrong, a word of the message, the value)."""
    missing = [(f"no {key}", "expected the keys", without(GOOD, key)) for key in GOOD]
    lists = ("weight", "resource", "lower", "upper", "plan", "interior", "floor", "cap")
    words = [(f"a word for {key}", key, GOOD | {key: "7"}) for key in GOOD if key not in ("schema", "program")]
    bad = [math.nan, math.inf, -math.inf, True, "1", None, [1.0], {"a": 1}, 10**400]
    entries = [
        (f"{value!r:.9} in {key}", key, GOOD | {key: [value, *GOOD[key][1:]]})
        for key in lists
        for value in bad
        if not (key == "upper" and value is None)
    ]
    return [
        *missing,
        *words,
        *entries,
        ("an extra field", "expected the keys", GOOD | {"extra": 1}),
        ("another schema", "schema", GOOD | {"schema": "zetaplan.scores/1"}),
        ("another program", "program", GOOD | {"program": "precision"}),
        ("a list as program", "program", GOOD | {"program": ["allocation"]}),
        ("an extra parameter", "parameters", GOOD | {"parameters": GOOD["parameters"] | {"beta": 1.0}}),
        ("an extra claim", "claim", GOOD | {"claim": GOOD["claim"] | {"more": 1.0}}),
        ("a claim below zero", "claim", GOOD | {"claim": GOOD["claim"] | {"gap": -1.0}}),
        ("a strength of zero", "gamma", GOOD | {"parameters": {"alpha": 0.0, "gamma": 0.0}}),
        ("no layers", "plan", GOOD | {key: [] for key in lists}),
        ("a plan too long", "plan", GOOD | {"plan": [*GOOD["plan"], 0.0]}),
        ("too many layers", "at most", GOOD | {"weight": [1.0] * (checker.LAYERS + 1)}),
        ("a resource of zero", "resource", GOOD | {"resource": [0.0, *GOOD["resource"][1:]]}),
        ("a negative weight", "weight", GOOD | {"weight": [-1.0, *GOOD["weight"][1:]]}),
        ("a negative floor", "lower", GOOD | {"lower": [-0.5, *GOOD["lower"][1:]]}),
        ("a cap below its floor", "upper", GOOD | {"upper": [*GOOD["upper"][:3], 0.05, 9.0]}),
        ("a sparsity above one", "upper", HONEST["pruning"] | {"upper": [2.0] * 5}),
        ("pruning without a cap", "upper", HONEST["pruning"] | {"upper": [None] * 5}),
        ("a layer on two sides", "once", GOOD | {"floor": [*GOOD["floor"], GOOD["cap"][0]]}),
        ("half a layer", "once", GOOD | {"floor": [0.5]}),
        ("a layer at a cap it lacks", "cap", HONEST["no budget"] | {"floor": [0, 1, 2, 3], "cap": [4]}),
        ("a fraction over zero", "multiplier", GOOD | {"multiplier": "0x1/0x0"}),
        ("a decimal fraction", "multiplier", GOOD | {"multiplier": "1/8"}),
        ("a fraction too long", "reasonable length", GOOD | {"multiplier": f"0x{'1' * 10**6}/0x1"}),
        ("a plan without proof", "proof", without(plan_of(GOOD), "proof")),
        ("a plan with a word for proof", "proof", plan_of(GOOD) | {"proof": "yes"}),
        ("a plan without data", "proof", without(plan_of(GOOD), "instance")),
    ]


HOSTILE_TEXTS: list[tuple[str, str]] = [
    ("not JSON", "]"),
    ("truncated", json.dumps(GOOD)[:-7]),
    ("a list", "[1, 2]"),
    ("an empty file", ""),
    ("deep nesting", "[" * 100_000),
    ("deep objects", '{"a":' * 100_000),
    ("a duplicate key", json.dumps(GOOD)[:-1] + ', "limit": 1.0}'),
    ("a duplicate key inside", json.dumps(GOOD).replace('"alpha": 0.0', '"alpha": 0.0, "alpha": 0.0')),
    ("NaN", json.dumps(GOOD | {"limit": math.nan})),
    ("infinity", json.dumps(GOOD | {"limit": math.inf})),
    ("a huge exponent", json.dumps(GOOD).replace('"limit": 7.3', '"limit": 1e999999999')),
    ("a million digits", json.dumps(GOOD).replace('"limit": 7.3', '"limit": ' + "7" * 10**6)),
    ("a million-digit fraction", json.dumps(GOOD | {"multiplier": f"0x{'f' * 10**6}/0x{'e' * 10**6}"})),
    ("a huge exponent in a fraction", json.dumps(GOOD | {"multiplier": "1e999999999/3"})),
]


@pytest.mark.parametrize("name", HONEST)
def test_accepts_every_honest_certificate(name: str) -> None:
    verdict = check_certificate(HONEST[name])
    assert verdict.program == HONEST[name]["program"]
    assert len(verdict.claims) == 4


@pytest.mark.parametrize(("condition", "forged"), [pytest.param(c, d, id=name) for name, c, d in FIELDS])
def test_names_the_field_that_was_changed(condition: str, forged: Document) -> None:
    with pytest.raises(CertificateError, match=f"^{condition}"):
        check_certificate(forged)


@pytest.mark.parametrize(("condition", "forged"), [pytest.param(c, d, id=name) for name, c, d in CONDITIONS])
def test_names_the_one_condition_that_is_broken(condition: str, forged: Document) -> None:
    with pytest.raises(CertificateError, match=f"^{condition}") as refusal:
        check_certificate(forged)
    assert refusal.value.status == 1


@pytest.mark.parametrize(("word", "value"), [pytest.param(w, v, id=name) for name, w, v in malformed()])
def test_refuses_what_is_no_certificate(word: str, value: Any) -> None:
    with pytest.raises(CertificateError, match=word) as refusal:
        check_certificate(value)
    assert refusal.value.status == 2
    assert "\n" not in str(refusal.value)


@settings(max_examples=200, deadline=None)
@given(st.floats(0.0, sys.float_info.max))
def test_bounds_are_printed_rounded_up(value: float) -> None:
    """Two digits, never below the bound and less than a tenth above it."""
    printed = Fraction(format(checker.UP.create_decimal(value), ".2g"))
    assert Fraction(value) <= printed <= Fraction(value) * Fraction(11, 10)


def test_the_gap_of_a_plan_is_printed_rounded_up() -> None:
    claim = GOOD["claim"] | {"gap": 0.130155}
    assert check_certificate(GOOD | {"claim": claim}).claims[-1] == "no plan has an objective smaller by more than 0.14"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(checker.FIELDS)), inner),
)
OBJECTS = [None, 0, 7, 1.5, b"x", (), {1, 2}, object(), int, len, np.zeros(3), Path("\0"), "a\0b", "", Fraction(1), ...]


@settings(max_examples=300, deadline=None)
@given(ANY, st.sampled_from([*checker.FIELDS, "proof", "instance", "solution"]))
def test_any_value_is_refused_by_the_one_error(value: Any, key: str) -> None:
    for source in (value, GOOD | {key: value}, plan_of(GOOD) | {key: value}, {"schema": "zetaplan.plan/1", key: value}):
        with suppress(CertificateError):
            check_certificate(source)


@pytest.mark.parametrize("value", OBJECTS, ids=range(len(OBJECTS)))
def test_any_object_is_refused_by_the_one_error(value: Any) -> None:
    with pytest.raises(CertificateError):
        check_certificate(value)
    with pytest.raises(zp.CertificateError):
        zp.check_certificate(value)
    for key in (*checker.FIELDS, "proof", "instance", "solution"):
        with suppress(CertificateError):
            check_certificate(GOOD | {key: value})
        with suppress(CertificateError):
            check_certificate(plan_of(GOOD) | {key: value})


def test_free_layers_are_told() -> None:
    assert check_certificate(HONEST["pruning that leaves layers free"]).free == (2, 3)
    assert check_certificate(HONEST["allocation that leaves layers free"]).free == (2,)
    assert check_certificate(HONEST["pruning"]).free == ()


def test_accepts_the_proof_of_a_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan_of(GOOD)))
    assert check_certificate(path) == check_certificate(GOOD)


@pytest.mark.parametrize("plan", [pytest.param(plan, id=key) for key, plan in plans_that_differ()])
def test_refuses_a_plan_that_its_proof_is_not_about(plan: Document) -> None:
    with pytest.raises(CertificateError, match=r"^proof: its data differ"):
        check_certificate(plan)


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE_TEXTS])
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


def test_runs_alone_with_nothing_but_the_standard_library(tmp_path: Path) -> None:
    """Isolated mode has no site-packages: an import of anything else would fail."""
    good, bad, broken = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "broken.json"
    good.write_text(json.dumps(GOOD))
    bad.write_text(json.dumps(CONDITIONS[0][2]))
    broken.write_text("{")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", SOURCE, *arguments]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60, check=False)

    accepted, invalid, unreadable, lost = run(good), run(bad), run(broken), run()
    assert (accepted.returncode, invalid.returncode, unreadable.returncode, lost.returncode) == (0, 1, 2, 2)
    assert accepted.stdout.startswith("valid allocation: each layer is within")
    assert invalid.stderr.startswith("invalid: multiplier")
    assert unreadable.stderr.startswith("unreadable: ")
    assert lost.stderr.startswith("unreadable: usage")
    assert all(result.stderr.count("\n") <= 1 for result in (accepted, invalid, unreadable, lost))


def test_is_one_short_file() -> None:
    assert len(SOURCE.read_text().splitlines()) <= 234


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Every certificate, forgery, plan, malformed value and hostile file of this page."""
    folder = tmp_path_factory.mktemp("corpus")
    values: list[Any] = [*HONEST.values(), *(d for *_, d in FIELDS + CONDITIONS), *(d for *_, d in malformed())]
    values += [plan_of(GOOD), *(plan for _, plan in plans_that_differ())]
    for k, (_, text) in enumerate(HOSTILE_TEXTS):
        (folder / f"{k}.json").write_text(text)
    (folder / "large.json").write_text(json.dumps(GOOD) + " " * checker.BYTES)
    return values + sorted(folder.iterdir())


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
    forged = len(FIELDS) + len(CONDITIONS) + len(plans_that_differ())
    refused = len(malformed()) + len(HOSTILE_TEXTS)
    with capsys.disabled():
        print(
            f"\n{len(HONEST)} honest certificates, {forged} forgeries, {refused} malformed or hostile inputs, "
            f"{len(mutants.CHECKERS)} mutants of the checker"
        )
    assert len({name for name, *_ in mutants.CHECKERS}) == len(mutants.CHECKERS)
    assert forged >= 50
