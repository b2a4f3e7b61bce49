"""The embedded demo data: synthetic fitness motions, in two domains, as PYSKL-style pickles.

In-domain: 3D joints in metres (z up, joint 0 of the first frame at the origin), subjects split as
in FLAG3D. Out-domain: clean rendered 2D views to train on; other people, other views and a faulty
detector to test on. Nothing in it was recorded from a person.
"""

import hashlib
import os
import pickle
from itertools import product
from pathlib import Path

import numpy as np
from filelock import FileLock

from flag3d_exp import files
from flag3d_exp.data.demo import body, cameras, motions, performers
from flag3d_exp.data.demo.performers import Take, perform
from flag3d_exp.errors import UserError

DOMAINS = ("in_domain", "out_domain")
NUM_CLASSES = len(motions.ACTIONS)
# FLAG3D's cross-subject split.
TRAIN_PERSONS = (2, 3, 4, 6, 7, 8, 9)
VAL_PERSONS = (1, 5, 10)
# Subjects of the out-domain test; like FLAG3D's real-world videos named by a prefix.
FILMED_PERSONS = {"PSYA": 21, "PSYB": 22, "PSYC": 23, "PSYD": 24, "PSYE": 25, "PSYF": 26}


def demo_path(domain: str) -> Path:
    """The pickle of a domain, `in_domain` or `out_domain`, in the user's cache; made if absent.

    Raises:
        UserError: the domain is unknown, or the cache folder cannot be written.
    """
    if domain not in DOMAINS:
        raise UserError(f"the demo data has no domain `{domain}`; accepted: {', '.join(DOMAINS)}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flag3d_exp"
    path = cache / f"synthetic_{domain}_{_version()}.pkl"
    try:
        if not path.exists():
            _write_once(path, domain)
    except OSError as error:
        raise UserError(
            f"the synthetic demo data cannot be written to {cache}: {error.strerror}; "
            "set XDG_CACHE_HOME to a folder that can."
        ) from error
    return path


def make_demo(domain: str) -> dict:
    """The synthetic data of a domain in PYSKL's form: named splits and a list of annotations."""
    if domain == "in_domain":
        takes = {"train": _captured(TRAIN_PERSONS), "val": _captured(VAL_PERSONS)}
        annotations = [_annotation_3d(*pair) for pair in _performed(takes)]
    else:
        takes = {"train": _rendered(TRAIN_PERSONS + VAL_PERSONS), "val": _filmed()}
        annotations = [_annotation_2d(*pair) for pair in _performed(takes)]
    split = {name: [take.name for take in chosen] for name, chosen in takes.items()}
    return {"split": split, "annotations": annotations}


def _captured(persons: tuple[int, ...]) -> list[Take]:
    """Motion capture: two avatars and three repeats of every person and class."""
    takes = []
    for person, avatar, label, repeat in product(persons, (1, 2), range(NUM_CLASSES), (1, 2, 3)):
        action = motions.ACTIONS[label].number
        name = f"S002C002M{avatar:03}P{person:03}A{action:03}R{repeat:03}"
        takes.append(Take(name, label, person, avatar, repeat))
    return takes


def _rendered(persons: tuple[int, ...]) -> list[Take]:
    """Rendered video: two repeats of every person and class, each seen by three cameras."""
    takes = []
    for person, label, repeat in product(persons, range(NUM_CLASSES), (1, 2)):
        action = motions.ACTIONS[label].number
        for camera in cameras.RENDERED:
            name = f"S001C{camera:03}M001P{person:03}A{action:03}R{repeat:03}"
            takes.append(Take(name, label, person, 1, repeat, camera))
    return takes


def _filmed() -> list[Take]:
    """Video of other people: two repeats of every person and class, each seen by two cameras."""
    takes = []
    for prefix, label, repeat in product(FILMED_PERSONS, range(NUM_CLASSES), (1, 2)):
        action = motions.ACTIONS[label].number
        for view, camera in enumerate(cameras.FILMED, start=1):
            name = f"{prefix}_A{action:03}_V{view:03}_R{repeat:03}_S001"
            takes.append(Take(name, label, FILMED_PERSONS[prefix], 1, repeat, camera))
    return takes


def _performed(takes: dict[str, list[Take]]) -> list[tuple[Take, np.ndarray]]:
    everything = [take for chosen in takes.values() for take in chosen]
    return list(zip(everything, perform(everything), strict=True))


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


def _write_once(path: Path, domain: str) -> None:
    """Write the file; of several processes one writes and the others wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            files.write_bytes(path, pickle.dumps(make_demo(domain), protocol=4))


def _version() -> str:
    """Eight digits that change with the code that makes the data."""
    digest = hashlib.sha256()
    for name in ("dataset", "body", "cameras", "motions", "performers"):
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:8]
