"""The whole job from one file: what is done, what is left alone, what is refused; the schemas that are published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats
from typer.testing import CliRunner

from tests.tiny_gguf import tiny_gguf
from tests.tiny_models import tiny_llama_dir
from zetaplan._files import canonical
from zetaplan.cli.app import app
from zetaplan.documents.choices import load_choice
from zetaplan.documents.convert import load_scores
from zetaplan.documents.verify import load_plan
from zetaplan.errors import SpecError, ZetaplanError
from zetaplan.evaluate.perplexity import perplexity, read_tokens
from zetaplan.exports import check_file, export
from zetaplan.jobs.config import Config, load_config, schemas
from zetaplan.jobs.guard import against_uniform
from zetaplan.jobs.refining import start_of
from zetaplan.jobs.run import run
from zetaplan.menus.refined import refined_facts, sentence
from zetaplan.models.apply import prune_blocks
from zetaplan.plans.planner import allocate
from zetaplan.scoring import load_model, read_sequences

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))

CONFIG = """
model: tiny-llama
score: {data: [pydoc], sequences: 4, length: 24}
plan: {program: allocation, mean_rank: 4, lower: 1, upper: {"*.0": 6}, step: 1}
export: [{to: peft}, {to: csv, out: ranks.csv}]
out: made
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    tiny_llama_dir(tmp_path)
    (tmp_path / "job.yaml").write_text(CONFIG)
    return tmp_path / "job.yaml"


def test_the_job_is_what_its_steps_are_alone(config: Path) -> None:
    steps = run(config)
    made = config.parent / "made"
    assert [step.name for step in steps] == ["score", "plan", "verify", "report", "export 0 to peft", "export 1 to csv"]
    assert all(step.ran and all(file.is_file() for file in step.files) for step in steps)
    plan = load_plan(made / "plan.json")
    alone = allocate(load_scores(made / "scores.json"), mean_rank=4, lower=1, upper={"*.0": 6})
    assert plan.solution.x.tolist() == alone.solution.x.tolist()
    assert check_file(made / "adapter_config.json", str(config.parent / "tiny-llama")) == ("peft", ())
    assert json.loads((made / "verdict.json").read_text())["valid"]


def test_a_step_runs_again_only_if_its_inputs_changed(config: Path) -> None:
    def ran() -> list[str]:
        return [step.name for step in run(config) if step.ran]

    assert len(ran()) == 6
    assert ran() == []
    config.write_text(CONFIG.replace("upper: {", "gamma: 1.0, upper: {").replace("ranks.csv", "units.csv"))
    assert ran() == ["export 1 to csv"]  # a default that is written out changes nothing
    (config.parent / "made" / "adapter_config.json").write_text("{}")
    assert ran() == ["export 0 to peft"]
    config.write_text(CONFIG.replace("mean_rank: 4", "mean_rank: 3"))
    assert ran() == ["plan", "verify", "report", "export 0 to peft", "export 1 to csv"]
    config.write_text(CONFIG.replace("sequences: 4", "sequences: 5"))
    assert "score" in ran()
    (config.parent / "made" / "run.json").write_text("[")
    with pytest.raises(SpecError, match=r"run\.json exists, and this command did not write it; .* --force"):
        run(config)
    assert [step.ran for step in run(config, force=True)] == [True] * 6
    assert ran() == []


def test_scores_that_there_are_need_no_model(scores_file: Path) -> None:
    config = scores_file.parent / "job.yaml"
    config.write_text("{model: none, scores: scores.json, plan: {program: pruning, sparsity: 0.4}, out: made}")
    assert [step.name for step in run(config)] == ["plan", "verify", "report"]


def test_what_was_finished_stays_finished(config: Path) -> None:
    config.write_text(CONFIG.replace("to: peft", "to: mola"))
    with pytest.raises(
        ZetaplanError, match="this plan counts ranks; plan kind 'experts' with `zetaplan allocate --expert-rank`"
    ):
        run(config)
    config.write_text(CONFIG)
    assert [step.name for step in run(config) if step.ran] == ["export 0 to peft", "export 1 to csv"]


