"""Quantiles of Student's t against closed forms, against scipy, and back through the distribution by mpmath."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
from scipy.special import stdtrit

from zetaplan._student import student

TAILS = (0.4999, 0.25, 0.025, 1e-3, 2.5e-6, 1e-12)


@pytest.mark.parametrize("tail", TAILS)
def test_one_and_two_degrees_have_closed_forms(tail: float) -> None:
    with mp.workdps(40):
        share = 1 - 2 * mp.mpf(tail)
        first, second = mp.cot(mp.pi * mp.mpf(tail)), share * mp.sqrt(2 / (1 - share**2))
    assert student(tail, 1) == float(first)
    assert student(tail, 2) == float(second)


@pytest.mark.parametrize("freedom", [1, 2, 3, 7, 31, 1000, 100_000, 2**53])
@pytest.mark.parametrize("tail", TAILS)
def test_it_is_that_of_scipy(tail: float, freedom: int) -> None:
    assert math.isclose(student(tail, freedom), -float(stdtrit(freedom, tail)), rel_tol=1e-12)


@pytest.mark.parametrize("freedom", [3, 7, 31, 1000])
@pytest.mark.parametrize("tail", TAILS)
def test_the_tails_of_its_neighbours_enclose_the_tail(tail: float, freedom: int) -> None:
    t = student(tail, freedom)
    assert _above(math.nextafter(t, math.inf), freedom) < tail < _above(math.nextafter(t, 0.0), freedom)


def _above(t: float, freedom: int) -> mp.mpf:
    """P(T > t)."""
    with mp.workdps(40):
        return mp.betainc(freedom / mp.mpf(2), 0.5, 0, freedom / (freedom + mp.mpf(t) ** 2), regularized=True) / 2


def test_the_ends() -> None:
    assert student(0.5, 9) == 0.0
    assert student(0.0, 9) == math.inf
    assert math.isnan(student(0.025, 0))
