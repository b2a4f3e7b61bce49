"""Persons detected in the frames of a video, as in the files of pose estimators.

Sizes: n detections, V joints, D coordinates.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.errors import UserError

MAX_VALUE = 1e7  # of a coordinate, in any unit
MAX_JOINTS = 1000
Unit = Literal["pixels", "share", "signed", "metres", "millimetres", "centimetres", "inches"]


@dataclass(frozen=True)
class Reading:
    """Facts about files that their content does not state; None: infer them from the numbers.

    Args:
        format: the name of a format, see `poses.FORMATS`.
        layout: of the files' joints.
        unit: of the coordinates: pixels; share (0 to 1 of the image); signed (-1 to 1 of the
            image); or a unit of length.
        image_shape: (height, width) of the video in pixels.
        num_coordinates: 2 drops the depth that some estimators give with pixels; 3 keeps it.
        num_persons: the maximum number of persons of a video; those seen longest are kept.
    """

    format: str | None = None
    layout: str | None = None
    unit: Unit | None = None
    image_shape: tuple[int, int] | None = None
    num_coordinates: int | None = None
    num_persons: int = 8


@dataclass(frozen=True, kw_only=True)
class OpenFacts:
    """Settings of all tasks that read pose files: facts that the files do not state.

    Args:
        format: of a pose estimator's files, if it is not recognised.
        layout: of the recordings' joints, if the files do not state it.
        unit: of the coordinates, if it can't be inferred from their size.
        image_shape: (height, width) of the videos, for coordinates that are shares of the image.
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
        """These facts together with the task's own requirements."""
        shape = None if self.image_shape is None else (self.image_shape[0], self.image_shape[1])
        return Reading(self.format, self.layout, self.unit, shape, num_coordinates, num_persons)


@dataclass(frozen=True)
class Detections:
    """The persons in a video, as read from its file or files.

    Args:
        layout: the name of the joints' layout; None if the file does not state it.
        frames: (n,) int64 number of the frame of each detection.
        keypoints: (n, V, D) float32; 0 for missing joints.
        scores: (n, V) float32, 0 for missing joints; None if the file has no scores.
        identities: (n,) int64 of the persons; None if the file has no identities.
        span: first and last frame of the video, if the file states them.
        unit: of the coordinates; None if the file does not state it.
        upwards: function that turns (x, y, z) so that y is upwards; None for 2D.
        notes: decisions that were made while reading, as sentences.
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
    """Collects the detections of a video while its files are read.

    A row is (V, D) coordinates and (V,) scores; all rows must have the same number of joints.
    """

    frames: list[int] = field(default_factory=list)
    keypoints: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    identities: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)  # frames of the file, even without rows

    def add(
        self, frame: int, keypoints: np.ndarray, scores: np.ndarray | None, identity: int = -1
    ) -> None:
        """Add a person in a frame; an identity of -1 means unknown.

        Raises:
            UserError: the number of joints differs from earlier rows or from that of scores.
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
        """The rows as arrays; joints that are not finite or have no score are missing (0).

        Args:
            facts: other fields of `Detections`.

        Raises:
            UserError: there are no rows, or only some have scores.
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
    """Refuse an invalid image size.

    Raises:
        UserError: the size is invalid; the message names `task.image_shape`.
    """
    if sides is not None and (
        len(sides) != 2 or not all(type(side) is int and 1 <= side <= 100_000 for side in sides)
    ):
        raise UserError(
            "`task.image_shape` must be [height, width], whole numbers of pixels from 1 to 100000; "
            f"got {list(sides)}."
        )


def numbers(value: Any, what: str) -> np.ndarray:
    """Nested lists of numbers as a float64 array; `null` becomes NaN.

    Raises:
        UserError: the lists are ragged or contain a value that is not a number or is too large.
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
    """(V, 3) array of a flat list x, y, score, x, y, score, ...

    Raises:
        UserError: it is not a list of numbers, or its length is not a multiple of 3.
    """
    flat = numbers(value, what)
    if flat.ndim != 1 or not flat.size or flat.size % 3 or flat.size > 3 * MAX_JOINTS:
        raise UserError(
            f"`{what}` must be a list of x, y and score of each joint; got an array of shape "
            f"{flat.shape}."
        )
    return flat.reshape(-1, 3)


def whole(value: Any, what: str, most: int = 2**31 - 1) -> int:
    """A non-negative integer of a JSON file, which may be written as 3.0.

    Raises:
        UserError: the value is not such a number.
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
        UserError: the value is not a list of objects.
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
        UserError: the cell is not a number, or not a finite one.
    """
    try:
        number = float(cell or "nan")
    except ValueError:
        raise UserError(f"{cell!r:.40} is not a number.") from None
    if math.isinf(number):
        raise UserError(f"{cell!r:.40} is not a finite number.")
    return number