PRUNING = "model: tiny-llama\nplan: {program: pruning, sparsity: 0.5}\nout: made\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CONFIG.replace("to: peft", "to: pfet"), "expected one of alphapruning"),
        (
            CONFIG.replace("to: csv, out: ranks.csv", "to: peft"),
            r"two exports have the file adapter_con",
        ),
        (f"{CONFIG}apply: {{}}\n", r"apply: expected a plan of weights to remove, plan\.kind is 'rank'; remove apply"),
        (f"{PRUNING}apply: {{method: wander}}\n", "expected one of magnitude"),
        (f"{PRUNING}apply: {{data: [none.txt]}}\n", r"cannot read none\.txt"),
        (f"{PRUNING}evaluate: {{text: none.txt}}\n", r"cannot read none\.txt"),
        (f"{PRUNING}evaluate: {{text: tiny-llama/config.json, against: none}}\n", r"against: 'none' is no directory"),
        (f"{PRUNING}evaluate: {{choices: none.jsonl, against: tiny-llama}}\n", "evaluate: against: measures the div"),
        (f"{PRUNING}evaluate: {{items: 3}}\n", "evaluate: text and choices: give at least one of the two"),
    ],
)
def test_what_would_fail_at_the_end_is_refused_at_the_start(config: Path, text: str, said: str) -> None:
    config.write_text(text)
    with pytest.raises(ZetaplanError, match=said):
        run(config)
    assert not (config.parent / "made").exists()


def test_a_plan_is_applied_and_measured(config: Path) -> None:
    job = """
    model: tiny-llama
    score: {sequences: 4, length: 24}
    plan: {program: pruning, sparsity: SHARE}
    report: false
    apply: {method: magnitude}
    evaluate: {text: notes.txt, length: 32, stride: 16, choices: items.jsonl, items: 2, against: tiny-llama}
    out: made
    """
    (config.parent / "notes.txt").write_text("Half of the weights are gone, and the text is still here. " * 4)
    item = json.dumps({"ctx": "The sky is", "choices": ["blue", "a road"], "gold": 0})
    (config.parent / "items.jsonl").write_text(f"{item}\n" * 3)
    config.write_text(job.replace("SHARE", "0.5"))
    steps = {step.name: step for step in run(config)}
    assert list(steps) == ["score", "plan", "verify", "apply", "evaluate"]
    [record] = steps["apply"].files
    plan = load_plan(config.parent / "made" / "plan.json")
    removed = [block["removed"] for block in json.loads(record.read_text())["blocks"]]
    assert removed == plan.rounded.units.tolist()
    measured = json.loads(steps["evaluate"].files[0].read_text())
    assert measured["model"]["perplexity"]["value"] != measured["pruned"]["perplexity"]["value"]
    assert all(len(found["multiple_choice"]["items"]) == 2 for found in measured.values())
    assert measured["model"]["against"]["kl"]["maximum"] == 0.0 < measured["pruned"]["against"]["kl"]["mean"]["value"]
    assert not any(step.ran for step in run(config))
    config.write_text(job.replace("SHARE", "0.4"))
    again = {step.name: step for step in run(config)}
    assert [name for name, step in again.items() if step.ran] == ["plan", "verify", "apply", "evaluate"]
    assert again["apply"].files != steps["apply"].files
    assert record.is_file()


GUARDED = """
model: tiny-llama
score: {sequences: 4, length: 24}
plan: {kind: sparsity, sparsity: 0.5, upper: 0.8, kappa: 1}
report: false
apply: {method: wanda, sequences: 3, length: 24}
evaluate: {text: notes.txt, length: 32, stride: 16}
out: made
"""


