"""Persons found in the frames of a video, as the files of pose estimators have them.

Sizes: n detections, V joints, D coordinates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.errors import UserError

MAX_VALUE = 1e7  # of a coordinate: whatever the unit, more is no place of a joint
MAX_JOINTS = 1000
Unit = Literal["pixels", "share", "signed", "metres", "millimetres", "centimetres", "inches"]


@dataclass(frozen=True)
class Reading:
    """What a user says of files whose content leaves it open; None: as the numbers allow.

    Args:
        format: the name of a format, see `poses.FORMATS`.
        layout: of the files' joints.
        unit: of the coordinates: pixels; share (0 to 1 of the image); signed (-1 to 1 of the
            image); or a length.
        image_shape: (height, width) of the video in pixels.
        num_coordinates: 2 leaves out the depth that an estimator gives beside pixels; 3 keeps it.
        num_persons: the most persons to keep of a video: those that are seen longest.
    """

    format: str | None = None
    layout: str | None = None
    unit: Unit | None = None
    image_shape: tuple[int, int] | None = None
    num_coordinates: int | None = None
    num_persons: int = 8


@dataclass(frozen=True, kw_only=True)
class OpenFacts:
    """Settings of every task that reads files of poses: what a user says where they leave it open.

    Args:
        format: of a pose estimator's files, where it is not recognised.
        layout: of the recordings' joints, where the files do not say.
        unit: of the coordinates, where their size leaves it open.
        image_shape: (height, width) of the videos, for coordinates that are shares of it.
    """

    format: str | None = None
    layout: str | None = None
    unit: (
        Literal["pixels", "share", "signed", "metres", "millimetres", "centimetres", "inches"]
        | None
    ) = None
    image_shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        check_image_shape(self.image_shape)

    def reading(self, num_coordinates: int | None = None, num_persons: int = 8) -> Reading:
        """These facts, and what the task itself asks of the files."""
        shape = None if self.image_shape is None else (self.image_shape[0], self.image_shape[1])
        return Reading(self.format, self.layout, self.unit, shape, num_coordinates, num_persons)


@dataclass(frozen=True)
class Detections:
    """All that a file, or the files of a video, say of the persons in it.

    Args:
        layout: the name of the joints' layout; None where the file leaves it open.
        frames: (n,) int64 number of the frame of each detection.
        keypoints: (n, V, D) float32; 0 where a joint is missing.
        scores: (n, V) float32, 0 where a joint is missing; None where the file has none.
        identities: (n,) int64 of the persons; None where the file does not tell them apart.
        span: first and last frame of the video, as far as the file says.
        unit: of the coordinates; None where the file leaves it open.
        upwards: how (x, y, z) become coordinates with y upwards; None for 2D.
        notes: what was decided on the way, as sentences.
    """

    name: str
    layout: str | None
    frames: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray | None = None
    identities: np.ndarray | None = None
    span: tuple[int, int] | None = None
    unit: Unit | None = None
    image_shape: tuple[int, int] | None = None
    upwards: Callable[[np.ndarray], np.ndarray] | None = None
    notes: tuple[str, ...] = ()


@dataclass
class Rows:
    """Detections of a video while they are read, one after the other.

    A row is (V, D) coordinates and (V,) scores; rows of another number of joints are refused.
    """

    frames: list[int] = field(default_factory=list)
    keypoints: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    identities: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)  # frames that the file has, with or without rows

    def add(
        self, frame: int, keypoints: np.ndarray, scores: np.ndarray | None, identity: int = -1
    ) -> None:
        """Take in a person in a frame; -1 is an unknown identity.

        Raises:
            UserError: the joints are not as many as those before, or scores not as many as joints.
        """
        if self.keypoints and keypoints.shape != self.keypoints[0].shape:
            raise UserError(
                f"frame {frame}: a person has {_shape(keypoints)}, an earlier one "
                f"{_shape(self.keypoints[0])}."
            )
        if scores is not None and len(scores) != len(keypoints):
            raise UserError(f"frame {frame}: {len(scores)} scores for {len(keypoints)} joints.")
        self.frames.append(frame)
        self.keypoints.append(keypoints.astype(np.float32))
        self.identities.append(identity)
        if scores is not None:
            self.scores.append(scores.astype(np.float32))

    def detections(self, name: str, layout: str | None, **facts: Any) -> Detections:
        """The rows as arrays. Joints that are not finite, or of no score, are missing: 0.

        Args:
            facts: further fields of `Detections`.

        Raises:
            UserError: there are none, or some have scores and others do not.
        """
        if not self.keypoints:
            raise UserError(f"{name!r}: nobody is seen in it.")
        if self.scores and len(self.scores) != len(self.frames):
            raise UserError(f"{name!r}: some persons have scores, others do not.")
        keypoints = np.stack(self.keypoints)
        scores = np.stack(self.scores) if self.scores else None
        missing = ~np.isfinite(keypoints).all(-1)
        if scores is not None:
            scores = np.nan_to_num(scores, nan=0.0, posinf=0.0, neginf=0.0).clip(0, 1)
            missing |= scores <= 0
            scores[missing] = 0
        keypoints[missing] = 0
        numbers = self.seen + self.frames
        identities = None
        if min(self.identities) >= 0:
            identities = np.array(self.identities, np.int64)
        return Detections(
            name,
            layout,
            np.array(self.frames, np.int64),
            keypoints,
            scores,
            identities,
            (min(numbers), max(numbers)),
            **facts,
        )


def check_image_shape(sides: Any) -> None:
    """Refuse what is no size of an image.

    Raises:
        UserError: naming `task.image_shape`.
    """
    if sides is not None and (
        len(sides) != 2 or not all(type(side) is int and 1 <= side <= 100_000 for side in sides)
    ):
        raise UserError(
            "`task.image_shape` must be [height, width], whole numbers of pixels from 1 to 100000; "
            f"got {list(sides)}."
        )


def numbers(value: Any, what: str) -> np.ndarray:
    """Nested lists of numbers as float64; `null` becomes NaN.

    Raises:
        UserError: they are ragged, hold something else than numbers, or a number is too large.
    """
    try:
        array = np.array(value)
        if array.dtype == object and array.ndim:
            filled = [np.nan if one is None else one for one in array.ravel().tolist()]
            array = np.array(filled).reshape(array.shape)
    except (ValueError, OverflowError, TypeError):
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf" or not array.ndim:
        raise UserError(f"`{what}` must be numbers in lists of equal length.")
    array = array.astype(np.float64)
    finite = array[np.isfinite(array)]
    if finite.size and np.abs(finite).max() > MAX_VALUE:
        raise UserError(f"`{what}` must be within {-MAX_VALUE:g} to {MAX_VALUE:g}.")
    return array


def triples(value: Any, what: str) -> np.ndarray:
    """(V, 3) of a flat list x, y, score, x, y, score, ...

    Raises:
        UserError: it is no list of numbers, or not of as many.
    """
    flat = numbers(value, what)
    if flat.ndim != 1 or not flat.size or flat.size % 3 or flat.size > 3 * MAX_JOINTS:
        raise UserError(
            f"`{what}` must be a list of x, y and score of each joint; got an array of shape "
            f"{flat.shape}."
        )
    return flat.reshape(-1, 3)


def whole(value: Any, what: str, most: int = 2**31 - 1) -> int:
    """A whole number from 0 of a JSON file, which may be written as 3.0.

    Raises:
        UserError: it is none.
    """
    number = value
    if isinstance(value, float) and value.is_integer():
        number = int(value)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= most:
        raise UserError(f"`{what}` must be a whole number from 0 to {most}; got {str(value)[:40]}.")
    return number


def entries(value: Any, what: str) -> Sequence[Any]:
    """A list of objects.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UserError(f"`{what}` must be a list of objects.")
    return value


def _shape(keypoints: np.ndarray) -> str:
    joints, coordinates = keypoints.shape
    return f"{joints} joints of {coordinates} coordinates"


def number_of(cell: str) -> float:
    """The number in a cell of a table; NaN if it is empty.

    Raises:
        UserError: it holds something else, or no finite number.
    """
    try:
        number = float(cell or "nan")
    except ValueError:
        raise UserError(f"{cell!r:.40} is no number.") from None
    if math.isinf(number):
        raise UserError(f"{cell!r:.40} is no finite number.")
    return number
