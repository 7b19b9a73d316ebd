"""What was asked of a choice: with the menu it gives the instance."""

from __future__ import annotations

from pydantic import Field

from zetaplan._records import Record
from zetaplan.menus.limit import BitsLimit
from zetaplan.menus.menu import Menu
from zetaplan.spec.menus.choice import Choice


class ChoiceRequest(Record):
    """Budgets, and what is fixed beforehand; blocks by name, options by label.

    pins : block -> the option that it must take. forbid : block -> options that it must not take.
    groups : blocks that must take the same option, in addition to the menu's own. limit : what the budget follows from,
    for a plan of formats.
    """

    budgets: tuple[float, ...] = Field(min_length=1)
    limit: BitsLimit | None = None  # near the beginning of the file, where commands recognise their own plans
    pins: dict[str, str] = Field(default_factory=dict)
    forbid: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    groups: tuple[tuple[str, ...], ...] = ()

    def of(self, menu: Menu) -> Choice:
        """The instance. Raises SpecError and InfeasibleError as `zetaplan.choice`."""
        return menu.choice(self.budgets, pins=self.pins, forbid=self.forbid, groups=self.groups)
