"""Menus of a model: blocks, options and bytes; the model stays as it was; a killed run continues."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import zetaplan as zp
from tests.measuring import literal
from tests.measuring.test_estimators import cells, text
from tests.scoring.test_arguments import VALUES, only_our_errors
from tests.tiny_models import shipped, tiny_gpt2, tiny_llama, tiny_llama_dir
from zetaplan.cli.app import app
from zetaplan.errors import ScoringError, SpecError
from zetaplan.measuring import check
from zetaplan.measuring.estimators import estimator_names, find_estimator
from zetaplan.menus.bits import MeasuredData, bits_facts
from zetaplan.menus.menu import Menu
from zetaplan.models.quantizers import find_quantizer

IDS = torch.randint(0, 22, (3, 8), generator=torch.Generator().manual_seed(0))


def measure(model: nn.Module, formats: Any = ("q4_0", "q8_0"), **options: Any) -> Menu:
    return zp.measure(model, formats, **{"text": IDS, "cache": False, **options})


def llama(**config: Any) -> nn.Module:
    return tiny_llama(hidden=32, vocabulary=23, **config)


def state(model: nn.Module) -> dict[str, Any]:
    values = {name: (value.clone(), value.requires_grad) for name, value in model.named_parameters()}
    return {**values, "training": [module.training for module in model.modules()]}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if one.pop("training") != other.pop("training"):
        return False
    return all(torch.equal(a, other[name][0]) and b == other[name][1] for name, (a, b) in one.items())


@pytest.mark.parametrize("estimator", estimator_names())
@pytest.mark.parametrize("make", [llama, lambda: tiny_gpt2(hidden=32, vocabulary=23), lambda: shipped("qwen3_moe")])
def test_the_model_is_as_it_was(make: Callable[[], nn.Module], estimator: str) -> None:
    model = make().train()
    next(model.parameters()).requires_grad_(False)
    before = state(model)
    measure(model, ["int4", "gptq4"], estimator=estimator, blocks="fused", check=True)
    assert same(state(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_model_is_as_it_was_if_the_measurement_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] = 3e38  # no scale in float16 holds it
    before = state(model)
    with pytest.raises(ScoringError, match=r"block 'model\.layers\.1.*': format int4-g32: a weight is too large"):
        measure(model, ["int4-g32"])
    assert same(state(model), before)


@pytest.mark.parametrize("tied", [True, False])
def test_blocks_and_bytes_are_those_of_the_matrices(tied: bool) -> None:
    model = llama(tie_word_embeddings=tied)
    outside = ["model.embed_tokens"] if tied else ["model.embed_tokens", "lm_head"]
    modules, layers = measure(model, blocks="modules"), measure(model)
    parameters = dict(model.named_parameters())
    assert set(layers.names) == {*outside, "model.layers.0", "model.layers.1"}
    assert len(modules.names) == 14 + len(outside)
    for menu in (modules, layers):
        facts = bits_facts(menu)
        assert facts.numel + sum(facts.others.values()) == sum(p.numel() for p in model.parameters())
        assert facts.others.keys() == {name for name in parameters if "norm" in name}
        assert (facts.head, facts.embedding) == (f"{outside[-1]}.weight", "model.embed_tokens.weight")
        for name, labels, costs in zip(menu.names, menu.options, menu.costs, strict=True):
            n = sum(parameters[weight.name].numel() for weight in facts.weights[name])
            table = {"q4_0": n * 18 // 32, "q8_0": n * 34 // 32, "bf16": 2 * n}
            assert labels == (("q4_0", "q8_0", "bf16") if name in outside else ("q4_0", "q8_0"))
            assert [cost for (cost,) in costs] == pytest.approx([table[label] for label in labels], abs=32 * 7)


def test_fused_blocks_hold_what_is_stored_together() -> None:
    menu = measure(llama(layers=1), blocks="fused")
    last = [sorted(w.module.rpartition(".")[2] for w in own) for own in bits_facts(menu).weights.values()]
    assert sorted(last) == sorted(
        [["embed_tokens"], ["k_proj", "q_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]
    )


@pytest.mark.parametrize("formats", [["q8_0", "q4_0"], ("q4_0", "q8_0"), ["q4_0", "q8_0", "q4_0"]])
def test_formats_are_a_set_in_any_sequence(formats: Any) -> None:
    model = llama(layers=1)
    assert measure(model, formats).options == measure(model).options
    assert measure(model, formats).losses == measure(model).losses


def test_a_format_that_shapes_rule_out_is_left_out_and_told() -> None:
    """Columns of 32 and 64: groups of 64 fit the second linear of the MLP alone."""
    menu = measure(llama(layers=1), ["q4_0", "int4-g64"], blocks="modules")
    options = dict(zip(menu.names, menu.options, strict=True))
    assert options["model.layers.0.mlp.down_proj"] == ("int4-g64", "q4_0")
    assert options["model.layers.0.mlp.up_proj"] == ("q4_0",)
    measured = bits_facts(menu).measured
    assert measured is not None
    assert measured.left_out == {"int4-g64: 32 columns are no multiple of its group of 64": 7}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "one string": ({"formats": "q4_0"}, "formats = 'q4_0': expected a list of labels"),
    "none": ({"formats": []}, "formats: expected at least one"),
    "unknown": ({"formats": ["q9"]}, "format = 'q9': expected one of"),
    "a set": ({"formats": {"q4_0"}}, "expected a list of labels"),
    "blocks": ({"blocks": "heads"}, "blocks = 'heads': expected one of modules, fused, layers"),
    "estimator": ({"estimator": "magic"}, "estimator"),
    "seed": ({"seed": -1}, "seed = -1: expected a whole number of at least 0"),
    "check": ({"check": "yes"}, "check: expected True or False"),
    "cache": ({"cache": 3}, "cache: expected a path"),
    "no shape": ({"formats": ["q4_k"], "estimator": "linear"}, "can take none of them (q4_k: 32 columns"),
    "one sequence": ({"text": IDS[:1]}, "at least two sequences"),
    "calibration": ({"formats": ["gptq4"], "calibration": 7}, "batches: expected sequences"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_in_one_sentence(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises((SpecError, ScoringError)) as caught:
        measure(llama(layers=1), **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("estimator", estimator_names())
def test_k_types_have_a_loss_by_their_relative_error_alone(estimator: str) -> None:
    model = tiny_llama(hidden=256, layers=1, vocabulary=23, num_attention_heads=2, num_key_value_heads=1)
    formats = ["q4_k", "q6_k", "iq4_nl"]
    if estimator != "linear":
        with pytest.raises(SpecError, match=r"only llama\.cpp can round to q4_k, q6_k, iq4_nl; use"):
            measure(model, formats, estimator=estimator)
        return
    menu = measure(model, formats, estimator=estimator, check=True)
    found = {label: loss for block, label, loss, _ in cells(menu) if block == "model.layers.0"}
    assert found["q4_k"] / found["q6_k"] == pytest.approx(0.00509 / 0.00031)
    facts = bits_facts(menu).measured
    assert facts is not None
    assert (facts.wholes, facts.validated) == ((), None)  # nothing was compared


def test_a_model_that_is_quantised_already_is_refused() -> None:
    model = llama(layers=1)
    model.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(ScoringError, match="is already quantised, by gptq; give the model that it was"):
        measure(model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured(dtype: torch.dtype) -> None:
    """Losses of 4 bits are those of float32 up to the spread that the number type brings."""
    full, half = llama(layers=1), llama(layers=1).to(dtype)
    for (block, label, loss, _), (*_, other, _) in zip(cells(measure(full)), cells(measure(half)), strict=True):
        if label == "q4_0":
            assert other == pytest.approx(loss, rel=0.5), block


def grams(model: nn.Module, ids: Tensor) -> dict[str, Tensor]:
    """X'X of every linear from one plain pass."""
    found: dict[str, Tensor] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name != "lm_head":
            keep = lambda _, args, __, name=name: found.update({name: args[0].flatten(0, 1).T @ args[0].flatten(0, 1)})  # noqa: E731
            handles.append(module.register_forward_hook(keep))
    with torch.no_grad():
        model(input_ids=ids)
    for handle in handles:
        handle.remove()
    return found


