"""Records: frozen values whose fields are validated on construction, from Python or from a file."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from zetaplan._display import LONGEST, shortened
from zetaplan._files import canonical
from zetaplan.errors import SpecError

Vector = tuple[float, ...]
Bounds = tuple[float | None, ...]
Whole = Annotated[int, Field(ge=0, le=2**53)]


def _finite(facts: dict[str, JsonValue]) -> dict[str, JsonValue]:
    canonical(facts)
    return facts


Facts = Annotated[dict[str, JsonValue], AfterValidator(_finite)]


class Record(BaseModel):
    """A frozen part of a document: unknown keys, wrong types and non-finite numbers are refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    def __repr__(self) -> str:
        return shortened(super().__repr__(), LONGEST)


RecordT = TypeVar("RecordT", bound=Record)


def checked(record: type[RecordT], /, **fields: Any) -> RecordT:
    """A record from Python values. Raises SpecError, with a one-line message, where they violate its schema."""
    try:
        return record(**fields)
    except ValidationError as error:
        raise SpecError(first_error(error)) from error


def first_error(error: ValidationError) -> str:
    """The first error of a validation, with the path of its field and the number of further errors."""
    first, *rest = error.errors(include_url=False)
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(rest)} more)" if rest else ""
    words = first["msg"].removeprefix("Value error, ")
    return f"{place or 'document'}: {words}{more}" if place or words == first["msg"] else f"{words}{more}"
