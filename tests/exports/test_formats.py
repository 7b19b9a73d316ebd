"""Exports of plans of formats mean the plan to their tools, whose rules are restated here, and changed files do not."""

from __future__ import annotations

import copy
import fnmatch
import json
import pickle
import random
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from tests.exports.architectures import tiny
from tests.exports.exporting import damaged, plan_for
from tests.exports.formatting import LAYERS, MODELS, NO_CONV1D, SIZES, TOOLS, drawn, plan_of
from tests.tiny_models import save_model, tiny_llama
from zetaplan.cli.app import app
from zetaplan.errors import CertificateError, SpecError, ZetaplanError
from zetaplan.exports import check_file, export, format_names, format_of, problems
from zetaplan.exports.gguf_names import tensor_names
from zetaplan.exports.labels import format_job
from zetaplan.exports.targets import Outline, outline
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.models.weights import weights

Q, ONE, ELEVEN = (f"model.layers.{k}.self_attn.q_proj" for k in (3, 1, 11))
FORMS = [to for to in format_names() if "formats" in (format_of(to).COUNTS or ("formats",))]
PAIRS = [(kind, to) for kind in MODELS for to in TOOLS if kind != "gpt2" or to not in NO_CONV1D]
REGEX = [to for to in TOOLS if to in ("gptqmodel", "llama-quantize")]
Read = dict[str, Any]


@cache
def model_of(kind: str) -> nn.Module:
    return MODELS[kind]()


def seeded(seed: int) -> Callable[[tuple[str, ...]], str]:
    return random.Random(seed).choice  # noqa: S311  # no secret


def made(kind: str, to: str, seed: int) -> tuple[ChoicePlan, bytes]:
    plan = plan_of(model_of(kind), drawn(model_of(kind), to, seeded(seed)))
    return plan, export(plan, to=to, model=model_of(kind)).data


def said(to: str, data: bytes, plan: ChoicePlan, kind: str) -> list[str]:
    """The problems of a file that was written for the plan."""
    known, form = outline(model_of(kind)), format_of(to)
    return list(map(str, problems(form.read(data, known) or (), form.settings(format_job(plan, known)))))


def parts(label: str) -> Any:
    """Bits, group and symmetry of a label; None for what stays unquantised."""
    if label in ("bf16", "f16", "f32"):
        return None
    found = re.fullmatch(r"(?:int|gptq)(\d)(?:-g(\d+))?(-asym)?", label)
    assert found
    return int(found[1]), int(found[2] or 0), found[3] is None


def options(value: dict[str, Any]) -> Any:
    return None if value["bits"] == 16 else (value["bits"], max(value["group_size"], 0), value["sym"])


def in_groups(config: dict[str, Any], name: str) -> Any:
    [weights] = [g["weights"] for g in config["config_groups"].values() if name in g["targets"]] or [None]
    assert (weights is None) == (name in config["ignore"])
    return weights and (weights["num_bits"], weights.get("group_size", 0), weights["symmetric"])


def of_torchao(data: dict[str, Any], name: str) -> Any:
    config = data["_data"]["fqn_to_config"].get(name)
    if config is None:
        return None
    group = config["_data"]["granularity"]["_data"].get("group_size", 0)
    return int(config["_data"]["weight_dtype"]["_data"].removeprefix("int")), group, True


def of_gptqmodel(config: dict[str, Any], name: str) -> Any:
    for key, changes in config["dynamic"].items():
        if re.match(re.sub(r"^[+-]:", "", key), name):
            return None if key.startswith("-:") else options({**config, **changes})
    return options(config)


def of_modelopt(config: dict[str, Any], name: str) -> Any:
    last = [e for e in config["quant_cfg"] if fnmatch.fnmatch(f"{name}.weight_quantizer", e["quantizer_name"])][-1]
    return last.get("cfg") and (last["cfg"]["num_bits"], last["cfg"].get("block_sizes", {}).get(-1, 0), True)


def of_mlx(config: dict[str, Any], name: str) -> Any:
    value = config.get(name, False)
    return (value and (value["bits"], value["group_size"], False)) or None


def of_llama_quantize(text: str, name: str) -> str:
    items = [item.split("=", 1) for item in text.split()]
    return next(kind for pattern, kind in items if re.search(pattern.lower(), name))


