"""Infer the unit of a file's coordinates from their size, or ask the user for it.

Sizes: n detections, V joints, D coordinates.
"""

from dataclasses import replace

import numpy as np

from flag3d_exp.data.formats.detections import Detections, Reading, Unit
from flag3d_exp.errors import UserError

LENGTHS = {"metres": 1.0, "millimetres": 0.001, "centimetres": 0.01, "inches": 0.0254}
OF_IMAGE = ("pixels", "share", "signed")
PIXELS = 8.0  # coordinates larger than this are neither shares of an image nor metres
OUTSIDE = 0.5  # limit, as a share of the image, on how far outside 9 of 10 joints may be
BODY = (0.9, 2.6)  # metres, plausible median over frames of a body's largest extent along an axis


def in_known_unit(found: Detections, how: Reading) -> Detections:
    """The detections in pixels, or in metres with y upwards, with the requested dimensions.

    Raises:
        UserError: the unit is ambiguous, or the image size for shares of it is not known.
    """
    notes = list(found.notes)
    unit = how.unit or found.unit
    if unit is None:
        unit = likely(found)
        if unit is None:
            raise UserError(
                f"{found.name!r}: the unit of its coordinates can't be inferred from their size; "
                "set `task.unit` to pixels, share, signed or metres."
            )
        notes.append(f"the unit of coordinates is {unit_text(unit)}, inferred from their size")
    seen = found.keypoints.any(-1)
    keypoints = found.keypoints.astype(np.float64)
    image_shape = how.image_shape or found.image_shape
    flat = how.num_coordinates == 2 and keypoints.shape[-1] == 3
    if unit in LENGTHS:
        keypoints *= LENGTHS[unit]
        if found.upwards is not None:
            keypoints = found.upwards(keypoints)
            notes.append("the axes are rotated so that y is upwards")
        if flat:  # an image has y downwards
            keypoints *= np.array([1, -1, 1])
        image_shape = None
    elif unit in ("share", "signed"):
        if image_shape is None:
            raise UserError(
                f"{found.name!r}: its coordinates are {unit_text(unit)}; set the size of the "
                "video, such as `task.image_shape=[1080,1920]` (height, width)."
            )
        height, width = image_shape
        scale = np.array([width, height, width], np.float64)[: keypoints.shape[-1]]
        if unit == "signed":
            keypoints[..., :2] = (keypoints[..., :2] + 1) / 2
        keypoints *= scale
    has_depth = unit in OF_IMAGE and keypoints.shape[-1] == 3
    if flat or (has_depth and how.num_coordinates is None):
        keypoints = keypoints[..., :2]
        notes.append("z is left out" if flat else "the depth is left out")
    if how.num_coordinates == 3 and keypoints.shape[-1] == 2:
        raise UserError(f"{found.name!r}: it has 2 coordinates; 3 are needed.")
    keypoints[~seen] = 0
    return replace(
        found,
        keypoints=keypoints.astype(np.float32),
        unit=unit,
        image_shape=image_shape,
        upwards=None,
        notes=tuple(notes),
    )


def likely(found: Detections) -> Unit | None:
    """The only unit that fits the numbers; None if several units fit, or none."""
    seen = found.keypoints.any(-1)
    places = found.keypoints[seen]  # (n, D)
    if not len(places):
        return None
    if places.shape[1] == 3 and found.layout not in (None, "mediapipe"):
        fitting = body_lengths(found.keypoints[seen.all(1)]) if seen.all(1).any() else []
        return fitting[0] if len(fitting) == 1 else None
    if np.abs(places[:, :2]).max() > PIXELS:
        return "pixels"
    low, high = np.percentile(places[:, :2], [5, 95])
    if places.shape[1] == 3 and _is_centred(found, seen):
        return "metres"
    if low >= -0.02 and high <= 1 + OUTSIDE:
        return "share"
    return None


def body_lengths(keypoints: np.ndarray) -> list[Unit]:
    """The units of length in which bodies (n, V, 3) have a plausible size.

    The largest extent along an axis, of a standing or lying person, must be 0.9 to 2.6 m.
    """
    extent = float(np.median(np.ptp(keypoints, axis=1).max(-1)))
    units: list[Unit] = ["metres", "millimetres", "centimetres", "inches"]
    return [unit for unit in units if BODY[0] <= extent * LENGTHS[unit] <= BODY[1]]


def unit_text(unit: Unit) -> str:
    """A description of a unit."""
    words = {"share": "shares of the image (0 to 1)", "signed": "-1 to 1 of the image"}
    return words.get(unit, unit)


def _is_centred(found: Detections, seen: np.ndarray) -> bool:
    """Whether the middle of the hips is the origin in every frame, as in MediaPipe's world
    landmarks."""
    if found.layout != "mediapipe":
        return False
    hips = found.keypoints[:, [23, 24]].mean(1)  # (n, D)
    both = seen[:, [23, 24]].all(1)
    return bool(both.any()) and float(np.abs(hips[both]).max()) < 0.03
