"""`task=mesh`: put a body over the joints of 3D recordings."""

import logging
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from flag3d_exp import console, files
from flag3d_exp.bodies.body import Body, stored_body
from flag3d_exp.bodies.gltf import glb
from flag3d_exp.bodies.joints import check_layout
from flag3d_exp.bodies.moving import faces_backwards, held_parts, moving_bodies
from flag3d_exp.bodies.smpl import read_smpl
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.convert import converted_recordings
from flag3d_exp.data.formats.detections import OpenFacts
from flag3d_exp.data.formats.units import LENGTHS, body_lengths
from flag3d_exp.data.poses import visible
from flag3d_exp.data.source import annotation_file
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.tasks.inspect import by_turns

log = logging.getLogger(__name__)
COPYRIGHT = "Body: MakeHuman, CC0 1.0 (public domain)"
MAX_SHOWN = 12  # recordings on the page
MAX_NAMED = 6  # parts of bodies in a line


@dataclass(frozen=True)
class Mesh(OpenFacts):
    """Settings of `task=mesh`, besides those of `OpenFacts`.

    Args:
        input: 3D recordings: an annotation file, `demo_in_domain`, or whatever else `task=convert`
            reads.
        recordings: names of the recordings; None: the first of each class in turn.
        count: number of recordings if `recordings` is None.
        body: a file of SMPL (.pkl or .npz); None: MakeHuman's body.
        frame_rate: frames per second of the recordings.
        num_persons: the maximum number of persons to keep of a recording.
    """

    input: str
    recordings: list[str] | None = None
    count: Annotated[int, ">= 1, <= 1000"] = 4
    body: str | None = None
    frame_rate: Annotated[float, "> 0, <= 1000"] = 30.0
    num_persons: Annotated[int, ">= 1"] = 2

    def __call__(self, experiment: Experiment) -> None:
        """Write a file for each recording and a page, and print where they are."""
        with blamed_on("task.body"):
            body = chosen_body(self.body)
        with blamed_on("task.input"):
            source = annotation_file(self.input)
            how = self.reading(3, self.num_persons)
            found = converted_recordings(source, self.num_persons, how=how, key="task.input")
            layout = load_layout(found.layout, "task.layout")
            check_layout(layout)
        with blamed_on("task.recordings"):
            chosen = chosen_recordings(found.recordings, self.recordings, self.count)
        with blamed_on("task.input"):
            space = space_of(chosen, layout)
        write_bodies(experiment.folder, chosen, space, body, self.frame_rate)


@dataclass(frozen=True)
class Space:
    """The joints and the axes of recordings.

    Args:
        up: the upward axis, see `data.upright`.
        metres: factor that converts coordinates to metres.
    """

    layout: Layout
    up: int
    metres: float


def chosen_body(path: str | None) -> Body:
    """The body of a user's file, or the stored one.

    Raises:
        UserError: the file is not one of SMPL.
    """
    return stored_body() if path is None else read_smpl(Path(path).expanduser())


def chosen_recordings(
    recordings: Sequence[Recording], names: Sequence[str] | None, count: int
) -> list[Recording]:
    """The recordings of these names; None: `count` of them, the first of each class in turn.

    Raises:
        UserError: there is no recording of a name.
    """
    if names is None:
        return by_turns(recordings)[:count]
    by_name = {one.name: one for one in recordings}
    for name in names:
        if name not in by_name:
            raise UserError(f"there is no recording {reprlib.repr(name)}.{nearest(name, by_name)}")
    return [by_name[name] for name in names]


