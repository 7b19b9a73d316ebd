"""Refusal of models that are not plain causal language models, for which the scores would have another meaning.

The configuration excludes most of them without a pass. One pass shows whether a later token changes earlier logits.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from zetaplan.errors import ScoringError, ZetaplanError

REMEDY = "give a decoder-only causal language model, as AutoModelForCausalLM loads it"
MERGE = "merge it into the weights first: model = model.merge_and_unload()"


def require_causal(model: nn.Module) -> None:
    """Raise ScoringError for an unmerged adapter, an encoder, an encoder-decoder, or a model without a head."""
    _refuse_adapter(model)
    kind, config = type(model).__name__, getattr(model, "config", None)
    if isinstance(config, PreTrainedConfig):
        require_causal_config(config, kind)
        if getattr(model, "get_output_embeddings", lambda: None)() is None:
            raise ScoringError(f"model: {kind} has no language-model head, so it predicts no token; {REMEDY}")


def require_causal_config(config: PreTrainedConfig, kind: object) -> None:
    """Raise ScoringError for the configuration of an encoder or an encoder-decoder; `kind` is the name of the class."""
    if config.is_encoder_decoder:
        raise ScoringError(f"model: {kind} ({config.model_type}) is an encoder-decoder; {REMEDY}")
    # Some decoders have is_decoder = False too, but none of them is registered for masked language modelling.
    if getattr(config, "is_decoder", None) is False and config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        raise ScoringError(
            f"model: {kind} ({config.model_type}) is an encoder: with is_decoder = False every token attends to later "
            f"tokens; {REMEDY}"
        )


def require_unquantised(config: Any, model: object) -> None:
    """Raise ScoringError if a configuration says that the weights of this model are quantised."""
    if found := getattr(config, "quantization_config", None):
        method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
        raise ScoringError(
            f"model: {model} is already quantised, by {getattr(method, 'value', method)}; give the model that it was "
            "made from"
        )


def with_another_end(ids: Tensor) -> Tensor:
    """The tokens (1, T), and the same with another last token, (2, T)."""
    other = ids.clone()
    other[0, -1] = 1 if ids[0, -1] == 0 else 0
    return torch.cat([ids, other])


def require_no_leak(model: nn.Module, logits: Tensor) -> None:
    """Raise ScoringError if the last token changes the logits of an earlier place.

    logits : (2, T, V) of `with_another_end`, T >= 2, in the dtype of the model. The tolerance, relative to the change
    at the last place, is the square root of the machine epsilon: experts that receive other tokens may sum in another
    order.
    """
    change = (logits[0] - logits[1]).abs().amax(-1)
    if change[:-1].max() > torch.finfo(logits.dtype).eps ** 0.5 * change[-1]:
        raise ScoringError(
            f"model: the last token changes the logits of earlier places in {type(model).__name__}, so the model is no "
            f"causal language model; {REMEDY}"
        )


def auto_class(config: PreTrainedConfig) -> Any:
    """The class that loads a causal language model of this configuration, or one that also reads images or sound.

    None if transformers has no such model. The text model of a multimodal one is scored on text alone.
    """
    for auto, known in (
        (AutoModelForCausalLM, MODEL_FOR_CAUSAL_LM_MAPPING),
        (AutoModelForMultimodalLM, MODEL_FOR_MULTIMODAL_LM_MAPPING),
    ):
        if type(config) in known:
            return auto
    return None


@contextmanager
def told(model: nn.Module) -> Iterator[None]:
    """Convert every exception that the model's code raises in a pass to a ScoringError."""
    try:
        yield
    except ZetaplanError:
        raise
    except Exception as error:
        raise ScoringError(f"model: a pass of {type(model).__name__} fails: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """The class of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def few(names: Iterable[object], most: int = 3) -> str:
    """The first names in sorted order, and the number of the others."""
    ordered = sorted(map(str, names))
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")


def _refuse_adapter(model: nn.Module) -> None:
    peft: Any = sys.modules.get("peft")  # a process with an adapter has imported it
    if peft is None:
        return
    layers = peft.tuners.tuners_utils.BaseTunerLayer
    found = next((name for name, module in model.named_modules() if isinstance(module, layers)), None)
    if isinstance(model, peft.PeftModel) or found is not None:
        where = f"{found!r} holds a PEFT adapter" if found else f"{type(model).__name__} is a PEFT adapter"
        raise ScoringError(f"model: {where} that is not merged; its weights would count as the model's own; {MERGE}")
