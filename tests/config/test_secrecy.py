"""Where credentials enter: command line, configuration, and the files that Hydra wrote of them."""

import stat

import pytest
from omegaconf import OmegaConf

from flag3d_exp.config.hydra_adapter import parse_overrides
from flag3d_exp.config.secrecy import hide_in, hide_in_arguments, hide_in_files
from flag3d_exp.credentials import KEPT, usable_uri
from flag3d_exp.sweep.trial import JobSettings

SECRET = "Zq7secretpw"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setenv(KEPT, "")


@pytest.mark.parametrize(
    ("word", "uri"),
    [
        (f"tracking.uri=http://alice:{SECRET}@host", f"http://alice:{SECRET}@host"),
        (f'tracking.uri="mysql://alice:{SECRET},x@host"', f"mysql://alice:{SECRET},x@host"),
        (f"tracking.uri=mysql://alice:{SECRET}\\,x@host", f"mysql://alice:{SECRET},x@host"),
        (f"tracking.uri='sqlite:///a?password={SECRET}'", f"sqlite:///a?password={SECRET}"),
    ],
)
def test_the_command_line_is_masked_and_its_uris_are_kept_as_they_are_meant(word, uri):
    (safe,) = hide_in_arguments([word])
    assert SECRET not in safe
    value = parse_overrides([safe])[0].value()
    if uri.startswith("http"):
        assert usable_uri(value) == "http://host"
    else:
        assert usable_uri(value) == uri


def test_a_configuration_is_masked_where_it_stands(monkeypatch):
    monkeypatch.setenv("MY_STORE", f"postgresql://alice:{SECRET}@host/db")
    config = OmegaConf.create(
        {
            "tracking": {"uri": "${oc.env:MY_STORE}", "run_name": "a", "missing": "???"},
            "list": [f"http://u:{SECRET}@h", 1],
            "broken": "${nothing}",
        }
    )
    OmegaConf.set_readonly(config, True)
    hide_in(config)
    assert config.tracking.uri == "postgresql://alice:***@host/db"
    assert config.list[0] == "http://u:***@h"
    assert SECRET not in OmegaConf.to_yaml(config)
    assert usable_uri(config.tracking.uri) == f"postgresql://alice:{SECRET}@host/db"


def test_the_files_that_hydra_wrote_are_masked(tmp_path):
    (tmp_path / ".hydra").mkdir()
    path = tmp_path / ".hydra" / "config.yaml"
    path.write_text(f"tracking:\n  uri: http://alice:{SECRET}@host\n  run_name: a\n")
    hide_in_files(tmp_path)
    assert path.read_text() == "tracking:\n  uri: http://alice:***@host\n  run_name: a\n"


def test_only_the_owner_of_a_trial_can_read_its_settings(tmp_path):
    JobSettings(study="s", storage="postgresql://alice:***@host/db").write(tmp_path)
    assert stat.S_IMODE((tmp_path / "trial.json").stat().st_mode) == 0o600
