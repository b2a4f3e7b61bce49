from pathlib import Path

import pytest

from flag3d_exp.devices.ascend import cann_version, missing


@pytest.fixture
def machine(tmp_path) -> tuple[Path, dict[str, str]]:
    """A file system with a driver, two NPUs and CANN 8.2, and the environment that goes with it."""
    root, home = tmp_path / "root", tmp_path / "cann"
    for path, text in (
        (root / "usr/local/Ascend/driver/version.info", "Version=25.2.0\n"),
        (root / "dev/davinci0", ""),
        (root / "dev/davinci1", ""),
        (home / "compiler/version.info", "# CANN\nVersion=8.2.RC1\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root, {"ASCEND_HOME_PATH": str(home)}


def test_nothing_is_missing_on_a_machine_set_up_for_it(machine):
    root, environment = machine
    assert missing(environment, root) == []
    assert missing(environment | {"ASCEND_RT_VISIBLE_DEVICES": "0,1"}, root) == []


def test_each_thing_that_is_missing_is_named(machine):
    root, environment = machine
    (root / "usr/local/Ascend/driver/version.info").unlink()
    for device in (root / "dev").iterdir():
        device.unlink()
    found = missing({"ASCEND_RT_VISIBLE_DEVICES": ""}, root)
    assert [
        word
        for word in ("driver", "davinci", "ASCEND_RT_VISIBLE_DEVICES", "set_env.sh")
        if not any(word in line for line in found)
    ] == []
    assert len(found) == 4


def test_a_cann_that_mindspore_does_not_name_is_told_with_those_it_does(machine):
    root, environment = machine
    version = Path(environment["ASCEND_HOME_PATH"]) / "compiler/version.info"
    version.write_text("Version=7.0.1\n")
    (line,) = missing(environment, root)
    assert "CANN 7.0" in line and "8.5" in line
    version.unlink()
    assert cann_version(version.parent.parent) is None
    (line,) = missing(environment, root)
    assert "compiler/version.info" in line
