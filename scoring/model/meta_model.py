"""Models without weights: modules, names and shapes on the meta device, from config.json alone."""

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.causal import auto_class, one_line, require_unquantised
from zetaplan.scoring.model.gguf import gguf_config, gguf_sha256
from zetaplan.scoring.model.load import _hub_snapshot, _locate, gguf_file, require_model_folder


def meta_model(source: str | PathLike[str]) -> Any:
    """The transformers model that `source` describes, on the meta device.

    source: a source that `load_model` accepts; a directory needs only config.json, and a GGUF file is not converted.

    Raises:
        ScoringError: the source does not exist, or has no config of a causal language model.
    """
    try:
        config = _config(source)
        with torch.device("meta"):
            return auto_class(config).from_config(config, trust_remote_code=False).eval()
    except ScoringError:
        raise
    except Exception as error:  # the library raises bare errors of many kinds for a damaged folder
        raise ScoringError(f"model: {source} has no usable config.json: {one_line(error)}") from error


def _config(source: str | PathLike[str]) -> Any:
    path = gguf_file(source)
    if path.suffix == ".gguf":
        return gguf_config(path)
    folder = _folder(source)
    require_model_folder(folder)
    return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _folder(source: str | PathLike[str]) -> Path:
    path = gguf_file(source)
    return path if path.is_dir() else _hub_snapshot(str(source))


def fingerprint(source: str | PathLike[str]) -> str:
    """The sha256 by which `load_model` identifies the weights, without loading them.

    Raises ScoringError like `load_model`.
    """
    path = gguf_file(source)
    return gguf_sha256(path) if path.suffix == ".gguf" else _locate(source, None)[2]


def require_dense(source: str | PathLike[str]) -> None:
    """Raise ScoringError if the weights of a folder are stored quantised. A GGUF file is read de-quantised."""
    if gguf_file(source).suffix == ".gguf":
        return
    folder = _folder(source)
    require_model_folder(folder)
    require_unquantised(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False), source)
