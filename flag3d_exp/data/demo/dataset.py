"""The embedded demo data: synthetic fitness motions, in two domains, as PYSKL-style pickles.

In-domain: 3D joints in metres (z up, joint 0 of the first frame at the origin), subjects split as
in FLAG3D. Out-domain: clean rendered 2D views to train on; other people, other views and a faulty
detector to test on. Nothing in it was recorded from a person. There are sixteen of FLAG3D's
actions, or all sixty with fewer recordings of each. The domain `crowd` is in 3D like in-domain,
with fifty people who do each action once.
"""

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from filelock import FileLock

from flag3d_exp import files
from flag3d_exp.data.demo import actions, body, cameras, motions, performers
from flag3d_exp.data.demo.performers import Take, perform
from flag3d_exp.data.demo.repetitions import make_repetitions
from flag3d_exp.errors import UserError

DOMAINS = ("in_domain", "out_domain", "crowd", "repetitions")


@dataclass(frozen=True)
class Programme:
    """What everyone does, and how often.

    Attributes:
        actions: the classes.
        avatars: bodies of each person in motion capture, numbered.
        repeats: recordings of each of them, numbered.
        videos: performances of each person before the cameras, numbered.
    """

    actions: Sequence[motions.Action]
    avatars: tuple[int, ...]
    repeats: tuple[int, ...]
    videos: tuple[int, ...]


PROGRAMMES = {  # by the number of classes
    16: Programme(motions.ACTIONS, (1, 2), (1, 2, 3), (1, 2)),
    60: Programme(actions.ACTIONS, (1,), (1, 2, 3), (1,)),
}
# FLAG3D's cross-subject split.
TRAIN_PERSONS = (2, 3, 4, 6, 7, 8, 9)
VAL_PERSONS = (1, 5, 10)
SUBJECTS = {"train": TRAIN_PERSONS, "val": VAL_PERSONS}
CROWD = {"train": range(101, 141), "val": range(141, 151)}
# Subjects of the out-domain test; like FLAG3D's real-world videos named by a prefix.
FILMED_PERSONS = {"PSYA": 21, "PSYB": 22, "PSYC": 23, "PSYD": 24, "PSYE": 25, "PSYF": 26}


def demo_path(domain: str, num_classes: int = 16) -> Path:
    """The pickle of one of `DOMAINS`, in the user's cache; made if absent.

    Args:
        num_classes: 16 or 60; `repetitions` does not depend on it.

    Raises:
        UserError: the domain is unknown, or the cache folder cannot be written.
    """
    if domain not in DOMAINS:
        raise UserError(f"the demo data has no domain `{domain}`; accepted: {', '.join(DOMAINS)}.")
    cache = files.user_cache()
    path = cache / f"synthetic_{domain}_{num_classes}_{_version()}.pkl"
    try:
        if not path.exists():
            _write_once(path, domain, num_classes)
    except OSError as error:
        raise UserError(
            f"the synthetic demo data cannot be written to {cache}: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can."
        ) from error
    return path


def make_demo(domain: str, num_classes: int = 16) -> dict:
    """The synthetic data of a domain in PYSKL's form: named splits and a list of annotations."""
    if domain == "repetitions":
        return make_repetitions()
    programme = PROGRAMMES[num_classes]
    if domain in ("in_domain", "crowd"):
        if domain == "crowd":
            programme = replace(programme, avatars=(1,), repeats=(1,))
        subjects = CROWD if domain == "crowd" else SUBJECTS
        takes = {name: _capture(programme, persons) for name, persons in subjects.items()}
        annotate = _annotation_3d
    else:
        train = _render(programme, TRAIN_PERSONS + VAL_PERSONS)
        takes = {"train": train, "val": _film(programme)}
        annotate = _annotation_2d
    everything = [take for chosen in takes.values() for take in chosen]
    performed = perform(everything, programme.actions)
    split = {name: [take.name for take in chosen] for name, chosen in takes.items()}
    pairs = zip(everything, performed, strict=True)
    return {"split": split, "annotations": [annotate(*pair) for pair in pairs]}


def _capture(programme: Programme, persons: Iterable[int]) -> list[Take]:
    """Motion capture: each repeat of each class by every avatar of a person."""
    takes = []
    every = product(persons, programme.avatars, enumerate(programme.actions), programme.repeats)
    for person, avatar, (label, action), repeat in every:
        name = f"S002C002M{avatar:03}P{person:03}A{action.number:03}R{repeat:03}"
        takes.append(Take(name, label, person, avatar, repeat))
    return takes


def _render(programme: Programme, persons: Iterable[int]) -> list[Take]:
    """Rendered video: each performance of every person and class, seen by three cameras."""
    takes = []
    every = product(persons, enumerate(programme.actions), programme.videos)
    for person, (label, action), repeat in every:
        for camera in cameras.RENDERED:
            name = f"S001C{camera:03}M001P{person:03}A{action.number:03}R{repeat:03}"
            takes.append(Take(name, label, person, 1, repeat, camera))
    return takes


def _film(programme: Programme) -> list[Take]:
    """Video of other people: each performance of every person and class, seen by two cameras."""
    takes = []
    every = product(FILMED_PERSONS, enumerate(programme.actions), programme.videos)
    for prefix, (label, action), repeat in every:
        for view, camera in enumerate(cameras.FILMED, start=1):
            name = f"{prefix}_A{action.number:03}_V{view:03}_R{repeat:03}_S001"
            takes.append(Take(name, label, FILMED_PERSONS[prefix], 1, repeat, camera))
    return takes


def _annotation_3d(take: Take, points: np.ndarray) -> dict:
    joints = points[:, : body.NUM_NTU_JOINTS]  # (F, 25, 3)
    joints = joints - joints[0, 0]
    rng = performers.generator(take, stage=4)
    joints = joints + rng.normal(0, 0.004, joints.shape)
    joints -= joints[0, 0]
    return {
        "frame_dir": take.name,
        "label": take.label,
        "total_frames": len(joints),
        "keypoint": joints[None].astype(np.float32),
    }


def _annotation_2d(take: Take, points: np.ndarray) -> dict:
    rng = performers.generator(take, stage=5)
    keypoints, scores = cameras.film(points, take.camera, rng)
    return {
        "frame_dir": take.name,
        "label": take.label,
        "img_shape": cameras.IMAGE_SHAPE,
        "original_shape": cameras.IMAGE_SHAPE,
        "total_frames": len(keypoints),
        "keypoint": keypoints[None].astype(np.float16),
        "keypoint_score": scores[None].astype(np.float16),
    }


def _write_once(path: Path, domain: str, num_classes: int) -> None:
    """Write the file; of several processes one writes and the others wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            files.write_bytes(path, pickle.dumps(make_demo(domain, num_classes), protocol=4))


def _version() -> str:
    """Eight digits that change with the code that makes the data."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()[:8]
