"""The audit of a bit plan: planted violations, bytes counted anew, and the distance from the optimum of a menu."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.audits import gguf, linears, llama
from tests.audits.test_forms import audit
from zetaplan.audits.words import findings, text
from zetaplan.cli.app import app
from zetaplan.errors import SpecError
from zetaplan.menus.bits import BitsFacts
from zetaplan.menus.menu import Menu
from zetaplan.menus.planner import choose
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.weights import others, weights
from zetaplan.runtimes import find_runtime
from zetaplan.scoring.model.load import _smollm2_file
from zetaplan.scoring.model.meta_model import meta_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("model"))


def evopress(**changes: int) -> str:
    """Four bits everywhere, but for the linears that are named by their ends, as in l3_q_proj."""
    named = {name.replace("_", ".", 1).replace("l", "layers.", 1): bits for name, bits in changes.items()}

    def bits(name: str) -> int:
        layer, part = name.split(".")[2], name.rpartition(".")[2]
        return named.get(f"layers.{layer}.{part}", 4)

    return "".join(f"{name}: {bits(name)}\n" for name in linears())


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, []),
        ({"l3_o_proj": 3, "l4_down_proj": 8}, []),
        ({"l3_q_proj": 3}, ["model.layers.3"]),
        ({"l3_k_proj": 3, "l3_up_proj": 2}, ["model.layers.3", "model.layers.3"]),
        ({"l0_gate_proj": 5, "l11_v_proj": 8}, ["model.layers.11", "model.layers.0"]),
        ({"l7_q_proj": 3, "l7_k_proj": 3, "l7_v_proj": 3}, []),
    ],
)
def test_a_planted_split_is_found_with_and_without_a_model(
    tmp_path: Path, model: Path, changes: dict[str, int], kinds: list[str]
) -> None:
    for known in (None, str(model)):
        found = audit(tmp_path, evopress(**changes), model=known, group=32)
        assert sorted(split.layer for split in found.splits) == sorted(kinds)
        assert found.violated == found.negative == bool(kinds)
    if kinds:
        layers = len(set(kinds))
        assert f"no, in {layers} of 12 layers" in text(found)


def test_a_setting_for_no_module_and_one_that_is_hidden(tmp_path: Path, model: Path) -> None:
    found = audit(tmp_path, evopress() + "model.layers.12.mlp.up_proj: 3\n", model=str(model), group=32)
    assert [problem.key for problem in found.applied.problems] == ["model.layers.12.mlp.up_proj"]
    types = r"^blk\.1=q8_0 ^blk\.1\.attn_q=q4_0 attn_norm=q4_0 ffn=q4_1 blk\.99\.=q8_0"
    hidden = audit(tmp_path, types, model=str(model), rest="q8_0")
    words = {problem.key: problem.words for problem in hidden.applied.problems}
    assert "would match blk.1" in words[r"^blk\.1=q8_0"]  # 10 and 11, which it does not name
    assert "comes first" in words[r"^blk\.1\.attn_q=q4_0"]
    assert "llama-quantize never changes" in words["attn_norm=q4_0"]
    assert "finds no module of this name" in words[r"blk\.99\.=q8_0"]
    assert "ffn=q4_1" not in words


def test_bytes_are_the_sum_of_the_formats_own_sizes(tmp_path: Path, model: Path) -> None:
    network, runtime = meta_model(str(model)), find_runtime("vllm")
    found = audit(tmp_path, evopress(l3_o_proj=3, l5_down_proj=8), model=str(model), group=32)
    expected = 0
    for weight in weights(network):
        bits = {"model.layers.3.self_attn.o_proj": 3, "model.layers.5.mlp.down_proj": 8}.get(weight.module, 4)
        label = f"gptq{bits}-g32" if weight.layer else "bf16"
        expected += runtime.size(find_quantizer(label), weight)
    expected += sum(runtime.kept(numel) for numel in others(network).values())
    assert found.bytes == expected == sum(row["bytes"] for row in found.types.values())
    assert sum(row["weights"] for row in found.types.values()) == sum(p.numel() for p in network.parameters())
    quantised = [row for row in found.sized if row.quantised]
    assert found.bits_per_weight["quantised"] == pytest.approx(
        8 * sum(row.bytes or 0 for row in quantised) / sum(row.weight.numel for row in quantised), rel=1e-15
    )


def test_a_group_that_does_not_fit_is_named_and_not_counted(tmp_path: Path, model: Path) -> None:
    found = audit(tmp_path, evopress(), model=str(model), group=128)
    assert {row.weight.columns for row in found.fallbacks} == {64}
    assert len(found.fallbacks) == 6 * 12
    assert "64 columns are no multiple of its group of 128" in text(found)
    assert not found.negative


def test_types_that_fall_back_are_counted_as_they_are_written(tmp_path: Path, model: Path) -> None:
    found = audit(tmp_path, "attn_q=q4_k ffn_up=iq2_xs ffn_gate=q6_k ffn_down=q4_k", model=str(model), rest="q8_0")
    rows = {(row.label, row.written, row.weight.columns) for row in found.applied.stored if row.label != row.written}
    assert rows == {("q4_k", "q5_0", 64), ("iq2_xs", "iq4_nl", 64), ("q6_k", "q8_0", 64)}
    assert found.types["q5_0"] == {"tensors": 12, "weights": 12 * 64 * 64, "bytes": 12 * 64 * 2 * 22}
    assert found.types["q4_k"]["bytes"] == 12 * 64 * 144  # 256 columns
    odd = llama(tmp_path, layers=1, hidden=48, inner=80)
    narrow = audit(tmp_path, "ffn_down=q4_k", model=str(odd), rest="f16")
    assert narrow.types["f16"]["tensors"] > 1  # 80 columns fit no block of 32
    assert next(row for row in narrow.fallbacks).written == "f16"


def test_a_gguf_file_is_its_own_plan(tmp_path: Path) -> None:
    shapes = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64)}
    rows = [(f"blk.{k}.{name}.weight", shape, "q4_0") for k in range(2) for name, shape in shapes.items()]
    rows[-1] = (*rows[-1][:2], "q8_0")
    path = tmp_path / "plan"
    path.write_bytes(gguf([*rows, ("output_norm.weight", (64,), "f32")]))
    run = audit_file(path, "--json")
    facts = json.loads(run.stdout)
    assert run.exit_code == 0  # llama.cpp has no fusions
    assert facts["bytes"] == 2 * (64 * 2 * 18 + 32 * 2 * 18) + 32 * 2 * 18 + 32 * 2 * 34 + 256
    assert [split["layer"] for split in facts["splits"]] == ["blk.1"]
    assert audit_file(path, "--for", "vllm").exit_code == 1
    assert audit_file(path, "--for", "mlx").exit_code == 0
    assert "expected one of" in audit_file(path, "--for", "none").stderr


def audit_file(path: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["audit", "--plan", str(path), *options])


def test_smollm2_as_it_is_published() -> None:
    run = audit_file(_smollm2_file(), "--json", "--for", "vllm")
    facts = json.loads(run.stdout)
    assert (run.exit_code, facts["splits"], facts["problems"]) == (0, [], [])
    assert facts["bytes"] == 96_576_768
    assert {label: row["tensors"] for label, row in facts["types"].items()} == {"q4_1": 210, "q8_0": 1, "f32": 61}
    assert facts["bits_per_weight"]["quantised"] == pytest.approx((106_168_320 * 5 + 28_311_552 * 8.5) / 134_479_872)


OPTIONS = ("gptq3-g32", "gptq4-g32", "gptq8-g32")


@pytest.fixture(scope="module")
def menu(model: Path) -> Menu:
    """Every linear by itself, with losses that fall like 4^-bits, unequal for the layers."""
    own = [weight for weight in weights(meta_model(str(model))) if weight.layer]
    runtime = find_runtime("vllm")
    costs = [[(runtime.size(find_quantizer(label), weight),) for label in OPTIONS] for weight in own]
    losses = [[(1 + k % 5) * 4.0**-bits for bits in (3, 4, 8)] for k in range(len(own))]
    facts = BitsFacts(model="m", model_sha256="0", weights={weight.module: (weight,) for weight in own})
    return Menu(
        names=tuple(weight.module for weight in own),
        options=(OPTIONS,) * len(own),
        losses=losses,  # type: ignore[arg-type]
        costs=costs,  # type: ignore[arg-type]
        budgets=("size",),
        units=("bytes",),
        provenance=facts.model_dump(mode="json"),
    )


def test_the_distance_from_the_best_plan(tmp_path: Path, model: Path, menu: Menu) -> None:
    found = audit(tmp_path, evopress(), model=str(model), menu=menu, group=32)
    [row] = found.against
    assert row.loss == pytest.approx(sum(losses[1] for losses in menu.losses))
    assert row.best < row.loss
    assert row.best == choose(menu, row.spent).loss
    best = choose(menu, row.spent)
    lines = "".join(f"{name}: {label[4]}\n" for name, label in best.taken.items())
    [again] = audit(tmp_path, lines, model=str(model), menu=menu, group=32).against
    assert again.loss == pytest.approx(again.best, rel=1e-12)


def test_an_option_outside_the_menu_is_named(tmp_path: Path, model: Path, menu: Menu) -> None:
    found = audit(tmp_path, evopress(l2_q_proj=5), model=str(model), menu=menu, group=32)
    assert (found.against, found.outside) == (
        (),
        "the menu has no option gptq5-g32 for model.layers.2.self_attn.q_proj",
    )
    assert any(finding.words == found.outside for finding in findings(found))
    with pytest.raises(SpecError, match=r"the plan has no format for model\.layers\.0\.self_attn\.q_proj\.weight"):
        audit(tmp_path, "model.layers.0.mlp.up_proj: 4", menu=menu)


def test_the_menu_of_a_model_fits_its_gguf_file(tmp_path: Path, model: Path) -> None:
    """The names of the parameters are those of transformers, the names in the file those of GGUF."""
    own = next(w for w in weights(meta_model(str(model))) if w.module.endswith("0.mlp.down_proj"))
    facts = BitsFacts(model="m", model_sha256="0", weights={"down": (own,)})
    options = Menu(("down",), (("q4_k", "q8_0"),), ((2.0, 1.0),), (((9216,), (17408,)),), ("size",), ("bytes",),
                   provenance=facts.model_dump(mode="json"))  # fmt: skip
    options.save(tmp_path / "menu.json")
    path = tmp_path / "plan"
    path.write_bytes(gguf([("blk.0.ffn_down.weight", (64, 256), "q4_k")]))
    run = audit_file(path, "--menu", str(tmp_path / "menu.json"), "--json")
    assert run.exit_code == 0
    assert json.loads(run.stdout)["against"][0] | {"gap": 0} == {
        "name": "plan", "spent": [9216], "loss": 2.0, "best": 2.0, "gap": 0,
    }  # fmt: skip


def test_a_bad_rest_or_model_is_one_line(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "plan"
    path.write_text("attn_q=q4_0")
    for options in (["--rest", "q99", "--model", str(model)], ["--model", str(tmp_path / "none")]):
        run = audit_file(path, *options)
        assert (run.exit_code, len(run.stderr.splitlines())) == (2, 1)
    assert audit_file(path, "--rest", "Q8_0", "--model", str(model)).exit_code == 0
    run = CliRunner().invoke(app, ["audit", "--rest", "q8_0"])
    assert (run.exit_code, run.stderr) == (
        2,
        "zetaplan: --rest belongs to the audit of a bit plan; give --plan FILE too\n",
    )


def test_without_shapes_no_bytes_are_claimed(tmp_path: Path) -> None:
    for plan in (evopress(), "attn_q=q4_0"):
        found = audit(tmp_path, plan)
        assert (found.bytes, found.types, found.fallbacks) == (None, {}, ())
        assert "--model" in text(found)


#: Layers of 32 that are split, by the file and its average; checked with the published files.
PUBLISHED = {
    "Meta-Llama-3-8B_2.25bit": 21, "Meta-Llama-3-8B_2.5bit": 30, "Meta-Llama-3-8B_3bit": 26, "Meta-Llama-3-8B_4bit": 32,
    "Llama-3.1-8B_2.25bit": 20, "Llama-3.1-8B_2.5bit": 30, "Llama-3.1-8B_3bit": 26,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_plans_that_evopress_published(shared_data: Path, name: str) -> None:
    path = shared_data / "evopress" / f"{name}.txt"
    if not path.is_file():
        pytest.skip(f"the published plan {path.name} is not in ../shared/data/evopress")
    run = audit_file(path, "--json")
    facts: dict[str, Any] = json.loads(run.stdout)
    assert run.exit_code == 1
    assert len({split["layer"] for split in facts["splits"]}) == PUBLISHED[name]
    assert facts["bits_per_weight"]["planned"] == float(name.rpartition("_")[2].removesuffix("bit"))
