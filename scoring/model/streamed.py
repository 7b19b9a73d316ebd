"""Models larger than memory: the weights of a decoder layer are in memory only while the layer computes.

A streamed model is the transformers model itself. Its embeddings, final norm and head are loaded; the files are mapped
into memory, so that only the rows that are used are read. The parameters of its decoder layers hold no values until the
layer is called, and none after the call. What holds no values is not a number, so that no code mistakes it for weights.

A step that changes weights does so while they are in memory, and then stores those of the whole layer in the folder of
`changeable`, from which they are read from then on. A step that tries other weights gives a rule for every parameter
(`Deferred`), which is applied each time that its layer is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig
from transformers.initialization import no_init_weights

from zetaplan.errors import ScoringError
from zetaplan.scoring.model.blocks import decoder_layers
from zetaplan.scoring.model.causal import auto_class, few, one_line
from zetaplan.scoring.model.stored import Stored, named

REMEDY = "load it whole, without stream"

ATTRIBUTE = "streamed_weights"

CHANGES = (
    "model: its weights are read layer by layer, and this step changes or differentiates several layers at once; "
    f"{REMEDY}"
)


#: What is stored of parameters, by name, in place of their values.
Form = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Deferred:
    """Other values of a parameter, computed from the stored weights while these are in memory."""

    compute: Callable[[], Tensor]


class Streamed:
    """The stored weights of the decoder layers of a model.

    sha256 : of the stored weights. folder : of changed weights; None if none may be changed.
    """

    def __init__(self, own: Mapping[nn.Module, Mapping[str, Tensor]], stored: Stored, sha256: str) -> None:
        self._own, self._stored, self.sha256 = own, stored, sha256
        self.folder: Path | None = None
        self._kept: dict[nn.Module, Path] = {}
        self._form: Form | None = None
        self._packed: set[int] = set()
        self._deferred: Mapping[int, Deferred] = {}
        for layer, values in own.items():
            for value in values.values():
                value.data = _blank(value)
            layer.forward = self._reading(layer, layer.forward)

    @contextmanager
    def in_memory(self, layer: nn.Module) -> Iterator[None]:
        """The layer with its weights. Values that are there already, replaced ones too, stay as they are."""
        read = {name: value for name, value in self._own[layer].items() if is_blank(value)}
        if not self._packed.isdisjoint(map(id, read.values())):
            raise ScoringError(f"stream: the model needs weights again after they are packed; {REMEDY}")
        try:
            self._stored.read_into(read)
            self._replace(read.values())
            yield
        finally:
            for value in read.values():
                value.data = _blank(value)

    def _replace(self, read: Iterable[Tensor]) -> None:
        """Give the values that were read those that are deferred; all are computed before the first is set."""
        asked = [(value, self._deferred[id(value)]) for value in read if id(value) in self._deferred]
        found = [(value, rule.compute()) for value, rule in asked]
        for value, new in found:
            value.data = new.detach().reshape(value.shape).to(value)

    @contextmanager
    def as_stored(self, layer: nn.Module) -> Iterator[None]:
        """The layer with its stored weights; afterwards it has the values from before."""
        own = self._own[layer]
        before = {name: value.data for name, value in own.items()}
        try:
            self._stored.read_into(own)
            yield
        finally:
            for name, value in own.items():
                value.data = before[name]

    @contextmanager
    def deferring(self, values: Mapping[int, Deferred]) -> Iterator[None]:
        """Layers are read with these values of their parameters, by the ids of these."""
        before, self._deferred = self._deferred, values
        try:
            yield
        finally:
            self._deferred = before

    @contextmanager
    def changeable(self, folder: Path, form: Form | None) -> Iterator[None]:
        """Allow changes of the weights, which are stored in the folder, in this form if there is one."""
        self.folder, self._kept, self._form, self._packed = folder, {}, form, set()
        try:
            yield
        finally:
            self.folder = self._form = None

    def keep(self, layer: nn.Module, names: Mapping[int, str]) -> None:
        """Store the weights of a layer that is in memory. names : what they are stored as, by their ids.

        Weights that belong to several layers are stored with the first of them.
        """
        folder, before = _required(self.folder), self._kept.get(layer)
        others = {file for file in self._kept.values() if file != before}
        own = self._own[layer].items()
        values = {names[id(value)]: value for name, value in own if self._stored.file_of(name) not in others}
        file = folder / f"layer-{len(self._kept):05d}-{token_hex(4)}.safetensors"
        if self._form:
            self._packed |= {id(value) for value in self._own[layer].values()}
            values = dict(self._form(values))
        self._stored.write(values, file)
        self._kept[layer] = file
        if before:  # its values may still be mapped into memory, so that it cannot be written to
            before.unlink()

    def is_kept(self, layer: nn.Module) -> bool:
        """Whether the weights of the layer are stored in the folder of changed weights."""
        return layer in self._kept

    def _reading(self, layer: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The method `forward` with the weights in memory."""

        @wraps(forward)
        def reading(*args: Any, **options: Any) -> Any:
            own = self._own[layer].values()
            if any(map(is_blank, own)) and _differentiated((*own, *args, *options.values())):
                raise ScoringError(f"stream: this step differentiates the whole model at once; {REMEDY}")
            with self.in_memory(layer):
                return forward(*args, **options)

        return reading


