"""Fixtures for all tests: where the real data is, and a quiet MindSpore."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from flag3d_exp.device import set_environment

set_environment()
# Machines of CI are busy; that a case is slow there is no fault.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and numeric oracles beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("../shared IS ABSENT: tests on real data and oracles were not run")
    return SHARED
