"""Fixtures for all tests: where the real data is, and a quiet MindSpore."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from flag3d_exp.devices.device import set_environment
from flag3d_exp.sweep.job import slot_cores

set_environment()
# Machines of CI are busy; that a case is slow there is no fault.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
os.environ["MS_DEV_HOST_BLOCKING_RUN"] = "1"  # as `device=cpu` does
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process compiles the package again
os.environ["MS_OM_PATH"] = tempfile.gettempdir()  # where a failed compilation leaves its graph

if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    # MindSpore's threads wait by yielding: processes on the same cores take each other's turns.
    slot = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    os.sched_setaffinity(
        0, slot_cores(slot, int(os.environ["PYTEST_XDIST_WORKER_COUNT"])) or os.sched_getaffinity(0)
    )

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and numeric oracles beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("../shared IS ABSENT: tests on real data and oracles were not run")
    return SHARED
