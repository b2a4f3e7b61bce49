"""BVH motion capture files: a hierarchy of joints, and rotations in each frame.

Joint positions are computed from the hierarchy's offsets and the frame's rotations, which are
applied in the order of a joint's channels. y is upwards. BVH files do not state their unit; it is
the one in which the skeleton has the size of a person.

Sizes: T frames, B joints of the file, V joints of the layout, K channels.
"""

from dataclasses import dataclass, field

import numpy as np

from flag3d_exp.data.formats.detections import Detections, Reading, Rows
from flag3d_exp.data.formats.named_joints import chosen_layout
from flag3d_exp.data.formats.units import body_lengths
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import words

MAX_JOINTS, MAX_FRAMES, MAX_DEPTH = 500, 200_000, 100
AXES = {"X": 0, "Y": 1, "Z": 2}
# Joint names of common skeletons and their names in layouts; a limb's name means the joint where
# its bone begins.
SAME = {
    "hips": "base of spine",
    "spine": "middle of spine",
    "leg": "knee",
    "up leg": "hip",
    "upleg": "hip",
    "thigh": "hip",
    "shin": "knee",
    "foot": "ankle",
    "toe base": "foot",
    "toebase": "foot",
    "arm": "shoulder",
    "upper arm": "shoulder",
    "fore arm": "elbow",
    "forearm": "elbow",
    "lower arm": "elbow",
    "hand": "wrist",
}


@dataclass
class Skeleton:
    """The hierarchy of joints of a file.

    Args:
        parents: of each joint; -1 for the root.
        offsets: (3,) from the parent.
        channels: of each joint, as (kind, axis); kind is `p` for positions, `r` for rotations.
    """

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    offsets: list[np.ndarray] = field(default_factory=list)
    channels: list[list[tuple[str, int]]] = field(default_factory=list)


def read_bvh(name: str, text: str, how: Reading) -> Detections:
    """The motion of the person of a BVH file, as joints of a layout.

    Args:
        how: the layout to convert to, which is required, and the unit if it is known.

    Raises:
        UserError: the file is invalid, no layout is given, or the unit can't be inferred from the
            skeleton's size.
    """
    layout, unit = how.layout, how.unit
    if layout is None:
        raise UserError(f"{name!r}: a BVH file has joints of its own; name the layout to read them "
                        "as by `task.layout`, such as `task.layout=nturgb+d`.")  # fmt: skip
    tokens = _Tokens(name, text)
    skeleton = Skeleton()
    tokens.expect("HIERARCHY")
    tokens.expect("ROOT")
    _joint(tokens, skeleton, -1, 0)
    values = _motion(tokens, sum(map(len, skeleton.channels)))
    places = joint_places(skeleton, values)  # (T, B, 3)
    chosen = chosen_layout([_layout_name(joint, skeleton.names) for joint in skeleton.names],
                           layout, name)  # fmt: skip
    order: dict[int, int] = {}
    for at, joint in enumerate(skeleton.names):
        number = chosen.joint_number(_layout_name(joint, skeleton.names))
        if number is not None:
            order.setdefault(number, at)
    keypoints = np.full((len(places), chosen.num_joints, 3), np.nan)
    keypoints[:, list(order)] = places[:, list(order.values())]
    rows = Rows()
    for frame, pose in enumerate(keypoints):
        rows.add(frame, pose, None)
    lacking = chosen.num_joints - len(order)
    notes: tuple[str, ...] = ()
    if lacking:
        notes = (f"{lacking} of {chosen.num_joints} joints of {chosen.name} are not in the file",)
    if unit is None:
        fitting = body_lengths(places)
        if len(fitting) != 1:
            raise UserError(
                f"{name!r}: by the size of its skeleton, its unit may be "
                f"{' or '.join(fitting) or 'none that is known'}; say `task.unit=centimetres`, "
                "inches, metres or millimetres."
            )
        unit = fitting[0]
        notes = f"the unit of coordinates is {unit}, inferred from the size of the skeleton", *notes
    return rows.detections(name, layout, unit=unit, notes=notes)


def joint_places(skeleton: Skeleton, values: np.ndarray) -> np.ndarray:
    """(T, B, 3) positions of the joints for channel values (T, K)."""
    num_frames = len(values)
    places = np.zeros((num_frames, len(skeleton.names), 3))
    turns = np.zeros((num_frames, len(skeleton.names), 3, 3))
    column = 0
    for joint, (parent, offset) in enumerate(zip(skeleton.parents, skeleton.offsets, strict=True)):
        shift = np.repeat(offset[None], num_frames, axis=0)
        turn = np.repeat(np.eye(3)[None], num_frames, axis=0)
        given = {axis for kind, axis in skeleton.channels[joint] if kind == "p"}
        for axis in given:
            shift[:, axis] = 0
        for kind, axis in skeleton.channels[joint]:
            if kind == "p":
                shift[:, axis] += values[:, column]
            else:
                turn = turn @ _turn(np.radians(values[:, column]), axis)
            column += 1
        if parent < 0:
            places[:, joint], turns[:, joint] = shift, turn
            continue
        places[:, joint] = places[:, parent] + np.einsum("tij,tj->ti", turns[:, parent], shift)
        turns[:, joint] = turns[:, parent] @ turn
    return places


