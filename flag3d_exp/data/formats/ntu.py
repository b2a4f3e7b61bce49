"""NTU RGB+D: its skeleton text files and the splits of its protocols.

Names are SsssCcccPpppRrrrAaaa: setup, camera, person, repetition, action (arXiv 1604.02808,
1905.04757). Sizes: M persons, T frames, 25 joints.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.errors import UserError
from flag3d_exp.faults import Faults
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import file_bytes

NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
NUM_JOINTS = 25
MAX_BYTES = 64 << 20  # of a file; the longest of NTU RGB+D have 3 MB
# Bodies tracked for fewer frames than this are sensor errors, if other bodies are tracked longer.
MIN_FRAMES = 12

# fmt: off
TRAIN_PERSONS_60 = frozenset([
    1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38,
])
TRAIN_PERSONS_120 = TRAIN_PERSONS_60 | {
    45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89,
    91, 92, 93, 94, 95, 97, 98, 100, 103,
}
# fmt: on
TRAIN_CAMERAS = (2, 3)


def splits(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The protocols' splits of these recordings by name.

    They are `xsub_train` and `xsub_val` (cross-subject), and `xview_...` (cross-view) for NTU RGB+D
    60 or `xset_...` (cross-setup) for NTU RGB+D 120. The dataset is NTU RGB+D 120 if an action
    above 60 or a setup above 17 occurs.

    Raises:
        UserError: a name is not in NTU RGB+D's form.
    """
    names = list(names)
    facts = {name: _facts(name) for name in names}
    large = any(setup > 17 or action > 60 for setup, _, _, _, action in facts.values())
    persons = TRAIN_PERSONS_120 if large else TRAIN_PERSONS_60
    protocols = {"xsub": {name for name in names if facts[name][2] in persons}}
    if large:
        protocols["xset"] = {name for name in names if facts[name][0] % 2 == 0}
    else:
        protocols["xview"] = {name for name in names if facts[name][1] in TRAIN_CAMERAS}
    made = {}
    for protocol, train in protocols.items():
        made[f"{protocol}_train"] = tuple(name for name in names if name in train)
        made[f"{protocol}_val"] = tuple(name for name in names if name not in train)
    return made


def read_folder(
    folder: Path, num_persons: int, missing: frozenset[str]
) -> Iterator[Recording | str]:
    """The recordings of a folder's `.skeleton` files, by name; just the name of one without a body.

    Args:
        missing: names to leave out, such as those that the authors list as faulty.
    """
    files = sorted(folder.rglob("*.skeleton"))
    if not files:
        raise UserError(f"{folder} holds no .skeleton files.")
    faults = Faults("file")
    for file in files:
        if file.stem in missing:
            continue
        found = None
        with faults.of(""):
            found = read_skeleton(file, num_persons) or file.stem
        if found is not None and not faults.count:
            yield found
    faults.refuse("")


def read_missing(path: Path) -> frozenset[str]:
    """The names in a list such as the authors' `NTU_RGBD_samples_with_missing_skeletons.txt`."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"`task.missing`: {path} can't be read: {error.strerror}.") from error
    names = frozenset(match.group() for match in NAME.finditer(text))
    if not names:
        raise UserError(f"`task.missing`: {path} names no recordings such as S001C002P005R002A008.")
    return names


def read_skeleton(path: Path, num_persons: int = 2, labelled: bool = True) -> Recording | None:
    """A recording of the bodies that move most in a `.skeleton` file, in metres; None if it has no
    body.

    Args:
        labelled: read the action from the file's name; otherwise any name is accepted.

    Raises:
        UserError: the name or a line of the file is not in NTU RGB+D's form.
    """
    person, action = 0, 1
    if labelled:
        *_, person, _, action = _facts(path.stem)
    lines = _Lines(_text(path))
    try:
        bodies = _bodies(lines)
    except ValueError as error:
        where = f"{path} is not an NTU RGB+D skeleton: line {lines.number}"
        raise UserError(f"{where}: {error}.") from error
    seen = {body: frames for body, frames in bodies.items() if len(frames) >= MIN_FRAMES} or bodies
    if not seen:
        return None
    num_frames = 1 + max(frame for frames in bodies.values() for frame in frames)
    # A malicious file may have a new body in each line; allocate arrays only for bodies to keep.
    motion = {body: np.var(list(frames.values()), axis=0).sum() for body, frames in seen.items()}
    moving = sorted(seen, key=lambda body: -motion[body])[:num_persons]
    keypoints = np.zeros((len(moving), num_frames, NUM_JOINTS, 3), np.float32)
    for person_keypoints, body in zip(keypoints, moving, strict=True):
        frames = seen[body]
        person_keypoints[list(frames)] = list(frames.values())
    subject = f"P{person:03}" if labelled else None
    return Recording(path.stem, action - 1, keypoints, subject=subject)


class _Lines:
    """Iterator over the lines of a text, with the number of the last line read."""

    def __init__(self, text: str) -> None:
        self.lines, self.number = text.split("\n"), 0

    def words(self) -> list[str]:
        self.number += 1
        if self.number > len(self.lines):
            raise ValueError("the file ends too soon")
        return self.lines[self.number - 1].split()

    def count(self, most: int) -> int:
        words = self.words()
        number = int(words[0]) if words and len(words[0]) < 10 else -1
        if not 0 <= number <= most:
            raise ValueError(f"expected a count; got {' '.join(words)[:40]!r}")
        return number


def _bodies(lines: _Lines) -> dict[str, dict[int, np.ndarray]]:
    """Mapping from body to frame to joints (25, 3)."""
    bodies: dict[str, dict[int, np.ndarray]] = {}
    for frame in range(lines.count(100_000)):
        for _ in range(lines.count(20)):
            body = lines.words()
            if not body:
                raise ValueError("a body without a number")
            if frame in bodies.setdefault(body[0], {}):
                raise ValueError(f"body {body[0][:40]} for the second time in one frame")
            if (num_joints := lines.count(100)) != NUM_JOINTS:
                raise ValueError(f"{num_joints} joints instead of {NUM_JOINTS}")
            joints = np.empty((NUM_JOINTS, 3), np.float32)
            for joint in joints:
                words = lines.words()
                if len(words) < 3:
                    raise ValueError("a joint without three coordinates")
                joint[:] = [float(word) for word in words[:3]]
            bodies[body[0]][frame] = joints
    return bodies


def _text(path: Path) -> str:
    try:
        return file_bytes(path, MAX_BYTES).decode("ascii")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not an NTU RGB+D skeleton: it is not plain text.") from error
    except Malformed as error:
        raise UserError(f"{path}: {error}.") from error


def _facts(name: str) -> tuple[int, ...]:
    """Setup, camera, person, repetition and action, from 1."""
    match = NAME.match(name)
    if match is None:
        raise UserError(f"{name!r} is not a name of NTU RGB+D, such as S001C002P003R002A013.")
    return tuple(map(int, match.groups()))
