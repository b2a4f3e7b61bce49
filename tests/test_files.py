import ast
import csv
import errno
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from flag3d_exp import files

PACKAGE = Path(files.__file__).parent
# Modules that write what only grows, into temporary folders of their own, or into memory.
EXCEPT = {
    "files.py",
    "runs/run_folder.py",  # history.jsonl
    "sweep/worker.py",  # output.log
    "sweep/storage.py",  # a journal, which Optuna writes
    "benchmark/contenders.py",  # a process's log
    "export/serving.py",
    "devices/cuda.py",
    "report/document.py",  # pictures in memory
    "runs/artifacts.py",  # a folder of downloads
}


def figure() -> Figure:
    drawn = Figure()
    drawn.subplots().plot([1, 2])
    return drawn


WRITERS = {
    "new.json": lambda path: files.write_json(path, {"a": 1}),
    "new.txt": lambda path: files.write_text(path, "é"),
    "new.bin": lambda path: files.write_bytes(path, b"\0"),
    "new.npz": lambda path: files.write_arrays(path, {"a": np.arange(3)}),
    "new.png": lambda path: files.write_figure(path, figure(), dpi=30),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_appears_under_its_name_alone_as_readable_as_any_other(tmp_path, name):
    WRITERS[name](tmp_path / name)
    WRITERS[name](tmp_path / name)
    (tmp_path / "other").touch()
    assert {path.name for path in tmp_path.iterdir()} == {name, "other"}
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path, name, monkeypatch):
    (tmp_path / name).write_text("old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=f"the disk of `{tmp_path}` is full") as caught:
        WRITERS[name](tmp_path / name)
    assert files.is_full(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


def test_a_place_that_takes_no_file_is_named_without_the_temporary_name(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(tmp_path / "absent" / "a.txt", "")
    assert caught.value.filename == str(tmp_path / "absent" / "a.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        files.write_text(tmp_path / "folder", "")
    assert caught.value.filename == str(tmp_path / "folder")


def test_an_error_of_another_file_keeps_its_name(tmp_path):
    with (
        pytest.raises(FileNotFoundError) as caught,
        files.replacing(tmp_path / "a.txt"),
        open(tmp_path / "source.txt"),
    ):
        pass
    assert caught.value.filename == str(tmp_path / "source.txt")
    assert list(tmp_path.iterdir()) == []


def test_predecessors_stay_when_the_new_file_cannot_be_synced(tmp_path, monkeypatch):
    for content in (b"1", b"2"):
        files.write_bytes(tmp_path / "a.bin", content, keep=2)

    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match=r"a\.bin"):
        files.write_bytes(tmp_path / "a.bin", b"3", keep=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.bin": b"2",
        "a-1.bin": b"1",
    }


def test_readers_see_whole_files_while_threads_replace_one(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, [0] * 1000)

    def write(value: int) -> None:
        for _ in range(20):
            files.write_json(path, [value] * 1000)

    threads = [threading.Thread(target=write, args=(value,)) for value in (1, 2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(set(json.loads(path.read_text()))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_files_of_killed_writers_are_removed_and_those_being_written_are_not(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from flag3d_exp import files\n"
        "with files.replacing(Path(sys.argv[1])) as temporary:\n"
        "    print(temporary, flush=True); time.sleep(600)"
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / ".tmp-folder").mkdir()
    target = tmp_path / "sub" / "a.txt"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert files.remove_abandoned(tmp_path) == []
        process.send_signal(signal.SIGKILL)
    assert left.exists()
    assert files.remove_abandoned(tmp_path, recursive=False) == []
    assert files.remove_abandoned(tmp_path) == [left]
    with files.replacing(target):
        assert files.remove_abandoned(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"sub", ".tmp-folder"}


def test_a_process_s_first_write_to_a_folder_removes_what_killed_writers_left(tmp_path):
    (tmp_path / f"{files.PREFIX}1-dead.json").write_text("half")
    files.write_text(tmp_path / "new.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["new.txt"]


def test_no_other_module_writes_files():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).as_posix() not in EXCEPT:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                place = f"{path}, line {getattr(node, 'lineno', 0)}"
                assert not writes_in_place(node), f"{place}: use flag3d_exp.files"


def writes_in_place(node: ast.AST) -> bool:
    """Whether the node is a call that writes a file but for one that `files.replacing` gave."""
    if not isinstance(node, ast.Call):
        return False
    called, _, name = ast.unparse(node.func).rpartition(".")
    given = [ast.unparse(argument) for argument in node.args]
    if name in ("write_text", "write_bytes", "savefig", "savez", "savez_compressed"):
        return called != "files"
    if name == "open" and any(mode in ("'w'", "'wb'", "'a'", "'ab'", "'x'") for mode in given):
        return "temporary" not in (called, given[0])
    return (called, name) == ("os", "replace")


@pytest.mark.parametrize("start", "=+-@\t\r\n＝＋－＠")
def test_no_text_is_a_formula_in_a_spreadsheet(tmp_path, start):
    name = f"{start}cmd|' /C calc'!A0;=1+1"
    files.write_rows(tmp_path / "table.csv", ["name", "rank"], [[name, -1], ["a", 0.5]])
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "rank"], [f"'{name}", "-1"], ["a", "0.5"]]
    text = (tmp_path / "table.csv").read_bytes().decode().partition("\r\n")[2]
    assert text.startswith(f'"\'{name}",')  # in quotes, so that no other separator splits it


def test_a_user_without_a_home_gets_one_of_his_own(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files.settle_home()
    home = Path.home()
    assert home.parent == tmp_path
    assert home.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4242)  # whose folder is there, but another's
    (tmp_path / "flag3d_exp-4242").mkdir()
    files.settle_home()
    assert Path.home().name != "flag3d_exp-4242"
