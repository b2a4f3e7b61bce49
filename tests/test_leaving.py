import errno
import logging.config
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli import command

from flag3d_exp import files
from flag3d_exp.errors import UserError
from flag3d_exp.main import leave
from flag3d_exp.runs.run_folder import check_kept

MINDSPORE = (
    "\n----------------------------------------------------\n- Memory not enough:\n"
    "----------------------------------------------------\nMemory isn't enough and alloc failed, "
    "kernel name: 327_Default/Im2Col-op6, alloc size: 54067200B.\n\n- C++ Call Stack: (For "
    "framework developers)\nmindspore/ccsrc/backend/memory_manager_actor.cc:515"
)


def line(error: Exception, capsys, folder: Path | None = Path("run")) -> str:
    """What the program says when it ends by the error, which must be one line and exit code 1."""
    with pytest.raises(SystemExit) as caught:
        leave(error, folder)
    assert caught.value.code == 1
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.mark.parametrize(
    "text",
    [MINDSPORE, "std::bad_alloc", "Allocate memory failed", "malloc memory failed.",
     "Malloc device memory failed, size[1024]", "CUDA error: out of memory",
     "Resource temporarily unavailable"],
)  # fmt: skip
def test_too_little_memory_is_named_without_a_call_stack(text, capsys):
    said = line(RuntimeError(text), capsys)
    assert said.startswith("error: memory ran out; a smaller `task.batch_size`")
    assert "C++" not in said


@pytest.mark.parametrize("text", ["The shapes (2, 3) and (4,) differ", "no memory of that", ""])
def test_other_errors_are_not_blamed_on_memory(text, capsys):
    assert "memory ran out" not in line(RuntimeError(text), capsys)


CRASH = """
import ctypes, threading
from flag3d_exp.devices.memory import tell_of_crashes

tell_of_crashes("run")
threads = ctypes.CDLL(None) if {unlocked} else ctypes.PyDLL(None)  # without or with the GIL
crash = threads.abort if {abort} else lambda: ctypes.string_at(8)
thread = threading.Thread(target=crash)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("abort", [True, False])
@pytest.mark.parametrize("unlocked", [True, False])
def test_a_crash_in_a_library_s_thread_is_one_line(abort, unlocked):
    code = CRASH.format(abort=abort, unlocked=unlocked)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    name = "SIGABRT" if abort else "SIGSEGV"
    assert said.startswith(f"error: MindSpore crashed ({name}), as it does where memory runs out")
    assert said.endswith("the log is run/run.log.")


def test_a_log_that_cannot_be_opened_is_named_by_its_file(tmp_path, capsys):
    handler = {"class": "logging.FileHandler", "filename": str(tmp_path / "absent" / "run.log")}
    with pytest.raises(ValueError, match="handler") as caught:
        logging.config.dictConfig({"version": 1, "handlers": {"file": handler}})
    said = line(caught.value, capsys, None)
    assert said == (
        f"error: `hydra.run.dir`: No such file or directory: `{tmp_path}/absent/run.log`."
    )


def test_a_full_disk_is_named_by_a_folder(tmp_path, capsys, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device")
    assert line(full, capsys) == "error: No space left on device; the run folder is `run`."

    def sync(_):
        raise full

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(OSError, match="full") as caught:
        files.write_text(tmp_path / "a.txt", "")
    assert line(caught.value, capsys).startswith(f"error: the disk of `{tmp_path}` is full")


def test_a_run_folder_that_is_deleted_ends_the_run_though_another_is_there(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    inode = folder.stat().st_ino
    check_kept(folder, inode)
    folder.rename(tmp_path / "away")  # its inode stays in use
    for _ in ("deleted", "made again"):
        with pytest.raises(UserError, match=f"the run folder `{folder}` was deleted"):
            check_kept(folder, inode)
        folder.mkdir(exist_ok=True)


def test_a_reader_that_has_ended_is_no_error():
    process = subprocess.Popen(command("--version"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == (b"", 128 + signal.SIGPIPE)
    process.stderr.close()
