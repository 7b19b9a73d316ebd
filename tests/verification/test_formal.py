"""The theory has no gaps and assumes what its pages say; the proved checker answers as the one in Python does."""

from __future__ import annotations

import copy
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from typer.testing import CliRunner

from tests import formal_mutants, menu_mutants, mutants
from tests.made import made_scores
from tests.verification import test_checker, test_menu_checker
from tests.verification.test_menu_soundness import documents
from zetaplan.cli.app import app
from zetaplan.errors import SpecError
from zetaplan.plans.planner import allocate
from zetaplan.verification import checker
from zetaplan.verification.formal import proved
from zetaplan.verification.formal.statements import THEORY, statements
from zetaplan.verification.menus import checker as choice_checker
from zetaplan.verification.proofs import proofs
from zetaplan.verification.proofs.proof import Theorem

Document = dict[str, Any]

BUILD = proved.BUILT.parent
SOURCES = [*sorted(THEORY.glob("*.v")), *sorted((THEORY.parent / "checker").glob("*.ml"))]
FRESH = proved.BUILT.is_file() and all(
    (BUILD / source.name).is_file() and (BUILD / source.name).read_bytes() == source.read_bytes() for source in SOURCES
)
NEEDS = pytest.mark.skipif(not FRESH, reason="the proved checker is not built from these sources: make checker (Coq)")
REALS = {  # what the real numbers of Coq's library rest on
    "ClassicalDedekindReals.sig_forall_dec",
    "ClassicalDedekindReals.sig_not_dec",
    "FunctionalExtensionality.functional_extensionality_dep",
    "Classical_Prop.classic",
}
CHOICES = {"Claim", "Json", "Leaf", "Menus", "Sweep", "Tree", "Vectors"}  # files on whole and rational numbers alone
CHANGES = 25  # of one honest document
DRAWN = 400  # choices with any proof, for each number of budgets


def test_the_theory_has_no_gaps() -> None:
    """No proof is left out, and nothing is assumed but the hypotheses of a section: premises of its theorems."""
    for path in THEORY.glob("*.v"):
        text = re.sub(r"\(\*.*?\*\)", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"\b(Admitted|admit|give_up|Axioms?|Conjecture|Parameters?|Abort|Unset)\b", text), (
            path.name
        )
        assert text.count("Section ") == len(re.findall(r"^End ", text, re.MULTILINE)), path.name
        if re.search(r"^(Hypothesis|Variables?|Hypotheses)\b", text, re.MULTILINE):
            assert "Section " in text, path.name


def test_every_proof_step_names_a_theorem() -> None:
    named = {
        name for proof in proofs().values() for step in proof.steps if isinstance(step, Theorem) for name in step.names
    }
    assert named <= statements().keys()
    assert {statements()[name].split()[0] for name in named} == {"Theorem"}  # what these assume is printed


@NEEDS
def test_what_every_theorem_assumes() -> None:
    """Theorems on choices assume nothing; those on real numbers no more than the axioms of Coq's real numbers."""
    names = re.findall(r"^Print Assumptions (\S+)\.$", (BUILD / "assumptions.v").read_text(), re.MULTILINE)
    printed = re.split(r"^(?=Axioms:|Closed)", (BUILD / "assumptions.txt").read_text(), flags=re.MULTILINE)[1:]
    assert len(names) == len(printed) == sum(text.startswith("Theorem") for text in statements().values())
    for name, text in zip(names, printed, strict=True):
        axioms = set(re.findall(r"^([A-Z][\w.]*\.\w+)\b", text, re.MULTILINE))
        assert axioms <= (set() if name.split(".")[0] in CHOICES else REALS), name
        assert bool(axioms) != text.startswith("Closed"), name


WEAKENED = {  # a file with conditions of the checker, and the files after it whose proofs need them
    "Layers": ["Certified", "Files"],
    "Sweep": ["Leaf", "Tree", "Menus", "Files"],
    "Leaf": ["Tree", "Menus", "Files"],
    "Tree": ["Menus", "Files"],
    "Menus": ["Files"],
}


@pytest.mark.parametrize(
    ("file", "text", "instead"), [pytest.param(*change, id=name) for name, *change in formal_mutants.MUTANTS]
)
def test_every_mutant_is_a_change_of_the_theory(file: str, text: str, instead: str) -> None:
    assert (THEORY / f"{file}.v").read_text().count(text) == 1
    assert text != instead


