"""The forms of a limit on bits, and the bytes that each leaves to the matrices of a menu."""

from __future__ import annotations

import math
from fractions import Fraction
from numbers import Real
from typing import Literal

from pydantic import Field

from zetaplan._records import Record, checked
from zetaplan.errors import InfeasibleError, SpecError, shown
from zetaplan.menus.cache import KINDS, CacheLayer, cache_bytes

#: No limit is larger than this; whole numbers up to it are exact in float64.
MOST = 2**53

Form = Literal["bits_per_weight", "bytes", "fits"]


class BitsLimit(Record):
    """What a plan of formats may take.

    form : "bits_per_weight" (average over the weights that can be quantised, scales included), "bytes" (of all tensors
    of the file), or "fits" (bytes of memory for all tensors and the cache of keys and values). context, kv : tokens and
    kind of number of the cache.
    """

    form: Form
    value: float = Field(gt=0, le=MOST)
    context: int = Field(default=0, ge=0, le=MOST)
    kv: str = "f16"

    def budget(self, numel: int, fixed: int, kept: int, cache: tuple[CacheLayer, ...]) -> float:
        """The bytes that are left for the blocks of the menu.

        numel : weights that can be quantised. fixed : bytes of the blocks that the runtime never quantises. kept :
        bytes of the parameters outside the menu. Raises InfeasibleError if nothing is left.
        """
        if self.form == "bits_per_weight":
            return float(math.floor(Fraction(repr(self.value)) * numel / 8) + fixed)  # the decimal that was given
        cached = cache_bytes(cache, self.context, self.kv) if self.form == "fits" else 0
        left = math.floor(self.value) - kept - cached
        if left <= 0:
            taken = f"{kept:,} bytes of tensors that are not quantised and {cached:,} of the cache"
            raise InfeasibleError(f"{self.form} = {self.value:,.0f}: {taken} leave nothing; raise it")
        return float(left)


def _is_size(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and not value <= 0 and value <= MOST


def bits_limit(
    bits_per_weight: float | None, size: float | None, memory: float | None, context: int, kv: str
) -> BitsLimit:
    """The one limit that is given. Raises SpecError unless it is exactly one, above 0."""
    forms: dict[Form, float | None] = {"bits_per_weight": bits_per_weight, "bytes": size, "fits": memory}
    given = {form: value for form, value in forms.items() if value is not None}
    if len(given) != 1:
        raise SpecError("limit: give exactly one of bits_per_weight, bytes and fits")
    [(form, value)] = given.items()
    if not _is_size(value):
        raise SpecError(f"{form} = {shown(value)}: expected a number above 0, of at most {MOST:,}")
    if isinstance(context, bool) or not isinstance(context, int) or not 0 <= context <= MOST:
        raise SpecError(f"context = {shown(context)}: expected a number of tokens")
    if context and form != "fits":
        raise SpecError(f"context = {context}: {form} holds no cache; give the memory of the device as fits")
    if not isinstance(kv, str) or kv not in KINDS:
        raise SpecError(f"kv = {shown(kv)}: expected one of {', '.join(KINDS)}")
    return checked(BitsLimit, form=form, value=float(value), context=context, kv=kv)
