"""The provenance of a run as tags: code, versions, machine."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("flag3d-exp", "mindspore", "numpy", "hydra-core", "mlflow", "optuna")


def provenance() -> dict[str, str]:
    """Tags with the git commit (with `+changes` if files differ from it), versions and host."""
    tags = {f"version.{name}": _version(name) for name in PACKAGES}
    tags |= {"version.python": platform.python_version(), "host": platform.node()}
    commit = git_commit()
    return tags | ({"git_commit": commit} if commit else {})


def git_commit() -> str | None:
    """The commit of the checkout that this package runs from; None if it is not a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return commit and commit + ("+changes" if changes else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
