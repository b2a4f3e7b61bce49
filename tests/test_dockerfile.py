"""The Dockerfile copies what an installation needs, and installs extras that exist."""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def copied() -> set[str]:
    """What the COPY lines name."""
    found: set[str] = set()
    for line in LINES:
        if line.startswith("COPY "):
            found.update(line.split()[1:-1])
    return found


def test_everything_that_the_wheel_is_built_from_is_copied():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    project = PROJECT["project"]
    needed = {*wheel["packages"], *wheel["force-include"], *project["license-files"]}
    needed |= {"pyproject.toml", "hatch_build.py", "constraints.txt", project["readme"]}
    packages = tuple(f"{name}/" for name in wheel["packages"])
    assert copied() == {name for name in needed if not name.startswith(packages)}


def test_what_is_copied_exists_and_is_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    for name in copied():
        assert (ROOT / name).exists()
        assert name in kept


def test_extras_and_entry_point_exist():
    text = "\n".join(LINES)
    for extra in re.findall(r"\.\[([\w,]+)\]", text):
        assert set(extra.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
    (entry,) = re.findall(r'ENTRYPOINT \["([\w-]+)"\]', text)
    assert entry in PROJECT["project"]["scripts"]


def test_the_image_s_python_is_supported():
    (version,) = re.findall(r"FROM python:3\.(\d+)-slim", "\n".join(LINES))
    assert f"Programming Language :: Python :: 3.{version}" in PROJECT["project"]["classifiers"]
