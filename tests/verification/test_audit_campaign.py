"""Campaigns: the same counts whatever the order, sharding and interruptions; failures shrunk; one page written."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from zetaplan.cli.app import app
from zetaplan.errors import SpecError
from zetaplan.solvers import solve
from zetaplan.spec.instance import Instance
from zetaplan.spec.programs.pruning import pruning
from zetaplan.spec.solution import Solution
from zetaplan.verification.audit import campaign as campaigns
from zetaplan.verification.audit.campaign import Campaign, collect, conduct, run_chunk
from zetaplan.verification.audit.contestants import Contestant
from zetaplan.verification.audit.planting import plant
from zetaplan.verification.audit.report import publish
from zetaplan.verification.audit.shrinking import failing, reproducer, shrink
from zetaplan.verification.audit.tally import KEPT, Tally, total
from zetaplan.verification.audit.trial import TruthError

SMALL = Campaign({"exact": 1, "bisection": 5}, instances=70, spread=(0.0, 12.0), seed=4, chunk=20)


def facts(tally: Tally) -> dict[str, Any]:
    """Everything but the times."""
    return {name: value for name, value in tally.document().items() if name != "times"}


def lies(instance: Instance) -> Solution:
    """Right for single layers; for more, the first layer is put at its other bound, and called optimal."""
    honest = solve(instance)
    x = honest.x.copy()
    if x.size > 1:
        x[0] = instance.lower[0] if x[0] > instance.lower[0] else min(instance.upper[0], x[0] + 1.0)
    return replace(honest, x=x)


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Contestant:
    found = Contestant("liar", lies)
    monkeypatch.setattr(campaigns, "contestant", lambda name: found)
    return found


def test_tallies_add_up_in_any_order_and_survive_a_file() -> None:
    parts = [run_chunk(SMALL, chunk) for chunk in SMALL.chunks]
    whole = run_chunk(replace(SMALL, chunk=70), 0)
    assert facts(total(parts)) == facts(total(parts[::-1])) == facts(whole)
    again = [Tally.read(json.loads(json.dumps(part.document()))) for part in parts]
    assert total(again).document() == total(parts).document()
    assert total([]).document() == Tally().document()


def test_every_instance_is_counted_once() -> None:
    tally = run_chunk(replace(SMALL, chunk=70), 0)
    assert tally.truths.total() == tally.sum("exact", "asked") == tally.sum("exact", "optimal") == 70
    assert tally.sum("bisection", "asked") == 14
    assert sum(n for (cell, measure, _), n in tally.magnitudes.items() if (cell[0], measure) == ("exact", "dual")) == 70
    assert sum(n for (solver, _, _), n in tally.times.items() if solver == "exact") == 70
    assert tally.failures == set()


def test_a_liar_is_found_out(liar: Contestant) -> None:
    tally = run_chunk(replace(SMALL, solvers={"liar": 1}), 0)
    movable = [plant(4, i).instance for i in SMALL.trials(0)]
    free = sum(i.weight.size > 1 and i.lower[0] < i.upper[0] for i in movable)
    assert tally.sum("liar", "wrong") == pytest.approx(free, abs=4)  # a lie within 1e-6 is none
    assert 0 < len(tally.failures) <= KEPT
    assert all(failure.layers > 1 and failure.kind == "wrong" for failure in tally.failures)


def test_an_instance_without_a_truth_is_counted_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def disputed(planted: object) -> None:
        raise TruthError("two truths")

    monkeypatch.setattr(campaigns, "truth", disputed)
    tally = run_chunk(SMALL, 0)
    assert tally.truths == {"disputed": 20}
    assert {failure.what for failure in tally.failures} == {"TruthError: two truths"}


@pytest.mark.slow
def test_sharding_and_interruptions_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(conduct(SMALL, tmp_path / "one", jobs=2))
    alone, missing = collect(SMALL, tmp_path / "one")
    assert missing == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, left in (("1", 2), ("0", 0)):
        monkeypatch.setenv("RANK", rank)
        list(conduct(SMALL, tmp_path / "two"))
        assert collect(SMALL, tmp_path / "two")[1] == left
    assert facts(collect(SMALL, tmp_path / "two")[0]) == facts(alone)
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    (tmp_path / "one" / "chunks" / "000002.json").unlink()
    steps = list(conduct(SMALL, tmp_path / "one", resume=True))
    assert steps == [(3, 4), (4, 4)]
    assert facts(collect(SMALL, tmp_path / "one")[0]) == facts(alone)


def test_a_folder_holds_one_campaign(tmp_path: Path) -> None:
    done = replace(SMALL, instances=1, solvers={"exact": 1})
    list(conduct(done, tmp_path))
    with pytest.raises(SpecError, match="continue with --resume"):
        list(conduct(done, tmp_path))
    with pytest.raises(SpecError, match="contains another campaign"):
        list(conduct(replace(done, seed=5), tmp_path, resume=True))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("exact/0", 1, "0:12"), "expected NAME or NAME/N"),
        (("nobody", 1, "0:12"), "'nobody' is unknown"),
        (("exact", 0, "0:12"), "instances = 0: expected at least 1"),
        (("exact", 1, "12"), "expected decades LOW:HIGH"),
        (("exact", 1, "12:0"), "expected 0 <= LOW <= HIGH"),
        (("exact", 1, "nan:1"), "expected 0 <= LOW <= HIGH"),
    ],
)
def test_bad_words_are_named(words: tuple[str, int, str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Campaign.parse(*words, seed=0)


def test_shrinking_leaves_what_the_failure_needs_and_nothing_else() -> None:
    def fails(instance: Instance) -> bool:
        return bool((instance.resource > 7.0).any())

    sizes = np.random.default_rng(0).uniform(1.0, 7.0, 40)
    sizes[23] = 9.87654321
    small = shrink(pruning(np.arange(1.0, 41.0), sizes, sparsity=0.4, bits=0.1, upper=0.9, kappa=2.0), fails)
    assert fails(small)
    assert small.weight.size == 1
    assert small.resource.tolist() == [10.0]
    assert dict(small.parameters) == {"bits": 0.0, "eta": 1.0, "kappa": 1.0}
    assert small.upper.tolist() == [1.0]


def test_shrinking_keeps_the_failure_of_a_solver_and_asks_no_more_than_it_may() -> None:
    fails = failing(Contestant("liar", lies))
    instance = next(i for i in (plant(4, k).instance for k in range(200)) if i.weight.size > 20 and fails(i))
    small = shrink(instance, fails)
    assert fails(small)
    assert small.weight.size == 2
    asked = []
    assert shrink(instance, lambda i: bool(asked.append(i)), attempts=5) is instance
    assert len(asked) == 5


@pytest.mark.slow
def test_the_reproducer_runs() -> None:
    program = reproducer(pruning([0.25, 0.75], [1.0, 2.0], target=1.0), "exact")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "BINDING" in run.stdout
    exact, solved = (line.split("[")[1].split("]")[0] for line in run.stdout.splitlines())
    assert [float(x) for x in exact.split(",")] == pytest.approx([float(x) for x in solved.split(",")])


class Page(HTMLParser):
    """What a page asks the network for, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href") and value]
        self.fetched += [tag] if tag in ("script", "link", "img", "iframe") else []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_says_who_lied_and_fetches_nothing(tmp_path: Path, liar: Contestant, monkeypatch: Any) -> None:
    monkeypatch.setattr("zetaplan.verification.audit.report.contestant", lambda name: liar)
    campaign = replace(SMALL, solvers={"liar": 1}, instances=40)
    tally = total(run_chunk(campaign, chunk) for chunk in campaign.chunks)
    json_file, html_file = publish(campaign, tally, tmp_path, missing=3)
    page = Page()
    page.feed(html_file.read_text("utf-8"))
    assert [part for part in page.fetched if not part.partition("=")[2].startswith("#")] == []
    text = " ".join(" ".join(page.words).split())
    assert "3 chunks are missing" in text
    assert "liar reports a wrong solution as optimal" in text
    assert html_file.read_text("utf-8").count("<svg") == 4
    document = json.loads(json_file.read_text("utf-8"))
    assert document["schema"] == "zetaplan.audit/1"
    assert document["summary"][0]["wrong"] == tally.sum("liar", "wrong") > 0
    assert Tally.read(document).document() == tally.document()
    publish(campaign, tally, tmp_path, missing=3)
    assert json.loads(json_file.read_text("utf-8")) == document


