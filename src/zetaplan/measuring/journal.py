"""Finished options of a menu, stored by content: a killed run continues, and more formats are added to a menu.

The key of an option holds all that its loss depends on: model, text, estimator, seed, the names of its matrices, its
format and, if the format is calibrated, the calibration text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from zetaplan.measuring.blocks import Blocks
from zetaplan.measuring.estimators import Estimate
from zetaplan.models.quantizers import find_quantizer
from zetaplan.models.statistic import FEW
from zetaplan.scoring.cache import Run


@dataclass(frozen=True)
class Journal:
    """run : with the facts of the model, the text and the estimator. calibration : the sha256 of that text."""

    run: Run
    blocks: Blocks
    calibration: str

    def known(self, block: str, label: str) -> Estimate | None:
        """The stored loss of an option; None if there is none."""
        found = self.run.known(**self._facts(block, label))
        return None if found is None else Estimate(**found)

    def estimate(self, block: str, label: str, compute: Callable[[], Estimate]) -> Estimate:
        """The loss of an option: read, or computed and stored."""
        return Estimate(**self.run.numbers(lambda: asdict(compute()), **self._facts(block, label)))

    def whole(self, plan: Mapping[str, str], compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """What was measured of the model with a format for every block: read, or computed and stored."""
        facts = [self._facts(block, label) for block, label in plan.items()]
        found: dict[str, float] = self.run.numbers(compute, whole=facts)
        return found

    def _facts(self, block: str, label: str) -> dict[str, Any]:
        calibrated, members = find_quantizer(label).calibrated, self.blocks[block]
        few = {"few": FEW} if calibrated and any(weight.count > 1 for weight in members) else {}
        names = [weight.name for weight in members]
        return {"matrices": names, "format": label, "calibration": self.calibration if calibrated else None, **few}
