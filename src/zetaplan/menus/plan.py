"""The plan of a choice: the option that every block takes, with the menu, the request and the proof."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zetaplan._digits import at_most
from zetaplan._display import ByName, Columns, Picture
from zetaplan._plural import counted
from zetaplan.menus.bits import bits_of
from zetaplan.menus.menu import Menu
from zetaplan.menus.proof import ChoiceProof
from zetaplan.menus.request import ChoiceRequest
from zetaplan.spec.menus.answer import ChoiceSolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class ChoicePlan(ByName, Picture):
    """One option for every block of a menu, and the proof of how good that is.

    menu, request : what the instance follows from. solution : the choice; `solution.choice` has shape (K,).
    proof : `zetaplan.certificate/2`, in fractions, accepted by the stand-alone checker; its `gap` is what is proved.
    created : UTC time, ISO 8601. versions : software by name.

    Examples:
        >>> menu = zp.Menu(("q", "k"), (("2", "4"), ("2", "4")), ((9, 1), (4, 1)), (((2,), (4,)), ((2,), (4,))))
        >>> plan = zp.choose(menu, 6)
        >>> plan.taken, plan.optimal
        ({'q': '4', 'k': '2'}, True)
        >>> plan.save("choice.json").name
        'choice.json'
    """

    menu: Menu
    request: ChoiceRequest
    solution: ChoiceSolution
    proof: ChoiceProof
    created: str
    versions: Mapping[str, str]

    @property
    def taken(self) -> dict[str, str]:
        """The label of the option that each block takes."""
        return self.solution.taken

    @property
    def bits(self) -> dict[str, float]:
        """Bits per weight of every block by name. Raises SpecError for a menu that decides no formats."""
        return bits_of(self)

    @property
    def places(self) -> list[int]:
        """(K,) the place of every block's option in its menu."""
        return [int(j) for j in self.solution.choice.tolist()]

    @property
    def loss(self) -> float:
        """The total loss of the K options, rounded once, in the unit of the menu."""
        return self.solution.objective

    @property
    def gap(self) -> float:
        """No choice within the budgets loses less by more than this; 0 where the plan is proved optimal."""
        return self.proof.gap

    @property
    def optimal(self) -> bool:
        """Is it proved that no choice within the budgets is better?"""
        return self.gap == 0.0

    def _headline(self) -> str:
        proved = "proved optimal" if self.optimal else f"within {at_most(self.gap)} of the best possible"
        spent = zip(self.menu.budgets, self.solution.spent, self.request.budgets, strict=True)
        within = ", ".join(f"{name} {used:,.10g} of {most:,.10g}" for name, used, most in spent)
        return f"one option for {counted(len(self), 'block')}, total loss {self.loss:.6g}, {within}; {proved}"

    def _columns(self) -> Columns:
        menu, places = self.menu, list(enumerate(self.places))
        costs = {name: [menu.costs[k][j][m] for k, j in places] for m, name in enumerate(menu.budgets)}
        losses = [menu.losses[k][j] for k, j in places]
        return {"block": list(self.taken), "option": list(self.taken.values()), "loss": losses, **costs}

    def _entries(self) -> dict[str, str]:
        return self.taken

    def _draw(self, axes: Axes) -> None:
        """The option of every block."""
        axes.plot(range(len(self)), list(self.taken.values()), "o")
        axes.set(xlabel="block", ylabel="option")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `zetaplan.plan/2` to the file, whole or not at all: short for `zp.save_choice(plan, path)`."""
        import zetaplan

        return zetaplan.save_choice(self, path)
