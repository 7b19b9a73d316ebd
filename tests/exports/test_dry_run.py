"""The dry run of settings of any origin: what a tool would ignore, misread or stop at, and no false alarm."""

from __future__ import annotations

import copy
import json
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from typer.testing import CliRunner

from tests.exports.architectures import tiny
from tests.exports.exporting import LAYERS, RANKS, SPARSITY, UNITS, damaged, everywhere, plan_for
from tests.tiny_models import save_model, tiny_llama
from zetaplan.cli.app import app
from zetaplan.errors import CertificateError, SpecError, ZetaplanError
from zetaplan.exports import check_file, export
from zetaplan.exports.targets import Entry, by_position, check


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    return tiny_llama(layers=LAYERS)


def test_a_vector_of_another_length_is_named(llama: nn.Module, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.linspace(0, 1, 7 * LAYERS + 1), allow_pickle=False)
    _, [found] = check_file(tmp_path / "v.npy", llama)
    assert str(found) == "ratios: ratios[84]: would be ignored: the tool finds no module of this name"
    np.save(tmp_path / "v.npy", np.linspace(0, 1, 7 * LAYERS - 1), allow_pickle=False)
    _, [found] = check_file(tmp_path / "v.npy", llama)
    assert str(found) == "ratios: model.layers.11.mlp.down_proj: no entry sets this module"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ({"layers.1.*q_proj": 4}, r"layers\.1\.\*q_proj: would match model\.layers\.10\.self_attn\.q_proj"),
        ({"^q_proj": 4}, r"\^q_proj: would be ignored: the tool finds no module"),
        ({"model.layers.1": 4}, r"model\.layers\.1: would be ignored"),
        ({"base_model.model.model.layers.1.self_attn.q_proj": 4}, "would be ignored"),
        ({"q_proj": 4, "layers.3.self_attn.q_proj": 8}, r"'q_proj' comes first and sets model\.layers\.3"),
        ({r"layers\.3\.mlp\.up_proj": 4}, "would be ignored"),  # no target
    ],
)
def test_keys_that_peft_only_warns_of(llama: nn.Module, pattern: dict[str, int], said: str, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "v_proj"], "rank_pattern": pattern}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    _, found = check_file(tmp_path / "adapter_config.json", llama)
    assert found
    assert re.search(said, str(found[0]))


@given(keys=st.lists(st.sampled_from(["q_proj", "layers.1.*", r"^model\.layers\.1\.self_attn\.q_proj", "1", "x"])))
def test_the_first_match_wins_as_in_peft(keys: list[str]) -> None:
    from peft.utils.other import get_pattern_key

    names = [f"model.layers.{k}.self_attn.{p}" for k in range(LAYERS) for p in ("q_proj", "k_proj")]
    ranks = {key: i + 1.0 for i, key in enumerate(dict.fromkeys(keys))}
    entries = [Entry(key, rank, rf"(.*\.)?({key})") for key, rank in ranks.items()]
    taken = {name: ranks.get(get_pattern_key(list(ranks), name)) for name in names}
    wanted = {name: rank for name, rank in taken.items() if rank}
    ignored = [key for key in ranks if ranks[key] not in taken.values()]
    assert [problem.key for problem in check(entries, names, wanted)] == ignored


def test_positions_beyond_the_names_hit_nothing() -> None:
    entries = by_position("sparsity", [0.1, 0.2, 0.3], ["a", "b"])
    assert [str(p) for p in check(entries, ["a", "b"])] == [
        "sparsity[2]: would be ignored: the tool finds no module of this name"
    ]


def test_a_plan_is_checked_by_its_names(llama: nn.Module, tmp_path: Path) -> None:
    file = plan_for(llama, "peft").save(tmp_path / "plan.json")
    assert check_file(file, llama) == ("plan", ())
    with pytest.raises(CertificateError, match=r"model\.layers\.\d+: would be ignored"):
        check_file(file, tiny_llama(layers=2))


def test_a_file_of_no_known_format(tmp_path: Path, llama: nn.Module) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SpecError, match="has no known format; known formats are alphapruning"):
        check_file(tmp_path / "notes.txt", llama)


NUMBERED = [f"model.layers.{k}.self_attn.{p}" for k in range(130) for p in ("q_proj", "k_proj")]


