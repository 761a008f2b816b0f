"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples every time: a run that passes passes again.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real densities and tomograms kept beside the repository; skipped where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data with real data is not here")
    return SHARED_DATA


SHARED_CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of small inputs that once went wrong."""
    if not SHARED_CASES.is_dir():
        pytest.skip("the folder ../shared/cases with inputs that went wrong is not here")
    return SHARED_CASES


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20231)
