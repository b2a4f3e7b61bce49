"""Atomic replacement of files: a reader finds the old content or the new, never a part.

Every file of a run is written here: to a temporary file in the same folder, synced, then renamed.
A writer holds an advisory lock on its temporary file. So any process on any machine can distinguish
the temporary files of killed writers from those that are still being written.
"""

import csv
import errno
import fcntl
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

PREFIX = ".tmp-"  # of temporary files; the process id and a random number follow
FULL = (errno.ENOSPC, errno.EDQUOT)
FORMULA_STARTS = (*"=+-@\t\r\n", *"＝＋－＠")  # the last four: for spreadsheets in Japanese
_cleaned: set[Path] = set()  # folders whose abandoned files this process has removed
UNNAMED = (*FULL, errno.EFBIG, errno.EIO)  # what `write` raises, without the file's name


@contextmanager
def replacing(path: Path, keep: int = 1) -> Iterator[Path]:
    """A temporary file that becomes `path` when the block ends, and is removed if the block raises.

    Args:
        path: in a folder that exists. The temporary file has the same suffix.
        keep: how many files to keep: `path` and its predecessors, `<stem>-1`, `<stem>-2`, ...

    Raises:
        OSError: names `path` or, if its disk is full, the folder; the old file is unchanged.
    """
    temporary, descriptor = _locked_temporary(path)
    try:
        yield temporary
        os.fsync(descriptor)
        _rotate(path, keep)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _with_place(error, temporary, path) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def write_bytes(path: Path, content: bytes | memoryview, keep: int = 1) -> None:
    """Replace `path` by a file of `content`; see `replacing`."""
    with replacing(path, keep) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by a UTF-8 file of `text`; see `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any, private: bool = False) -> None:
    """Replace `path` by a file of `value` as JSON; see `replacing`.

    Args:
        private: make the file readable by the user only.
    """
    with replacing(path) as temporary:
        if private:
            temporary.chmod(0o600)
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Replace `path` by a CSV file; see `replacing`.

    Every text is quoted, so that the file can be opened with any column separator. A text that a
    spreadsheet would read as a formula gets an apostrophe in front.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        for row in (columns, *rows):
            writer.writerow([_spreadsheet_text(v) if isinstance(v, str) else v for v in row])


def _spreadsheet_text(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def write_arrays(
    path: Path, arrays: "Mapping[str, np.ndarray]", keep: int = 1, compressed: bool = False
) -> None:
    """Replace `path` by an `.npz` file of `arrays`; see `replacing`."""
    import numpy as np

    content = BytesIO()  # NumPy's archive fails a second time, when deleted, on a full disk
    (np.savez_compressed if compressed else np.savez)(content, **arrays)
    write_bytes(path, content.getbuffer(), keep)


def write_figure(path: Path, figure: "Figure", dpi: int, **settings: Any) -> None:
    """Replace `path` by a picture of `figure`; see `replacing` and `draw_figure`."""
    with replacing(path) as temporary:
        draw_figure(temporary, figure, dpi, **settings)


def draw_figure(target: Path | BytesIO, figure: "Figure", dpi: int, **settings: Any) -> None:
    """Draw `figure` into a file. Its layout is fixed by this.

    Args:
        settings: further arguments of `Figure.savefig`.
    """
    figure.dpi = dpi
    if layout := figure.get_layout_engine():  # `savefig` would draw everything once more to use it
        layout.execute(figure)
        figure.set_layout_engine(None)
    figure.savefig(target, dpi=dpi, **settings)


def sha256(path: Path) -> str:
    """SHA-256 of the file, in hexadecimal digits."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while block := file.read(1 << 22):
            found.update(block)
    return found.hexdigest()


def remove_abandoned(folder: Path, recursive: bool = True) -> list[Path]:
    """Remove the temporary files in `folder` whose writers have ended; return the removed ones."""
    pattern = f"{PREFIX}*"
    found = folder.rglob(pattern) if recursive else folder.glob(pattern)
    return [path for path in found if _removed_if_abandoned(path)]


def user_cache() -> Path:
    """The folder for what can be made again: flag3d_exp in $XDG_CACHE_HOME or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "flag3d_exp"


def settle_home() -> None:
    """Give a user without a home folder one in the temporary folder, for this process."""
    if os.path.isabs(os.path.expanduser("~")):
        return
    home = os.path.join(tempfile.gettempdir(), f"flag3d_exp-{os.getuid()}")
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
        is_own = os.stat(home, follow_symlinks=False).st_uid == os.getuid()
    except OSError:
        is_own = False
    os.environ["HOME"] = home if is_own else tempfile.mkdtemp(prefix="flag3d_exp-")


def is_full(error: BaseException) -> bool:
    """Whether the error says that a disk is full or the user's quota is exhausted."""
    return isinstance(error, OSError) and error.errno in FULL


def reason(error: OSError) -> str:
    """The reason and the file of an error, without its number."""
    where = f": `{error.filename}`" if error.filename else ""
    return f"{error.strerror or error}{where}"


def _locked_temporary(path: Path) -> tuple[Path, int]:
    """A new temporary file for `path`, and a descriptor that holds its lock.

    The first call for a folder in a process also removes the files that killed writers left there.
    """
    if path.parent not in _cleaned:
        _cleaned.add(path.parent)
        remove_abandoned(path.parent, recursive=False)
    while True:
        name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}{path.suffix}"
        temporary = path.with_name(name)
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except OSError as error:
            raise _with_place(error, temporary, path) from error
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():  # else another process removed it as abandoned before the lock
            return temporary, descriptor
        os.close(descriptor)


def _removed_if_abandoned(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # already removed, or not the file of a writer
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:  # its writer is still running, or the file system has no locks
        return False
    finally:
        os.close(descriptor)
    return True


def _with_place(error: OSError, temporary: Path, path: Path) -> OSError:
    """The same error, naming `path` or, if its disk is full, the folder."""
    unnamed = error.filename is None and error.errno in UNNAMED
    if error.filename != str(temporary) and not unnamed:
        return error
    if is_full(error):
        return OSError(error.errno, f"the disk of `{path.parent}` is full")
    return OSError(error.errno, error.strerror, str(path))


def _rotate(path: Path, keep: int) -> None:
    """Copy `path` to `<stem>-1` and shift older files; `path` stays until it is replaced."""
    names = [path, *(path.with_stem(f"{path.stem}-{i}") for i in range(1, keep))]
    for older, newer in zip(reversed(names[1:]), reversed(names[:-1]), strict=True):
        if newer is not path and newer.exists():
            os.replace(newer, older)
        elif newer.exists():
            link = path.with_name(f"{PREFIX}{os.getpid()}-link{path.suffix}")
            link.unlink(missing_ok=True)
            os.link(path, link)
            os.replace(link, older)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, on file systems that can sync a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
