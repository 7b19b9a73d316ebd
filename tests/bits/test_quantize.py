"""Plans of formats: the best choice by trying all of them, in bytes counted by hand, within the limit to the byte."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import zetaplan as zp
from tests.bits.menus import EMBEDDING, HEAD, best, linear, menu_of, modules
from tests.menus.test_plan import failing, put, sealed, written
from tests.runtimes.test_runtimes import words
from zetaplan.bits import quantize as planner
from zetaplan.bits.sizes import sizes_of
from zetaplan.cli.app import app
from zetaplan.errors import InfeasibleError, SpecError
from zetaplan.menus.bits import Weight, bits_facts
from zetaplan.menus.cache import CacheLayer
from zetaplan.menus.menu import Menu
from zetaplan.models.quantizers import find_quantizer
from zetaplan.runtimes import find_runtime

GGUF = ("q4_0", "q5_1", "q8_0")
INTS = ("int3-g32", "int4-g32", "int8-g32")
KEPT = {"llama.cpp": 256 + 288, "vllm": 2 * (64 + 65)}  # float32, padded to 32 bytes: 65 entries take 288
BLOCK = {"q4_0": 18, "q5_1": 24, "q8_0": 34}  # bytes of 32 columns


def beside(weight: Weight, label: str, packed: int) -> int:
    """The shape that a checkpoint of compressed-tensors holds beside every packed linear, where it is counted."""
    return find_runtime("vllm").size(find_quantizer(label), weight) - packed


def counted(runtime: str, weight: Weight, label: str) -> int:
    """The bytes of a matrix, by hand."""
    if label == "bf16":
        return 2 * weight.rows * weight.columns
    if runtime == "llama.cpp":
        return math.ceil(weight.rows * weight.columns // 32 * BLOCK[label] / 32) * 32
    bits, groups = int(label[3]), weight.columns // 32
    packed = weight.rows * words(weight.columns, bits) + 2 * weight.rows * groups
    return packed + beside(weight, label, packed)


def ragged(k: int, j: int) -> float:
    """Losses that do not fall with the size, with ties."""
    return (0.0, 3.0, 1.0, 1.0, 7.0, 2.0)[(5 * k + 2 * j) % 6] / 8


SMALL = {
    "llama.cpp": menu_of(modules("q_proj", "k_proj", "gate_proj", "down_proj"), GGUF, ragged),
    "vllm": menu_of(modules("q_proj", "k_proj", "v_proj", "down_proj"), INTS, ragged),
}


def table(runtime: str, menu: Menu) -> dict[tuple[str, str], int]:
    """The bytes of every option that the runtime loads."""
    facts = bits_facts(menu)
    outside = {"embed", "head"}
    return {
        (name, label): sum(counted(runtime, weight, label) for weight in facts.weights[name])
        for name, labels in zip(menu.names, menu.options, strict=True)
        for label in labels
        if runtime == "llama.cpp" or label == "bf16" or name not in outside
    }


def tied(runtime: str) -> Callable[[dict[str, str]], bool]:
    """q, k and v have one format for vllm."""

    def allowed(taken: dict[str, str]) -> bool:
        groups: dict[str, set[str]] = {}
        for name, label in taken.items():
            last = name.rpartition(".")[2]
            key = (
                "qkv" if last in ("q_proj", "k_proj", "v_proj") else "mlp" if last in ("gate_proj", "up_proj") else name
            )
            groups.setdefault(key, set()).add(label)
        return runtime != "vllm" or all(len(labels) == 1 for labels in groups.values())

    return allowed


@settings(max_examples=15)
@given(st.sampled_from(sorted(SMALL)), st.floats(0.0, 1.0))
def test_a_plan_is_the_best_of_all_choices_within_the_bytes(runtime: str, share: float) -> None:
    menu = SMALL[runtime]
    costs, rows = table(runtime, menu), {name: [] for name in menu.names}
    for (name, _), cost in costs.items():
        rows[name].append(cost)
    low, high = (sum(map(of, rows.values())) + KEPT[runtime] for of in (min, max))
    limit = math.floor(low + share * (high - low))
    expected = best(menu, costs, limit - KEPT[runtime], tied(runtime))
    if expected is None:
        with pytest.raises(InfeasibleError):
            zp.quantize(menu, size=limit, runtime=runtime)
        return
    plan = zp.quantize(menu, size=limit, runtime=runtime)
    assert plan.optimal
    assert plan.loss == float(expected)
    spent = sum(costs[cell] for cell in plan.taken.items()) + KEPT[runtime]
    assert sizes_of(plan).tensors == spent <= limit
    assert failing(written(plan)) == set()


@pytest.mark.parametrize("runtime", SMALL)
def test_pins_floors_and_forbidden_formats_are_those_of_the_best_choice(runtime: str) -> None:
    menu, first = SMALL[runtime], SMALL[runtime].names[1]
    least, middle, most = GGUF if runtime == "llama.cpp" else INTS
    costs = table(runtime, menu)
    limit = sum(max(cost for (name, _), cost in costs.items() if name == block) for block in menu.names) - 700
    rules: dict[str, tuple[dict[str, Any], Callable[[dict[str, str]], bool]]] = {
        "pin": ({"pins": {first: least}}, lambda taken: taken[first] == least),
        "floor": ({"floors": {first: middle}}, lambda taken: taken[first] != least),
        "forbid": ({"forbid": {first: [most, least]}}, lambda taken: taken[first] == middle),
        "all": (
            {"pins": {menu.names[-2]: most}, "forbid": {first: most}, "floors": {first: middle}},
            lambda taken: taken[first] == middle and taken[menu.names[-2]] == most,
        ),
    }
    for rule, (given_, allowed) in rules.items():
        plan = zp.quantize(menu, size=limit + KEPT[runtime], runtime=runtime, **given_)
        both = lambda taken, allowed=allowed: allowed(taken) and tied(runtime)(taken)  # noqa: E731
        assert allowed(plan.taken), rule
        assert plan.loss == float(best(menu, costs, limit, both) or 0), rule


@pytest.mark.parametrize("runtime", SMALL)
def test_the_limit_is_kept_to_the_byte(runtime: str) -> None:
    """At the bytes of a plan, the plan; one byte below, another one that takes less."""
    menu = SMALL[runtime]
    ample = zp.quantize(menu, size=10**6, runtime=runtime)
    exact = sizes_of(ample).tensors
    assert zp.quantize(menu, size=exact, runtime=runtime).loss == ample.loss
    below = zp.quantize(menu, size=exact - 1, runtime=runtime)
    assert sizes_of(below).tensors < exact


@pytest.mark.parametrize("runtime", SMALL)
def test_the_average_of_a_plan_is_a_limit_that_gives_it_back(runtime: str) -> None:
    """The average as printed by Python, of every plan, and a limit barely below it."""
    menu = SMALL[runtime]
    for size in range(16_000, 40_000, 3_000):
        try:
            plan = zp.quantize(menu, size=size, runtime=runtime)
        except InfeasibleError:
            continue
        average = sizes_of(plan).bits_quantised
        again = zp.quantize(menu, bits_per_weight=math.nextafter(average, math.inf), runtime=runtime)
        assert again.loss <= plan.loss
        assert sizes_of(again).bits_quantised <= math.nextafter(average, math.inf)


def test_bits_per_weight_are_the_decimal_that_is_given() -> None:
    """0.1 n / 8 bytes are a whole number that the double nearest to 0.1 misses."""
    menu = menu_of({"layers.0.q_proj": (linear(0, "q_proj"),)}, ("q4_0", "q8_0"), lambda k, j: -float(j))
    plan = zp.quantize(menu, bits_per_weight=4.5)
    assert plan.taken == {"layers.0.q_proj": "q4_0"}
    assert plan.request.budgets == (4.5 * 4096 / 8,)
    assert zp.quantize(menu, bits_per_weight=8.5).taken == {"layers.0.q_proj": "q8_0"}
    for tenths in range(45, 120):
        limit = zp.quantize(menu, bits_per_weight=tenths / 10).request.budgets[0]
        assert limit == tenths * 4096 // 80


def test_averages_leave_out_what_the_runtime_never_quantises() -> None:
    menu = SMALL["vllm"]
    plan = zp.quantize(menu, bits_per_weight=4.5)  # int4 with a scale in float16 for 32 weights
    inside = [weight for _, weight in bits_facts(menu).items() if weight.layer]
    spent = sum(counted("vllm", weight, plan.taken[weight.module]) for weight in inside)
    numel = sum(weight.numel for weight in inside)
    sizes = sizes_of(plan)
    assert sizes.bits_quantised == pytest.approx(8 * spent / numel, rel=1e-2)
    assert sizes.bits_quantised <= 4.5 + 1e-12
    rest = 2 * 2 * 50 * 64 + KEPT["vllm"]
    assert sizes.bits_all == 8 * sizes.tensors / (numel + 2 * 50 * 64 + 129)
    assert sizes.tensors - rest == pytest.approx(spent, rel=1e-2)
    assert plan.taken["embed"] == plan.taken["head"] == "bf16"


@pytest.mark.parametrize("kv", ["f32", "f16", "bf16", "q8_0", "q4_0"])
def test_memory_leaves_out_the_cache(kv: str) -> None:
    """Two layers of 64 numbers for each token, one of them for the last 10 tokens only."""
    cache = (CacheLayer(numbers=64), CacheLayer(numbers=64, window=10))
    menu = menu_of(modules("q_proj", "down_proj"), GGUF, ragged, cache=cache)
    numbers = 64 * 100 + 64 * 10
    cached = {"f32": 4 * numbers, "f16": 2 * numbers, "bf16": 2 * numbers, "q8_0": numbers // 32 * 34,
              "q4_0": numbers // 32 * 18}[kv]  # fmt: skip
    plain = zp.quantize(menu, size=20_000)
    within = zp.quantize(menu, memory=20_000 + cached, context=100, kv=kv)
    assert within.request.budgets == plain.request.budgets
    assert within.taken == plain.taken
    with pytest.raises(InfeasibleError, match=rf"fits = {cached + 500:,}: .* of the cache leave nothing; raise it"):
        zp.quantize(menu, memory=cached + 500, context=100, kv=kv)


def test_a_limit_below_the_smallest_plan_states_both() -> None:
    menu = SMALL["llama.cpp"]
    least = sum(
        min(cost for (name, _), cost in table("llama.cpp", menu).items() if name == block) for block in menu.names
    )
    assert zp.quantize(menu, size=least + KEPT["llama.cpp"]).taken
    with pytest.raises(
        InfeasibleError, match=rf"bytes = .* leaves {least - 1:,} bytes .* formats take {least:,}; raise"
    ):
        zp.quantize(menu, size=least + KEPT["llama.cpp"] - 1)
    with pytest.raises(InfeasibleError, match="bits_per_weight = 1: "):
        zp.quantize(menu, bits_per_weight=1)


BLOCKS = {
    "modules": modules("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", layers=2),
    "fused": {
        "embed": (EMBEDDING,),
        **{f"layers.{i}.qkv": tuple(linear(i, n) for n in ("q_proj", "k_proj", "v_proj")) for i in range(2)},
        **{f"layers.{i}.gu": tuple(linear(i, n) for n in ("gate_proj", "up_proj")) for i in range(2)},
        "head": (HEAD,),
    },
    "layers": {
        "embed": (EMBEDDING,),
        **{f"layers.{i}": tuple(linear(i, n) for n in ("q_proj", "k_proj", "v_proj", "up_proj")) for i in range(2)},
        "head": (HEAD,),
    },
}


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("bits", [4.1, 4.6, 5.4, 6.9])
def test_a_plan_for_vllm_never_splits_what_is_stored_as_one(blocks: str, bits: float) -> None:
    menu = menu_of(BLOCKS[blocks], INTS, lambda k, j: ((7 * k + 3 * j) % 11) / (j + 1))
    plan = zp.quantize(menu, bits_per_weight=bits, runtime="vllm")
    of = {w.module: plan.taken[block] for block, w in bits_facts(plan.menu).items()}
    for layer in range(2):
        for group in (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")):
            assert len({of[name] for one in group if (name := f"layers.{layer}.{one}") in of}) == 1
    assert bool(plan.request.groups) == (blocks == "modules")


def test_parts_of_one_tensor_keep_the_formats_that_they_have_in_common() -> None:
    """48 columns take groups of 16, not of 32."""
    odd = Weight(name="layers.0.k_proj.weight", module="layers.0.k_proj", layer="layers.0", rows=8, columns=48)
    blocks = {**modules("q_proj"), "layers.0.k_proj": (odd,)}
    menu = menu_of(blocks, ("int4-g32", "int4-g16"), ragged)
    options = dict(zip(menu.names, zp.quantize(menu, size=10**6, runtime="vllm").menu.options, strict=True))
    assert options["layers.0.q_proj"] == options["layers.0.k_proj"] == ("int4-g16",)
    apart = menu_of(blocks, ("int4-g32",), ragged)
    with pytest.raises(SpecError, match=r"can load no format of block 'layers\.0\.k_proj'"):
        zp.quantize(apart, size=10**6, runtime="vllm")


def test_a_stack_of_experts_is_one_block_and_is_counted_whole() -> None:
    stack = Weight(name="layers.0.experts.up", module="layers.0.experts", layer="layers.0", count=4, rows=8, columns=64)
    menu = menu_of({"layers.0.experts": (stack,)}, GGUF, lambda k, j: -float(j))
    assert sizes_of(zp.quantize(menu, size=10**6)).formats["q8_0"].bytes == 4 * 8 * 2 * 34


@pytest.mark.parametrize(
    ("floor", "expected"), [("q4_0", "q4_0"), ("q5_1", "q5_1"), ("q6_k", "q8_0"), ("bf16", "bf16")]
)
def test_floors_of_head_and_embedding(floor: str, expected: str) -> None:
    """The smallest format is the best here; q6_k is written as q8_0 where 256 does not divide the columns."""
    menu = menu_of(modules("q_proj"), GGUF, lambda k, j: float(j))
    plan = zp.quantize(menu, size=10**6, floors={"head": floor})
    assert plan.taken == {"embed": "q4_0", "layers.0.q_proj": "q4_0", "head": expected}
    assert zp.quantize(menu, size=10**6, floors={"embedding": floor}).taken["embed"] == expected


def test_a_floor_of_a_k_type_is_its_own_size_where_it_fits() -> None:
    wide = Weight(name="head.weight", module="head", rows=4, columns=512)
    only = menu_of(
        {"head": (wide,)}, ("q8_0",), lambda k, j: float(j), outside=("q4_k", "q5_k", "q6_k", "q8_0", "bf16")
    )
    assert zp.quantize(only, size=10**6, floors={"head": "q6_k"}).taken == {"head": "q6_k"}


def test_head_and_embedding_may_be_one_block() -> None:
    shared = menu_of(modules("q_proj"), GGUF, lambda k, j: float(j))
    facts = {**shared.provenance, "head": "embed.weight"}
    menu = Menu(**{**vars(shared), "provenance": facts})
    plan = zp.quantize(menu, size=10**6, floors={"head": "q5_1", "embedding": "q8_0"})
    assert plan.taken["embed"] == "q8_0"
    assert zp.quantize(menu, size=10**6, forbid={"head": "q4_0", "embedding": "q5_1"}).taken["embed"] == "q8_0"
    with pytest.raises(SpecError, match="pins: 'q4_0' and 'q8_0' for block 'embed'; remove one of the two"):
        zp.quantize(menu, size=10**6, pins={"head": "q4_0", "embed": "q8_0"})


def test_a_menu_without_quantised_formats_is_planned_too() -> None:
    menu = menu_of(modules("q_proj"), ("bf16", "f32"), lambda k, j: -float(j), outside=("bf16", "f32"))
    plan = zp.quantize(menu, bits_per_weight=20, runtime="llama.cpp")
    assert sizes_of(plan).bits_quantised <= 20


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no limit": ({}, "limit: give exactly one of bits_per_weight, bytes and fits"),
    "two limits": ({"size": 1e5, "bits_per_weight": 4}, "give exactly one"),
    "negative": ({"size": -1}, "bytes = -1: expected a number above 0"),
    "not a number": ({"bits_per_weight": math.nan}, "bits_per_weight = nan"),
    "infinite": ({"memory": math.inf}, "fits = inf"),
    "context": ({"size": 1e5, "context": 9}, "context = 9: bytes holds no cache"),
    "kv": ({"memory": 1e6, "kv": "f8"}, "kv = 'f8': expected one of f32, f16, bf16, q8_0, q4_0"),
    "runtime": ({"size": 1e5, "runtime": "ollama"}, "for = 'ollama': expected one of llama.cpp, mlx, torchao, vllm"),
    "other formats": ({"size": 1e5, "runtime": "mlx"}, "for = 'mlx': it can load no format of block 'layers.0.q_proj'"),
    "block": ({"size": 1e5, "floors": {"tail": "q8_0"}}, "floors: there is no block 'tail'"),
    "format": ({"size": 1e5, "floors": {"head": "q9"}}, "format = 'q9': expected one of"),
    "floor": ({"size": 1e5, "floors": {"layers.0.q_proj": "bf16"}}, "has no format of at least the size of bf16"),
    "shape": ({"size": 1e5, "floors": {"head": "int4-g48"}}, "cannot be stored as int4-g48"),
    "pin": ({"size": 1e5, "pins": {"head": "q6_k"}}, "expected one of"),
    "pinned and forbidden": ({"size": 1e5, "pins": {"head": "q8_0"}, "forbid": {"head": "q8_0"}}, "forbidden"),
    "below the floor": ({"size": 1e5, "pins": {"head": "q4_0"}, "floors": {"head": "q8_0"}}, "forbidden"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_in_one_sentence(name: str) -> None:
    arguments, message = BAD[name]
    with pytest.raises(SpecError) as caught:
        zp.quantize(SMALL["llama.cpp"], **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_menus_of_other_decisions_are_refused(tmp_path: Path) -> None:
    other = Menu(("a",), (("2", "4"),), ((3.0, 1.0),), (((1.0,), (2.0,)),))
    with pytest.raises(SpecError, match="decides no formats; make one with `zetaplan measure MODEL --for bits`"):
        zp.quantize(other, size=10)
    path = tmp_path / "menu.csv"
    path.write_text("block,option,loss,cost\nq,2,9,2\nq,4,1,4\n")
    result = CliRunner().invoke(app, ["quantize", str(path), "--bytes", "1MB", "-o", str(tmp_path / "plan.json")])
    assert result.exit_code == 2
    [line] = result.stderr.splitlines()
    assert "decides no formats" in line
    wrong = Menu(**{**vars(SMALL["vllm"]), "names": ("x", *SMALL["vllm"].names[1:])})
    with pytest.raises(SpecError, match=r"provenance\.weights: expected the blocks of the menu"):
        zp.quantize(wrong, size=10**6)


NATS = "nats per token"


@pytest.mark.parametrize(("loss", "unit", "cautions"), [(0.01, NATS, False), (2.0, NATS, True), (2.0, "", False)])
def test_a_large_predicted_divergence_is_told(loss: float, unit: str, cautions: bool, tmp_path: Path) -> None:
    """Sums of single losses of that size did not predict the whole."""
    found = SMALL["llama.cpp"]
    menu = replace(found, losses=tuple((loss,) * len(row) for row in found.losses), loss_unit=unit)
    path = str(zp.save_menu(menu, tmp_path / "menu.json"))
    result = CliRunner().invoke(app, ["quantize", path, "--bytes", "1MB", "-o", str(tmp_path / "plan.json")])
    assert result.exit_code == 0, result.output
    assert ("caution: a predicted divergence above 0.5 is large" in result.output) == cautions


PLANS = {
    "bytes": zp.quantize(SMALL["llama.cpp"], size=19_000),
    "fits": zp.quantize(SMALL["llama.cpp"], memory=33_000, context=90, kv="q8_0"),
    "bits": zp.quantize(SMALL["vllm"], bits_per_weight=5, floors={"layers.0.q_proj": "int4-g32"}),
}
EDITS: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "another limit": (("request", "limit", "value"), 21_000.0, "budget"),
    "bits": (("request", "limit", "form"), "bits_per_weight", "budget"),
    "a runtime that stores other sizes": (("menu", "provenance", "runtime"), "mlx", "choice"),
    "an unknown runtime": (("menu", "provenance", "runtime"), "none", "choice"),
    "no runtime": (("menu", "provenance", "runtime"), None, "choice"),
    "more entries kept": (("menu", "provenance", "others", "norm.weight"), 640, "budget"),
    "a matrix of another shape": (("menu", "provenance", "weights", "layers.0.q_proj", 0, "rows"), 96, "runtime"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_resealed_edit_of_the_limit_is_refused(edit: str) -> None:
    keys, new, check = EDITS[edit]
    assert check in failing(sealed(put(written(PLANS["bytes"]), keys, new)))


@pytest.mark.parametrize(("keys", "new"), [(("context",), 10), (("kv",), "f16"), (("value",), 40_000.0)])
def test_a_resealed_edit_of_the_cache_is_refused(keys: tuple[str], new: Any) -> None:
    assert "budget" in failing(sealed(put(written(PLANS["fits"]), ("request", "limit", *keys), new)))


def test_a_resealed_plan_without_its_ties_is_refused() -> None:
    """The proof of a choice without ties holds; only the rules of the runtime do not."""
    free = planner.planned(PLANS["bits"].menu, PLANS["bits"].request.model_copy(update={"groups": ()}))
    assert failing(written(free)) == {"runtime"}


def test_a_resealed_menu_with_smaller_sizes_is_refused() -> None:
    menu = PLANS["bytes"].menu
    cheap = tuple(tuple((cost // 2,) for (cost,) in block) for block in menu.costs)
    other = Menu(**{**vars(menu), "costs": cheap})
    assert failing(written(planner.planned(other, PLANS["bytes"].request))) == {"runtime"}


@pytest.mark.parametrize("name", PLANS)
def test_a_verifier_without_the_check_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: with the budget taken from the file, a wrong limit is believed."""
    value = written(PLANS[name])
    forged = sealed(put(value, ("request", "limit", "value"), value["request"]["limit"]["value"] * 2))
    assert failing(forged) == {"budget"}
    monkeypatch.setattr(planner, "budget_of", lambda menu, limit: value["request"]["budgets"][0])
    assert failing(forged) == set()


