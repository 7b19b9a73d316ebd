"""What lies on disk: scores and plans as JSON, read only after their schema has been checked.

A document is written in one canonical form (UTF-8, two-space indent, keys in schema order, doubles by `repr`, which
round-trips), so the sha256 of a document is what `sha256sum` prints for its file. NaN and infinity are not JSON:
NaN is refused, and `null` stands for "no upper bound", the one place where infinity is meant.
The schema says shapes and types; whether the numbers make sense is for the program and its certificate to judge.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from zetaplan.errors import SpecError

#: Largest file that is read, in bytes; a plan of 10,000 layers takes about 8 MB.
SIZE_LIMIT = 64 * 2**20

Vector = tuple[float, ...]
Bounds = tuple[float | None, ...]
Whole = Annotated[int, Field(ge=0, le=2**53)]
IntervalKind = Literal["enclosure", "sampling", "halves", "drift"]
LimitKind = Literal["budget", "parameter_share", "mean_rank", "target", "sparsity"]


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


class Document(Record):
    """A record that is a file of its own."""

    def text(self) -> str:
        """The canonical text of the document."""
        return canonical(self.model_dump(mode="json"))

    def sha256(self) -> str:
        """The sha256 of the canonical text, in hexadecimal."""
        return digest(self.text())


class LayerScore(Record):
    """What was measured on one block; `zetaplan.scoring.Scores` says what each number means.

    Scores written before 0.2 have no enclosure (read as the gain itself) and none of the later columns.
    """

    name: str
    gain: float
    low: float | None = None
    high: float | None = None
    noise_floor: float | None
    standard_error: float | None
    cross_fitted: tuple[float, float] | None = None
    effective_dimension: float | None = None
    decrease: float | None = None
    held_out_decrease: float | None = None
    gradient_norm: float
    damping: float
    parameters: int
    linear_parameters: int
    rank_parameters: int


class ScoresFile(Document):
    """`zetaplan.scores/1`: one record per block, the surrogate that was used, and where the numbers come from."""

    schema_: Literal["zetaplan.scores/1"] = Field("zetaplan.scores/1", alias="schema")
    curvature: str
    blocks: str
    loss: float
    layers: tuple[LayerScore, ...] = Field(min_length=1)
    left_out: tuple[str, ...]
    provenance: Facts

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        twice = [name for name, count in Counter(layer.name for layer in self.layers).items() if count > 1]
        if twice:
            raise ValueError(f"layer {twice[0]!r} appears more than once")
        return self


class Limit(Record):
    """How the budget (allocation) or the target (pruning) was asked for; `zetaplan.plans.planner` resolves it."""

    kind: LimitKind
    value: float


class Request(Record):
    """How the instance follows from the scores: which gain, which resource per unit, which limit; and what is asked of
    the plan besides: what it can lose if every gain drifts by a share of itself."""

    gain: Literal["raw", "net", "unbiased"]
    resource: Literal["rank_parameters", "linear_parameters", "given"]
    limit: Limit
    expert_rank: Annotated[int, Field(ge=1)] | None = Field(None, description="the unit is an expert of this LoRA rank")
    drift: Annotated[float, Field(gt=0, lt=1)] = 0.1
    top_k: Annotated[int, Field(ge=1)] = Field(
        2, description="experts that a token is sent to, where experts are planned"
    )


class InstanceData(Record):
    """The data of one convex program, K entries per vector; `upper` holds `null` where there is no bound."""

    program: Literal["allocation", "pruning"]
    parameters: dict[str, float]
    quality: Vector
    weight: Vector
    resource: Vector
    limit: float
    lower: Vector
    upper: Bounds


class SolutionData(Record):
    """The plan itself: capacity or sparsity per layer, and the multiplier that proves it."""

    x: Vector
    multiplier: float
    objective: float
    method: str
    status: str


class ConditionData(Record):
    """One condition of optimality: its scaled residual may not exceed its tolerance."""

    name: str
    residual: float
    tolerance: float
    ok: bool
    meaning: str


class CertificateData(Record):
    """The verdict in doubles on the solution of the instance it lies beside."""

    valid: bool
    gap: float
    conditions: tuple[ConditionData, ...] = Field(min_length=1)


class Claims(Record):
    """What a proof claims, in doubles rounded upwards; `zetaplan.verification.exact` says of what."""

    distance: float
    coupling: float
    price: float
    gap: float


class CertificateFile(Document):
    """`zetaplan.certificate/1`: data, plan and price of a program with the multiplier and the sides that prove it.

    multiplier : a fraction of hexadecimal integers. interior, floor, cap : the layers that stand there, by index.
    """

    schema_: Literal["zetaplan.certificate/1"] = Field("zetaplan.certificate/1", alias="schema")
    program: str
    parameters: dict[str, float]
    limit: float
    weight: Vector
    resource: Vector
    lower: Vector
    upper: Bounds
    plan: Vector
    price: float
    multiplier: str
    interior: tuple[int, ...]
    floor: tuple[int, ...]
    cap: tuple[int, ...]
    claim: Claims


class Amounts(Record):
    """Side by side, of one layer or in total: the uniform plan, the optimum, whole units, and what these come to.

    Of a layer: ranks (achieved: parameters) or shares removed (rounded: parameters). In total, for ranks: parameters
    (rounded: the sum of all ranks); for sparsity: shares of all parameters (rounded: parameters).
    """

    requested: float
    relaxed: float
    rounded: Whole
    achieved: float


class RoundedData(Record):
    """The plan in whole units; `gap` = objective - bound, and no plan at all is below the bound."""

    unit: str
    step: Annotated[Whole, Field(ge=1)]
    layers: dict[str, Amounts]
    total: Amounts
    objective: float
    bound: float
    gap: float
    method: str
    optimal: bool = Field(description="what the method says; what a reader can prove is the gap")


class RegretData(Record):
    """What the plan loses at most, while every gain stays in an interval, as a share of the best objective; proved.

    source, amount : where the intervals come from, with the confidence of sampling or the drift asked about.
    assumption : the same in words. share : null where nothing is proved. layers : what each layer adds to it, in order.
    """

    source: IntervalKind
    amount: float | None
    assumption: str
    share: float | None
    layers: Vector


class PlanFile(Document):
    """`zetaplan.plan/1`: instance, solution, certificate, whole units, and the scores they follow from.

    proof : the certificate in fractions, which `zetaplan.verification.checker` checks in this file by itself.
    """

    schema_: Literal["zetaplan.plan/1"] = Field("zetaplan.plan/1", alias="schema")
    sha256_: str = Field("", alias="sha256", description="sha256 of this document with this field empty")
    created: str
    versions: dict[str, str]
    unit: str
    resource_unit: str
    names: tuple[str, ...]
    warnings: tuple[str, ...]
    request: Request
    instance: InstanceData
    solution: SolutionData
    certificate: CertificateData
    rounded: RoundedData
    regret: tuple[RegretData, ...] = ()
    proof: CertificateFile
    scores_sha256: str
    scores: ScoresFile

    @model_validator(mode="after")
    def _one_entry_per_layer(self) -> Self:
        lengths = {
            "names": len(self.names),
            "instance.quality": len(self.instance.quality),
            "instance.weight": len(self.instance.weight),
            "instance.resource": len(self.instance.resource),
            "instance.lower": len(self.instance.lower),
            "instance.upper": len(self.instance.upper),
            "solution.x": len(self.solution.x),
            "rounded.layers": len(self.rounded.layers),
        }
        layers = len(self.scores.layers)
        for field, length in lengths.items():
            if length != layers:
                raise ValueError(f"{field} has {length} entries, but there are {layers} layers")
        return self

    def seal(self) -> str:
        """The sha256 that the field `sha256` has to hold."""
        return digest(self.model_copy(update={"sha256_": ""}).text())

    def sealed(self) -> PlanFile:
        """The same document with its own sha256 filled in."""
        return self.model_copy(update={"sha256_": self.seal()})


Part = TypeVar("Part", bound=Record)
Kind = TypeVar("Kind", bound=Document)


def checked(kind: type[Part], **fields: Any) -> Part:
    """A record from Python values; raises `SpecError`, in one line, where they break its schema."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise SpecError(f"{kind.__name__}: {_first(error)}") from error


