"""Every form of a bit plan: what the reader takes from it, against the rule of its tool written once more."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audits import linears, llama
from zetaplan.audits.bits import BitsAudit, audit_bits, form_names
from zetaplan.errors import SpecError


def audit(tmp_path: Path, text: str | dict[str, Any], **options: Any) -> BitsAudit:
    path = tmp_path / "plan"
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    found = audit_bits(path, **options)
    assert found is not None
    return found


def labels(found: BitsAudit) -> dict[str, str]:
    return {row.weight.name.removesuffix(".weight"): row.label for row in found.applied.stored}


def test_the_forms_are_the_files_of_their_folder() -> None:
    assert form_names() == ("compressed-tensors", "evopress", "exllamav3", "gguf", "gptqmodel", "tensor-types")


def test_a_file_of_no_form_is_left_to_others(tmp_path: Path) -> None:
    for text in ("", "{}", "[1]", '{"program": "pruning", "bits": 4}', "hello world", "q: 4", "9" * 5000):
        (tmp_path / "plan").write_text(text)
        assert audit_bits(tmp_path / "plan") is None


def test_evopress_with_and_without_types(tmp_path: Path) -> None:
    plain = audit(tmp_path, "model.layers.0.self_attn.q_proj: 4\nmodel.layers.0.self_attn.k_proj: 3\n")
    assert labels(plain) == {
        "model.layers.0.self_attn.q_proj": "gptq4-g128",
        "model.layers.0.self_attn.k_proj": "gptq3-g128",
    }
    assert plain.violated
    assert plain.bits_per_weight["planned"] == 3.5
    typed = "model.layers.0.self_attn.q_proj: 3.4375 (3.4375-Q3_K.pth)\nmodel.layers.0.self_attn.k_proj: 16 (F16.pth)"
    assert labels(audit(tmp_path, typed)) == {
        "model.layers.0.self_attn.q_proj": "q3_k",
        "model.layers.0.self_attn.k_proj": "f16",
    }


PARTS = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
TENSORS = [f"blk.{layer}.{part}.weight" for layer in range(12) for part in PARTS] + ["token_embd.weight"]
HF = [*(f"{name}.weight" for name in linears()), "model.embed_tokens.weight"]
patterns = st.one_of(
    st.sampled_from([re.escape(name) for name in TENSORS]).map(lambda name: f"^{name}$"),
    st.builds(
        "{}{}{}".format,
        st.sampled_from(["", "^", r"blk\.", r"^blk\.(1|7)", r"^blk\.[0-4]\.", r"\d+\.", "(?:blk|TOKEN)"]),
        st.sampled_from(["", ".*", r"\.", ".", "attn_", "FFN_"]),
        st.sampled_from(["q", "attn_v", "ffn_(up|gate)", "weight$", "embd", "down", "d{1}"]),
    ),
)


@given(st.lists(st.tuples(patterns, st.sampled_from(["q4_0", "Q8_0", "q5_1", "f16"])), min_size=1, max_size=6))
def test_tensor_types_are_matched_as_llama_quantize_matches_them(small: Path, items: list[tuple[str, str]]) -> None:
    """Independent: the first pattern, in lower case, that `re.search` finds in the name of the tensor."""
    plan = small.parent / "types.txt"
    plan.write_text("\n".join(f"{pattern}={label}" for pattern, label in items))
    found = audit_bits(plan, model=str(small), rest="q4_1")
    assert found is not None
    expected = {}
    for name, tensor in zip(HF, TENSORS, strict=True):
        hits = [label.lower() for pattern, label in items if re.search(pattern.lower(), tensor)]
        expected[name] = hits[0] if hits else "q4_1"
    rows = {row.weight.name: row.label for row in found.applied.stored if row.weight.name in expected}
    assert rows == expected


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("small"))


def test_a_recipe_with_comments_and_foreign_types(tmp_path: Path, small: Path) -> None:
    recipe = "## Attention\n^blk\\.[0-9]+\\.attn_q\\.weight$=iq5_ks_r4\n\n# FFN\nffn_down=Q8_0\n"
    found = audit(tmp_path, recipe, model=str(small))
    assert "llama.cpp has no type iq5_ks_r4" in found.plan.remarks
    assert any("lines that begin with #" in remark for remark in found.plan.remarks)
    assert found.types["q8_0"]["tensors"] == 12
    assert {row.why for row in found.fallbacks} == {"iq5_ks_r4 is a format of unknown size"}


def test_dynamic_of_gptqmodel(tmp_path: Path, small: Path) -> None:
    base = {"bits": 4, "group_size": 32, "sym": True, "quant_method": "gptq"}
    dynamic = {
        r"-:.*layers\.0\.mlp\.down": {},
        r"+:.*down_proj": {"bits": 8},
        r".*\.layers\.1\.": {"bits": 3, "group_size": -1},
    }
    found = audit(tmp_path, {"quantization_config": {**base, "dynamic": dynamic}}, model=str(small))
    rows = labels(found)
    assert rows["model.layers.0.mlp.down_proj"] == "bf16"
    assert rows["model.layers.1.mlp.down_proj"] == rows["model.layers.5.mlp.down_proj"] == "gptq8-g32"
    assert rows["model.layers.1.self_attn.q_proj"] == "gptq3"
    assert rows["model.layers.10.self_attn.q_proj"] == "gptq4-g32"
    assert rows["model.embed_tokens"] == "bf16"
    assert not found.negative
    alone = audit(tmp_path, dynamic | {r"+:.*layers\.1\.": {"bits": 3}, r"+:.*q_proj": {"bits": 4}}, model=str(small))
    assert labels(alone)["model.layers.0.self_attn.q_proj"] == "gptq4-g128"
    assert len(alone.applied.unset) > 0


def test_the_bytes_of_a_matrix_of_gptq(tmp_path: Path, small: Path) -> None:
    """Counted by hand for q_proj, 64 x 64 with groups of 32: codes, zero points, scales, and g_idx in int32."""
    found = audit(tmp_path, {"bits": 4, "group_size": 32, "sym": True}, model=str(small))
    row = next(row for row in found.applied.stored if row.weight.name.endswith("0.self_attn.q_proj.weight"))
    assert row.bytes == 64 * 64 // 2 + 2 * 64 // 2 + 2 * 2 * 64 + 4 * 64


def test_targets_of_compressed_tensors(tmp_path: Path, small: Path) -> None:
    weights = {"num_bits": 8, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}
    groups = {
        "first": {"targets": ["re:.*q_proj"], "weights": weights},
        "second": {"targets": ["model.layers.1.self_attn.q_proj"], "weights": weights | {"num_bits": 4}},
        "third": {"targets": ["Linear"], "weights": weights | {"num_bits": 3, "symmetric": False}},
    }
    config = {"config_groups": groups, "ignore": ["lm_head", "model.layers.0.mlp.down_proj"]}
    found = audit(tmp_path, {"quantization_config": config}, model=str(small))
    rows = labels(found)
    assert rows["model.layers.1.self_attn.q_proj"] == "int4-g32"  # exact names come first
    assert rows["model.layers.2.self_attn.q_proj"] == "int8-g32"
    assert rows["model.layers.2.self_attn.k_proj"] == "int3-g32-asym"
    assert rows["model.layers.0.mlp.down_proj"] == "bf16"
    assert found.violated
    assert "vLLM's order differs" in found.plan.remarks[0]
    recipe = "quant_stage:\n  quant_modifiers:\n    GPTQModifier:\n      config_groups:\n        g:\n"
    recipe += "          targets: [Linear]\n          weights: {num_bits: 4, type: int, group_size: 64}\n"
    assert set(labels(audit(tmp_path, recipe, model=str(small))).values()) == {"int4-g64", "bf16"}


def test_a_measurement_of_exllamav3_is_compared_at_every_bitrate(tmp_path: Path) -> None:
    groups = [
        {"layers": ["a"], "candidates": [{"dkld": -5.0, "dbits": 10}]},
        {"layers": ["b"], "candidates": [{"dkld": -1.0, "dbits": 10}]},
    ]
    found = audit(tmp_path, {"base": {"bpw": 2.0}, "alts": [{"bpw": 3.0}], "groups": groups})
    assert [(row.name, row.loss, row.best) for row in found.against] == [("2.0", 0.0, 0.0), ("3.0", -6.0, -6.0)]
    assert not found.negative


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b: 4\nnonsense here", "line 2: 'nonsense here': expected NAME: BITS"),
        ("a.b: 4\na.b: 3", "a.b is there twice"),
        ("a.b: 4\na.c: 9", "line 2: 9 bits: expected 2 to 8"),
        ("a.b: 3.5", "3.5 bits"),
        ("a=q4_0 b", "'b': expected REGEX=TYPE"),
        ("a=q4_0 --tensor-type", "expected REGEX=TYPE"),
        ('{"bits": 99, "group_size": 128}', "bits = 99: expected 2 to 8"),
        ('{"bits": 4, "group_size": 0}', "group_size = 0"),
        ('{"bits": 4, "group_size": 64, "dynamic": [1]}', "dynamic: expected an object"),
        ('{"group_size": 64, "dynamic": {"a": {}}}', "bits = None"),
        ('{"config_groups": {}}', "config_groups: expected an object"),
        ('{"config_groups": {"g": {"targets": "Linear"}}}', "targets: expected a list"),
        ('{"config_groups": {"g": {"targets": [], "weights": {"num_bits": 4, "type": "float"}}}}', "only integers"),
        ('{"groups": [{"candidates": []}]}', "base: Field required"),
        ('{"dynamic": {"a": {"bits": 4}, "a": {"bits": 8}}}', "'a' is in the file twice"),
    ],
)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        audit(tmp_path, text)