def _turn(angles: np.ndarray, axis: int) -> np.ndarray:
    """(T, 3, 3) rotations about an axis by (T,) radians."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    made = np.repeat(np.eye(3)[None], len(angles), axis=0)
    made[:, first, first] = made[:, second, second] = np.cos(angles)
    made[:, first, second], made[:, second, first] = -np.sin(angles), np.sin(angles)
    return made


def _layout_name(joint: str, joints: list[str]) -> str:
    """A joint's name in layouts: `mixamorig:LeftUpLeg` is the left hip.

    `LeftShoulder` is the clavicle if there is a `LeftArm`, and the shoulder if there is a
    `LeftCollar`.
    """
    bare = joint.rpartition(":")[2]
    spelled = words(bare).split()
    side = [word for word in spelled if word in ("left", "right")]
    rest = " ".join(sorted(word for word in spelled if word not in side))
    others = {words(other.rpartition(":")[2]) for other in joints}
    if not side and rest not in ("hips", "spine"):
        return bare
    if rest == "shoulder" and words(f"{side[0]} arm") in others:
        return f"{side[0]} clavicle"
    same = {" ".join(sorted(key.split())): value for key, value in SAME.items()}
    return " ".join([*side, same.get(rest, rest)])


class _Tokens:
    """Iterator over the words of a file, which checks them."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.words, self.at = name, text.split(), 0

    def take(self) -> str:
        if self.at >= len(self.words):
            raise UserError(f"{self.name!r} ends too early.")
        self.at += 1
        return self.words[self.at - 1]

    def expect(self, *known: str) -> str:
        word = self.take()
        if word.upper().rstrip(":") not in known:
            raise UserError(f"{self.name!r}: word {self.at} must be {' or '.join(known)}; got "
                            f"{word!r:.40}.")  # fmt: skip
        return word.upper().rstrip(":")

    def number(self) -> float:
        word = self.take()
        try:
            number = float(word)
        except ValueError:
            number = np.nan
        if not np.isfinite(number) or abs(number) > 1e7:
            raise UserError(f"{self.name!r}: word {self.at} must be a number; got {word!r:.40}.")
        return number


def _joint(tokens: _Tokens, skeleton: Skeleton, parent: int, depth: int) -> None:
    """Read a joint and its descendants, from its name to its closing brace."""
    if depth > MAX_DEPTH or len(skeleton.names) >= MAX_JOINTS:
        raise UserError(f"{tokens.name!r} has more than {MAX_JOINTS} joints, or a chain of "
                        f"more than {MAX_DEPTH}.")  # fmt: skip
    called = []
    while (word := tokens.take()) != "{":
        called.append(word)
        if len(called) > 10:
            tokens.expect("{")
    own = len(skeleton.names)
    skeleton.names.append(" ".join(called)[:100])
    skeleton.parents.append(parent)
    skeleton.channels.append([])
    tokens.expect("OFFSET")
    skeleton.offsets.append(np.array([tokens.number() for _ in range(3)]))
    while (word := tokens.expect("CHANNELS", "JOINT", "END", "}")) != "}":
        if word == "CHANNELS":
            count = tokens.number()
            for _ in range(int(min(max(count, 0), 6))):
                channel = tokens.expect(*(f"{axis}{kind}" for axis in AXES
                                          for kind in ("POSITION", "ROTATION")))  # fmt: skip
                kind = "p" if channel.endswith("POSITION") else "r"
                skeleton.channels[own].append((kind, AXES[channel[0]]))
        elif word == "JOINT":
            _joint(tokens, skeleton, own, depth + 1)
        else:
            tokens.expect("SITE")
            tokens.expect("{")
            tokens.expect("OFFSET")
            for _ in range(3):
                tokens.number()
            tokens.expect("}")


def _motion(tokens: _Tokens, num_channels: int) -> np.ndarray:
    """(T, K) values of the channels."""
    tokens.expect("MOTION")
    tokens.expect("FRAMES")
    num_frames = tokens.number()
    tokens.expect("FRAME")
    tokens.expect("TIME")
    tokens.number()
    left = len(tokens.words) - tokens.at
    if num_frames != int(num_frames) or not 1 <= num_frames <= MAX_FRAMES:
        raise UserError(f"{tokens.name!r}: `Frames` must be 1 to {MAX_FRAMES}; got {num_frames:g}.")
    if not num_channels or left != int(num_frames) * num_channels:
        raise UserError(f"{tokens.name!r}: {num_frames:g} frames of {num_channels} channels need "
                        f"{int(num_frames) * num_channels} numbers; it has {left}.")  # fmt: skip
    try:
        values = np.array(tokens.words[tokens.at :], np.float64)
    except ValueError as error:
        raise UserError(
            f"{tokens.name!r}: its motion contains a value that is not a number."
        ) from error
    if not np.isfinite(values).all() or np.abs(values).max() > 1e7:
        raise UserError(f"{tokens.name!r}: its motion contains a value that is NaN or beyond 1e7.")
    return values.reshape(-1, num_channels)
