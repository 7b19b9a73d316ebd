"""compressed-tensors: the quantization_config of a checkpoint, which vLLM and transformers read."""

from __future__ import annotations

from zetaplan._files import canonical
from zetaplan._yaml import parsed_json
from zetaplan.exports.addresses import require_checkpoint_names
from zetaplan.exports.config_groups import config_groups, formats, read_groups
from zetaplan.exports.job import Group, Job
from zetaplan.exports.targets import Outline, Value

COUNTS, MODEL, FILE = ("formats",), True, "quantization_config.json"

METHOD = "compressed-tensors"


def settings(job: Job) -> dict[str, dict[str, Value]]:
    return {"config_groups": formats(job, METHOD, require_checkpoint_names)}


def write(job: Job) -> bytes:
    head = {"quant_method": METHOD, "format": "pack-quantized"}
    return canonical({**head, **config_groups(settings(job)["config_groups"])}).encode()


def read(data: bytes, model: Outline) -> tuple[Group, ...] | None:
    config = parsed_json(data)
    inner = config.get("quantization_config")
    config = inner if isinstance(inner, dict) else config
    return read_groups(config, model) if config.get("quant_method") == METHOD else None


def usage(job: Job, file: str) -> str:
    return (
        f"QuantizationConfig.model_validate(json.load(open({file!r}))), then apply_quantization_config(model, config); "
        "or quantize with `zetaplan export --to llm-compressor`, which takes the same groups"
    )
