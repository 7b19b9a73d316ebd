"""Options of a plan: one frozen record per kind, the source of names and defaults for Python, YAML and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, Field, field_validator, model_validator

from zetaplan._quantities import Share
from zetaplan._records import Record
from zetaplan.errors import SpecError
from zetaplan.plans.request import Limit
from zetaplan.scoring.gain import Gain
from zetaplan.spec.named import by_name

if TYPE_CHECKING:
    from zetaplan.scoring.scores import Scores


def _plain(value: Any) -> Any:
    """Arrays, tensors, series and mappings as plain values that a YAML file can contain."""
    if not isinstance(value, Mapping) and (named := by_name("numbers", value)) is not None:
        value = named
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


Bound = float | tuple[float, ...] | dict[str, float]


class PlanOptions(Record):
    """Options that plans of every kind have. Defaults are defined here and nowhere else."""

    model_config = ConfigDict(allow_inf_nan=True)  # the program rejects them, with the entry and the expected range

    #: The forms that a limit may take, as options; at most one of them is given.
    forms: ClassVar[tuple[str, ...]]
    #: The limit if none is given.
    default: ClassVar[Limit]

    lower: Bound = Field(0.0, description="Smallest amount of every block: one number, one per block, or by name.")
    upper: Bound | None = Field(
        None,
        description="Largest amount of every block: one number, one per block, or by name; no cap if not given.",
    )
    pins: dict[str, float] = Field(
        default_factory=dict, description="Fixed values by name; * in a name matches any characters."
    )
    groups: tuple[tuple[str, ...], ...] = Field((), description="Lists of names of blocks that share one value.")
    gain: Gain = Field(
        "raw",
        description="The gain to plan with: raw (as measured), net (minus the noise floor) or unbiased (cross-fitted).",
    )
    drift: Share = Field(
        0.1, description="Largest relative change of every gain covered by the regret bound of the plan."
    )
    method: str = Field("exact", description="Solution method, a method of `zetaplan.solve`.")

    @model_validator(mode="before")
    @classmethod
    def _from_python(cls, values: Any) -> Any:
        return _plain(values)

    @field_validator("groups", mode="before")
    @classmethod
    def _lists(cls, groups: Any) -> Any:
        if not isinstance(groups, tuple) or () in groups:
            raise ValueError("expected lists of names, none of them empty")
        if single := next((group for group in groups if isinstance(group, str)), None):
            raise ValueError(f"expected lists of names, got {single!r}; write [{single!r}]")
        return groups

    def knobs(self, names: Sequence[str], scores: Scores) -> dict[str, float]:
        """The scalars of the program by name. scores : may hold a measurement for one of them."""
        return {name: getattr(self, name) for name in names}

    def limit(self) -> Limit:
        """The requested limit. Raises SpecError where two forms are given, or a value below 0."""
        given = {form: getattr(self, form) for form in self.forms if getattr(self, form) is not None}
        if len(given) > 1:
            raise SpecError(f"{' and '.join(given)}: give one of the two, not both")
        return next((amount(form, value) for form, value in given.items()), self.default)


def amount(form: str, value: float) -> Limit:
    """A limit in the given form. Raises SpecError for a value that is negative or not finite."""
    if not 0 <= value < float("inf"):
        raise SpecError(f"{form} = {value}: expected a finite number, at least 0")
    return Limit(kind=form, value=float(value))