@pytest.mark.parametrize(
    "key",
    [
        r"layers\.1[01]\.",
        r".*layers\.1[01]\..*",
        r".*layers\.1\d\..*",
        r".*layers\.(1|11)\..*",
        r".*layers\.1[0-9]?\..*",
        r".*layers\.(?:10|11|12)\.self_attn\.q_proj",
        r"model\.layers\..*q_proj",
        r".*\d+.*",
        r".*layers\.[0-9]+1\..*",
        "model.layers.1.self_attn.q_proj",
        r".*layers.1.\.self.*",
    ],
)
def test_a_key_that_means_several_layers_is_no_alarm(key: str) -> None:
    """It may hit nothing, which is another matter."""
    assert not [p for p in check([Entry(key, 1.0, key)], NUMBERED) if "which it does not name" in p.words]


@pytest.mark.parametrize(
    "key", ["{}.*", ".*layers.{}.*", r".*layers\.{}.*q_proj", r".*layers\.{}[^/]*", r"(.*\.)?{}.*"]
)
@given(layer=st.integers(1, 12))
def test_a_key_that_names_a_layer_and_hits_others_is_an_alarm(key: str, layer: int) -> None:
    pattern = ".*layers." + key.format(layer) if key == "{}.*" else key.format(layer)
    strays = {p.words.split()[2].rstrip(",") for p in check([Entry("key", 1.0, pattern)], NUMBERED)}
    assert strays
    assert all(str(layer) in name and f".{layer}." not in name for name in strays)


CASES: list[tuple[dict[str, Any], str]] = [
    ({"layers_to_transform": [0], "rank_pattern": {"layers.3.self_attn.q_proj": 4}}, "rank_pattern: layers.3"),
    ({"exclude_modules": ["q_proj"], "rank_pattern": {"q_proj": 4}}, "rank_pattern: q_proj: would be ignored"),
    ({"target_parameters": ["experts.gate_up_proj"]}, "target_parameters: experts.gate_up_proj: would be ignored"),
    ({"modules_to_save": ["classifier"]}, "modules_to_save: classifier: would be ignored"),
    ({"modules_to_save": ["head"]}, ""),  # it ends the name of lm_head, which is trained
    ({"r": 0}, "r: PEFT raises an error: rank 0 of model.layers.0.self_attn.q_proj"),
    ({"rank_pattern": {"v_proj": 8.5}}, "v_proj: PEFT raises an error: rank 8.5 of model.layers.0"),
    ({"target_modules": []}, "target_modules: PEFT raises an error: no module of the model is a target"),
    ({"target_modules": ["q_proj", "query"]}, "target_modules: query: would be ignored"),
    ({"target_modules": ["mlp"]}, "PEFT raises an error: it cannot adapt a LlamaMLP"),
    ({"layers_to_transform": [0, 40]}, "layers_to_transform: 40: would be ignored"),
    ({"rank_pattern": {r"layers\.1[01]\.self_attn\.q_proj": 4}}, ""),
    ({"rank_pattern": {r".*layers\.1[01]\..*": 4}}, ""),
    ({"use_doraa": True}, "use_doraa: would be ignored: the installed PEFT has no such setting"),
    ({"task_type": "CAUSAL"}, "PEFT raises an error: ValueError: Invalid task type"),
    ({"target_modules": ["q_proj", "self_attn.q_proj"]}, ""),  # it repeats what another says, and is followed
]


@pytest.mark.parametrize(("changes", "said"), CASES)
def test_settings_of_peft_and_axolotl(changes: dict[str, Any], said: str, llama: nn.Module, tmp_path: Path) -> None:
    from zetaplan.exports.formats.axolotl import NAMES

    config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "v_proj"], **changes}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    written = [check_file(tmp_path / "adapter_config.json", llama)]
    if changes.keys() <= NAMES.keys():
        theirs = {"adapter": "lora", **{NAMES[key]: value for key, value in config.items() if key in NAMES}}
        (tmp_path / "lora.yaml").write_text(yaml.safe_dump(theirs))
        written.append(check_file(tmp_path / "lora.yaml", llama))
    for _, found in written:
        assert bool(found) == bool(said) or "head" in str(found)
        assert not said or any(said in str(problem) for problem in found)