RULES: dict[str, tuple[Callable[[str], Any], Callable[[Any, str], Any]]] = {
    "auto-round": (json.loads, lambda config, name: options({"group_size": 0, "sym": True, **config[name]})),
    "compressed-tensors": (json.loads, in_groups),
    "gptqmodel": (json.loads, of_gptqmodel),
    "llama-quantize": (str, of_llama_quantize),
    "llm-compressor": (
        yaml.safe_load,
        lambda recipe, name: in_groups(next(iter(recipe["quant_stage"]["quant_modifiers"].values())), name),
    ),
    "mlx": (json.loads, of_mlx),
    "modelopt": (yaml.safe_load, of_modelopt),
    "torchao": (json.loads, of_torchao),
}


def names_of(to: str, model: nn.Module) -> dict[str, str]:
    """The parameter of every linear of the decoder layers that the tool addresses by a name of its own."""
    if to == "llama-quantize":
        return {name: weight.name for name, weight in tensor_names(Outline(model)).items()}
    found = {w.module: w.name for w in weights(model) if w.layer and w.count == 1}
    stacks = {w.name: w for w in weights(model) if w.count > 1}
    if to in ("auto-round", "compressed-tensors", "gptqmodel", "llm-compressor"):
        for name, stack in stacks.items():
            for part in ("gate_proj", "up_proj") if name.endswith("gate_up_proj") else ("down_proj",):
                found |= {f"{stack.module}.{expert}.{part}": name for expert in range(stack.count)}
    return found


@pytest.mark.parametrize(("kind", "to"), PAIRS)
def test_the_tool_reads_the_plan(kind: str, to: str) -> None:
    for seed in range(2):
        require_read(model_of(kind), to, seed)


def require_read(model: nn.Module, to: str, seed: int) -> None:
    """The restated rule gives every matrix the format of a random plan."""
    formats = drawn(model, to, seeded(seed))
    text = export(plan_of(model, formats), to=to, model=model).text
    if to in RULES:
        load, rule = RULES[to]
        loaded = load(text)
        for name, key in names_of(to, model).items():
            assert rule(loaded, name) == (formats[key] if to == "llama-quantize" else parts(formats[key])), name
    elif to == "json":
        assert json.loads(text)["formats"] == formats
    else:
        assert dict(line.split(",") for line in text.splitlines()[1:]) == formats


@given(
    pair=st.sampled_from(PAIRS),
    layers=st.integers(1, 13),
    hidden=st.sampled_from([32, 64, 96]),
    heads=st.sampled_from([1, 2, 4]),
    tied=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=25, deadline=None)
