"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.made import made_scores
from zetaplan.documents.convert import save_scores
from zetaplan.plans.plan import Plan
from zetaplan.plans.planner import allocate, prune
from zetaplan.scoring import Scores

settings.register_profile("zetaplan", deadline=None, derandomize=True)  # no test depends on time or luck
settings.load_profile("zetaplan")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, default=16, help="How many drawn cases a differential test compares.")


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> int:
    """How many drawn cases a differential test compares."""
    return int(request.config.getoption("--cases"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts and published tables; it is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data (real texts and published tables) is not there")
    return SHARED_DATA


@pytest.fixture
def scores() -> Scores:
    return made_scores()


@pytest.fixture
def plans(scores: Scores) -> dict[str, Plan]:
    """One plan per program: ranks with a floor and a cap in force, sparsity with caps in force."""
    return {
        "allocation": allocate(scores, mean_rank=4, lower=2.0, upper=8.0),
        "pruning": prune(scores, sparsity=0.5, upper=0.6),
    }


@pytest.fixture
def scores_file(scores: Scores, tmp_path: Path) -> Path:
    return save_scores(scores, tmp_path / "scores.json")


@pytest.fixture
def plan_file(plans: dict[str, Plan], tmp_path: Path) -> Path:
    return plans["allocation"].save(tmp_path / "plan.json")