def guarded(config: Path, text: str = GUARDED) -> dict[str, Any]:
    (config.parent / "notes.txt").write_text("Half of the weights are gone, and the text is still here. " * 4)
    config.write_text(text)
    run(config)
    found: dict[str, Any] = json.loads((config.parent / "made" / "evaluation.json").read_text())
    return found


def test_a_pruned_model_is_compared_with_uniform(config: Path) -> None:
    """Second truth: a copy is pruned to one share everywhere by hand, and the windows are compared by scipy."""
    found, made = guarded(config)["pruned"], config.parent / "made"
    plan = load_plan(made / "plan.json")
    loaded = load_model(str(config.parent / "tiny-llama"))
    text = read_sequences(["pydoc"], loaded.tokenizer, sequences=3, length=24)
    even = {name: int(size) // 2 for name, size in zip(plan.names, plan.instance.resource, strict=True)}
    assert sum(even.values()) == plan.rounded.units.sum()
    prune_blocks(loaded.model, "layers", even, "wanda", text)
    ids = read_tokens(config.parent / "notes.txt", loaded.tokenizer)
    by_hand = perplexity(loaded, ids, length=32, stride=16)
    uniform, windows = found["uniform"]["perplexity"], found["perplexity"]["windows"]
    assert uniform["windows"]["nll"] == pytest.approx(by_hand.nll.tolist(), rel=1e-6)
    assert uniform["windows"]["tokens"] == windows["tokens"]
    rises = np.subtract(windows["nll"], by_hand.nll)
    difference = found["uniform"]["difference"]
    assert difference["mean"] == pytest.approx(rises.sum() / by_hand.tokens.sum(), rel=1e-4)
    spread = rises - difference["mean"] * by_hand.tokens  # the delta method for a ratio of sums
    half = stats.t.ppf(0.975, len(rises) - 1) * spread.std(ddof=1) * len(rises) ** 0.5 / by_hand.tokens.sum()
    assert difference["high"] - difference["low"] == pytest.approx(2 * half, rel=1e-3)
    assert not list(made.glob(".uniform-*"))


def test_the_guard_leads_the_summary_and_is_kept(config: Path) -> None:
    sentence = guarded(config)["pruned"]["uniform"]["note"]
    for _ in range(2):  # a job without changes too
        result = CliRunner().invoke(app, ["run", str(config)])
        assert result.output.splitlines()[0] == sentence
    steps = json.loads(CliRunner().invoke(app, ["run", str(config), "--json"]).output)
    assert [step.get("note") for step in steps] == [None] * 4 + [sentence]


def test_the_guard_can_be_turned_off_and_on(config: Path) -> None:
    assert "uniform" not in guarded(config, f"{GUARDED}guard: false\n")["pruned"]
    assert CliRunner().invoke(app, ["run", str(config)]).output.startswith("score: unchanged")
    assert "uniform" in guarded(config)["pruned"]
    assert "pruned" not in guarded(config, GUARDED.replace("apply: {method: wanda, sequences: 3, length: 24}\n", ""))


@pytest.mark.parametrize(
    ("rises", "verdict"),
    [
        ([-2.0, -2.2, -2.1], "better than"),
        ([2.0, 2.2, 2.1], "worse than"),
        ([-2.0, 2.2, 0.1], "not measurably better than"),
        ([0.0, 0.0, 0.0], "not measurably better than"),
        ([-2.0], "not measurably better than"),
    ],
)
def test_the_guard_says_which_is_better(rises: list[float], verdict: str) -> None:
    tokens = [10] * len(rises)
    uniform = {"windows": {"nll": [20.0] * len(rises), "tokens": tokens}}
    plan = {"windows": {"nll": [20.0 + rise for rise in rises], "tokens": tokens}}
    found = against_uniform(plan, uniform)
    assert found["note"].startswith(f"the plan was {verdict} uniform")
    assert found["difference"]["mean"] == pytest.approx(np.mean(rises) / 10)
    assert ("one window" in found["note"]) == (len(rises) == 1)


#: A refinement of seconds.
SMALL = {
    "evaluations": 8,
    "length": 16,
    "calibration": 2,
    "sequences": 2,
    "portions": 1,
    "accept": 2,
    "compare": 3,
    "cache": False,
}

REFINED = {"model": "tiny-llama", "out": "made", "report": True}


def refined(config: Path, method: str, budget: str, **steps: Any) -> dict[str, Any]:
    """Run a job that refines; its steps by name."""
    job = REFINED | {"refine": SMALL | {"method": method, "budget": budget} | steps.pop("refine", {})} | steps
    (config.parent / "notes.txt").write_text("Half of the weights are gone, and the text is still here. " * 4)
    config.write_text(yaml.safe_dump(job))
    return {step.name: step for step in run(config)}


@pytest.mark.parametrize(
    ("method", "budget", "made"),
    [
        ("magnitude", "0.5", "pruned"),
        ("svd-llm", "0.3", "low-rank"),
        ("rtn", "int4-g8", "quantized"),
        ("drop", "1", "shortened"),
    ],
)
def test_a_job_refines_applies_and_measures_every_kind_of_plan(
    config: Path, method: str, budget: str, made: str
) -> None:
    formats = {"option": ["int2-g8", "int4-g8", "int8-g8"]} if method == "rtn" else {}
    wanted = {"apply": {"sequences": 2, "length": 16}, "evaluate": {"text": "notes.txt", "length": 32}}
    steps = refined(config, method, budget, refine=formats, **wanted)
    assert list(steps) == ["refine", "verify", "report", "apply", "evaluate"]
    assert all(file.is_file() for step in steps.values() for file in step.files)
    plan = load_choice(config.parent / "made" / "refined.json")
    assert steps["refine"].note == sentence(plan) != ""
    measured = json.loads((config.parent / "made" / "evaluation.json").read_text())
    assert set(measured) == {"model", made}
    [folder] = (config.parent / "made").glob(f"{made}-*")
    assert load_model(str(folder)).sha256 == measured[made]["model_sha256"]
    assert not any(step.ran for step in run(config))


def test_a_refined_plan_is_listed_by_its_own_names(config: Path) -> None:
    """No tool has settings for low-rank replacements, so that csv and json hold the names of the plan."""
    steps = refined(config, "svd", "0.2", export=[{"to": "csv"}], report=False)
    rows = steps["export 0 to csv"].files[0].read_text().splitlines()
    plan = load_choice(config.parent / "made" / "refined.json")
    assert rows[1:] == [f"{block},{share}" for block, share in plan.taken.items()]
    with pytest.raises(SpecError, match="model: a plan of low-rank replacements is listed by its own names; leave the"):
        export(plan, to="csv", model=str(config.parent / "tiny-llama"))


def test_a_refined_plan_of_sparsity_is_exported(config: Path) -> None:
    steps = refined(config, "magnitude", "0.5", export=[{"to": "llm-compressor"}, {"to": "csv"}], report=False)
    recipe, table = (steps[f"export {place} to {to}"].files[0] for place, to in enumerate(("llm-compressor", "csv")))
    model = str(config.parent / "tiny-llama")
    assert check_file(recipe, model) == ("llm-compressor", ())
    assert check_file(table, model) == ("csv", ())


def test_a_job_stores_refined_formats_as_gguf(config: Path) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    tiny_gguf(config.parent / "tiny.gguf")
    wanted = {"model": "tiny.gguf", "apply": {"to": "gguf"}, "evaluate": {"text": "notes.txt", "length": 32}}
    steps = refined(config, "gguf", "q4_0", refine={"option": ["q4_0", "q8_0"]}, **wanted)
    [file] = steps["apply"].files
    assert file.suffix == ".gguf"
    measured = json.loads(steps["evaluate"].files[0].read_text())
    assert measured["quantized"]["model"] == file.stem
    assert not any(step.ran for step in run(config))


def test_a_refinement_begins_with_the_plan_of_the_program(config: Path) -> None:
    """The method of the refinement is that of `apply`; another one is refused."""
    plan = {"kind": "sparsity", "sparsity": 0.5, "upper": 0.8, "kappa": 1}
    job = {"score": {"sequences": 4, "length": 24}, "plan": plan, "apply": {}, "report": False}
    steps = refined(config, "magnitude", "0.5", refine={"blocks": "layers"}, **job)
    assert list(steps) == ["score", "plan", "refine", "verify", "apply"]
    facts = refined_facts(load_choice(config.parent / "made" / "refined.json").menu.provenance)
    assert facts is not None
    assert facts.start == start_of(config.parent / "made" / "plan.json")
    assert json.loads(steps["apply"].files[0].read_text())["method"] == "magnitude"
    with pytest.raises(SpecError, match="apply: method = 'wanda', the plan is refined with 'magnitude'; remove it"):
        refined(config, "magnitude", "0.5", **job | {"apply": {"method": "wanda"}})


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"refine": {"method": "wander"}}, "method = 'wander': expected one of"),
        ({"refine": {"data": ["none.txt"]}}, r"cannot read none\.txt"),
        ({"refine": {"accept": 1}}, "accept = 1: expected at least 2 sequences"),
        ({"apply": {"to": "zip"}}, "to = 'zip'"),
        ({"apply": {"to": "gguf"}}, "to = 'gguf': a sparsity plan is written as safetensors"),
        ({"apply": {"structure": "2:4"}}, "structure = '2:4': a refined plan is unstructured; leave it out"),
        (
            {"apply": {"to": "gguf"}, "refine": {"method": "rtn"}},
            "apply: to = 'gguf': the plan may take int2-g64-asym: ",
        ),
        ({"export": [{"to": "peft"}]}, "takes plans of ranks, this plan counts weights; plan kind 'rank' with"),
        ({"export": [{"to": "peft"}], "refine": {"method": "svd"}}, "this plan counts low-rank replacements; `zetap"),
        (
            {"plan": {"kind": "rank", "mean_rank": 4}},
            r"refine: expected a plan of weights to remove, plan\.kind is 'rank'",
        ),
    ],
)
def test_a_refinement_that_cannot_be_done_is_refused_at_the_start(
    config: Path, steps: dict[str, Any], said: str
) -> None:
    with pytest.raises(ZetaplanError, match=said):
        refined(config, "magnitude", "0.5", **steps)
    assert not (config.parent / "made").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: a", "plan and refine: give at least one of the two"),
        (
            CONFIG.replace("model:", "modle:"),
            r"modle: unknown key; the closest valid one is 'model'",
        ),
        (
            CONFIG + "exports: []",
            r"exports: unknown key; the closest valid one is 'export', valid are apply, evaluate, export,",
        ),
        (
            CONFIG.replace("mean_rank", "meanrank"),
            r"plan\.rank\.meanrank: unknown key; the closest valid one is 'mean_r",
        ),
        (
            CONFIG.replace("sequences", "sequence"),
            r"score\.sequence: unknown key; the closest valid one is 'sequences'",
        ),
        (CONFIG.replace("to: peft", "to: peft, file: x"), r"export\.0\.file: unknown key"),
        (
            CONFIG.replace("allocation", "allocate"),
            r"plan: program = 'allocate': no kind of plan solves it",
        ),
        (CONFIG.replace("length: 24", "length: long"), r"score\.length: Input should be a valid integer"),
        ("a: [", "is not YAML of plain values"),
        ("a: !!python/object:os.system {}", "is not YAML of plain values"),
        ("model: 2026-01-01", "is not YAML of plain values"),
        ("a: .nan", "is not YAML of plain values"),
        ("a: &a [1, 1]\nb: [*a, *a]", r"job\.yaml .*\*a is an alias, which is not read; write its value in its place"),
        ("model: a\nmodel: b", r"job\.yaml .*'model' is in the file twice"),
        ("- 1", "Input should be an object"),
    ],
)
def test_a_bad_configuration_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    with pytest.raises(SpecError, match=said):
        load_config(tmp_path / "job.yaml")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_names_the_schema_and_follows_it(example: Path) -> None:
    first = example.read_text().splitlines()[0]
    schema = example.parent / first.removeprefix("# yaml-language-server: $schema=")
    assert json.loads(schema.read_text())["title"] == "Config"
    config = load_config(example)
    assert Config.model_validate_json(config.text()) == config
    assert yaml.safe_load(example.read_text())["out"] == example.stem


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(example: Path, tmp_path: Path) -> None:
    """On a random model with the depth of SmolLM2, so that the names of its layers are there."""
    tiny_llama_dir(tmp_path, layers=30)
    text = example.read_text().replace("-g64", "-g8")  # the linears have 16 columns
    job = yaml.safe_load(text) | {"model": "tiny-llama"}
    job["score"] = job.get("score", {}) | {"sequences": 4, "length": 24}
    if "refine" in job:
        job["refine"] |= SMALL
    if "apply" in job:
        job["apply"] |= {"sequences": 4, "length": 24}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    steps = run(tmp_path / "job.yaml")
    assert all(file.is_file() for step in steps for file in step.files)
    assert len(steps) == (3 if "refine" in job else 4) + len(job["export"]) + ("apply" in job)


