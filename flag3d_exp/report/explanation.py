"""The figure of an explanation: on the skeleton, by joint, over time, and the deletion check."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import shown_joints
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.report.animation import projected_joints, square_around
from flag3d_exp.report.figures import COLOURS, lighten, shorten
from flag3d_exp.report.lettering import legible, lettering
from flag3d_exp.results.attribution import DeletionCheck
from flag3d_exp.skeletons.layout import Layout

NUM_POSES = 6
COLOUR_MAP = "PuOr_r"  # two hues that colour-blind readers can distinguish, white at 0


@lettering()
def explanation_figure(
    title: str,
    recording: Recording,
    layout: Layout,
    attribution: np.ndarray,
    check: DeletionCheck,
) -> Figure:
    """A figure of poses with joints sized and coloured by importance; joints, time and deletion
    below.

    Args:
        title: of the figure.
        recording: at full length.
        layout: of its joints.
        attribution: (T, V) of a clip sampled evenly from the recording.
        check: the scores while joints are frozen.
    """
    figure = Figure(figsize=(13, 8.4), layout="constrained")
    figure.suptitle(shorten(title, 120))
    parts: np.ndarray = figure.subfigures(2, 1, height_ratios=(1, 1.35))  # type: ignore[assignment]
    upper, lower = parts
    _draw_poses(upper, recording, layout, attribution)
    joints, time, deletion = lower.subplots(1, 3, width_ratios=(1, 1.3, 1))
    _draw_joints(joints, layout, attribution.sum(axis=0))
    _draw_time(time, layout, attribution)
    _draw_deletion(deletion, check)
    return figure


def _draw_poses(
    figure: SubFigure, recording: Recording, layout: Layout, attribution: np.ndarray
) -> None:
    """Draw the recording at evenly spaced times, with each joint's attribution around that time."""
    there = shown_joints(recording)
    person = int(there.any((1, 2)).argmax())  # the first visible person
    points, seen_joints = recording.keypoints[person].astype(np.float64), there[person]
    flat = projected_joints(points, upward_axis([recording], layout))  # (T0, V, 2), y down
    num_frames = len(flat)
    sides = [1 / square_around(f[s])[1] for f, s in zip(flat, seen_joints, strict=True) if s.any()]
    half = 0.55 * max(sides, default=1.0)
    parts = np.array_split(attribution, NUM_POSES)
    limit = max(float(np.abs(np.array([part.sum(axis=0) for part in parts])).max()), 1e-12)
    for number, part in enumerate(parts):
        axes = figure.add_subplot(1, NUM_POSES, number + 1)
        frame = min(int((number + 0.5) / NUM_POSES * num_frames), num_frames - 1)
        pose, value = flat[frame], part.sum(axis=0)
        seen = seen_joints[frame]
        for start, end in layout.limbs:
            if seen[start] and seen[end]:
                axes.plot(*pose[[start, end]].T, color="0.6", linewidth=1.5, zorder=1)
        axes.scatter(
            *pose[seen].T,
            s=12 + 160 * np.abs(value[seen]) / limit,
            c=value[seen],
            cmap=COLOUR_MAP,
            norm=Normalize(-limit, limit),
            edgecolors="0.2",
            linewidths=0.5,
            zorder=2,
            clip_on=False,
        )
        axes.set_title(f"frame {frame}", fontsize=9)
        corner, scale = square_around(pose[seen])
        middle = corner + 0.5 / scale
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] + half, middle[1] - half)
        axes.set_aspect("equal")
        axes.axis("off")


def _draw_joints(axes: Axes, layout: Layout, value: np.ndarray) -> None:
    order = np.argsort(value)
    limit = max(float(np.abs(value).max()), 1e-12)
    axes.barh(
        range(len(order)),
        value[order],
        color=[COLOURS[1] if value[joint] >= 0 else COLOURS[0] for joint in order],
    )
    axes.set_yticks(
        range(len(order)), [legible(layout.joints[joint]) for joint in order], fontsize=7.5
    )
    axes.set_xlim(min(-0.05 * limit, 1.1 * value.min()), 1.1 * limit)
    axes.axvline(0, color="0.3", linewidth=0.8)
    axes.set_xlabel("added to the log-score")
    axes.set_title("joints", fontsize=10)
    lighten(axes)


def _draw_time(axes: Axes, layout: Layout, attribution: np.ndarray) -> None:
    limit = max(float(np.abs(attribution).max()), 1e-12)
    axes.imshow(
        attribution.T,
        aspect="auto",
        cmap=COLOUR_MAP,
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
    )
    axes.set_yticks(range(len(layout.joints)), list(map(legible, layout.joints)), fontsize=6.5)
    axes.set_xlabel("frame of the clip")
    axes.set_title("joints over time (orange: for the class)", fontsize=10)


def _draw_deletion(axes: Axes, check: DeletionCheck) -> None:
    counts = range(len(check.by_importance))
    by_importance, at_random = check.areas
    axes.plot(
        counts,
        check.by_importance,
        color=COLOURS[1],
        marker="o",
        markersize=3,
        label=f"most important first (mean {by_importance:.2f})",
    )
    axes.plot(
        counts,
        check.at_random,
        color=COLOURS[0],
        linestyle="--",
        label=f"random order (mean {at_random:.2f})",
    )
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("joints frozen")
    axes.set_ylabel("score")
    axes.set_title("deletion", fontsize=10)
    axes.legend(fontsize=8)
    lighten(axes)
