"""Pictures of skeletons: sheets with poses of each class, and animated GIFs of recordings.

Sizes: M persons, T frames, V joints.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from flag3d_exp import files
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import shown_joints, visible
from flag3d_exp.report.animation import LEFT, MIDDLE, RIGHT, projected_joints, square_around
from flag3d_exp.report.figures import shorten
from flag3d_exp.report.lettering import lettering
from flag3d_exp.skeletons.layout import Layout

NUM_POSES = 8
CLASSES_PER_SHEET = 16
# Of a row, in units of the larger side of a recording:
SQUARE, MARGIN, GAP = 1.1, 0.05, 0.06  # side of a square, around the poses, between squares
EDGE = 0.01  # around the row, for the width of its lines
CORNERS = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
Bone = tuple[int, int, str]


def sheets(
    samples: Mapping[int, Recording], classes: Sequence[str], layout: Layout, up: int
) -> Iterator[Figure]:
    """Figures with a row of evenly spaced poses for each class, at most 16 rows per figure.

    Args:
        samples: one recording per label.
        up: the upward axis of 3D coordinates, see `data.upright`.
    """
    labels = sorted(samples)
    for begin in range(0, len(labels), CLASSES_PER_SHEET):
        shown = labels[begin : begin + CLASSES_PER_SHEET]
        yield _sheet({label: samples[label] for label in shown}, classes, layout, up)


@lettering()
def _sheet(
    samples: Mapping[int, Recording], classes: Sequence[str], layout: Layout, up: int
) -> Figure:
    figure = Figure(figsize=(1.25 * NUM_POSES + 0.2, 1.42 * len(samples)))
    (rows,) = figure.subplots(len(samples), 1, squeeze=False).T
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.16 / len(samples), hspace=0.2)
    for row, (label, recording) in zip(rows, samples.items(), strict=True):
        name = shorten(classes[label], 60) if label < len(classes) else ""
        title = f"{label}  {name}  ({shorten(recording.name, 60)})"
        row.set_title(title, fontsize=8, loc="left")
        draw_row(row, recording, layout, up)
    return figure


def clearest(recordings: Sequence[Recording], most: int = 12) -> Recording:
    """The recording with the best visible joints among the first `most` recordings."""

    def clarity(recording: Recording) -> float:
        there = visible(recording.keypoints, recording.scores)
        return float((there if recording.scores is None else there * recording.scores).mean())

    return max(recordings[:most], key=clarity)


def write_gif(path: Path, recording: Recording, layout: Layout, up: int, size: int = 360) -> None:
    """Write the recording as a looping animated GIF of at most 100 frames, 15 per second."""
    points, seen = picture_points(recording, up, most=100)
    low, scale = square_around(points[seen])
    pixels = (points - low) * scale * (size - 40) * 2 + 40  # drawn at twice the size
    images = []
    for frame in range(points.shape[1]):
        image = Image.new("RGB", (2 * size, 2 * size), "white")
        pen = ImageDraw.Draw(image)
        for person in range(len(points)):
            for start, end, colour in coloured_bones(layout):
                if seen[person, frame, start] and seen[person, frame, end]:
                    line = [tuple(pixels[person, frame, joint]) for joint in (start, end)]
                    pen.line(line, fill=colour, width=8)
        images.append(image.resize((size, size), Image.Resampling.LANCZOS).quantize(32))
    with files.replacing(path) as temporary:
        images[0].save(temporary, save_all=True, append_images=images[1:], duration=66, loop=0)


def coloured_bones(layout: Layout) -> list[Bone]:
    """(from, to, colour) of the lines to draw; left, right and middle have different colours."""
    colours = dict.fromkeys(range(layout.num_joints), MIDDLE)
    for left, right in layout.mirror_pairs:
        colours[left], colours[right] = LEFT, RIGHT
    bones = []
    for start, end in layout.limbs:
        sides = {colours[start], colours[end]} - {MIDDLE}
        bones.append((start, end, sides.pop() if len(sides) == 1 else MIDDLE))
    return bones


def picture_points(recording: Recording, up: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, T, V, 2) points (right, down) and (M, T, V) visibility, of at most `most` frames."""
    stride = math.ceil(recording.keypoints.shape[1] / most)
    keypoints = recording.keypoints[:, ::stride].astype(np.float64)
    return projected_joints(keypoints, up), shown_joints(recording, stride)


def draw_row(axes: Axes, recording: Recording, layout: Layout, up: int) -> None:
    """Draw poses of the recording, evenly spaced in time, each in a square.

    All squares are on the same axes, because Matplotlib takes longer for axes than for lines.
    """
    points, seen = picture_points(recording, up, most=10**9)
    low, scale = square_around(points[seen])
    points = (points - low) * scale + MARGIN
    frames = np.linspace(0, points.shape[1] - 1, NUM_POSES).round().astype(int)
    bones = coloured_bones(layout)
    squares, lines, colours = [], [], []
    for number, frame in enumerate(frames):
        left = number * (SQUARE + GAP)
        squares.append([(left + SQUARE * x, SQUARE * y) for x, y in CORNERS])
        axes.text(
            left + 0.98 * SQUARE, 0.98 * SQUARE, str(frame), ha="right", fontsize=6, color="0.5"
        )
        for person in range(len(points)):
            for start, end, colour in bones:
                if seen[person, frame, start] and seen[person, frame, end]:
                    lines.append(points[person, frame, [start, end]] + (left, 0))
                    colours.append(colour)
    width = NUM_POSES * (SQUARE + GAP) - GAP
    axes.set(xlim=(-EDGE, width + EDGE), ylim=(SQUARE + EDGE, -EDGE), aspect="equal")
    axes.axis("off")
    axes.add_collection(LineCollection(squares, colors="0.85", linewidth=0.8), autolim=False)
    drawn = LineCollection(lines, colors=colours, linewidth=1.6, capstyle="round")
    axes.add_collection(drawn, autolim=False)