def test_plans_for_models_of_any_shape(
    pair: tuple[str, str], layers: int, hidden: int, heads: int, tied: bool, seed: int
) -> None:
    sizes = {"num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads}
    more = {"num_key_value_heads": 1, "num_experts": 3, "tie_word_embeddings": tied}
    require_read(tiny(pair[0], **{**SIZES, **sizes, **more}), pair[1], seed)


@pytest.mark.parametrize("to", TOOLS)
def test_a_file_fits_its_model_and_no_other(to: str, tmp_path: Path) -> None:
    plan, data = made("llama", to, 3)
    file = tmp_path / "settings"
    file.write_bytes(data)
    assert check_file(file, model_of("llama")) == (to, ())
    assert said(to, data, plan, "llama") == []
    fewer = tiny("llama", **{**SIZES, "num_hidden_layers": 2})
    with suppress(SpecError):
        assert check_file(file, fewer)[1]
    with pytest.raises(CertificateError, match=r"model\.layers\.2\..*: would be ignored: the model has no matrix of"):
        export(plan, to=to, model=fewer)
    with pytest.raises(CertificateError, match=r"model\.embed_tokens\.weight: the plan has .*: another model"):
        export(plan, to=to, model=tiny("llama", **{**SIZES, "hidden_size": 32}))


def lines_without(text: str, name: str) -> str:
    """The file without the entry of one linear, whatever the format."""
    if text.startswith("{"):
        return json.dumps(without(json.loads(text), name))
    if text.startswith("quant"):
        return yaml.safe_dump(without(yaml.safe_load(text), name), sort_keys=False)
    return "".join(line for line in text.splitlines(keepends=True) if name not in line)


def without(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {k: without(v, name) for k, v in value.items() if name not in str(k).replace("\\", "")}
    if isinstance(value, list):
        keep = [v for v in value if name not in (str(v.get("quantizer_name")) if isinstance(v, dict) else str(v))]
        return [without(v, name) for v in keep]
    return value


def distinct(to: str) -> dict[str, str]:
    """A plan in which layer 3, and layers 1 and 11 too, have formats of their own, and the usual one is another."""
    one, other, third = {
        "llama-quantize": ("q4_0", "q8_0", "q5_0"),
        "mlx": ("int4-g32-asym", "int8-g32-asym", "int3-g32-asym"),
    }.get(to, ("int4-g32", "int8", "int3-g32"))
    found = {w.name: one if w.layer else "bf16" for w in weights(model_of("llama"))}
    for layer, label in ((3, other), (1, other), (11, third)):
        found |= {name: label for name in found if f".layers.{layer}." in name}
    return found


@pytest.mark.parametrize("to", [to for to in TOOLS if to not in ("csv", "json")])
def test_a_dropped_entry_is_named(to: str) -> None:
    plan = plan_of(model_of("llama"), distinct(to))
    data = export(plan, to=to, model=model_of("llama")).text
    name = {"llama-quantize": "blk.3.attn_q"}.get(to, Q)
    dropped = lines_without(data.replace("\\.", ".") if to == "llama-quantize" else data, name)
    assert dropped != data
    found = said(to, dropped.encode(), plan, "llama")
    assert any(name in problem.replace("\\", "") for problem in found)


@pytest.mark.parametrize("to", REGEX)
def test_a_pattern_that_matches_two_layers_is_named(to: str) -> None:
    """Without its anchor, the pattern of layer 1 must not match layer 11 unnoticed."""
    plan = plan_of(model_of("llama"), distinct(to))
    text = export(plan, to=to, model=model_of("llama")).text
    one = {"gptqmodel": r"^model\\.layers\\.1\\.self", "llama-quantize": r"^blk\.1\.attn_q\.weight$"}[to]
    assert one in text
    loose = {"gptqmodel": r"^model\\.layers\\.1.*self", "llama-quantize": r"^blk\.1.*attn_q\.weight$"}[to]
    changed = text.replace(one, loose)
    wide = r"layers\.11\.self_attn\.q_proj" if to == "gptqmodel" else r"blk\.11\.attn_q"
    assert any(re.search(wide, p.replace("\\", "")) for p in said(to, changed.encode(), plan, "llama"))
    groups = format_of(to).read(changed.encode(), outline(model_of("llama")))
    assert any("which it does not name" in str(problem) for problem in problems(groups or ()))


@pytest.mark.parametrize("to", [*REGEX, "torchao"])
def test_a_general_pattern_in_front_hides_the_others(to: str) -> None:
    plan = plan_of(model_of("llama"), distinct(to))
    text = export(plan, to=to, model=model_of("llama")).text
    if to == "llama-quantize":
        changed = "attn_q=q4_0\n" + text
    else:
        config = json.loads(text)
        inner = config["dynamic"] if to == "gptqmodel" else config["_data"]["fqn_to_config"]
        first = {"gptqmodel": ".*q_proj", "torchao": "re:.*q_proj"}[to]
        value = inner[f"+:^{re.escape(ONE)}$" if to == "gptqmodel" else ONE]
        reordered = {first: value, **inner}
        inner.clear()
        inner.update(reordered)
        changed = json.dumps(config)
    found = said(to, changed.encode(), plan, "llama")
    assert found
    assert ("comes first" in " ".join(found)) or "would be ignored" in found[0]  # torchao takes full names first


def test_upper_case_is_what_the_tool_makes_of_it() -> None:
    plan = plan_of(model_of("llama"), distinct("llama-quantize"))
    text = export(plan, to="llama-quantize", model=model_of("llama")).text
    assert said("llama-quantize", text.upper().replace("=", "=").encode(), plan, "llama") == []
    classes = text.replace(r"^blk\.3\.", r"^blk\.3\D")
    assert any(r"\D" in p and "lower case" in p for p in said("llama-quantize", classes.encode(), plan, "llama"))


@pytest.mark.parametrize(
    ("to", "name", "label", "words"),
    [
        ("gptqmodel", f"{Q}.weight", "iq4_nl", r"q_proj\.weight is planned in iq4_nl: it has no such type; the tool t"),
        ("gptqmodel", "model.embed_tokens.weight", "int8", "embedding and head stay unquantised"),
        ("compressed-tensors", f"{Q}.weight", "q8_0", "it has no such type"),
        ("torchao", f"{Q}.weight", "int4-g32-asym", "its integers here are symmetric"),
        ("modelopt", f"{Q}.weight", "int4-g32-asym", "its integers here are symmetric"),
        ("auto-round", f"{Q}.weight", "int8-g32-asym", "its integers of 8 bits are symmetric"),
        ("mlx", f"{Q}.weight", "int4-g32", "MLX quantises by scale and bias; use intB-gN-asym"),
        ("mlx", f"{Q}.weight", "int8-asym", "MLX has bits 2, 3, 4, 5, 6, 8 and groups of 32, 64, 128"),
        ("gptqmodel", f"{Q}.weight", "int4-g128", "64 columns are no multiple of its group of 128"),
        ("llama-quantize", f"{Q}.weight", "q4_k", "llama-quantize would write q5_0, because its 64 columns"),
        ("llama-quantize", f"{Q}.weight", "int4-g32", "GGUF has no such type"),
        ("torchao", "", "", "the plan quantises no matrix, so there is nothing to set"),
    ],
)
def test_what_a_tool_cannot_store_is_refused(to: str, name: str, label: str, words: str) -> None:
    formats = dict.fromkeys((w.name for w in weights(model_of("llama"))), "bf16")
    plan = plan_of(model_of("llama"), formats | ({name: label} if name else {}))
    with pytest.raises(SpecError, match=words) as caught:
        export(plan, to=to, model=model_of("llama"))
    assert str(caught.value).startswith(f"to = {to!r}: {name}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("to", ["compressed-tensors", "gptqmodel", "llm-compressor"])
def test_matrices_that_vllm_fuses_must_agree(to: str, tmp_path: Path) -> None:
    formats = dict.fromkeys((w.name for w in weights(model_of("llama")) if w.layer), "int4-g32")
    plan = plan_of(model_of("llama"), {**formats, f"{Q}.weight": "int8"})
    words = r"vLLM stores model\.layers\.3\.self_attn\.q_proj\.weight, .*v_proj\.weight in one tensor, and the plan has"
    with pytest.raises(SpecError, match=rf"{words} int8, int4-g32, int4-g32; plan with `zetaplan quantize --for vllm`"):
        export(plan, to=to, model=model_of("llama"))
    text = export(plan_of(model_of("llama"), formats), to=to, model=model_of("llama")).text
    config = json.loads(text) if to == "gptqmodel" else {}
    if config:
        config["dynamic"][f"+:^{re.escape(Q)}$"]["bits"] = 8
        (tmp_path / "settings").write_text(json.dumps(config))
        [problem] = check_file(tmp_path / "settings", model_of("llama"))[1]
        assert "q_proj.weight: raises an error in vLLM: it is stored in one tensor with" in str(problem)


def test_kinds_of_plans_are_not_mixed() -> None:
    llama = tiny_llama(layers=2)
    formats = plan_of(llama, {w.name: "int8" for w in weights(llama) if w.layer})
    with pytest.raises(SpecError, match=r"to = 'peft': takes plans of ranks, this plan counts formats; plan kind"):
        export(formats, to="peft", model=llama)
    with pytest.raises(SpecError, match=r"takes plans of formats, this plan counts weights; plan formats with `zetap"):
        export(plan_for(llama, "torch-prune"), to="llama-quantize", model=llama)
    with pytest.raises(SpecError, match=r"takes plans of weights or formats, this plan counts ranks; plan kind"):
        export(plan_for(llama, "peft"), to="llm-compressor", model=llama)
    other = choose(Menu(("q",), (("2",),), ((9.0,),), (((2.0,),),)), 2)
    assert json.loads(export(other, to="json").text)["formats"] == {"q": "2"}
    with pytest.raises(SpecError, match="it does not state which matrices its blocks hold"):
        export(other, to="json", model=llama)
    with pytest.raises(SpecError, match=r"give model \(--model\)"):
        export(formats, to="torchao")


def test_conv1d_is_refused_where_it_would_be_passed_over() -> None:
    gpt2 = model_of("gpt2")
    plan = plan_of(gpt2, {w.name: "int4-g32" for w in weights(gpt2) if w.layer})
    for to in ("compressed-tensors", "torchao", "modelopt"):
        with pytest.raises(SpecError, match=r"it quantises nn\.Linear only, and this is a Conv1D"):
            export(plan, to=to, model=gpt2)


def test_experts_without_known_names_are_refused() -> None:
    mixtral = tiny("mixtral", **SIZES)
    plan = plan_of(mixtral, {w.name: "int4-g32" for w in weights(mixtral) if w.layer})
    with pytest.raises(SpecError, match=r"experts\.gate_up_proj holds experts in one tensor, and how checkpoints of"):
        export(plan, to="compressed-tensors", model=mixtral)
    with pytest.raises(SpecError, match=r"IntxWeightOnlyConfig takes no experts in one tensor"):
        export(plan, to="torchao", model=mixtral)


def test_gguf_names_are_refused_by_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tiny("diffllama", num_key_value_heads=2)
    plan = plan_of(odd, {w.name: "f16" for w in weights(odd)})
    with pytest.raises(SpecError, match=r"model of type 'diffllama': the package gguf has no table of names"):
        export(plan, to="llama-quantize", model=odd)
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(SpecError, match=r"they need pip install 'zetaplan\[gguf\]'"):
        tensor_names(outline(model_of("llama")))


def test_the_base_type_is_quantised_and_flags_repeat_the_plan() -> None:
    for kind, head in (("llama", "q5_0"), ("qwen3", "q8_0")):
        model = model_of(kind)
        formats = {w.name: "q4_0" for w in weights(model)} | {"model.embed_tokens.weight": "q8_0"}
        formats |= {"lm_head.weight": "q5_0"} if kind == "llama" else {}
        words = export(plan_of(model, formats), to="llama-quantize", model=model).usage
        assert f"--token-embedding-type q8_0 --output-tensor-type {head} " in words  # tied: the embedding is the head
        assert words.split()[-1] == "Q8_0"


FOREIGN: list[tuple[str, Any, str]] = [
    ("gptqmodel", {"bits": 4, "dynamic": {r".*\.99\..*": {"bits": 8}}}, r"99.*: would be ignored: the tool"),
    ("gptqmodel", {"bits": 4, "dynamic": {"q_proj": {"bits": 8}}}, "q_proj: would be ignored"),
    ("gptqmodel", {"bits": 4, "dynamic": {r".*layers\.1.*": {"bits": 8}}}, r"would match model\.layers\.10"),
    ("gptqmodel", {"bits": 4, "dynamic": {".*q_proj": {}, r"-:.*\.3\.self_attn\.q_proj": {}}}, "comes first and sets"),
    ("gptqmodel", {"bits": 4, "dynamic": {".*q_proj": {"bits": 8}}}, "raises an error in vLLM"),
    ("llama-quantize", "^blk\\.1.*attn_q=q4_0", r"would match blk\.10\.attn_q\.weight, which it does not name"),
    ("llama-quantize", "attn_q=q4_0 ^blk\\.3\\.attn_q=q8_0", r"'attn_q' comes first and sets blk\.3"),
    ("llama-quantize", "ffn_up=q4_k", r"blk\.0\.ffn_up\.weight: would be written in q5_0 instead of q4_k: it has 64"),
    ("llama-quantize", "^model.layers=q4_0", "would be ignored: the tool finds no module"),
    ("mlx", {"group_size": 128, "bits": 4, Q: {"group_size": 32, "bits": 4}}, "its 64 columns are no multiple of the"),
    ("mlx", {"group_size": 32, "bits": 4, "q_proj": {"group_size": 32, "bits": 4}}, "q_proj: would be ignored"),
    ("torchao", {"re:q_proj": None}, "re:q_proj: would be ignored"),
    ("torchao", {f"{Q}.weight": None, "re:.*q_proj": None, Q: None}, f"{Q}: would be ignored: '{Q}.weight' comes"),
    ("auto-round", {"q_proj": {"bits": 8}, Q: {"bits": 4}}, f"{Q}: would be ignored: 'q_proj' comes first"),
    ("auto-round", {"layers.1": {"bits": 8}}, r"layers\.1: would match model\.layers\.10"),
    ("auto-round", {"q_prj": "W8A16"}, "q_prj: would be ignored"),
    ("modelopt", [{"quantizer_name": "*q_prj*", "cfg": {"num_bits": 4}}], r"\*q_prj\*: would be ignored"),
]


@pytest.mark.parametrize(("to", "content", "words"), FOREIGN)
def test_what_a_tool_ignores_or_misreads_in_files_of_others(to: str, content: Any, words: str, tmp_path: Path) -> None:
    if to == "torchao":
        content = {"_type": "FqnToConfig", "_version": 1, "_data": {"fqn_to_config": content}}
    text = {"modelopt": lambda: yaml.safe_dump({"quant_cfg": content})}.get(to, lambda: json.dumps(content))()
    (tmp_path / "settings").write_text(content if isinstance(content, str) else text)
    name, found = check_file(tmp_path / "settings", model_of("llama"))
    assert name == to
    assert any(re.search(words, str(problem)) for problem in found), list(map(str, found))


def groups(*targets: list[str], bits: tuple[int, ...] = (4, 8), ignore: list[str] | None = None) -> dict[str, Any]:
    weights = [{"num_bits": b, "type": "int", "symmetric": True, "strategy": "channel"} for b in bits]
    config = {
        f"group_{i}": {"targets": t, "weights": w} for i, (t, w) in enumerate(zip(targets, weights, strict=False))
    }
    return {"quant_method": "compressed-tensors", "config_groups": config, "ignore": ignore or []}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (groups(["Linear"], ignore=["lm_head"]), ""),
        (groups(["Linear"], ["Linear"]), "Linear: is in two groups: compressed-tensors takes the last of them, vLLM"),
        (groups(["re:.*proj"], [Q], ignore=["lm_head"]), f"{Q}: gets int4 in vLLM and int8 in compressed-tensors"),
        (groups(["re:.*self_attn.*"]), "mlp.gate_proj: no entry sets this module"),
        (groups(["Linear", "q_proj"]), "q_proj: would be ignored"),
        (groups(["Linear"], ignore=["head"]), "head: would be ignored"),
        (groups(["Linear"], [r"re:.*layers\.1.*"], bits=(4, 4)), "layers.10"),
    ],
)
def test_groups_of_others_are_read_as_compressed_tensors_reads_them(
    config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "quantization_config": config}))
    name, found = check_file(tmp_path / "config.json", model_of("llama"))
    assert name == "compressed-tensors"
    assert any(words in str(problem) for problem in found) if words else found == ()
    recipe = {"a_stage": {"b_modifiers": {"QuantizationModifier": {k: v for k, v in config.items() if k[0] != "q"}}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    assert check_file(tmp_path / "recipe.yaml", model_of("llama")) == ("llm-compressor", found)


@pytest.mark.parametrize("to", TOOLS)
def test_a_damaged_file_is_an_error_of_ours_or_a_problem(to: str, tmp_path: Path) -> None:
    model, file = tiny("llama", hidden_size=64), tmp_path / "settings"
    data = export(plan_of(model, drawn(model, to, seeded(1))), to=to, model=model).data
    for seed in range(30):
        file.write_bytes(damaged(data, seed))
        with suppress(ZetaplanError):
            assert all(problem.key and problem.words for problem in check_file(file, model)[1])


def test_an_export_is_a_plain_value() -> None:
    plan, _ = made("llama", "torchao", 0)
    value = export(plan, to="torchao", model=model_of("llama"))
    assert pickle.loads(pickle.dumps(value)) == copy.deepcopy(value) == value  # noqa: S301  # our own


def test_every_format_of_formats_is_tried() -> None:
    assert set(FORMS) == set(TOOLS)
    assert LAYERS > 11


def test_the_commands_take_plans_of_formats(tmp_path: Path) -> None:
    llama = tiny_llama(layers=LAYERS)
    folder = save_model(llama, tmp_path / "model")
    plan = plan_of(llama, {w.name: "int8" for w in weights(llama) if w.layer}).save(tmp_path / "plan.json")
    out = tmp_path / "torchao.json"
    done = CliRunner().invoke(app, ["export", str(plan), "--to", "torchao", "--model", str(folder), "-o", str(out)])
    assert done.exit_code == 0, done.output
    for file in (plan, out):
        fits = CliRunner().invoke(app, ["apply", str(folder), str(file), "--check", "--other-weights"])
        assert fits.exit_code == 0, fits.output
    out.write_text(out.read_text().replace("layers.3.", "layers.33."))
    wrong = CliRunner().invoke(app, ["apply", str(folder), str(out), "--check"])
    assert wrong.exit_code == 1
    assert "would be ignored: the tool finds no module of this name" in wrong.stderr
    bare = CliRunner().invoke(app, ["export", str(plan), "--to", "csv", "-o", str(tmp_path / "a.csv")])
    assert bare.exit_code == 0, bare.output
    refused = CliRunner().invoke(app, ["export", str(plan), "--to", "peft", "--model", str(folder)])
    assert refused.exit_code == 2
    assert "takes plans of ranks" in refused.stderr
