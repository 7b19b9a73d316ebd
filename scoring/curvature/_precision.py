"""Arithmetic of the reference: float64 throughout, and a measurement of the effect of its rounding.

Models request float32 by name (norms, softmax, angles of positions, router scores), even if their weights are in
float64. `float64_throughout` replaces every requested narrower dtype by float64, in the model's own code.

`shaken` changes the result of every operation, forwards and backwards, by up to SHAKE units in the last place of its
own dtype. The change of a final result estimates its rounding from above (Parker 1997, Monte Carlo arithmetic). An
operation that still computes in float32 is changed by units of float32, so that no narrow operation goes unnoticed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

NARROW = frozenset({torch.float32, torch.float16, torch.bfloat16})
#: Functions named after the dtype that they cast to.
CASTS: dict[Any, Callable[..., Tensor]] = dict.fromkeys((Tensor.float, Tensor.half, Tensor.bfloat16), Tensor.double)
#: Functions that cast to the dtype of another tensor.
LIKE = frozenset({Tensor.to, Tensor.type_as})
#: Rounding of one operation is half a unit; the rest covers sums, and the chance of a small draw.
SHAKE = 64.0
#: Whole numbers up to this are taken as exact.
COUNT = 2.0**10


@contextmanager
def float64_throughout() -> Iterator[None]:
    """Replace the dtype of casts and new tensors by float64, in this thread; the default dtype in all threads."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Float64():
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def shaken(seed: int) -> Iterator[None]:
    """Change the results of operations at random, in the same way for the same seed."""
    with _Shaken(seed):
        yield


class _Float64(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        wide = _like if func in LIKE else _wide
        named = {name: wide(value) for name, value in (kwargs or {}).items()}
        return CASTS.get(func, func)(*args[:1], *map(wide, args[1:]), **named)


def _wide(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value in NARROW else value


def _like(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.dtype in NARROW else _wide(value)


class _Shaken(TorchDispatchMode):
    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        schema = func._schema
        if schema.is_mutable:
            for argument, value in zip(schema.arguments, args, strict=False):
                if argument.alias_info and argument.alias_info.is_write and _rounded(value):
                    value.copy_(self._changed(value))
            return found
        if any(result.alias_info for result in schema.returns):  # a view of an already changed tensor
            return found
        if isinstance(found, tuple | list):
            return type(found)(self._changed(value) if _rounded(value) else value for value in found)
        return self._changed(found) if _rounded(found) else found

    def _changed(self, value: Tensor) -> Tensor:
        span = SHAKE * torch.finfo(value.dtype).eps
        changed = torch.empty_like(value).uniform_(1 - span, 1 + span, generator=self._generator(value.device))
        changed *= value
        exact = (value.abs() <= COUNT) & (value == value.round())  # a mask or a count, which may become an index
        return torch.where(changed.isfinite() & ~exact, changed, value)  # the lowest finite number marks a masked place

    def _generator(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]


def _rounded(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.is_meta or value._is_zerotensor():  # neither holds numbers
        return False
    return value.is_floating_point()
