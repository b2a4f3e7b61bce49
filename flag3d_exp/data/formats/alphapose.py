"""Results of AlphaPose, and results in COCO's format, as Detectron2 and others write them.

    [{"image_id": "12.jpg", "keypoints": [x, y, score, ...], "score": 2.9, "idx": [0.0]}, ...]

Each entry is a person in a frame; the number in `image_id` is the frame. AlphaPose can also write
mappings from images to persons, for other programs.

Sizes: n detections, V joints.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from flag3d_exp.data.formats.detections import Detections, Rows, entries, numbers, triples, whole
from flag3d_exp.errors import UserError

LAYOUTS = {17: "coco", 18: "openpose", 26: "halpe26", 133: "wholebody"}
IMAGE = re.compile(r"^(.*?)(\d+)(?:_keypoints|_rendered)?(?:\.\w{1,5})?$", re.DOTALL)
PERSONS = ("bodies", "people")  # keys in files of `--format cmu` and `--format open`
JOINTS = ("joints", "pose_keypoints_2d")
MAX_FRAME = 10**9


def is_results(content: Any) -> bool:
    """Whether a JSON file's content is a list of results."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "image_id" in first and "keypoints" in first


def is_by_image(content: Any) -> bool:
    """Whether it maps images to persons, as in files of `--format cmu`, `open` and PoseFlow."""
    if not isinstance(content, dict) or not content:
        return False
    image, persons = next(iter(content.items()))
    if IMAGE.match(str(image)) is None:
        return False
    if isinstance(persons, dict):
        return any(key in persons for key in PERSONS)
    return isinstance(persons, list) and bool(persons) and "keypoints" in (persons[0] or ())


def read_results(name: str, content: Any) -> list[Detections]:
    """The persons of each video of a list of results, in order of the videos' first entries.

    Raises:
        UserError: an entry is invalid.
    """
    flagged = True
    videos: dict[str, Rows] = {}
    for at, entry in enumerate(entries(content, "results")):
        try:
            video, frame = frame_of(entry.get("image_id"))
            values = triples(entry.get("keypoints"), "keypoints")
            flagged &= bool(np.isin(values[:, 2], (0, 1, 2)).all())
            rows = videos.setdefault(video, Rows())
            rows.add(frame, values[:, :2], values[:, 2], identity_of(entry.get("idx")))
        except UserError as error:
            raise UserError(f"{name!r}, entry {at}: {error}") from error
    said = ["the third number of a joint is a flag (0: not labelled), not a score"]
    return _detections(name, videos, said if flagged else [])


def read_by_image(name: str, content: Any) -> list[Detections]:
    """The persons of each video of a mapping from images to persons."""
    videos: dict[str, Rows] = {}
    for image, persons in content.items():
        try:
            video, frame = frame_of(image)
            rows = videos.setdefault(video, Rows())
            rows.seen.append(frame)
            for keypoints, scores, identity in _persons(persons):
                rows.add(frame, keypoints, scores, identity)
        except UserError as error:
            raise UserError(f"{name!r}, image {image!r:.60}: {error}") from error
    return _detections(name, videos, [])


def frame_of(image: Any) -> tuple[str, int]:
    """The video and the frame number in an image's name or number.

    Raises:
        UserError: the name contains no number.
    """
    if isinstance(image, int | float) and not isinstance(image, bool):
        return "", whole(image, "image_id", MAX_FRAME)
    match = IMAGE.match(image) if isinstance(image, str) and len(image) < 500 else None
    if match is None or len(match[2]) > 12:
        raise UserError(f"`image_id` must contain a frame number; got {image!r:.60}.")
    return match[1].strip("_-. /"), whole(int(match[2]), "image_id", MAX_FRAME)


def identity_of(value: Any) -> int:
    """The identity in `idx`: a number, or the first of nested lists; -1 if there is none."""
    for _ in range(4):
        if isinstance(value, list):
            value = value[0] if value else None
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if known and np.isfinite(value) and 0 <= value < 2**31 else -1


def _persons(persons: Any) -> Iterator[tuple[np.ndarray, np.ndarray | None, int]]:
    """Coordinates (V, 2), scores (V,) and identity of each person in an image."""
    if isinstance(persons, dict):
        found = next((persons[key] for key in PERSONS if key in persons), None)
        for person in entries(found, "people"):
            body = next((person[key] for key in JOINTS if key in person), None)
            values = triples(body, "joints")
            yield values[:, :2], values[:, 2], -1
        return
    for person in entries(persons, "persons"):
        keypoints = numbers(person.get("keypoints"), "keypoints")
        scores = person.get("scores")
        if scores is None:
            values = triples(person.get("keypoints"), "keypoints")
            yield values[:, :2], values[:, 2], identity_of(person.get("idx"))
            continue
        if keypoints.size % 2:
            raise UserError("`keypoints` must be x and y of each joint.")
        flat_scores = numbers(scores, "scores").ravel()
        yield keypoints.reshape(-1, 2), flat_scores, identity_of(person.get("idx"))


def _detections(name: str, videos: dict[str, Rows], notes: list[str]) -> list[Detections]:
    made = []
    for video, rows in videos.items():
        called = name if len(videos) == 1 else (video or name)
        num_joints = len(rows.keypoints[0]) if rows.keypoints else 0
        made.append(rows.detections(called, LAYOUTS.get(num_joints), notes=tuple(notes)))
    return made
