"""When the compiled kernels are used, and that they are compiled at installation."""

import logging
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flag3d_exp.models.kernels import library

ROOT = Path(__file__).parents[2]
needs_compiled = pytest.mark.skipif(not library.is_open(), reason="onednn.cc is not compiled here")
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler here")


def test_a_missing_library_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "_onednn.so")
    assert "`pip install -v` shows why" in str(library.reason_against())


@needs_compiled
def test_a_path_that_mindspore_does_not_allow_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("MS_CUSTOM_AOT_WHITE_LIST", str(tmp_path))
    assert f"MS_CUSTOM_AOT_WHITE_LIST={tmp_path}" in str(library.reason_against())
    monkeypatch.setenv("MS_CUSTOM_AOT_WHITE_LIST", str(library.LIBRARY.parent))
    assert library.reason_against() is None
    colon = tmp_path / "a:b"
    colon.mkdir()
    monkeypatch.setattr(library, "LIBRARY", colon / "_onednn.so")
    shutil.copy(ROOT / "flag3d_exp/models/kernels/_onednn.so", library.LIBRARY)
    assert "no colon" in str(library.reason_against())


def test_a_file_that_is_no_library_is_a_reason(monkeypatch, tmp_path):
    broken = tmp_path / "_onednn.so"
    broken.write_bytes(b"half of a file")
    monkeypatch.setattr(library, "LIBRARY", broken)
    assert str(broken) in str(library.reason_against())


@needs_compiled
def test_a_library_made_from_other_source_is_a_reason(monkeypatch, tmp_path):
    source = tmp_path / "onednn.cc"
    source.write_text("// newer\n")
    monkeypatch.setattr(library, "SOURCE", source)
    assert "was made from another onednn.cc; install the package again" in str(
        library.reason_against()
    )


@needs_compiled
def test_another_version_of_mindspore_without_its_library_is_a_reason(tmp_path):
    """In a process of its own, because the library is opened once."""
    code = (
        "from flag3d_exp.models.kernels import library; "
        f"library.ms.__file__ = '{tmp_path}/__init__.py'; print(library.reason_against())"
    )
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert f"{tmp_path}/lib/libdnnl.so.3: cannot open" in said


def test_the_reason_is_logged_once(monkeypatch, caplog):
    monkeypatch.setattr(library, "reason_against", lambda: "the moon is full")
    library.is_open.cache_clear()
    try:
        with caplog.at_level(logging.INFO):
            assert not library.is_open() and not library.is_open()
    finally:
        library.is_open.cache_clear()
    assert [one.getMessage() for one in caplog.records] == [
        "convolutions are slower here, without oneDNN's kernels: the moon is full"
    ]


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(("compiler", "is_in"), [("c++", True), ("no-compiler", False)])
def test_a_wheel_is_built_with_and_without_a_compiler(compiler, is_in, tmp_path):
    pytest.importorskip("hatchling")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("conf", "flag3d_exp", "hydra_plugins"):
        shutil.copytree(ROOT / name, tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel"],
        cwd=tmp_path,
        env=os.environ | {"CXX": compiler},
        capture_output=True,
        text=True,
        check=True,
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as file:
        assert ("flag3d_exp/models/kernels/_onednn.so" in file.namelist()) is is_in
    assert wheel.name.endswith("-none-any.whl") is not is_in
    said = "convolutions are not compiled: [Errno 2]"
    assert (said in done.stdout + done.stderr) is not is_in
