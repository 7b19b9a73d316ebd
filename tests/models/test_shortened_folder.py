"""Models without decoder layers: the stored model computes what the whole one does with these layers left out."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests import decoders
from tests.decoders import tiny_decoder
from tests.tiny_models import byte_tokenizer
from zetaplan.errors import SpecError
from zetaplan.menus.layers import left_out_by
from zetaplan.menus.menu import Menu
from zetaplan.menus.plan import ChoicePlan
from zetaplan.menus.planner import choose
from zetaplan.models import leave_out as leaving
from zetaplan.models.shortened_folder import save_shortened
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.model.blocks import decoder_layers
from zetaplan.scoring.model.causal import auto_class

DEPTH, SHA = 4, "0" * 64

IDS = torch.randint(0, 22, (3, 20), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _four_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(decoders.OWN, "gpt_neo", {"attention_types": [[["global", "local"], 2]]})
    for name, size in decoders.SMALL.items():
        if size == 2 and "layer" in name:
            monkeypatch.setitem(decoders.SMALL, name, DEPTH)


def plan_without(names: Collection[str], gone: Collection[str], **facts: Any) -> ChoicePlan:
    """A plan of layers in which only leaving out these costs nothing."""
    menu = Menu(
        tuple(names),
        (("drop", "keep"),) * len(names),
        tuple((0.0 if name in gone else 1.0, 0.0) for name in names),
        (((0.0,), (1.0,)),) * len(names),
        provenance={"decides": "layers", "model": "tiny", "model_sha256": SHA} | facts,
    )
    return choose(menu, len(names) - len(gone))


def shortened(model: PreTrainedModel, places: Collection[int], folder: Path) -> dict[str, Any]:
    names = [name for name, _ in decoder_layers(model)]
    plan = plan_without(names, [names[place] for place in places])
    return save_shortened(loaded(model), plan, folder)


def loaded(model: nn.Module) -> LoadedModel:
    return LoadedModel(model, byte_tokenizer(), "tiny", SHA, "tiny", "directory")


def logits_without(model: PreTrainedModel, places: Collection[int]) -> Tensor:
    """The logits of the whole model with hooks that undo what these layers do."""

    def undone(_: nn.Module, args: Any, options: Any, found: Any) -> Any:
        hidden = args[0] if args else options["hidden_states"]
        return (hidden, *found[1:]) if isinstance(found, tuple) else hidden

    hooks = [decoder_layers(model)[place][1].register_forward_hook(undone, with_kwargs=True) for place in places]
    try:
        with torch.no_grad():
            return model(input_ids=IDS, use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()


def stored(folder: Path, model: PreTrainedModel) -> PreTrainedModel:
    found: PreTrainedModel = auto_class(model.config).from_pretrained(folder, local_files_only=True).eval()
    return found


WORKS = [
    *((kind, (0, 3)) for kind in ("llama", "gpt2", "qwen3", "phi3", "mixtral", "opt", "mamba2")),
    *((kind, (1,)) for kind in ("llama", "gemma2", "gemma3_text", "qwen3_moe", "gpt_oss", "qwen3_next", "smollm3")),
    *((kind, (0,)) for kind in ("llama4_text", "gpt_neo")),
    ("deepseek_v3", (2,)),
    ("llava", (1,)),
]


@pytest.mark.parametrize(("kind", "places"), WORKS)
def test_the_stored_model_has_the_logits_of_the_whole_one_without_the_layers(
    kind: str, places: tuple[int, ...], tmp_path: Path
) -> None:
    model = tiny_decoder(kind)
    names = [name for name, _ in decoder_layers(model)]
    expected = logits_without(model, places)
    facts = shortened(model, places, tmp_path / "out")
    found = stored(tmp_path / "out", model)
    assert len(decoder_layers(found)) == DEPTH - len(places)
    with torch.no_grad():
        logits = found(input_ids=IDS, use_cache=False).logits
    assert (logits - expected).norm() <= 1e-5 * expected.norm()
    assert facts["left_out"] == [names[place] for place in places]
    assert facts["layers"] == [name for name in names if name not in facts["left_out"]]
    assert json.loads((tmp_path / "out" / "zetaplan.json").read_text()) == facts
    assert f"without {len(places)} of its {DEPTH} decoder layers" in (tmp_path / "out" / "README.md").read_text()
    assert_generates(found)


def assert_generates(model: PreTrainedModel) -> None:
    """The cache numbers its layers from 0 without gaps: greedy tokens are those of passes without a cache."""
    settings: Any = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    mask = torch.ones_like(IDS)
    kept, plain = (model.generate(IDS, attention_mask=mask, use_cache=use, **settings) for use in (True, False))
    assert kept.shape == (3, 26)
    assert torch.equal(kept, plain)


REFUSED = [
    ("diffllama", {}, (0,), "layer 'model.layers.1' would have self_attn.lambda_init = "),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, (0,), "would have attn.scaling = "),
    ("minicpm3", {}, (2,), "would have residual_scale = "),
    ("deepseek_v3", {}, (0,), "the weights of the new folder do not fit its config|would have"),
    ("llama4_text", {"moe_layers": [1, 3]}, (0,), "the weights of the new folder do not fit its config"),
    ("gemma3n_text", {}, (2,), "cannot be stored without"),
    ("gemma4_text", {}, (2,), "cannot be stored without"),
]


@pytest.mark.parametrize(("kind", "more", "places", "said"), REFUSED)
def test_an_architecture_whose_config_cannot_describe_the_rest_is_refused(
    kind: str, more: dict[str, object], places: tuple[int, ...], said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setitem(decoders.OWN, kind, decoders.OWN.get(kind, {}) | more)
    model = tiny_decoder(kind)
    with pytest.raises(SpecError, match=said) as refused:
        shortened(model, places, tmp_path / "out")
    assert f"{type(model).__name__} cannot be stored without" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert str(tmp_path) not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_only_the_comparison_finds_a_layer_that_uses_its_number(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(decoders.OWN, "gpt2", {"scale_attn_by_inverse_layer_idx": True})
    monkeypatch.setattr(leaving.Expected, "require_stored", lambda *_, **__: None)
    model = tiny_decoder("gpt2")
    expected = logits_without(model, (0,))
    shortened(model, (0,), tmp_path / "out")
    with torch.no_grad():
        wrong = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()(input_ids=IDS).logits
    assert (wrong - expected).norm() > 1e-3 * expected.norm()


def test_another_layer_than_planned_is_found(tmp_path: Path, monkeypatch: Any) -> None:
    own = leaving.leave_out
    monkeypatch.setattr(
        "zetaplan.models.shortened_folder.leave_out",
        lambda model, _: own(model, [decoder_layers(model)[3][0]]),
    )
    with pytest.raises(SpecError, match="its logits would differ by"):
        shortened(tiny_decoder("llama"), (1,), tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("gemma2", r"layer 'model.layers.1' would have .*(sliding|attention)"),
        ("gpt_neo", "h.1' would have attn.attention_type = "),
    ],
)
def test_a_window_longer_than_the_text_is_compared_by_the_settings(
    kind: str, said: str, tmp_path: Path, monkeypatch: Any
) -> None:
    """A window of 40 tokens changes no logit of 16, so only the settings of the layers show that it moved."""
    own = leaving._shorten
    for name in ("sliding_window", "window_size"):
        monkeypatch.setitem(decoders.SMALL, name, 40)
    monkeypatch.setattr(leaving, "_shorten", lambda config, depth, staying: own(config, depth, range(len(staying))))
    with pytest.raises(SpecError, match=said):
        shortened(tiny_decoder(kind), (0,), tmp_path / "out")


def test_a_mask_longer_than_the_text_is_compared(tmp_path: Path) -> None:
    model = tiny_decoder("llama")
    decoder_layers(model)[2][1].register_buffer("mask", torch.ones(40), persistent=False)
    with pytest.raises(SpecError, match=r"layer 'model.layers.2' would have mask = None instead of"):
        shortened(model, (1,), tmp_path / "out")


def test_lists_with_an_entry_per_layer_are_shortened_and_tokens_are_not() -> None:
    model = tiny_decoder("gemma2")
    model.config.eos_token_id = [1, 2, 3, 4]
    kinds = list(model.config.layer_types)
    leaving.leave_out(model, ["model.layers.1"])
    assert model.config.layer_types == [kinds[0], *kinds[2:]]
    assert (model.config.num_hidden_layers, model.config.eos_token_id) == (3, [1, 2, 3, 4])


def test_the_number_type_is_kept(tmp_path: Path) -> None:
    shortened(tiny_decoder("llama").bfloat16(), (1,), tmp_path / "out")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == torch.bfloat16


NAMES = [f"model.layers.{place}" for place in range(DEPTH)]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (plan_without([*NAMES, "model.layers.9"], NAMES[:1]), "layer 'model.layers.9' is not in the model"),
        (plan_without(NAMES[:3], NAMES[:1]), "layer 'model.layers.3' of the model is not in it"),
        (plan_without([f"h.{place}" for place in range(4)], ["h.0"]), r"layer 'h.0' is not in the model \(and 7 more"),
        (plan_without(NAMES, []), "it leaves out 0 of 4 layers"),
        (plan_without(NAMES, NAMES), "it leaves out 4 of 4 layers"),
        (plan_without(NAMES, NAMES[:1], decides="bits"), "it leaves out no layers; make one with"),
        (plan_without(NAMES, NAMES[:1], method="wanda"), "menu.provenance.method"),
        (plan_without(NAMES, NAMES[:1], model_sha256=3), "menu.provenance.model_sha256"),
    ],
)
def test_a_plan_of_something_else_is_refused_before_the_model_changes(
    plan: ChoicePlan, said: str, tmp_path: Path
) -> None:
    model = tiny_decoder("llama")
    with pytest.raises(SpecError, match=said):
        save_shortened(loaded(model), plan, tmp_path / "out")
    assert len(decoder_layers(model)) == DEPTH
    assert not list(tmp_path.iterdir())


def test_options_of_another_kind_are_refused() -> None:
    facts = {"decides": "layers", "model": "tiny", "model_sha256": SHA}
    menu = Menu(("a",), (("q4_0", "keep"),), ((0.0, 1.0),), (((0.0,), (1.0,)),), provenance=facts)
    with pytest.raises(SpecError, match="'a' takes 'q4_0'; expected 'drop' or 'keep'"):
        left_out_by(choose(menu, 1))


def test_other_weights_than_the_measured_ones_are_noted(tmp_path: Path) -> None:
    model = tiny_decoder("llama")
    plan = plan_without(NAMES, NAMES[1:2], model_sha256="1" * 64)
    assert save_shortened(loaded(model), plan, tmp_path / "out")["note"] == "the plan was measured with another model"