def space_of(recordings: Sequence[Recording], layout: Layout) -> Space:
    """The upward axis and the unit of recordings, by their coordinates.

    Raises:
        UserError: some are 2D, have other joints or are not finite.
    """
    for one in recordings:
        name, (num_joints, num_coordinates) = reprlib.repr(one.name), one.keypoints.shape[2:]
        if num_coordinates != 3:
            raise UserError(f"recording {name} is in 2D; `task=lift` converts it to 3D.")
        if num_joints != layout.num_joints:
            raise UserError(
                f"recording {name} has {num_joints} joints, but layout {layout.name} has "
                f"{layout.num_joints}; set `task.layout`."
            )
        if not one.finite:
            raise UserError(f"recording {name} holds NaN or infinite values.")
    whole = [poses[visible(poses, one.scores).all(-1)] for one in recordings
             for poses in [one.keypoints.astype(np.float64)]]  # fmt: skip
    units = body_lengths(np.concatenate(whole)) if sum(map(len, whole)) else []
    if len(units) != 1:
        log.warning("The unit of the coordinates can't be inferred; they are taken as metres.")
    metres = LENGTHS[units[0]] if len(units) == 1 else 1.0
    return Space(layout, upward_axis(recordings, layout), metres)


def write_bodies(
    folder: Path,
    recordings: Sequence[Recording],
    space: Space,
    body: Body,
    frame_rate: float,
) -> None:
    """Write `bodies/*.glb`, `bodies.csv` and the page `bodies.html`, and print a line of each.

    Raises:
        UserError: no recording has the joints that a body needs.
    """
    from flag3d_exp.report.bodies import ShownBodies, bodies_page

    made, rows, reasons = [], [], []
    for number, one in enumerate(recordings, start=1):
        try:
            people = moving_bodies(
                one.keypoints, one.scores, space.layout, body, space.up, space.metres
            )
        except UserError as error:
            reasons.append(f"recording {reprlib.repr(one.name)}: {error}")
            continue
        if not any(people):
            reasons.append(f"recording {reprlib.repr(one.name)}: nobody is seen in it.")
            continue
        made.append(ShownBodies(one, people, space.up, space.metres))
        path = folder / "bodies" / f"{number:03d}_{plain_name(one.name)}.glb"
        path.parent.mkdir(exist_ok=True)
        notice = COPYRIGHT if body.name == "MakeHuman" else ""
        there = [person for person in people if person is not None]
        files.write_bytes(path, glb(there, frame_rate, notice))
        for at, person in enumerate(people):
            if person is not None:
                parts = "; ".join(f"{bone} {count}" for bone, count in held_parts([person]).items())
                millimetres = round(1000 * person.error, 2)
                rows.append([one.name, at, person.num_frames, millimetres, parts, path.name])
                if faces_backwards(person):
                    log.warning(
                        "%s, person %d: the feet point backwards; the axes are left-handed, or "
                        "left and right are exchanged.", one.name, at,
                    )  # fmt: skip
        tell(one, held_parts(people))
    for reason in reasons:
        log.warning("Left out: %s", reason)
    if not made:
        raise UserError(reasons[0] if reasons else "there are no recordings.")
    columns = ["name", "person", "frames", "millimetres", "held", "file"]
    files.write_rows(folder / "bodies.csv", columns, rows)
    page = bodies_page(made[:MAX_SHOWN], space.layout, frame_rate)
    files.write_text(folder / "bodies.html", page)
    middle = float(np.median([row[3] for row in rows]))
    number = f"{len(rows)} bodies" if len(rows) > 1 else "1 body"
    console.say(f"{number} in {folder / 'bodies'}; joints and body are {middle:.1f} mm apart "
                "(median of the bodies)")  # fmt: skip
    console.say(f"skeletons and bodies to play and turn: {folder / 'bodies.html'}")


def tell(recording: Recording, held: dict[str, int]) -> None:
    """Say which parts of bodies keep another frame's pose."""
    if not held:
        return
    named = [f"{bone} ({count})" for bone, count in list(held.items())[:MAX_NAMED]]
    more = f" and {len(held) - MAX_NAMED} more" if len(held) > MAX_NAMED else ""
    log.info(
        "%s: joints are missing; these keep their last (else next) known pose, for so many "
        "frames: %s%s", recording.name, ", ".join(named), more,
    )  # fmt: skip


def plain_name(name: str) -> str:
    """A recording's name as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", name)[:80]