def canonical(value: object) -> str:
    """The one text of a JSON value; NaN and infinity, which JSON does not have, raise ValueError."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def digest(text: str) -> str:
    """The sha256 of the text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: str | os.PathLike[str], kind: type[Kind]) -> Kind:
    """The document of the given kind that the file holds.

    Raises `SpecError`, in one line, if the file is missing, too large, truncated, not JSON, of another schema, or
    breaks the schema anywhere.
    """
    text = _read(Path(path))
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path} is not a complete JSON file: {error}; write it anew") from error
    _check_schema(path, value, kind)
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise SpecError(f"{path} does not follow its schema: {_first(error)}") from error


def save(path: str | os.PathLike[str], document: Document) -> Path:
    """Write the document's canonical text to the file, whole or not at all."""
    return write(path, document.text())


def write(path: str | os.PathLike[str], content: str | bytes) -> Path:
    """Write the content beside the file, then rename: whatever happens, the file is the old one or the new one.

    A folder that is missing is made. Raises `SpecError` if that, or the file, cannot be written.
    """
    target = Path(path)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise SpecError(f"cannot write {target}: {error.strerror}; choose another --out") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return target


def contents(path: Path) -> bytes:
    """The bytes of a file. Raises SpecError if it cannot be read, or is larger than any file of zetaplan."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}; check the path") from error
    if len(data) > SIZE_LIMIT:
        raise SpecError(f"{path} is larger than {SIZE_LIMIT} bytes; give a file written by zetaplan")
    return data


def _read(path: Path) -> str:
    try:
        return contents(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not text in UTF-8; give a JSON file written by zetaplan") from error


def _check_schema(path: str | os.PathLike[str], value: object, kind: type[Document]) -> None:
    expected = kind.model_fields["schema_"].default
    found = value.get("schema") if isinstance(value, dict) else None
    if found != expected:
        raise SpecError(f"{path} is not a {expected} file: its schema is {found!r}")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} appears twice")
    return dict(pairs)


def _first(error: ValidationError) -> str:
    first, *rest = error.errors(include_url=False)
    place = ".".join(str(part) for part in first["loc"]) or "document"
    more = f" (and {len(rest)} more)" if rest else ""
    return f"{place}: {first['msg']}{more}"
