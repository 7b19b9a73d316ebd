"""Command-line options from records: one option per field, with the field's name, default and description."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from zetaplan._quantities import count, share
from zetaplan._records import Record, checked
from zetaplan.errors import SpecError

Json = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite files that this command did not write, except its inputs.")
]
Model = Annotated[
    str, typer.Argument(help="Folder with safetensors, .gguf file, hub name in the local cache, or smollm2.")
]
ScoresPath = Annotated[Path, typer.Argument(metavar="SCORES", help="Scores file written by `zetaplan score`.")]
PlanPath = Annotated[Path, typer.Argument(metavar="PLAN", help="Plan file written by zetaplan.")]

PlanOut = Annotated[Path, typer.Option("--out", "-o", help="File for the plan.")]

#: Bounds of single blocks: the field, the option that sets it by name, and the option's help.
BY_NAME = {
    "lower": ("floor", "Lower bound of some blocks"),
    "upper": ("cap", "Upper bound of some blocks"),
    "pins": ("pin", "Fixed value of some blocks; * in a name matches any characters"),
}
ALIASES = {
    "step": ("--step", "--multiple-of"),
    "out": ("--out", "-o"),
    "decides": ("--for",),
    "runtime": ("--for",),
}


def command(
    app: typer.Typer, example: str, name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command, with its parameter of a record type replaced by one option per field."""

    def registered(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, epilog=f"Example: {example}")(expanded(function))
        return function

    return registered


def expanded(function: Callable[..., None]) -> Callable[..., None]:
    """The function with its record parameter replaced by one option per field; each call validates the record."""
    hints = get_type_hints(function, include_extras=True)
    own = inspect.signature(function).parameters
    records = {name: hint for name, hint in hints.items() if inspect.isclass(hint) and issubclass(hint, Record)}
    if not records:
        return function
    [(taken, record)] = records.items()
    parameters = [parameter.replace(annotation=hints[name]) for name, parameter in own.items() if name != taken]
    fields = list(_parameters(record))
    at = list(own).index(taken)

    @functools.wraps(function)
    def run(**given: Any) -> None:
        mine = {name: given.pop(name) for name in [field.name for field in fields]}
        function(**given, **{taken: checked(record, **_values(record, mine))})

    ordered = [*parameters[:at], *fields, *parameters[at:]]
    ordered = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in ordered]
    run.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in ordered}
    return run


def _parameters(record: type[Record]) -> Iterator[inspect.Parameter]:
    for name, field in record.model_fields.items():
        if name == "groups":
            yield _repeated("group", "NAME,NAME", "Blocks that share one value; repeatable.")
            continue
        if name != "pins":
            yield _parameter(name, field)
        if name in BY_NAME:
            option, words = BY_NAME[name]
            yield _repeated(option, "NAME=VALUE", f"{words}; repeatable.")


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, default = _simple(field), field.get_default(call_default_factory=True)
    if isinstance(default, tuple) or get_origin(kind) is list:
        default = list(default) if default else None
    names = ALIASES.get(name, ("--" + name.replace("_", "-"),))
    if kind is bool:
        names = (names[0],) if not default else (f"{names[0]}/--no-{name.replace('_', '-')}",)
    option = typer.Option(*names, help=field.description)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _repeated(name: str, metavar: str, words: str) -> inspect.Parameter:
    option = typer.Option(f"--{name}", metavar=metavar, help=words)
    kind = Annotated[list[str] | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _simple(field: FieldInfo) -> Any:
    """The type of a field as a command-line option: str for quantities, else the first type of a union.

    A tuple is a list.
    """
    parts, written = _parts(field.annotation), any(isinstance(one, BeforeValidator) for one in field.metadata)
    first = next(part for part in parts if part is not type(None))
    if get_origin(first) is tuple:
        return list[_plain(get_args(first)[0])]  # type: ignore[misc]
    plain = str if written or str in parts else _plain(first)
    return plain | None if type(None) in parts else plain


def _parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _plain(annotation: Any) -> Any:
    """The type itself; str for a quantity such as 50% or 2M, which the record reads."""
    return str if get_origin(annotation) is Annotated else annotation


def _values(record: type[Record], given: dict[str, Any]) -> dict[str, Any]:
    """The fields of the record from the options of a command; the name `*` holds a bound of every block."""
    values = {name: value for name, value in given.items() if name in record.model_fields and value is not None}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    for name, (option, _) in BY_NAME.items():
        if named := _by_name(option, given.get(option), share if "sparsity" in record.model_fields else count):
            every = {"*": values[name]} if name in values else {}
            values[name] = {**every, **named}
    if given.get("group"):
        values["groups"] = tuple(tuple(names.split(",")) for names in given["group"])
    return values


def _by_name(option: str, texts: list[str] | None, read: Callable[[str], Any]) -> dict[str, float]:
    pairs = [text.rpartition("=") for text in texts or ()]
    try:
        return {name: float(read(value)) for name, _, value in pairs}
    except ValueError:
        raise SpecError(f"--{option}: expected NAME=VALUE with a number, got {', '.join(texts or ())}") from None
