"""A self-contained HTML page that plays skeletons and bodies side by side.

Sizes: M persons, T frames, V joints, N vertices, R bones and helpers.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flag3d_exp.bodies.gltf import local_pose, whole_weights
from flag3d_exp.bodies.moving import MovingBody, upright
from flag3d_exp.bodies.skinning import PARENTS
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import shown_joints
from flag3d_exp.errors import visible
from flag3d_exp.report.animation import LEFT, RIGHT
from flag3d_exp.report.inspection.pictures import coloured_bones
from flag3d_exp.report.pages import page
from flag3d_exp.skeletons.layout import Layout

MAX_FRAMES = 240
SIDES = {LEFT: "left", RIGHT: "right"}
TURN, FULL = 32767, 255  # integers for 1 in a quaternion and in a weight
NUM_LOOKED_AT = 20  # frames of a recording, to find the floor
YAW = 0.5  # radians by which the page first shows a person from the side


@dataclass(frozen=True, eq=False)
class ShownBodies:
    """A recording and its bodies.

    Args:
        people: a body for each person; None for persons without one.
        up: the upward axis of the recording, see `data.upright`.
        metres: factor that converts its coordinates to metres.
    """

    recording: Recording
    people: Sequence[MovingBody | None]
    up: int
    metres: float


def bodies_page(chosen: Sequence[ShownBodies], layout: Layout, frame_rate: float) -> str:
    """The HTML page; recordings are subsampled to at most 240 frames.

    Args:
        frame_rate: frames per second.
    """
    skin = next(person.skin for one in chosen for person in one.people if person is not None)
    first = next(person for one in chosen for person in one.people if person is not None)
    wide = len(first.vertices) > np.iinfo(np.uint16).max
    data = {
        "bones": [
            (start, end, SIDES.get(colour, "middle"))
            for start, end, colour in coloured_bones(layout)
        ],
        "rate": frame_rate,
        "parents": PARENTS,
        "wide": wide,
        "triangles": encoded_bytes(first.triangles.astype(np.uint32 if wide else np.uint16)),
        "influences": encoded_bytes(skin.influences.astype(np.uint8)),
        "weights": encoded_bytes(whole_weights(skin.weights, FULL).astype(np.uint8)),
        "recordings": [_recording(one) for one in chosen],
    }
    return page("bodies.html", data=data)


def encoded_bytes(values: np.ndarray) -> str:
    """The bytes of an array, little-endian, as base64."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _recording(one: ShownBodies) -> dict[str, Any]:
    """Joints in thousandths of a cube around the recording, 0 where missing, and the bodies."""
    num_frames = one.recording.keypoints.shape[1]
    stride = -(-num_frames // MAX_FRAMES)
    keypoints = one.recording.keypoints[:, ::stride].astype(np.float64)
    seen = shown_joints(one.recording, stride)
    points = upright(keypoints, one.up) * one.metres
    low, high = points[seen].min(0), points[seen].max(0)
    centre, side = (low + high) / 2, 1.15 * float((high - low).max())  # a body is larger
    thousandths = np.rint((points - centre) / side * 1000).astype(int)
    frames = [
        [
            [
                thousandths[person, frame, joint].tolist() if seen[person, frame, joint] else 0
                for joint in range(points.shape[2])
            ]
            for person in range(len(points))
        ]
        for frame in range(points.shape[1])
    ]
    people = [(number, person) for number, person in enumerate(one.people) if person is not None]
    millimetres = ", ".join(f"{1000 * person.error:.0f} mm" for _, person in people)
    ahead = people[0][1].rotations[0, 0] @ np.array([0.0, 0.0, 1.0])
    return {
        "title": visible(one.recording.name),
        "note": f"mean distance of joints and body: {millimetres}",
        "frames": frames,
        "floor": float((min(low[1], lowest(people)) - centre[1]) / side),
        "stride": stride,
        "length": num_frames,
        "centre": centre.tolist(),
        "side": side,
        "yaw": float(np.arctan2(ahead[0], ahead[2]) - YAW),
        "people": [_person(number, person, stride) for number, person in people],
    }


def lowest(people: Sequence[tuple[int, MovingBody]]) -> float:
    """The height of the lowest vertex of some frames."""
    return min(
        float(person.posed_vertices(frame)[:, 1].min())
        for _, person in people
        for frame in range(0, person.num_frames, max(1, person.num_frames // NUM_LOOKED_AT))
    )


def _person(number: int, person: MovingBody, stride: int) -> dict[str, Any]:
    turns, moves = local_pose(person)
    step = float(np.abs(person.vertices).max()) / np.iinfo(np.int16).max
    return {
        "number": number,
        "vertices": encoded_bytes(np.rint(person.vertices / step).astype(np.int16)),
        "step": step,
        "heads": np.round(person.heads, 5).tolist(),
        "turns": encoded_bytes(np.rint(turns[::stride] * TURN).astype(np.int16)),
        "moving": list(moves),
        "moves": encoded_bytes(np.stack(list(moves.values()), axis=1)[::stride].astype(np.float32)),
    }