@pytest.mark.slow
def test_the_command_ends_well_where_exact_is_right(tmp_path: Path) -> None:
    arguments = ["audit", "--solvers", "exact", "--instances", "30", "--out", str(tmp_path / "a"), "--json"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0
    assert json.loads(run.stdout)["solvers"]["exact"] == {
        "asked": 30,
        "failed": 0,
        "optimal": 30,
        "wrong": 0,
        "sides": 0,
        "misread": 0,
    }
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2
    assert "continue with --resume" in again.stderr


def test_the_command_ends_badly_where_exact_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Contestant("exact", lies, strict=True)
    monkeypatch.setattr(campaigns, "contestant", lambda name: wrong)
    monkeypatch.setattr("zetaplan.verification.audit.report.contestant", lambda name: wrong)
    campaign = Campaign({"exact": 1}, instances=12, spread=(0.0, 12.0), seed=0)
    tmp_path.joinpath("chunks").mkdir()
    tmp_path.joinpath("chunks", "000000.json").write_text(json.dumps(run_chunk(campaign, 0).document()))
    tmp_path.joinpath("campaign.json").write_text(json.dumps(campaign.document()))
    arguments = ["audit", "--solvers", "exact", "--instances", "12", "--out", str(tmp_path), "--resume", "--quiet"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "is negative: wrong" in run.stderr