@pytest.fixture
def menu_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return SMALL["llama.cpp"].save("menu.json")


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_does_what_the_function_does_and_the_plan_is_verified_and_reported(menu_file: Path) -> None:
    line = ["quantize", menu_file, "--fits", "33kB", "--context", 90, "--kv", "q8_0", "-o", "plan.json"]
    result = run(*line)
    assert result.exit_code == 0, result.output
    plan = zp.load_choice("plan.json")
    assert plan.taken == PLANS["fits"].taken
    assert "plan for llama.cpp: 6 blocks" in result.output
    assert f"tensors: {sizes_of(plan).tensors:,} bytes" in result.output
    assert "cache: 6,120 bytes for 90 tokens in q8_0" in result.output  # 90 x 64 numbers, 34 bytes for 32
    assert "were not compared with a measurement" in result.output
    assert run("verify", "plan.json").exit_code == 0
    assert run("report", "plan.json", "-o", "report.html").exit_code == 0
    assert "q8_0" in Path("report.md").read_text()
    assert run(*line, "--quiet").output == ""
    assert json.loads(run(*line, "--json").output)["request"]["limit"]["kv"] == "q8_0"


def test_floors_pins_and_forbidden_formats_on_the_command_line(menu_file: Path) -> None:
    rules = ["--floor", "head=q6_k", "--pin", "embedding=q5_1", "--forbid", "layers.0.q_proj=q4_0"]
    assert run("quantize", menu_file, "--bytes", "1MB", *rules, "-o", "plan.json").exit_code == 0
    taken = zp.load_choice("plan.json").taken
    assert (taken["head"], taken["embed"]) in {("q8_0", "q5_1"), ("bf16", "q5_1")}
    assert taken["layers.0.q_proj"] != "q4_0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "limit: give exactly one"),
        (["--bytes", "many"], "bytes"),
        (["--bytes", "9"], "leave nothing; raise it"),
        (["--bits-per-weight", "x"], "Invalid value for '--bits-per-weight'"),
        (["--bits-per-weight", "4.5", "--floor", "head"], "--floor head: expected BLOCK=OPTION"),
        (["--bits-per-weight", "4.5", "--for", "vllm"], "for = 'vllm': it can load no format"),
        (["--fits", "1MB", "--kv", "f8"], "f8"),
        (["--fits", "1MB", "--context", "-1"], "context"),
    ],
)
def test_bad_input_is_one_line_and_no_file(arguments: list[str], message: str, menu_file: Path) -> None:
    result = run("quantize", menu_file, *arguments, "-o", "plan.json")
    assert result.exit_code == 2
    assert message in result.stderr.splitlines()[-1]
    assert not Path("plan.json").exists()
