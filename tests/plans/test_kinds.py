"""Kinds of plans: every kind through every door, a fourth and a fifth declared in one file each by the test itself."""

from __future__ import annotations

import inspect
import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import zetaplan as zp
from tests.made import edited, made_scores
from zetaplan.cli.app import app
from zetaplan.cli.options import BY_NAME, expanded
from zetaplan.documents.convert import save_scores
from zetaplan.jobs.config import Config, schemas
from zetaplan.plans import kinds
from zetaplan.plans.kinds import kind_for, kind_names, kind_of
from zetaplan.plans.kinds.experts import ExpertsOptions
from zetaplan.plans.kinds.sparsity import SparsityOptions
from zetaplan.plans.options import PlanOptions
from zetaplan.reports.tables import plan_table

BARRIER = '''
"""Sparsity with the penalty -log(1 - rho)."""
from dataclasses import replace
from zetaplan.plans.kinds.sparsity import KIND as SPARSITY

def declare(quality, resource, scores, request, **knobs):
    from zetaplan.spec.programs.barrier_pruning import barrier_pruning
    return barrier_pruning(quality, resource, **{request.limit.kind: request.limit.value}, **knobs)

KIND = replace(SPARSITY, name="barrier-sparsity", program="barrier_pruning", declare=declare, cap=0.99)
'''

