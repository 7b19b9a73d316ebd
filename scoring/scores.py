"""Scores: the gain of every block, with its noise floor, error, surrogate and provenance."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zetaplan._display import ByName, Columns, Picture, bars
from zetaplan._plural import counted
from zetaplan._student import student
from zetaplan.errors import ScoringError, SpecError
from zetaplan.scoring.gain import Gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Scores(ByName, Picture):
    """The curvature-adjusted gains of K blocks. All arrays have shape (K,), unless stated, and are read-only.

    Attributes:
        names: qualified names of the blocks.
        gain: zeta^2 = g'(H + tau I)^-1 g >= 0; dimensionless for a Fisher surrogate, (loss/parameter)^2 for "gradient".
        low, high: the enclosure low <= zeta^2 <= high of an iterative surrogate; both equal the gain of a closed form.
            For "nystrom" they enclose zeta^2 of the Gauss-Newton matrix, which "nystrom" approximates.
        noise_floor: the gain expected if the sequences' gradients had random signs, in the unit of the gain. None if
            the surrogate has no noise floor.
        gradient_norm: |g|, loss / parameter.
        standard_error: jackknife over the sequences at fixed tau. None if the surrogate has none.
        cross_fitted: (K, 2), the gain of each half of the sequences in the curvature of the other half, free of the
            noise floor. Negative values occur. None if the surrogate has none.
        effective_dimension: tr(H (H + tau I)^-1), the number of directions of the block with curvature above tau.
            None if the surrogate has none.
        decrease: the measured decrease of the loss, nats, after the step -(H + tau I)^-1 g in this block alone.
            Lemma 1 predicts zeta^2 / 2. None unless `held_out` was given; nan if the loss after the step is not finite.
        held_out_decrease: the same decrease on the held-out text.
        parameters: number of parameters of the block.
        linear_parameters: number of weights of the block's linears, which pruning may remove.
        rank_parameters: parameters that a unit of LoRA rank adds, sum of in + out over the linears.
        damping: tau; 0 for a surrogate without damping.
        curvature: the surrogate, for example "block-fisher".
        blocks: the partition, "layers", "modules" or "experts".
        loss: mean over the sequences of their mean cross-entropy per token, nats.
        left_out: names of the parameters that belong to no block.
        provenance: model, data, sha256 sums, dtype, device, N, T, damping as declared, versions, seconds.

    Examples:
        >>> scores.names
        ('model.layers.0', 'model.layers.1', 'model.layers.2')
        >>> bool((scores.noise_floor > 0).all())
        True
    """

    names: tuple[str, ...]
    gain: Vector
    low: Vector
    high: Vector
    noise_floor: Vector | None
    gradient_norm: Vector
    standard_error: Vector | None
    cross_fitted: Vector | None
    effective_dimension: Vector | None
    decrease: Vector | None
    held_out_decrease: Vector | None
    parameters: Counts
    linear_parameters: Counts
    rank_parameters: Counts
    damping: Vector
    curvature: str
    blocks: str
    loss: float
    left_out: tuple[str, ...]
    provenance: Mapping[str, Any]

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickle and copy, which cannot copy the read-only view of the provenance: it is created again."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return type(self), tuple({**values, "provenance": dict(self.provenance)}.values())

    @property
    def quality(self) -> Vector:
        """q_k = zeta_k^2 / sum_j zeta_j^2, on the simplex (arXiv 2603.00910, Section 2)."""
        total = float(self.gain.sum())
        if not total > 0:
            raise ScoringError("quality: every gain is zero, so the shares are undefined; score other data")
        return self.gain / total

    @property
    def unbiased(self) -> Vector | None:
        """The cross-fitted gain, mean of both halves: unbiased for g'H~^-1 g, with H from half the sequences."""
        return None if self.cross_fitted is None else self.cross_fitted.mean(axis=1)

    def half_widths(self, confidence: float = 0.95) -> Vector | None:
        """(K,) half widths of the interval of every gain alone, by Student's t times the jackknife standard error.

        None without a standard error, or if the number of sequences is unknown.
        """
        if self.standard_error is None or int(self.provenance.get("sequences", 0)) < 2:
            return None
        freedom = int(self.provenance["sequences"]) - 1
        return student((1 - confidence) / 2, freedom) * self.standard_error

    def counted(self, gain: Gain) -> Vector:
        """The gain that a plan uses, (K,), >= 0: "raw", "net" of the noise floor, or "unbiased".

        Raises SpecError if the scores have no noise floor, or no cross-fitted gain.
        """
        if gain == "raw":
            return self.gain
        cleaned = self.unbiased
        if gain == "net":
            cleaned = None if self.noise_floor is None else self.gain - self.noise_floor
        if cleaned is None:
            raise SpecError(
                f"gain = {gain!r}: scores by {self.curvature} do not separate noise from gain; use the raw gain, or "
                "score by block-fisher on at least four sequences"
            )
        return np.maximum(cleaned, 0.0)

    @property
    def noise_share(self) -> float | None:
        """The share of the total gain expected from noise alone; None if the surrogate has no noise floor."""
        if self.noise_floor is None:
            return None
        return float(np.minimum(self.noise_floor, self.gain).sum() / self.gain.sum())

    @property
    def reliability(self) -> float | None:
        """Expected rank correlation between the unbiased gains of two samples of this size, at most 1.

        r is the Spearman correlation of the two halves. If r > 0 it is stepped up to the whole sample: 2r / (1 + r)
        (Spearman 1910, Brown 1910). None without cross-fitted gains, with fewer than three blocks, or if the gains of
        one half are all equal.
        """
        r = self._agreement_of_halves
        return r if r is None or r <= 0 else 2 * r / (1 + r)

    def sequences_for(self, reliability: float) -> int | None:
        """The number of sequences needed for a reliability in (0, 1), by the formula of `reliability`.

        f halves reach f r / (1 + (f - 1) r). None if the halves do not agree (r <= 0).
        """
        r, sequences = self._agreement_of_halves, self.provenance.get("sequences")
        if r is None or r <= 0 or sequences is None:
            return None
        return math.ceil(int(sequences) / 2 * reliability * (1 - r) / (r * (1 - reliability)))

    @property
    def _agreement_of_halves(self) -> float | None:
        if self.cross_fitted is None or len(self.names) < 3:
            return None
        return _spearman(*self.cross_fitted.T)

    def rank_correlation(self, other: Vector) -> float:
        """Spearman's rank correlation of the gain with another number per block, (K,); nan if either is constant."""
        correlation = _spearman(self.gain, np.nan_to_num(other, nan=-np.inf))
        return math.nan if correlation is None else correlation

    def _headline(self) -> str:
        k, noise = int(np.argmax(self.gain)), self.noise_share
        size = counted(len(self.names), self.blocks.removesuffix("s"))
        floor = "" if noise is None else f", {noise:.0%} of it noise floor"
        total = f"total gain {self.gain.sum():.4g}{floor}, largest {self.gain[k]:.4g} in {self.names[k]}"
        return f"{self.curvature} of {size} of {self.provenance.get('model', 'a model')}: {total}"

    def _columns(self) -> Columns:
        """The names and every column (K,), with the mean of the cross-fitted gains."""
        values = {item.name: getattr(self, item.name) for item in fields(self)} | {"unbiased": self.unbiased}
        arrays = {name: v.tolist() for name, v in values.items() if isinstance(v, np.ndarray) and v.ndim == 1}
        return {self.blocks.removesuffix("s"): self.names, **arrays}

    def _entries(self) -> dict[str, float]:
        return dict(zip(self.names, self.gain.tolist(), strict=True))

    def _draw(self, axes: "Axes") -> None:
        bars(axes, self.gain.tolist(), "gain", names=self.names, yerr=self.half_widths(), label="gain")
        if self.noise_floor is not None:
            axes.plot(self.noise_floor, "k_", label="noise floor")
            axes.legend()


def _spearman(first: Vector, second: Vector) -> float | None:
    if (first == first[0]).all() or (second == second[0]).all():
        return None
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: Vector) -> Vector:
    """The ranks of the values; equal values have the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place])
