"""The tools themselves read the exports of plans of formats, and the bits of every module are counted."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from tests.exports.architectures import tiny
from tests.exports.formatting import SIZES, drawn, plan_of
from zetaplan.exports import export
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.quantizers._integers import Integer
from zetaplan.models.weights import weights
from zetaplan.runtimes import vllm

SMALL = {**SIZES, "num_hidden_layers": 3}
ABSENT = "{} is not installed, so its own reading of the export is not compared; the rules restated in test_formats are"

Bits = dict[str, tuple[int, int, bool]]


def needed(module: str, tool: str, version: str) -> Any:
    return pytest.importorskip(module, reason=ABSENT.format(f"{tool} ({version})"))


def planned(to: str, kind: str = "llama", **changes: Any) -> tuple[nn.Module, dict[str, str], str]:
    """A model with weights, the format of every matrix, and the export."""
    torch.manual_seed(0)
    model = tiny(kind, device="cpu", **{**SMALL, **changes})
    formats = drawn(model, to, random.Random(7).choice)  # noqa: S311  # no secret
    return model, formats, export(plan_of(model, formats), to=to, model=model).text


def wanted(model: nn.Module, formats: dict[str, str]) -> Bits:
    """Bits, group (0: a row) and symmetry of every module that is quantised."""
    forms = {w.module: find_quantizer(formats[w.name]) for w in weights(model) if w.count == 1}
    return {name: (f.bits, f.group, f.symmetric) for name, f in forms.items() if isinstance(f, Integer)}


def test_torchao_quantises_to_the_planned_bits() -> None:
    needed("torchao", "torchao", "0.18")
    from torchao.core.config import config_from_dict
    from torchao.quantization import quantize_

    model, formats, text = planned("torchao")
    want, columns = wanted(model, formats), {w.module: w.columns for w in weights(model)}
    before = {name: stored.detach().clone() for name, stored in model.named_parameters()}
    quantize_(model, config_from_dict(json.loads(text)), filter_fn=None)
    found: Bits = {}
    for name, module in model.named_modules():
        stored: Any = getattr(module, "weight", None)
        if hasattr(stored, "qdata"):
            bits = int(str(stored.target_dtype).removeprefix("torch.int"))
            found[name] = (bits, stored.block_size[1], True)
            assert stored.qdata.int().abs().max() <= 2 ** (bits - 1)
            assert len(stored.qdata.unique()) > 2 ** (bits - 1)  # it uses the range
        elif stored is not None:
            assert torch.equal(stored, before[f"{name}.weight"])
    assert found == {name: (bits, group or columns[name], True) for name, (bits, group, _) in want.items()}
    assert len({bits for bits, _, _ in found.values()}) > 2


def test_compressed_tensors_packs_the_planned_bits_and_bytes() -> None:
    """Every linear gets its scheme, and is packed into exactly its bits."""
    needed("compressed_tensors", "compressed-tensors", "0.20.1")
    from compressed_tensors.compressors import compress_module
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    model, formats, text = planned("compressed-tensors")
    apply_quantization_config(model, QuantizationConfig.model_validate(json.loads(text)), show_progress=False)
    assert schemes_of(model) == wanted(model, formats)
    for weight in weights(model):
        module, form = model.get_submodule(weight.module), find_quantizer(formats[weight.name])
        if not isinstance(form, Integer):
            continue
        module.weight_scale.data.fill_(0.01)
        compress_module(module)
        stored = {key: p for key, p in module.state_dict().items() if key.startswith("weight_")}
        assert stored["weight_packed"].nbytes == weight.numel * form.bits // 8
        size = stored["weight_packed"].nbytes + 2 * stored["weight_scale"].numel()
        size += sum(stored[key].nbytes for key in ("weight_zero_point", "weight_shape") if key in stored)
        assert size == vllm.size(form, weight), form.label


def schemes_of(model: nn.Module) -> Bits:
    """Bits, group and symmetry of the schemes that compressed-tensors attaches to modules."""
    schemes: dict[str, Any] = {name: getattr(m, "quantization_scheme", None) for name, m in model.named_modules()}
    args = {name: scheme.weights for name, scheme in schemes.items() if scheme}
    return {name: (a.num_bits, max(a.group_size or 0, 0), a.symmetric) for name, a in args.items()}


def test_llm_compressor_gives_every_linear_its_scheme(tmp_path: Path) -> None:
    needed("llmcompressor", "llm-compressor", "0.14")
    from llmcompressor.recipe import Recipe

    model, formats, text = planned("llm-compressor")
    (tmp_path / "recipe.yaml").write_text(text)
    [modifier] = Recipe.create_instance(str(tmp_path / "recipe.yaml")).modifiers
    modifier.initialize_quantization(model)
    assert schemes_of(model) == wanted(model, formats)


def test_auto_round_resolves_the_planned_bits() -> None:
    needed("auto_round", "auto-round", "0.16.1")
    from auto_round.compressors.utils import set_layer_config
    from auto_round.utils.common import INNER_SUPPORTED_LAYER_TYPES, SUPPORTED_LAYER_TYPES

    model, formats, text = planned("auto-round")
    config, *_ = set_layer_config(
        model, json.loads(text), "W4A16", torch.float16, SUPPORTED_LAYER_TYPES, INNER_SUPPORTED_LAYER_TYPES
    )
    found = {n: (c["bits"], max(c["group_size"], 0), c["sym"]) for n, c in config.items() if c["bits"] <= 8}
    assert found == wanted(model, formats)


@pytest.mark.parametrize("kind", ["llama", "qwen3_moe"])
def test_modelopt_enables_the_planned_quantizers(kind: str) -> None:
    needed("modelopt", "nvidia-modelopt", "0.47")
    mtq = pytest.importorskip("modelopt.torch.quantization")
    model, formats, text = planned("modelopt", kind)
    want = wanted(model, formats)
    stacks = {w.name for w in weights(model) if w.count > 1 and isinstance(find_quantizer(formats[w.name]), Integer)}
    mtq.quantize(model, yaml.safe_load(text), lambda model: None)
    found: Bits = {}
    seen: set[str] = set()
    for name, module in model.named_modules():
        if "quantizer" not in name or not getattr(module, "is_enabled", False):
            continue
        if "_weight_quantizers" in name:
            seen.add(name.partition("_weight_quantizers")[0])
            continue
        assert name.endswith(".weight_quantizer")
        found[name.removesuffix(".weight_quantizer")] = (module.num_bits, (module.block_sizes or {}).get(-1, 0), True)
    assert found == want
    assert seen == stacks
    assert bool(stacks) == (kind == "qwen3_moe")


@pytest.mark.parametrize("kind", ["llama", "qwen3", "qwen3_moe"])
def test_mlx_quantises_every_path_to_the_planned_bits(kind: str) -> None:
    needed("mlx_lm", "mlx-lm", "0.32")
    pytest.importorskip("mlx.core")
    from mlx.utils import tree_flatten
    from mlx_lm.utils import _get_classes, quantize_model

    model, formats, text = planned("mlx", kind, tie_word_embeddings=kind == "qwen3")
    config = {**model.config.to_dict(), "rope_theta": 10000.0, "num_experts": 4}
    cls, args = _get_classes(config)
    theirs = cls(args.from_dict(config))
    q = json.loads(text)
    theirs, _ = quantize_model(
        theirs, config, q["group_size"], q["bits"], quant_predicate=lambda path, module: q.get(path, False)
    )
    found = {
        path: (module.bits, module.group_size, False)
        for path, module in tree_flatten(theirs.leaf_modules(), is_leaf=lambda m: hasattr(m, "parameters"))
        if hasattr(module, "bits")
    }
    want = wanted(model, formats)
    for stack in (w for w in weights(model) if w.count > 1):
        form = find_quantizer(formats[stack.name])
        if isinstance(form, Integer):
            parts = ("gate_proj", "up_proj") if stack.name.endswith("gate_up_proj") else ("down_proj",)
            parent = stack.module.removesuffix(".experts")
            want |= {f"{parent}.switch_mlp.{part}": (form.bits, form.group, False) for part in parts}
    assert found == want