def test_there_is_an_example_per_use() -> None:
    jobs = [load_config(example) for example in EXAMPLES]
    assert {job.plan.kind for job in jobs if job.plan} == {"rank", "experts", "sparsity"}
    assert {job.refine.method for job in jobs if job.refine} == {"rtn"}
    assert {export.to for example in EXAMPLES for export in load_config(example).export} >= {
        "peft",
        "mola",
        "torch-prune",
    }


@pytest.mark.parametrize("name", ["certificate", "certificate-2", "config", "menu", "plan", "plan-2", "scores"])
def test_the_published_schema_is_the_one_that_is_checked(name: str) -> None:
    published = (ROOT / "docs" / "schemas" / f"{name}.json").read_text()
    assert published == canonical(schemas()[name]), "write them anew: zetaplan schema --out docs/schemas"


def test_the_commands(config: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["run", str(config), "--json"])
    assert done.exit_code == 0, done.output
    assert [step["ran"] for step in json.loads(done.stdout)] == [True] * 6
    again = runner.invoke(app, ["run", str(config)])
    assert again.output.count("unchanged") == 6
    config.write_text(CONFIG + "exports: []")
    assert runner.invoke(app, ["run", str(config)]).exit_code == 2
    written = runner.invoke(app, ["schema", "--out", str(config.parent / "schemas")])
    assert written.exit_code == 0
    assert len(list((config.parent / "schemas").iterdir())) == 7


def test_wishes_on_the_command_line(scores_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    options = ["--mean-rank", "8", "--lower", "1", "--floor", "*.1=3", "--cap", "*.0=9", "--pin", "*.3=4"]
    options += ["--group", "*.4,*.5", "--multiple-of", "1", "--out", str(out)]
    done = CliRunner().invoke(app, ["allocate", str(scores_file), *options])
    assert done.exit_code == 0, done.output
    plan = load_plan(out)
    assert plan.names[-1] == "model.layers.4+model.layers.5"
    assert plan.instance.lower.tolist() == [1, 3, 1, 4, 1]
    assert plan.instance.upper.tolist()[0] == 9
    bad = CliRunner().invoke(app, ["allocate", str(scores_file), "--pin", "*.3"])
    assert bad.exit_code == 2
    experts = CliRunner().invoke(app, ["allocate", str(scores_file), "--expert-rank", "8", "--out", str(out)])
    assert experts.exit_code == 0, experts.output
    assert load_plan(out).rounded.units.min() >= 1
