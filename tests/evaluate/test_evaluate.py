"""Perplexity and multiple choice against a literal implementation that asks the model for one token at a time."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from typer.testing import CliRunner, Result

from tests.tiny_models import byte_tokenizer, in_float64, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan._interval import mean_interval
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.evaluate.choices import Answers, Item, multiple_choice, read_items
from zetaplan.evaluate.lm_eval import by_lm_eval, write_task
from zetaplan.evaluate.perplexity import perplexity
from zetaplan.evaluate.windows import windows
from zetaplan.scoring import LoadedModel

TOKENS = torch.randint(0, 250, (83,), generator=torch.Generator().manual_seed(5))
ITEMS = (
    Item("The sky is", ("blue", "a long and winding road"), 0),
    Item("Two and two make", ("five", "four", "cinq et demi \N{SNOWMAN}"), 1),
    Item("Rain", ("falls", "rises"), 0),
)


@torch.no_grad()
def log_probability(model: torch.nn.Module, before: list[int], token: int) -> float:
    logits = model(torch.tensor([before])).logits[0, -1].double()
    return float(logits[token] - torch.logsumexp(logits, 0))


@pytest.mark.parametrize(("length", "stride"), [(16, 8), (16, 15), (10, 1), (200, 100)])
@pytest.mark.parametrize("make", [tiny_llama, tiny_gpt2])
def test_perplexity_is_that_of_one_token_at_a_time(make, length: int, stride: int) -> None:
    model = in_float64(make())
    ids = TOKENS.tolist()
    expected = []
    for place in range(1, len(ids)):
        window = 0 if place < length else math.ceil((place - length + 1) / stride)  # the first one that holds it
        expected.append(-log_probability(model, ids[window * stride : place], ids[place]))
    found = perplexity(model, TOKENS, length=length, stride=stride, batch_size=3)
    assert found.tokens.sum() == len(ids) - 1
    assert found.nll.sum() == pytest.approx(sum(expected), rel=1e-10)
    assert found.value == pytest.approx(math.exp(np.mean(expected)), rel=1e-10)
    edges = np.cumsum(found.tokens)[:-1]
    assert found.nll == pytest.approx([part.sum() for part in np.split(np.array(expected), edges)], rel=1e-10)


@given(total=st.integers(2, 300), length=st.integers(2, 60), data=st.data())
def test_every_token_is_scored_once_with_the_context_that_is_promised(total: int, length: int, data) -> None:
    stride = data.draw(st.integers(1, length - 1))
    found = list(windows(total, length, stride))
    assert [place for _, scored, stop in found for place in range(scored, stop)] == list(range(1, total))
    assert all(stop - start <= length for start, _, stop in found)
    assert all(scored - start >= length - stride for start, scored, _ in found[1:])


def loaded(**options: object) -> LoadedModel:
    return LoadedModel(in_float64(tiny_llama(**options)), byte_tokenizer(), "tiny", "0", "tiny", "directory")


def test_choices_are_those_of_one_token_at_a_time() -> None:
    model = loaded()
    answers = multiple_choice(model, ITEMS, batch_size=2)
    for item, row, right, normalised in zip(
        ITEMS, answers.log_likelihoods, answers.correct, answers.correct_normalised, strict=True
    ):
        sums = []
        for choice in item.choices:
            before = model.tokenizer(item.prompt)["input_ids"]
            sums.append(0.0)
            for token in model.tokenizer(f" {choice}")["input_ids"]:  # one token per byte: no merge across the seam
                sums[-1] += log_probability(model.model, before, token)
                before = [*before, token]
        assert row == pytest.approx(sums, rel=1e-10)
        assert right == (max(range(len(sums)), key=sums.__getitem__) == item.gold)
        lengths = [len(choice.encode()) for choice in item.choices]
        best = max(range(len(sums)), key=lambda i: sums[i] / lengths[i])
        assert normalised == (best == item.gold)
    assert answers.accuracy == pytest.approx(answers.correct.mean())


def test_neither_order_nor_batches_change_an_answer() -> None:
    model = loaded(layers=3)
    together = multiple_choice(model, ITEMS, batch_size=16)
    turned = multiple_choice(model, ITEMS[::-1], batch_size=1)
    for row, other in zip(together.log_likelihoods, turned.log_likelihoods[::-1], strict=True):
        assert row == pytest.approx(other, rel=1e-12)


def test_length_normalisation_can_decide() -> None:
    items = (Item("The sky is", ("blue", "blue, and so it was"), 1), Item("Rain", ("falls", "rises"), 0))
    answers = Answers(items, (np.array([-4.0, -10.0]), np.array([-3.0, -3.0])))
    assert answers.correct.tolist() == [False, True]
    assert answers.correct_normalised.tolist() == [True, True]
    assert (answers.accuracy, answers.accuracy_normalised) == (0.5, 1.0)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=20).filter(lambda v: np.std(v) > 1e-3))
def test_the_interval_is_that_of_the_t_test(values: list[float]) -> None:
    found = mean_interval(values, level=0.9)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_items_are_read_in_both_forms(tmp_path: Path) -> None:
    records = [
        {"ctx": "Why?", "choices": ["yes", "no"], "gold": 1},
        {"sentence1": "One.", "sentence2": "Two.", "choices": ["same", "other"], "gold": 0},
        {"ctx": "{0.__class__} {prompt}", "choices": ["a", "b"], "gold": 0},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n\n")
    items = read_items(path, template="Q: {prompt}\nA:")
    assert [item.prompt for item in items] == ["Q: Why?\nA:", "Q: One.\nTwo.\nA:", "Q: {0.__class__} {prompt}\nA:"]
    assert [item.gold for item in read_items(path, limit=1)] == [1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", "line 1 is a list; expected an object"),
        ('{"text": "a", "choices": ["b", "c"], "gold": 0}', "none of the text fields ctx, sentence1, sentence2"),
        ('{"sentence1": "a", "choices": ["b", "c"], "gold": 0}', "line 1 has no field 'sentence2'"),
        ('{"ctx": null, "choices": ["b", "c"], "gold": 0}', "line 1: field 'ctx' is null; expected a text"),
        ('{"ctx": " ", "choices": ["b", "c"], "gold": 0}', "line 1 has an empty prompt"),
        (
            r'{"ctx": "\ud83d", "choices": ["b", "c"], "gold": 0}',
            r"field 'ctx' has \\ud83d at character 0, half",
        ),
        (r'{"ctx": "a", "choices": ["b", "\ud83d"], "gold": 0}', r"line 1: a choice has \\ud83d at character 0, half"),
        ('{"ctx": "a", "choices": ["b"], "gold": 0}', "expected a list of at least two texts in `choices`"),
        ('{"ctx": "a", "choices": ["b", ""], "gold": 0}', "expected a list of at least two texts in `choices`"),
        ('{"ctx": "a", "choices": ["b", "c"], "gold": 2}', "expected gold from 0 to 1, got 2"),
        ('{"ctx": "a", "choices": ["b", "c"], "gold": true}', "expected gold from 0 to 1, got True"),
        ("", "contains no records"),
    ],
)
def test_bad_items_are_refused(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text(line)
    with pytest.raises(ScoringError, match=message):
        read_items(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, "length: expected from 2 to the model's 256 tokens, got 1"),
        ({"length": 257}, "length: expected from 2 to the model's 256 tokens, got 257"),
        ({"length": 8, "stride": 8}, "stride: expected from 1 to length - 1 = 7, got 8"),
        ({"tokens": [3], "length": 8, "stride": 4}, "at least two are needed to predict one, got 1"),
    ],
)
def test_bad_windows_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        perplexity(tiny_llama(), **{"tokens": TOKENS, **options})


def test_what_cannot_be_evaluated_is_refused() -> None:
    model = loaded()
    with pytest.raises(ScoringError, match="items: the list is empty"):
        multiple_choice(model, [])
    with pytest.raises(ScoringError, match="items: one item has 301 tokens, expected at most the model's 256"):
        multiple_choice(model, [Item("x" * 298, ("no", "so"), 0)])
    with torch.no_grad():
        model.model.model.norm.weight[0] = float("nan")
    with pytest.raises(ScoringError, match="a log-likelihood is not finite"):
        perplexity(model, TOKENS, length=16, stride=8)
    with pytest.raises(ScoringError, match="an interval needs at least two numbers"):
        mean_interval([1.0])


def test_a_local_task_of_lm_eval_points_at_its_items(tmp_path: Path) -> None:
    padded = Item(" The sky is \n", (" blue ", "green"), 0)
    task = yaml.safe_load(write_task((padded, *ITEMS), tmp_path / "task").read_text())
    [data] = task["dataset_kwargs"]["data_files"].values()
    records = [json.loads(line) for line in Path(data).read_text().splitlines()]
    assert records[0] == {"prompt": " The sky is", "choices": ["blue", "green"], "gold": 0}
    assert [record["gold"] for record in records] == [0, 0, 1, 0]
    assert {task[key] for key in ("doc_to_text", "doc_to_choice", "doc_to_target")} == set(records[0])
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match=r"cannot write .*file"):
        write_task(ITEMS, tmp_path / "file")


@pytest.mark.slow
def test_lm_eval_itself_finds_the_same_log_likelihoods(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed (extra lm-eval), so its reading is not compared")
    model = loaded()
    ours, theirs = multiple_choice(model, ITEMS), by_lm_eval(model, ITEMS, tmp_path)
    for row, other in zip(ours.log_likelihoods, theirs.log_likelihoods, strict=True):
        assert other == pytest.approx(row, rel=1e-5)  # it sums in float32
    assert theirs.correct.tolist() == ours.correct.tolist()


def test_without_lm_eval_there_is_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(SpecError, match=r"lm-eval is not installed .*; install zetaplan\[lm-eval\]"):
        by_lm_eval(loaded(), ITEMS, tmp_path / "task")
    assert not (tmp_path / "task").exists()
    refused = run("evaluate", tmp_path, "--text", tmp_path / "t.txt", "--lm-eval", tmp_path / "task")
    assert refused.exit_code == 2
    assert "lm_eval: measures multiple choice; give choices" in refused.stderr


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_reports_and_keeps_every_window_and_item(tmp_path: Path) -> None:
    model = tiny_llama_dir(tmp_path)
    text, choices, out = tmp_path / "t.txt", tmp_path / "c.jsonl", tmp_path / "e.json"
    text.write_text("The sky is blue, and the grass is green. " * 4)
    rows = ({"ctx": item.prompt, "choices": item.choices, "gold": item.gold} for item in ITEMS)
    choices.write_text("\n".join(map(json.dumps, rows)))
    options = ("--text", text, "--length", 32, "--stride", 16, "--choices", choices, "--out", out)
    done = run("evaluate", model, *options, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts == json.loads(out.read_text())
    windows_kept = facts["perplexity"]["windows"]
    assert facts["perplexity"]["value"] == pytest.approx(
        math.exp(sum(windows_kept["nll"]) / sum(windows_kept["tokens"]))
    )
    assert len(facts["multiple_choice"]["items"]) == len(ITEMS)
    told = run("evaluate", model, "--text", text, "--tokens", 20, "--length", 32, "--stride", 16)
    assert told.exit_code == 0
    assert re.fullmatch(
        r"perplexity [\d.]+ \(19 tokens, 32 a window, stride 16\); loss per token [\d.]+\ncaution: .*\n", told.stdout
    )


def test_a_command_without_anything_to_measure_is_refused(tmp_path: Path) -> None:
    refused = run("evaluate", tmp_path)
    assert refused.exit_code == 2
    assert "text and choices: give at least one of the two" in refused.stderr
    missing = run("evaluate", tiny_llama_dir(tmp_path), "--text", tmp_path / "none.txt")
    assert missing.exit_code == 2
    assert "text: cannot read" in missing.stderr
