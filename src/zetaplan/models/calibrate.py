"""Cost of pruning a layer, measured: the exponent of the penalty that fits a pruning method.

One layer alone is pruned to several levels of sparsity, every linear equally, and the loss is measured on text. If the
loss rises like w_k rho^p, the program to solve is

    minimise    sum_k w_k rho_k^p     subject to    sum_k n_k rho_k >= P,   l_k <= rho_k <= u_k.

Its optimum rho_k = clip((nu n_k / (p w_k))^(1/(p-1)), l_k, u_k) is, for layers of one size, the optimum of the
quadratic program with kappa = 1/(p - 1). A measured p therefore determines the `kappa` of `zetaplan prune`. The paper
has p = 2 and kappa = 1, and lists a penalty calibrated to the method as future work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm.auto import tqdm

from zetaplan._display import ByName, Columns, Picture
from zetaplan._plural import counted
from zetaplan.errors import ScoringError, SpecError, shown
from zetaplan.models.apply import observed_layers, prune_matrix
from zetaplan.models.layer_pass import Observed
from zetaplan.models.matrices import matrices_of
from zetaplan.models.pruners import Pruner, find_pruner
from zetaplan.models.statistic import statistic_of
from zetaplan.scoring import LoadedModel
from zetaplan.scoring.measure import Batches
from zetaplan.scoring.model.blocks import Block, partition
from zetaplan.scoring.model.eval_mode import eval_mode
from zetaplan.scoring.model.losses import mean_loss
from zetaplan.scoring.text.sequences import Batch, checked_batches

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Levels on both sides of the usual target of 50%.
LEVELS = (0.5, 0.7)


@dataclass(frozen=True, eq=False, repr=False)
class LossCurves(ByName, Picture):
    """Rise of the loss as one layer alone is pruned.

    Attributes:
        names: the K decoder layers.
        method: the pruning method.
        levels: (L,) sparsities in (0, 1), ascending.
        rise: (K, L) loss minus the loss of the unpruned model, nats.

    Examples:
        >>> import numpy as np
        >>> levels = np.array([0.5, 0.7])
        >>> curves = zp.LossCurves(("a", "b"), "wanda", levels, np.array([levels**5, 2 * levels**5]))
        >>> round(curves.exponent, 6), round(curves.kappa, 6)
        (5.0, 0.25)
    """

    names: tuple[str, ...]
    method: str
    levels: NDArray[np.float64]
    rise: NDArray[np.float64]

    @property
    def exponent(self) -> float:
        """p: the median over layers of the least-squares slope of log rise against log level.

        Raises:
            ScoringError: in most layers the loss falls at some level, or the penalty is not convex (p <= 1).
        """
        rises = self.rise[(self.rise > 0).all(axis=1)]
        if 2 * len(rises) <= len(self.rise):
            raise ScoringError(
                f"text: pruning by {self.method} raises the loss at every level in {len(rises)} of {len(self.rise)} "
                "layers only, so there is no curve to fit; give more text, or higher levels"
            )
        slopes = np.polyfit(np.log(self.levels), np.log(rises).T, deg=1)[0]
        p = float(np.median(slopes))
        if p <= 1:
            raise ScoringError(
                f"text: the loss rises like rho^{p:.3g}, which is not convex, so the program cannot use it; "
                "give more text, or other levels"
            )
        return p

    @property
    def kappa(self) -> float:
        """1/(p - 1): the kappa for which the quadratic program has the optimum of rho^p, for layers of one size."""
        return 1 / (self.exponent - 1)

    def _headline(self) -> str:
        levels = ", ".join(f"{level:.0%}" for level in self.levels.tolist())
        return f"rise of the loss by {self.method!r} in {counted(len(self.names), 'layer')} pruned alone to {levels}"

    def _columns(self) -> Columns:
        rises = {f"rise at {level:.4g}": rise.tolist() for level, rise in zip(self.levels, self.rise.T, strict=True)}
        return {"layer": self.names, **rises}

    def _entries(self) -> dict[str, list[float]]:
        return dict(zip(self.names, self.rise.tolist(), strict=True))

    def _draw(self, axes: Axes) -> None:
        axes.loglog(self.levels, self.rise.T, ".-")
        axes.set(xlabel="sparsity of one layer", ylabel="rise of the loss (nats)")


def loss_curves(
    model: LoadedModel | nn.Module,
    method: str,
    text: Batches,
    calibration: Batches | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    progress: bool = False,
) -> LossCurves:
    """Prune each decoder layer alone to each of the levels, and measure the loss. The model is not changed.

    Args:
        model: a decoder-only transformers model.
        method: one of `pruner_names()`.
        text: the text on which the loss is measured; not the text on which the pruned model is evaluated.
        calibration: the text for the method's input statistics; by default `text`.
        levels: two or more sparsities in (0, 1), ascending.
        progress: show a progress bar.

    Raises:
        SpecError: an unknown method, or bad levels.
        ScoringError: the data or the model do not allow it.

    Examples:
        >>> zp.loss_curves(model, "magnitude", batch).rise.shape
        (3, 2)
    """
    grid = checked_levels(levels)
    network, pruner = model.model if isinstance(model, LoadedModel) else model, find_pruner(method)
    data, blocks = checked_batches(text, model=network), partition(network, "layers")
    stacks = {matrix.stack.name for block in blocks for matrix in matrices_of(block).values()}
    rises: dict[str, list[float]] = {}
    with (
        eval_mode(network),
        torch.no_grad(),
        tqdm(total=len(blocks), desc="loss curves", unit="layer", disable=not progress) as bar,
    ):
        before, given = mean_loss(network, data), text if calibration is None else calibration
        for block, observed in observed_layers(network, pruner, stacks, given, progress):
            losses = [_loss_without(network, block, pruner, observed, level, data) for level in grid]
            rises[block.name] = [loss - before for loss in losses]
            bar.update()
    names = tuple(block.name for block in blocks)
    return LossCurves(names, method, grid, np.array([rises[name] for name in names]))


def checked_levels(levels: Sequence[float]) -> NDArray[np.float64]:
    """The levels, (L,). Raises SpecError unless they are two or more, ascending, between 0 and 1."""
    try:
        grid = np.asarray(levels, np.float64)
    except (TypeError, ValueError):
        raise SpecError(f"levels = {shown(levels)}: expected two or more numbers") from None
    if grid.ndim != 1 or len(grid) < 2 or not ((grid > 0) & (grid < 1)).all() or not (np.diff(grid) > 0).all():
        raise SpecError(f"levels = {shown(levels)}: expected two or more, ascending, between 0 and 1")
    return grid


def _loss_without(
    model: nn.Module, block: Block, pruner: Pruner, observed: Observed, level: float, data: Sequence[Batch]
) -> float:
    """The loss with the matrices of the block pruned to the level. Their weights are restored afterwards."""
    matrices = matrices_of(block).values()
    dense = [matrix.weight.clone() for matrix in matrices]
    try:
        for matrix in matrices:
            seen = statistic_of(matrix, observed).value
            prune_matrix(matrix, round(level * matrix.weight.numel()), pruner, False, seen)
        return mean_loss(model, data)
    finally:
        for matrix, kept in zip(matrices, dense, strict=True):
            matrix.weight.copy_(kept)
