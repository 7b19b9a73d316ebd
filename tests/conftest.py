"""Fixtures shared by all tests."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("zetaplan", deadline=None, derandomize=True)  # no test depends on time or luck
settings.load_profile("zetaplan")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real texts and published tables; it is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data (real texts and published tables) is not there")
    return SHARED_DATA
