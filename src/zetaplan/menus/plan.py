"""The plan of a choice: the option that every block takes, with the menu, the request and the proof."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zetaplan.menus.menu import Menu
from zetaplan.menus.proof import ChoiceProof
from zetaplan.menus.request import ChoiceRequest
from zetaplan.spec.menus.answer import ChoiceSolution


@dataclass(frozen=True, eq=False)
class ChoicePlan:
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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write `zetaplan.plan/2` to the file, whole or not at all: short for `zp.save_choice(plan, path)`."""
        import zetaplan

        return zetaplan.save_choice(self, path)
