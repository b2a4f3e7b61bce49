"""One input for one reader: made from a number, read, and judged."""

import random
import shutil
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fuzz.readers import READERS, Reader

from flag3d_exp.errors import MAX_LINE, UNPRINTABLE, UserError


@dataclass(frozen=True)
class Outcome:
    """What came of an input: a result, a refusal in one line, or a fault with its traceback."""

    kind: Literal["result", "refusal", "fault"]
    text: str = ""


def made(reader: Reader, seed: str) -> bytes:
    """The input of this seed."""
    return reader.changed(random.Random(seed))


def tried(reader: Reader, content: bytes) -> Outcome:
    """Read an input in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="flag3d_fuzz_"))
    try:
        for name, other in reader.beside().items():
            write(folder / name, other)
        write(folder / reader.name, content)
        return outcome(reader, folder)
    finally:
        shutil.rmtree(folder)


def outcome(reader: Reader, folder: Path) -> Outcome:
    """Read what is in the folder."""
    try:
        reader.read(folder)
    except UserError as error:
        line = str(error)
        safe = len(line) <= MAX_LINE and not UNPRINTABLE.search(line)
        return Outcome("refusal" if safe else "fault", line)
    except (Exception, TimeoutError):
        return Outcome("fault", traceback.format_exc())
    return Outcome("result")


def write(path: Path, content: bytes) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def names(chosen: str | None = None) -> list[str]:
    """The readers to try."""
    return [chosen] if chosen else list(READERS)