BITS = '''
"""Bits per weight."""
import math
from typing import ClassVar
from pydantic import Field
from zetaplan.plans.kind import Kind, Words
from zetaplan.plans.options import Bound, PlanOptions
from zetaplan.plans.request import Limit
from zetaplan.plans.whole import Multiples

class BitsOptions(PlanOptions):
    """Options of a plan of bits."""
    forms: ClassVar[tuple[str, ...]] = ("bits_per_weight",)
    default: ClassVar[Limit] = Limit(kind="bits_per_weight", value=4.0)
    bits_per_weight: float | None = Field(None, description="Bits per weight on average.")
    sizes: Bound | None = Field(None, description="Weights of each block.")
    beta: float = Field(1.0, description="The exponent on quality.")

def declare(quality, resource, scores, request, **knobs):
    from zetaplan.spec.programs.precision import precision
    return precision(quality, resource, request.limit.value * math.fsum(resource), **knobs)

KIND = Kind(
    name="bits", program="precision", options=BitsOptions, column="linear_parameters", given="sizes",
    limits={"bits_per_weight": "{value:g} bits per weight, {amount}"}, declare=declare, whole=Multiples(),
    counts="bits", cap=math.inf,
    words=Words(title="Bits", unit="bits per weight", whole="bits per weight", command="quantize",
                requested="Requested is the uniform plan.", multiplier="one more bit lowers it by {multiplier:.4g}"),
)
'''


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more kinds, each one file in a folder of its own."""
    folder = tmp_path / "more_kinds"
    folder.mkdir()
    (folder / "barrier_sparsity.py").write_text(textwrap.dedent(BARRIER))
    (folder / "bits.py").write_text(textwrap.dedent(BITS))
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(folder)])


@pytest.mark.parametrize(
    ("name", "options"), [("barrier-sparsity", {"sparsity": 0.4}), ("bits", {"bits_per_weight": 3.5})]
)
@pytest.mark.usefixtures("declared")
def test_a_kind_in_one_file_goes_through_every_door(
    name: str, options: dict[str, float], tmp_path: Path, scores_file: Path
) -> None:
    scores = made_scores()
    made = zp.plan(scores, kind=name, **options)
    assert made.certificate.valid
    assert made.rounded.keeps_limit
    file = made.save(tmp_path / "plan.json")
    loaded = zp.load_plan(file)
    assert loaded.kind == made.kind == kind_of(name)
    assert loaded.document().text() == made.document().text()
    page, words = zp.write_report(loaded, tmp_path / "report.html")
    assert made.kind.words.title in page.read_text()
    assert made.whole_unit in words.read_text()
    assert json.loads(zp.export(loaded, to="json").text)["unit"] == made.whole_unit
    assert "in total" in [cell for column in plan_table(loaded).columns for cell in column.cells]
    for line in (
        ["verify", file],
        ["report", file, "-o", tmp_path / "again.html"],
        ["regret", file, "--drift", "0.1"],
        ["export", file, "--to", "csv", "-o", tmp_path / "units.csv"],
        ["sweep", scores_file, "--from", "0.1", "--to", "0.9", "--kind", name, "-o", tmp_path / "sweep.csv"],
    ):
        result = CliRunner().invoke(app, [str(word) for word in line])
        assert result.exit_code == 0, result.stderr
    assert name in CliRunner().invoke(app, ["list", "kinds"]).stdout.split()


@pytest.mark.usefixtures("declared")
def test_an_enclosed_proof_is_checked_and_cannot_be_forged(tmp_path: Path) -> None:
    """The optimum of `precision` is no fraction: the plan carries an enclosure, which `verify` finds anew."""
    file = zp.plan(made_scores(), kind="bits", bits_per_weight=3.5).save(tmp_path / "plan.json")
    proof = json.loads(file.read_text())["proof"]
    assert proof["schema"] == "zetaplan.enclosure/1"
    assert 0 < proof["distance"] <= 1e-9
    verified = CliRunner().invoke(app, ["verify", str(file)])
    assert verified.exit_code == 0
    assert "enclosed by Arb" in verified.stdout.replace("\n", " ")
    assert "in fractions" not in verified.stdout
    low, high = proof["multiplier"]

    def claim_more(value: dict[str, object]) -> None:
        value["proof"] |= {"distance": proof["distance"] / 2}  # type: ignore[operator]

    def narrow(value: dict[str, object]) -> None:
        value["proof"] |= {"multiplier": [high, high]}  # type: ignore[operator]

    assert low < high or low == high
    for edit in (claim_more, narrow):
        forged = edited(Path(zp.load_plan(file).save(tmp_path / "forged.json")), edit, resealed=True)
        refused = CliRunner().invoke(app, ["verify", str(forged)])
        assert refused.exit_code == 1 or (edit is narrow and low == high)
    moved = edited(
        Path(zp.load_plan(file).save(tmp_path / "moved.json")),
        lambda value: value["solution"]["x"].__setitem__(0, value["solution"]["x"][0] * (1 + 1e-6)),
        resealed=True,
    )
    assert CliRunner().invoke(app, ["verify", str(moved)]).exit_code == 1


RECORDS = {"allocate": ExpertsOptions, "prune": SparsityOptions}


@pytest.mark.parametrize("door", sorted(RECORDS))
def test_python_yaml_and_command_line_have_the_same_options(door: str) -> None:
    """Names and defaults come from one record per kind."""
    record: type[PlanOptions] = RECORDS[door]
    fields = {name: field.get_default(call_default_factory=True) for name, field in record.model_fields.items()}
    python = inspect.signature(getattr(zp, door)).parameters
    assert {name: p.default for name, p in python.items() if name != "scores"} == fields
    kind = {"allocate": "experts", "prune": "sparsity"}[door]
    definitions = schemas()["config"]["$defs"]
    yaml = definitions[f"{kind.title()}Step"]["properties"]  # type: ignore[index,call-overload]
    assert set(yaml) - {"kind"} == set(fields)
    for name, default in fields.items():
        assert yaml[name].get("default", {} if name == "pins" else None) == (  # type: ignore[union-attr,index]
            list(default) if isinstance(default, tuple) else default
        )
    module = __import__(f"zetaplan.cli.{door}", fromlist=[door])
    command = inspect.signature(expanded(getattr(module, door))).parameters
    own = {"scores", "out", "force", "as_json", "quiet"}
    by_name = {option for option, _ in BY_NAME.values()} | {"group"}
    assert set(command) - own == (set(fields) - {"pins", "groups"}) | by_name
    for name in set(fields) - {"pins", "groups"}:
        assert command[name].default == fields[name]
    for name in fields:
        assert name in str(getattr(zp, door).__doc__), f"{door} does not document {name}"


def test_every_step_of_a_job_has_every_option_of_its_command() -> None:
    steps = {"score": "score", "apply": "apply", "evaluate": "evaluate", "export": "export"}
    for step, name in steps.items():
        module = __import__(f"zetaplan.cli.{name}", fromlist=[name])
        hints = inspect.get_annotations(getattr(module, name), eval_str=True)
        annotation = str(Config.model_fields[step].annotation)
        assert hints["options"].__name__ in annotation


def test_files_written_before_kinds_had_names_load(tmp_path: Path) -> None:
    for made in (
        zp.allocate(made_scores(), mean_rank=4),
        zp.allocate(made_scores(), mean_rank=4, expert_rank=8),
        zp.prune(made_scores(), sparsity=0.5),
    ):
        file = made.save(tmp_path / "plan.json")
        old = edited(file, lambda value: value.pop("kind"), resealed=True)
        loaded = zp.load_plan(old)
        assert loaded.kind == made.kind
        assert np.array_equal(loaded.solution.x, made.solution.x)
        assert "kind" not in json.loads(loaded.document().text()) or loaded.document().kind == made.kind.name


def test_every_kind_solves_a_declared_program_and_is_found_by_it() -> None:
    for name in kind_names():
        kind = kind_of(name)
        assert kind.name == name
        assert kind_for(kind.program, 8 if kind.counts == "experts" else None).program == kind.program
        assert kind.options.default.kind in kind.limits
        assert set(kind.options.forms) <= set(kind.limits)
    with pytest.raises(zp.SpecError, match="kind = 'nonsense': expected one of experts, rank, sparsity"):
        kind_of("nonsense")


def test_scores_alone_are_enough(tmp_path: Path) -> None:
    scores = save_scores(made_scores(), tmp_path / "scores.json")
    for command in RECORDS:
        out = tmp_path / f"{command}.json"
        assert CliRunner().invoke(app, [command, str(scores), "-o", str(out)]).exit_code == 0
        assert zp.load_plan(out).certificate.valid