@NEEDS
@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "text", "instead"), [pytest.param(*change, id=name) for name, *change in formal_mutants.MUTANTS]
)
def test_a_weaker_checker_has_no_proof(file: str, text: str, instead: str, tmp_path: Path) -> None:
    for path in (*BUILD.glob("*.v"), *BUILD.glob("*.vo")):
        shutil.copy2(path, tmp_path / path.name)
    source = tmp_path / f"{file}.v"
    source.write_text(source.read_text().replace(text, instead))
    command = ["coqc", "-Q", ".", "Zetaplan"]
    proved_again = (
        subprocess.run([*command, f"{name}.v"], cwd=tmp_path, capture_output=True, check=False).returncode == 0
        for name in (file, *WEAKENED[file])
    )
    assert not all(proved_again)


def answer(document: Document | str, path: Path) -> tuple[int, str]:
    """The status of the checker in Python and, where a claim is not proved, the condition that it names."""
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    choices = "zetaplan.certificate/2" in path.read_text() or "zetaplan.plan/2" in path.read_text()
    try:
        (choice_checker if choices else checker).check_certificate(path)
    except (choice_checker.CertificateError, checker.CertificateError) as refusal:
        return refusal.status, str(refusal).split(":")[0] if refusal.status == 1 else ""
    return 0, ""


def changed(document: Document, seeds: range) -> Iterator[Document]:
    """The document with one of its entries, at any depth, replaced, left out, doubled or moved by a little."""
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 no secret
        forged = copy.deepcopy(document)
        place: Any = forged
        while True:
            key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.9:
                place = place[key]
                continue
            break
        _change(place, key, rng)
        yield forged


def _change(place: Any, key: Any, rng: random.Random) -> None:
    value = place[key]
    if isinstance(value, float | int) and not isinstance(value, bool) and rng.random() < 0.8:
        place[key] = rng.choice([value * (1 + 1e-12), value * (1 - 1e-9), value * 0.99, value + 1, -value, 0.0, 5e-324])
    elif isinstance(value, str) and "/" in value and rng.random() < 0.8:
        place[key] = rng.choice([value[:-1], value + "1", value.replace("1", "2"), value.replace("/", "")])
    elif isinstance(place, list) and rng.random() < 0.5:
        place.insert(key, copy.deepcopy(value))
    elif rng.random() < 0.5:
        del place[key]
    else:
        place[key] = rng.choice([None, True, [], {}, "", "1/3", 1e308, [value]])


def spoilt(text: str, seeds: range) -> Iterator[str]:
    """The text with one piece of it replaced by another: no JSON any more, or another one."""
    quotes = ['"', "\\", "\\u0041", "\\ud83d", "{", "]", ",", ":", "null", "NaN", "-Infinity", "true", '"gap":0,', "/1"]
    pieces = [*quotes, "-", ".", "e", "1e", "0", "00", "1.", ".5", "1E+2", "é", "\x00", "\n", " ", "\ufeff"]
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 no secret
        at = rng.randrange(len(text) + 1)
        yield text[:at] + rng.choice(pieces) + text[at + rng.choice([0, 0, 1, 2]) :]


def numbers(seeds: range) -> Iterator[str]:
    """One option whose cost is within its budget exactly if two decimals round to doubles in this order."""
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 no secret
        digits = "".join(rng.choices("0123456789", k=rng.choice([1, 5, 17, 18, 40, 800]))).lstrip("0") or "0"
        power = rng.choice([0, 1, -20, 22, 23, 290, -310, -330, 308, rng.randrange(-400, 300)])
        near = str(int(digits) + rng.choice([-1, 0, 0, 1]))
        cost, budget = (f"{rng.choice(['', '', '-'])}{mantissa}e{power}" for mantissa in (digits, near.lstrip("-")))
        yield (
            f'{{"schema": "zetaplan.certificate/2", "menus": [[[{cost}, 0]]], "budgets": [{budget}], "plan": [0], '
            '"gap": 0.0, "proof": [[{"multipliers": [["0/1"]], "decisions": []}]]}'
        )


