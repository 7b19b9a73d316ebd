"""GGUF files, de-quantised once into a folder of float32 safetensors in the cache, keyed by the file's sha256.

The folder is written under a temporary name and renamed when complete: a run that is killed leaves nothing that a later
run would take for a model.
"""

import hashlib
import os
import shutil
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from zetaplan.errors import ScoringError
from zetaplan.scoring.folders import writing


def converted(file: Path, cache: str | PathLike[str] | None = None) -> tuple[Path, str]:
    """The model folder of a GGUF file, converted on first use, and the file's sha256."""
    if not os.path.isfile(file):
        raise ScoringError(f"model: there is no file {file}")
    sha256 = sha256_of(file)
    folder = (Path(cache) if cache else cache_folder()) / "gguf" / sha256
    if not os.path.isdir(folder):  # false, not an error, where the cache cannot be read
        _convert(file, folder)
    return folder, sha256


def cache_folder() -> Path:
    """ZETAPLAN_CACHE, else zetaplan in XDG_CACHE_HOME or ~/.cache."""
    if override := os.environ.get("ZETAPLAN_CACHE"):
        return Path(override)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zetaplan"


def sha256_of(file: Path) -> str:
    """sha256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _convert(file: Path, folder: Path) -> None:
    with writing(folder.parent):
        temporary = Path(tempfile.mkdtemp(prefix=".incomplete-", dir=folder.parent))
    try:
        model, tokenizer = _dequantised(file)
        with writing(folder.parent):
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            _rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        # Another process may have finished the same conversion first; its result is as good.
        if not folder.is_dir():
            raise


def _dequantised(file: Path) -> tuple[Any, Any]:
    # Versions of transformers without GgufConfig always de-quantise.
    config = getattr(transformers, "GgufConfig", None)
    options = {"quantization_config": config(dequantize=True)} if config else {}
    where = {"gguf_file": file.name, "local_files_only": True}
    try:
        model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where, **options)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    except ImportError as error:
        raise ScoringError(f"model: reading GGUF needs pip install 'zetaplan[gguf]': {error}") from error
    except Exception as error:  # the reader raises bare errors of many kinds for a damaged file
        raise ScoringError(f"model: {file} is damaged or no GGUF model: {type(error).__name__}: {error}") from error
    # The weights are plain now; left in the config, this would have the folder read as quantised.
    model.hf_quantizer = None
    model.config.__dict__.pop("quantization_config", None)
    return model, tokenizer
