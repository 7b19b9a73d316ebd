"""The rank correlation of scores against the one of scipy, which takes a second to import."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from zetaplan.scoring.scores import _spearman


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("values", [2, 5, 10**6])
def test_rank_correlation(seed: int, values: int) -> None:
    first, second = np.random.default_rng(seed).integers(0, values, (2, 30)).astype(float)
    assert _spearman(first, second) == pytest.approx(spearmanr(first, second).statistic, abs=1e-12)
    assert _spearman(first, -np.exp(first / values)) == pytest.approx(-1.0)


def test_equal_values_have_no_rank_correlation() -> None:
    assert _spearman(np.ones(3), np.arange(3.0)) is None
    assert _spearman(np.arange(3.0), np.ones(3)) is None