def drawn(budgets: int) -> list[Document]:
    found: list[Document] = []

    @settings(max_examples=DRAWN, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(documents(budgets=budgets))
    def collect(case: tuple[Any, Document]) -> None:
        found.append(case[1])

    collect()
    return found


def corpus() -> list[Document | str]:
    """Every certificate, forgery, malformed and hostile text of the suites, changed ones, and choices at random."""
    honest = [*test_checker.HONEST.values(), *test_menu_checker.HONEST.values()]
    short = [document for document in honest if len(json.dumps(document)) < 20_000]
    return [
        *honest,
        *(test_checker.plan_of(document) for document in test_checker.HONEST.values()),
        *(document for _, document in test_checker.plans_that_differ()),
        *(document for *_, document in mutants.broken_fields()),
        *(document for *_, document in mutants.broken_conditions()),
        *(document for *_, document in test_checker.malformed()),
        *(text for _, text in test_checker.HOSTILE_TEXTS),
        *(document for _, document in menu_mutants.worse_plans(test_menu_checker.HONEST)),
        *(document for *_, document in test_menu_checker.FIELDS),
        *(document for *_, document in test_menu_checker.malformed()),
        *(document for *_, document in test_menu_checker.PLANS),
        *(text for _, text in test_menu_checker.HOSTILE),
        *(forged for document in short for forged in changed(document, range(CHANGES))),
        *(document for budgets in (1, 2, 3) for document in drawn(budgets)),
        *(text for kind in (test_checker, test_menu_checker) for text in spoilt(json.dumps(kind.GOOD), range(500))),
        *numbers(range(1000)),
    ]


@NEEDS
def test_both_checkers_give_the_same_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = corpus()
    paths = [tmp_path / f"{number}.json" for number in range(len(values))]
    expected = [answer(value, path) for value, path in zip(values, paths, strict=True)]
    done = subprocess.run([proved.BUILT, *paths], capture_output=True, text=True, timeout=600, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths)
    words = {"valid": 0, "invalid": 1, "unreadable": 2}
    for path, (status, condition), line in zip(paths, expected, lines, strict=True):
        assert words[line.split()[0].rstrip(":")] == status, f"{path.read_text()[:2000]} {condition} {line}"
        assert status != 1 or line == f"invalid: {condition}", path.read_text()[:2000]
    count = {word: sum(line.startswith(word) for line in lines) for word in words}
    with capsys.disabled():
        print(f"\n{len(lines)} documents, both checkers agree: {count}")
    assert min(count.values()) > 300
    assert len(lines) > 5000


@NEEDS
def test_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with open(large, "wb") as stream:
        stream.truncate(10 * 2**30)
    for path in (large, Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        assert proved.check_proved(path).status == 2


@NEEDS
def test_verify_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    allocate(made_scores(), mean_rank=4).save("plan.json")
    (tmp_path / "other.json").write_text(json.dumps(test_menu_checker.WORSE[0][1]))
    done = CliRunner().invoke(app, ["verify", "plan.json", "--formal", "--json"])
    assert done.exit_code == 0
    last = json.loads(done.stdout)["checks"][-1]
    assert last == {"name": "proved checker", "ok": True, "detail": "valid plan"}
    assert proved.check_proved(tmp_path / "other.json") == (1, "invalid: optimality")


def test_verify_without_it_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(proved.VARIABLE, str(tmp_path / "none"))
    path = tmp_path / "plan.json"
    allocate(made_scores(), mean_rank=4).save(path)
    assert CliRunner().invoke(app, ["verify", str(path)]).exit_code == 0
    with pytest.raises(SpecError, match=r"is not built; run `make checker`"):
        proved.check_proved(path)
    assert CliRunner().invoke(app, ["verify", str(path), "--formal"]).exit_code == 2


@pytest.mark.parametrize(("status", "remedy"), [(3, "ended with status 3"), (0, "")])
def test_any_program_of_the_users_is_run(
    status: int, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mine"
    program.write_text(f"#!/bin/sh\necho valid choice\nexit {status}\n")
    program.chmod(0o700)
    monkeypatch.setenv(proved.VARIABLE, str(program))
    if remedy:
        with pytest.raises(SpecError, match=remedy):
            proved.check_proved(tmp_path / "plan.json")
    else:
        assert proved.check_proved(tmp_path / "plan.json") == (0, "valid choice")
