"""What `score` refuses, with a message that names the culprit, and the model left as it was."""

import pytest
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, PromptTuningConfig, get_peft_model
from torch import nn
from transformers import (
    BertConfig,
    BertGenerationConfig,
    BertGenerationDecoder,
    BertLMHeadModel,
    LlamaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from tests.tiny_models import tiny_llama
from zetaplan.errors import ScoringError
from zetaplan.scoring import score

IDS = {"input_ids": torch.randint(0, 23, (3, 8), generator=torch.Generator().manual_seed(0))}


@pytest.fixture
def model():
    return tiny_llama(hidden=8, vocabulary=23).train()


def refuse(model, message, batches=(IDS,), **options):
    with pytest.raises(ScoringError, match=message):
        score(model, batches, **options)


class Noise(nn.Linear):
    """Draws random numbers in evaluation mode."""

    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


class Overflow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")


class Passing(Overflow):
    """Without a forward derivative, as the GELU of BLOOM."""

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def overflow(module, args, output):
    return Overflow.apply(output)


class Unchanged(nn.Module):
    def forward(self, hidden_states, **options):
        return hidden_states


def test_a_layer_without_linears_is_in_no_block(model):
    model.model.layers[1] = Unchanged()
    assert score(model, (IDS,)).names == ("model.layers.0",)
    model.model.layers[0] = Unchanged()
    refuse(model, r"no decoder layer of LlamaForCausalLM has a linear module \(nn.Linear or Conv1D\) or experts")


def test_nan_weights_are_named(model):
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    refuse(model, r"loss of sequence 0 is nan; parameter 'model.layers.1.mlp.up_proj.weight' holds non-finite values")


def test_a_gradient_that_is_not_finite_names_the_module(model):
    model.model.layers[1].mlp.register_forward_hook(overflow)
    refuse(model, "gradient at module 'model.layers.1.mlp.down_proj' is not finite")


def differentiated(model, found):
    """|g|^2 of every scored layer, by differentiation of the mean loss of single sequences."""
    own = [
        [p for name, p in model.named_parameters() if name.startswith(f"{block}.") and name not in found.left_out]
        for block in found.names
    ]
    ids, flat = IDS["input_ids"], [p for several in own for p in several]
    logs = [model(input_ids=row[None], use_cache=False).logits[0, :-1].log_softmax(-1) for row in ids]
    loss = -sum(log.gather(1, row[1:, None]).mean() for log, row in zip(logs, ids, strict=True)) / len(ids)
    squares = iter([float(g.square().sum()) for g in torch.autograd.grad(loss, flat, materialize_grads=True)])
    return [sum(next(squares) for _ in several) for several in own]


def test_a_norm_used_twice_is_scored_with_both_uses(model):
    layers = model.model.layers
    layers[1].input_layernorm = layers[0].input_layernorm
    found = score(model, (IDS,), curvature="gradient")
    assert not [name for name in found.left_out if "layers" in name]
    assert found.gain == pytest.approx(differentiated(model, found), rel=1e-4)
    named = dict(model.named_parameters())
    outside = sum(named[name].numel() for name in found.left_out)
    assert sum(found.parameters) + outside == sum(parameter.numel() for parameter in named.values())


def test_a_weight_tied_to_the_embedding(model):
    model.model.layers[0].mlp.up_proj.weight = model.model.embed_tokens.weight
    refuse(model, "module 'model.layers.0.mlp.up_proj' shares a weight with 'model.embed_tokens', which is in no block")


def test_a_weight_tied_to_a_module_with_a_bias(model):
    gate = model.model.layers[0].mlp.gate_proj = nn.Linear(8, 16)
    model.model.layers[1].mlp.gate_proj.weight = gate.weight
    refuse(model, "module 'model.layers.0.mlp.gate_proj' shares a weight with 'model.layers.1.mlp.gate_proj', which")


def test_modules_that_no_gradient_reaches_are_left_out_by_name_and_plans_count_them(model):
    model.model.layers[1].mlp.register_forward_hook(lambda module, args, output: output.detach())
    found = score(model, (IDS,), curvature="gradient")
    lost = {f"model.layers.1.{name}.weight" for name in ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")}
    lost.add("model.layers.1.post_attention_layernorm.weight")
    assert {name for name in found.left_out if "layers" in name} == lost
    assert found.linear_parameters[0] == found.linear_parameters[1] > found.parameters[1]
    assert found.gain == pytest.approx(differentiated(model, found), rel=1e-4)
    by_module = score(model, (IDS,), blocks="modules")
    assert not [name for name in by_module.names if name.startswith("model.layers.1.mlp")]


def test_random_numbers_in_evaluation_mode(model):
    layer = model.model.layers[0].mlp
    layer.up_proj = Noise(8, 16)
    refuse(model, "two passes of the same sequence gave the losses")


def test_rows_that_belong_to_no_sequence_are_differentiated(model):
    model.model.layers[0].mlp.up_proj = nn.Sequential(nn.Linear(8, 16))
    inner = model.model.layers[0].mlp.up_proj[0]
    inner.forward = lambda x: nn.functional.linear(x.flatten(0, 1)[::2], inner.weight)
    model.model.layers[0].mlp.up_proj.register_forward_hook(
        lambda module, args, output: output.repeat_interleave(2, 0).view(*args[0].shape[:2], -1)
    )
    found = score(model, (IDS,), curvature="gradient")
    assert not [name for name in found.left_out if "layers" in name]
    assert found.gain == pytest.approx(differentiated(model, found), rel=1e-4)


def test_an_operation_without_a_forward_derivative(model):
    model.model.layers[1].mlp.register_forward_hook(lambda module, args, output: Passing.apply(output))
    score(model, (IDS,))
    refuse(model, r"has no derivative for products with H .*jvp.*; use a one-pass surrogate", curvature="ggn")


def test_a_model_that_is_not_a_language_model():
    refuse(nn.Linear(2, 2), "expected one list of num_hidden_layers = None decoder layers in Linear")


def test_unknown_partition(model):
    refuse(model, "blocks: expected one of layers, modules, experts, got 'heads'", blocks="heads")


def test_unknown_dtype(model):
    refuse(model, "dtype: expected float32, bfloat16, float64 or a floating torch dtype, got 'int8'", dtype="int8")


def test_one_sequence_is_too_few(model):
    refuse(model, "at least two sequences", batches=[{"input_ids": IDS["input_ids"][:1]}])


def test_no_batches(model):
    refuse(model, "at least two sequences", batches=[])


def test_a_sequence_without_labels(model):
    labels = IDS["input_ids"].clone()
    labels[1, 1:] = -100
    refuse(model, "sequence 1 of a batch has no label to predict", batches=[{**IDS, "labels": labels}])


def test_shapes_must_agree(model):
    refuse(model, r"must share one shape \(B, T\), got", batches=[{**IDS, "labels": IDS["input_ids"][:, 1:]}])


def test_a_batch_without_ids(model):
    refuse(model, "a batch needs input_ids", batches=[{"labels": IDS["input_ids"]}])


def test_what_would_be_ignored(model):
    packed = {**IDS, "position_ids": torch.arange(8).expand(3, 8)}
    refuse(model, "position_ids would be ignored; remove it, and give packed sequences separately", batches=[packed])


def test_batch_size_must_be_positive(model):
    refuse(model, "batch_size: expected at least 1, got 0", batch_size=0)


def test_the_model_is_restored_after_a_failure(model):
    model.model.layers[1].mlp.register_forward_hook(overflow)
    hooks = [(m.training, len(m._forward_hooks)) for m in model.modules()]
    refuse(model, "not finite")
    assert [(m.training, len(m._forward_hooks)) for m in model.modules()] == hooks
    assert all(p.requires_grad for p in model.parameters())


def test_an_encoder_is_refused():
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder = BertLMHeadModel(BertConfig(vocab_size=23, **sizes))
    refuse(encoder, r"BertLMHeadModel \(bert\) is an encoder: with is_decoder = False every token attends")
    decoder = BertLMHeadModel(BertConfig(vocab_size=23, is_decoder=True, **sizes))
    assert (score(decoder, (IDS,)).gain > 0).all()
    known_by_a_pass = BertGenerationDecoder(BertGenerationConfig(vocab_size=23, **sizes))
    refuse(known_by_a_pass, "the last token changes the logits of earlier places in BertGenerationDecoder")
    translator = T5ForConditionalGeneration(
        T5Config(vocab_size=23, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2, decoder_start_token_id=0)
    )
    refuse(
        translator,
        r"T5ForConditionalGeneration \(t5\) is an encoder-decoder; give a decoder-only causal",
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_model_that_looks_ahead_is_refused_whatever_its_configuration(model, dtype):
    model.model.layers[0].register_forward_hook(lambda module, args, output: output + output.roll(-1, dims=1))
    refuse(model.to(dtype), "the last token changes the logits of earlier places in LlamaForCausalLM, so the model is")


def test_a_model_without_a_head_is_refused(model):
    refuse(model.model, "LlamaModel has no language-model head, so it predicts no token; give a decoder-only causal")
    classifier = LlamaForSequenceClassification(model.config)
    refuse(classifier, "LlamaForSequenceClassification has no language-model head")


ADAPTERS = [LoraConfig(r=2), IA3Config(), LoHaConfig(r=2), PromptTuningConfig(num_virtual_tokens=2)]


@pytest.mark.parametrize("config", ADAPTERS, ids=lambda config: type(config).__name__)
def test_an_adapter_that_is_not_merged_is_refused(model, config):
    config.task_type = "CAUSAL_LM"
    if hasattr(config, "target_modules"):
        config.target_modules = ["q_proj", "v_proj", "down_proj"]
    if isinstance(config, IA3Config):
        config.feedforward_modules = ["down_proj"]
    adapted = get_peft_model(model, config)
    for given in (adapted, adapted.base_model)[: 1 if isinstance(config, PromptTuningConfig) else 2]:
        refuse(given, r"PEFT adapter that is not merged; .*; merge it into the weights first: model = model.merge_")
    if isinstance(config, LoraConfig):
        merged = adapted.merge_and_unload()
        assert len(score(merged, (IDS,), blocks="modules").names) == 14


def test_what_the_code_of_a_model_raises_is_one_line(model):
    def broken(module, args):
        raise KeyError("a name\nand more")

    model.model.layers[1].register_forward_pre_hook(broken)
    refuse(model, r"^model: a pass of LlamaForCausalLM fails: KeyError: 'a name\\nand more'$")