def test_axolotl_targets_all_linears(llama: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "lora.yaml"
    file.write_text(
        "adapter: qlora\nlora_r: 4\nlora_target_linear: true\nlora_rank_pattern: {gate_proj: 2, lm_head: 3}\n"
    )
    assert [str(p) for p in check_file(file, llama)[1]] == [
        "rank_pattern: lm_head: would be ignored: the tool finds no module of this name"
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("prune.py", 'AMOUNTS = {"model.layers.0.mlp.up_proj": 513}', "513 of its 512 weights cannot be removed"),
        ("prune.py", 'AMOUNTS = {"model.layers.0.mlp.up_proj": -1}', "-1 of its 512 weights"),
        (
            "mola.args",
            f'--number_experts "0{",2" * 11}" --top_k "1{",2" * 11}"',
            "number_experts[0]: is 0: expected at",
        ),
        (
            "mola.args",
            f'--number_experts "2{",2" * 11}" --top_k "3{",2" * 11}"',
            "top_k[0]: is 3: the layer has 2 expe",
        ),
    ],
)
def test_numbers_that_a_tool_cannot_take(name: str, text: str, said: str, llama: nn.Module, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert any(said in str(problem) for problem in check_file(tmp_path / name, llama)[1])


@pytest.mark.parametrize("values", [[0.5] * 84, [0.1] * 83 + [float("nan")], [0.1] * 83 + [float("inf")]])
def test_vectors_that_alphapruning_cannot_map(values: list[float], llama: nn.Module, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", values, allow_pickle=False)
    assert check_file(tmp_path / "v.npy", llama)[1]


def test_a_key_that_hides_another_is_refused(llama: nn.Module, tmp_path: Path) -> None:
    file = tmp_path / "settings"
    for text in (
        '{"peft_type": "LORA", "target_modules": ["q_proj"], "rank_pattern": {"q_proj": 2, "q_proj": 3}}',
        "adapter: lora\nlora_target_modules: [q_proj]\nlora_rank_pattern:\n  q_proj: 2\n  q_proj: 3\n",
    ):
        file.write_text(text)
        with pytest.raises(SpecError, match="'q_proj' is in the file twice, and the first would be ignored; keep one"):
            check_file(file, llama)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """One sound file of every format."""
    model = tiny_llama(layers=2)
    plans = {to: everywhere(model) if to in RANKS[:2] else plan_for(model, to) for to in (*RANKS, *SPARSITY)}
    plans |= dict.fromkeys(("json", "csv"), plans["peft"])
    return {to: export(plans[to], to=to, model=model).data for to in UNITS}


@pytest.mark.parametrize("to", UNITS)
def test_a_damaged_file_is_an_error_of_ours_or_a_problem(to: str, files: dict[str, bytes], tmp_path: Path) -> None:
    """Bytes changed, cut out, doubled and torn off: 30 files of every format."""
    model, file = tiny("llama"), tmp_path / "settings"
    for seed in range(30):
        file.write_bytes(damaged(files[to], seed))
        with suppress(ZetaplanError):
            _, found = check_file(file, model)
            assert all(problem.key and problem.words for problem in found)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 20)
    | st.floats()
    | st.sampled_from(["q_proj", ".*", "(", "", "layers"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["q_proj", "[", "v"]), inner, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = ["r", "lora_alpha", "target_modules", "target_parameters", "exclude_modules", "modules_to_save"]
FIELDS += ["layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "bias", "init_lora_weights"]


@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_fields_of_any_type_are_an_error_of_ours_or_a_problem(
    fields: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("peft") / "adapter_config.json"
    file.write_text(json.dumps({"peft_type": "LORA", "target_modules": ["q_proj"], **fields}))
    with suppress(ZetaplanError):
        _, found = check_file(file, TINY)
        assert all(problem.key and problem.words for problem in found)


TINY = tiny("llama")


@pytest.mark.parametrize("to", UNITS)
def test_an_export_is_a_plain_value(to: str) -> None:
    model = tiny_llama(layers=2)
    plan = everywhere(model) if to in RANKS[:2] else plan_for(model, to if to in (*RANKS, *SPARSITY) else "peft")
    made = export(plan, to=to, model=model)
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == copy.copy(made) == made  # noqa: S301  # our own
    assert hash(made) == hash(copy.deepcopy(made))


def test_the_command_finds_it(tmp_path: Path) -> None:
    folder = save_model(tiny_llama(layers=LAYERS), tmp_path / "model")
    config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj"], "layers_to_transform": [0]}
    file = tmp_path / "adapter_config.json"
    for pattern, code in (({r"layers\.0\.self_attn\.q_proj": 4}, 0), ({r"layers\.3\.self_attn\.q_proj": 4}, 1)):
        file.write_text(json.dumps({**config, "rank_pattern": pattern}))
        done = CliRunner().invoke(app, ["apply", str(folder), str(file), "--check"])
        assert done.exit_code == code, done.output
