import pytest
from cli import LONG, metrics, succeeded


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory) -> dict[str, float]:
    """Final metrics of the run `LONG` when nothing happens to it."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    succeeded(folder, *LONG, "tracking=none", "hydra.run.dir=run")
    return metrics(folder / "run")