def test_gptq_rounds_on_the_calibration_text() -> None:
    model = llama()
    other = torch.randint(0, 22, (9, 16), generator=torch.Generator().manual_seed(5))
    for calibration in (None, other):
        menu = measure(model, ["gptq3-g32"], blocks="modules", calibration=calibration)
        found = {block: loss for block, _, loss, _ in cells(menu)}
        known = grams(model, IDS if calibration is None else calibration)
        data = [{"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}]
        for name in ("model.layers.0.mlp.up_proj", "model.layers.1.self_attn.v_proj"):
            [weight] = bits_facts(menu).weights[name]
            values = literal.rounded(model, weight, "gptq3-g32", known)
            expected = literal.divergence(model, literal.with_values(model, {weight: values}), data).mean()
            assert found[name] == pytest.approx(expected, rel=1e-3)


def wholes(menu: Menu) -> MeasuredData:
    measured = bits_facts(menu).measured
    assert measured is not None
    return measured


def test_the_check_compares_the_promise_with_the_whole_model() -> None:
    model = llama()
    menu = measure(model, ["q4_0", "q8_0"], check=True)
    data = [{"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}]
    members = [weight for own in bits_facts(menu).weights.values() for weight in own]
    for whole in wholes(menu).wholes:
        promised = sum(loss for _, label, loss, _ in cells(menu) if label == whole.format)
        values = {weight: literal.rounded(model, weight, whole.format) for weight in members}
        other = literal.with_values(model, values)
        assert whole.promised == pytest.approx(promised)
        assert whole.measured == pytest.approx(literal.divergence(model, other, data).mean(), rel=1e-3, abs=1e-7)
        losses = [
            sum(float(literal.token_losses(m, ids).detach().mean()) for ids in literal.sequences(data)) / len(IDS)
            for m in (other, model)
        ]
        assert whole.rise == pytest.approx(losses[0] - losses[1], rel=1e-3, abs=1e-6)
    assert [whole.format for whole in wholes(menu).wholes] == ["q4_0", "q8_0"]


def test_both_verdicts_of_the_check_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    assert wholes(measure(model, ["q8_0"])).validated is None
    assert wholes(measure(model, ["q8_0"], check=True)).validated is True
    monkeypatch.setattr(check, "FACTOR", 1.0)
    assert wholes(measure(model, ["q8_0"], check=True)).validated is False


def test_a_whole_takes_the_largest_format_where_a_block_lacks_the_format() -> None:
    model = llama(layers=1)
    menu = measure(model, ["q4_0", "int4-g64"], blocks="modules", check=True)
    found = {whole.format: whole.promised for whole in wholes(menu).wholes}
    losses = {(block, label): loss for block, label, loss, _ in cells(menu)}
    largest = {name: labels[-1] for name, labels in zip(menu.names, menu.options, strict=True)}
    table = dict(zip(menu.names, menu.losses, strict=True))
    expected = sum(
        losses.get((name, "int4-g64"), table[name][menu.options[menu.names.index(name)].index(label)])
        for name, label in largest.items()
    )
    assert found["int4-g64"] == pytest.approx(expected)


class Killed(Exception):
    pass


@pytest.mark.parametrize("estimator", ["measured", "linear"])
def test_a_killed_run_continues_and_ends_with_the_same_menu(
    estimator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, formats = llama(), ["q4_0", "gptq4-g32", "q8_0"]
    kind = find_estimator(estimator)
    honest, calls = kind.estimate, []

    def counted(self: Any, block: str, rounding: Any) -> Any:
        if len(calls) == kill_at:
            raise Killed
        calls.append((block, rounding.quantizer.label))
        return honest(self, block, rounding)

    monkeypatch.setattr(kind, "estimate", counted)
    kill_at = -1
    fresh = measure(model, formats, estimator=estimator, check=True)
    total = len(calls)
    calls.clear()
    kill_at = 5
    with pytest.raises(Killed):
        measure(model, formats, estimator=estimator, check=True, cache=tmp_path)
    kill_at = -1
    again = measure(model, formats, estimator=estimator, check=True, cache=tmp_path)
    assert len(calls) == len(set(calls)) == total  # nothing twice
    assert json.dumps(again.provenance) == json.dumps(fresh.provenance)
    assert again == fresh
    assert measure(model, formats, estimator=estimator, check=True, cache=tmp_path) == fresh
    assert len(calls) == total
    measure(model, [*formats, "q5_0"], estimator=estimator, cache=tmp_path)
    assert len(calls) == total + 3  # one format more for three blocks


def test_the_journal_knows_nothing_of_other_models_texts_and_seeds(tmp_path: Path) -> None:
    model = llama(layers=1)
    base: dict[str, Any] = {"formats": ["int4-g32", "gptq4-g32"], "estimator": "linear", "cache": tmp_path}
    first = measure(model, **base)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight[0, 0] += 1.0
    changes: list[tuple[nn.Module, dict[str, Any]]] = [
        (other, {}), (model, {"text": IDS + 1}), (model, {"seed": 1}), (model, {"calibration": IDS.flip(1)}),
        (model, {"estimator": "measured"}),
    ]  # fmt: skip
    for changed, options in changes:
        cached, fresh = (measure(changed, **{**base, **options, "cache": cache}) for cache in (tmp_path, False))
        assert cached == fresh
        assert cached.losses != first.losses


def test_a_spoiled_journal_is_measured_again(tmp_path: Path) -> None:
    model = llama(layers=1)
    first = measure(model, cache=tmp_path)
    files = sorted((tmp_path / "blocks").iterdir())
    files[0].write_text("{")
    files[1].write_text(files[1].read_text().replace("loss", "lost"))
    assert measure(model, cache=tmp_path) == first


def test_the_command_writes_the_menu_that_the_function_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZETAPLAN_CACHE", str(tmp_path / "cache"))
    tiny_llama_dir(tmp_path, layers=1, hidden=32)
    Path("notes.txt").write_text("the cat sat on the mat " * 60)
    line = ["measure", "tiny-llama", "--formats", "q4_0, int4-g64", "--data", "notes.txt", "--sequences", "3",
            "--length", "16", "--check", "--out", "menu.json"]  # fmt: skip
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    menu = zp.load_menu("menu.json")
    loaded = zp.load_model(str(tmp_path / "tiny-llama"))
    data = zp.read_sequences(["notes.txt"], loaded.tokenizer, sequences=3, length=16)
    assert menu.losses == zp.measure(loaded, ["q4_0", "int4-g64"], data, check=True, cache=False).losses
    assert bits_facts(menu).model_sha256 == loaded.sha256
    assert "menu: 2 blocks" in result.output
    assert "note: left out in 2 blocks: int4-g64: 32 columns" in result.output
    assert "check: all blocks in q4_0: predicted" in result.output
    assert CliRunner().invoke(app, [*line, "--quiet"]).output == ""
    shown = json.loads(CliRunner().invoke(app, [*line, "--json"]).stdout)
    assert shown["estimator"] == "measured"
    planned = CliRunner().invoke(app, ["quantize", "menu.json", "--bits-per-weight", "5", "-o", "plan.json"])
    assert planned.exit_code == 0, planned.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--formats", "q9"], "format = 'q9'"),
        (["--formats", ","], "formats: expected at least one"),
        (["--formats", "q4_k"], "use the estimator linear"),
        (["--estimator", "magic"], "estimator"),
        (["--data", "none.txt"], "cannot read none.txt"),
        (["--for", "ranks"], "ranks"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_bad_options_are_one_line_before_the_model_is_loaded(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["measure", "no-such-model", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1], result.stderr
    assert not Path("menu.json").exists()


@pytest.mark.parametrize("argument", [name for name in inspect.signature(zp.measure).parameters if name != "progress"])
def test_bad_values_of_every_argument_are_one_line(argument: str) -> None:
    model = llama(layers=1)
    given: dict[str, Any] = {"model": model, "formats": ["int4"], "text": IDS, "estimator": "fisher", "cache": False}
    for value in VALUES:
        if not (argument == "cache" and isinstance(value, str | Path)):
            only_our_errors(zp.measure, **{**given, argument: value})


def test_labels_are_in_the_order_of_their_sizes() -> None:
    menu = measure(llama(layers=1), ["bf16", "q8_0", "int4-g32", "q4_0", "int3-g32"])
    for labels in menu.options:
        sizes = [find_quantizer(label).size(1024, 12_288) for label in labels]
        assert sizes == sorted(sizes)


def test_text_with_padding_is_measured_by_every_estimator() -> None:
    for estimator in estimator_names():
        assert all(
            loss > 0 for *_, loss, _ in cells(measure(llama(layers=1), ["q4_0"], text=text(), estimator=estimator))
        )
