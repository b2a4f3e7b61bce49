"""Checks of the driver, device files and CANN that an Ascend NPU needs, before MindSpore runs.

Sources: MindSpore 2.10's own environment check (mindspore/run_check/_check_version.py) and its
installation guide.
"""

from collections.abc import Mapping
from pathlib import Path

CANN_VERSIONS = ("8.2", "8.3", "8.5", "9.0", "9.1")  # supported by MindSpore 2.10
DRIVER = Path("usr/local/Ascend/driver/version.info")


def missing(environment: Mapping[str, str], root: Path = Path("/")) -> list[str]:
    """Problems with driver, devices and CANN, each in a few words; empty if there are none.

    Args:
        environment: environment variables of the process.
        root: of the file system.
    """
    found: list[str] = []
    if not (root / DRIVER).is_file():
        found.append(f"no driver ({root / DRIVER} is not there)")
    if not list((root / "dev").glob("davinci[0-9]*")):
        found.append("no device file /dev/davinci* (in a container: pass it on)")
    visible = environment.get("ASCEND_RT_VISIBLE_DEVICES")
    if visible is not None and not visible.strip():
        found.append("ASCEND_RT_VISIBLE_DEVICES is empty, which hides all devices")
    home = environment.get("ASCEND_HOME_PATH")
    if not home:
        found.append("CANN is not loaded (`source .../ascend-toolkit/set_env.sh`)")
    else:
        version = cann_version(Path(home))
        if version is None:
            found.append(f"no CANN in ASCEND_HOME_PATH={home} (compiler/version.info)")
        elif version not in CANN_VERSIONS:
            found.append(f"CANN {version}; MindSpore 2.10 wants {', '.join(CANN_VERSIONS)}")
    return found


def has_driver(root: Path = Path("/")) -> bool:
    """Whether there is a driver or a device file; without both there is no NPU.

    Args:
        root: of the file system.
    """
    return (root / DRIVER).is_file() or any((root / "dev").glob("*davinci*"))


def cann_version(home: Path) -> str | None:
    """`major.minor` of the CANN in a folder; None if there is none."""
    try:
        lines = (home / "compiler" / "version.info").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition("=")
        if name.strip().lower() == "version":
            return ".".join(value.strip().strip("[]").split(".")[:2])
    return None