def streamed_model(folder: Path, source: object, dtype: torch.dtype | None, sha256: str) -> tuple[Any, set[str]]:
    """The streamed model of a folder, and the names of stored tensors that it does not use.

    Raises ScoringError if the folder is damaged, or stores the weights under other names than the model has them.
    """
    try:
        stored = Stored(folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with no_init_weights():  # memory that is not written to is not taken
            model = auto_class(config).from_config(config, dtype=dtype or config.dtype, trust_remote_code=False)
        model.tie_weights()
    except Exception as error:  # the library raises bare errors of many kinds for a damaged folder
        raise ScoringError(f"model: transformers cannot load {source}: {one_line(error)}") from error
    if getattr(config, "quantization_config", None):
        raise ScoringError(f"stream: {source} stores quantised weights, which are not read layer by layer; {REMEDY}")
    if absent := stored.assign(model):
        raise ScoringError(
            f"stream: {source} does not store {few(absent, 1)} in a form that can be read layer by layer; {REMEDY}"
        )
    names = {id(value): name for name, value in named(model)}
    own = {
        layer: {names[id(value)]: value for value in layer.parameters() if value.numel() > 1}
        for _, layer in decoder_layers(model)
    }
    inside = {name for values in own.values() for name in values}
    stored.read_into({name: value for name, value in named(model) if name not in inside})
    setattr(model, ATTRIBUTE, Streamed(own, stored, sha256))
    return model.eval(), stored.unused


def streamed(model: nn.Module) -> Streamed | None:
    """The stored weights of a streamed model; None for another model."""
    return getattr(model, ATTRIBUTE, None)


def require_loaded(model: nn.Module) -> None:
    """Raise ScoringError for a streamed model, before a step that needs several layers in memory."""
    if streamed(model):
        raise ScoringError(CHANGES)


def require_changeable(model: nn.Module) -> None:
    """Raise ScoringError for a streamed model without a folder for changed weights."""
    if found := streamed(model):
        _required(found.folder)


@contextmanager
def changeable(model: nn.Module, folder: Path, form: Form | None = None) -> Iterator[None]:
    """Allow changes of the weights of a streamed model, which are stored in this folder by `keep`.

    form : makes what is stored of a layer, once, from its parameters; None for their values.
    """
    found = streamed(model)
    with found.changeable(folder, form) if found else nullcontext():
        yield


def keep(model: nn.Module, layer: nn.Module) -> None:
    """Store the weights of a layer of a streamed model as they are now, and read them from there from now on."""
    if found := streamed(model):
        with found.in_memory(layer):
            found.keep(layer, {id(value): name for name, value in reversed(named(model))})


def keep_rest(model: nn.Module) -> None:
    """Store the weights of all layers of a streamed model that are not yet stored."""
    found = streamed(model)
    for _, layer in decoder_layers(model):
        if found and not found.is_kept(layer):
            keep(model, layer)


@contextmanager
def deferring(model: nn.Module, values: Mapping[str, Deferred]) -> Iterator[None]:
    """Layers of a streamed model are read with these values of their parameters, by name."""
    found = streamed(model)
    own = {id(model.get_parameter(name)): value for name, value in values.items()}
    with found.deferring(own) if found and own else nullcontext():
        yield


def as_stored(model: nn.Module, layer: nn.Module) -> AbstractContextManager[None]:
    """A decoder layer with its stored weights, whatever is deferred."""
    found = streamed(model)
    return found.as_stored(layer) if found else nullcontext()


def in_memory(model: nn.Module, layer: nn.Module) -> AbstractContextManager[None]:
    """A decoder layer with its weights in memory."""
    found = streamed(model)
    return found.in_memory(layer) if found else nullcontext()


def _differentiated(values: Iterable[Any]) -> bool:
    return torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in values)


def _required(folder: Path | None) -> Path:
    if folder is None:
        raise ScoringError(CHANGES)
    return folder


def _blank(value: Tensor) -> Tensor:
    """A tensor of the same shape without values, of the size of one number."""
    return torch.full((), torch.nan, dtype=value.dtype).expand(value.shape)


def is_blank(value: Tensor) -> bool:
    """Whether a tensor of a streamed model holds no values."""
    return value.untyped_storage().nbytes() < value.numel() * value.element_size()
