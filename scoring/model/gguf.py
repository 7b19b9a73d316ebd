"""GGUF files, de-quantised once into a folder of float32 safetensors in the cache, keyed by the file's sha256.

The folder is written under a temporary name and renamed when complete, so a killed run leaves no folder that a later
run could load as a model.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from zetaplan.errors import ScoringError
from zetaplan.scoring.folders import writing
from zetaplan.scoring.model.causal import few, one_line
from zetaplan.scoring.model.gguf_tensors import conversion, write_model

#: The types of numbers that are stored as they are.
PLAIN = frozenset({"f32", "f16", "bf16", "f64", "i8", "i16", "i32", "i64"})


def converted(file: Path, cache: str | PathLike[str] | None = None) -> tuple[Path, str]:
    """The model folder of a GGUF file, converted on first use, and the file's sha256."""
    sha256 = gguf_sha256(file)
    folder = (Path(cache) if cache else cache_folder()) / "gguf" / sha256
    if not os.path.isdir(folder):  # false, not an error, if the cache cannot be read
        _convert(file, folder)
    return folder, sha256


def gguf_config(file: Path) -> Any:
    """The configuration of a GGUF file, from its converted folder if there is one, else from its header."""
    folder = cache_folder() / "gguf" / gguf_sha256(file)
    with _told(file):
        if os.path.isdir(folder):  # the vocabulary in a header takes seconds to read
            return AutoConfig.from_pretrained(folder, local_files_only=True)
    _contents(file)
    with _told(file), _alone(file) as alone:
        return AutoConfig.from_pretrained(alone, gguf_file=file.name, local_files_only=True)


def gguf_sha256(file: Path) -> str:
    """The sha256 of a GGUF file, by which its converted folder is named. Raises ScoringError if there is no file."""
    if not os.path.isfile(file):
        raise ScoringError(f"model: there is no file {file}")
    return sha256_of(file)


def cache_folder() -> Path:
    """The folder of the cache: ZETAPLAN_CACHE, else zetaplan in XDG_CACHE_HOME or ~/.cache."""
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
        _dequantise(file, temporary)
        with writing(folder.parent):
            _rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:
        # Another process may have finished the same conversion first, with the same result.
        if not folder.is_dir():
            raise


def _dequantise(file: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file to a folder. Raises ScoringError if tensors are left over."""
    architecture, names = _contents(file)
    with _told(file), _alone(file) as alone:
        where = {"gguf_file": file.name, "local_files_only": True}
        config = AutoConfig.from_pretrained(alone, **where)
        tokenizer = AutoTokenizer.from_pretrained(alone, **where)
    with _told(file), writing(folder):
        model, absent = write_model(file, config, folder)
        tokenizer.save_pretrained(folder)
        unused = _unused(architecture, model, names)
    for what, found in (("lacks tensors of", absent), ("stores tensors that are not used in", unused)):
        if found:
            raise ScoringError(f"model: {file} {what} the model: {few(found)}; download or convert it again")


def quantised_types(file: str | PathLike[str]) -> list[str]:
    """The types of the quantised tensors of a GGUF file, such as "q4_1", one per tensor; headers alone are read."""
    with _told(Path(file)):
        from gguf import GGUFReader

        found = [tensor.tensor_type.name.lower() for tensor in GGUFReader(file).tensors]
    return [name for name in found if name not in PLAIN]


@contextmanager
def _alone(file: Path) -> Iterator[Path]:
    """A folder that holds nothing but a link to the file: transformers reads neighbours too, such as an adapter's."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / file.name).symlink_to(file.resolve())
        yield Path(folder)


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ScoringError(f"model: reading GGUF needs pip install 'zetaplan[gguf]': {one_line(error)}") from error
    except Exception as error:  # the readers raise bare errors of many kinds for a damaged file
        raise ScoringError(f"model: {file} is damaged or no GGUF model: {one_line(error)}") from error


def _contents(file: Path) -> tuple[str, list[str]]:
    """The architecture and the names of the tensors, read without any tensor. Raises ScoringError for other blocks."""
    with _told(file):
        from gguf import GGUFReader

        reader = GGUFReader(file)
        architecture = reader.fields["general.architecture"].contents()
        blocks = int(reader.fields[f"{architecture}.block_count"].contents())
        names = [tensor.name for tensor in reader.tensors]
    _require_blocks(file, blocks, names)
    return architecture, names


def _require_blocks(file: Path, blocks: int, names: Iterable[str]) -> None:
    """Raise ScoringError for missing or surplus blocks: transformers would fill or drop them silently."""
    stored = {int(found[1]) for name in names if (found := re.match(r"blk\.(\d+)\.", name))}
    if absent := sorted(set(range(blocks)) - stored):
        raise ScoringError(
            f"model: {file} declares {blocks} blocks and stores {len(stored)}: block {absent[0]} is missing; download "
            "or convert it again, and join a split file first (llama-gguf-split --merge)"
        )
    if beyond := sorted(stored - set(range(blocks))):
        raise ScoringError(
            f"model: {file} declares {blocks} blocks and stores {len(stored)}: block {beyond[0]} would be ignored; "
            "convert the model again"
        )


def _unused(architecture: str, model: Any, names: Iterable[str]) -> list[str]:
    """Tensors of blocks that transformers does not map to the model, without stacks of experts, which it splits."""
    known = _parameters(architecture, model)
    blocks = [name for name in names if name.startswith("blk.") and not re.search(r"_(exps|projs)\.", name)]
    return [name for name in blocks if name.removesuffix(".weight") not in known]


def _parameters(architecture: str, model: Any) -> dict[str, str]:
    """The parameter of every GGUF tensor that transformers maps, by the tensor's name without `.weight`."""
    _, names = conversion(architecture, model, model.config.to_dict())
    return {name.removesuffix(".weight"): parameter for name, parameter in names.items()}


def tensors_of(file: Path) -> tuple[Any, dict[str, str]]:
    """The reader of a GGUF file, and by the name of a tensor the parameter of the transformers model that it becomes.

    Tensors are read when they are used. transformers permutes and stacks the rows of some, and transposes some.

    Raises ScoringError if the file is no GGUF model that transformers knows.
    """
    if not os.path.isfile(file):
        raise ScoringError(f"model: there is no file {file}")
    with _told(file), _alone(file) as folder:
        from gguf import GGUFReader

        reader = GGUFReader(file)
        config = AutoConfig.from_pretrained(folder, gguf_file=file.name, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        known = _parameters(reader.fields["general.architecture"].contents(), model)
        names = [tensor.name for tensor in reader.tensors]
        return reader, {name: known[stem] for name in names if (stem := name.removesuffix(".weight")) in known}
