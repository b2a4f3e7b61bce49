"""The picture and the player of timelines."""

import json
import re

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.report.timeline import MAX_FRAMES, player, timeline_figure
from flag3d_exp.skeletons.layout import load_layout

ROWS = [
    {"name": "a", "person": person, "num_frames": 4000, "segments": [
        {"first": 0, "last": 1999, "class": "squat", "label": 0, "confidence": 0.9},
        {"first": 2000, "last": 3999, "class": "</script>", "label": 1, "confidence": 0.5}]}
    for person in (0, 1)
]  # fmt: skip


def recording():
    keypoints = np.random.default_rng(0).uniform(1, 900, (2, 4000, 17, 2)).astype(np.float32)
    keypoints[0, :, 3] = 0
    keypoints[1, :2000] = 0
    return Recording("a", 0, keypoints)


def test_the_page_has_the_places_and_segments_of_every_person():
    page = player([recording()], ROWS, load_layout("coco"), 10)
    data = json.loads(re.search(r"const DATA = (\{.*?\}), HOP = 10;", page)[1])
    (one,) = data["recordings"]
    assert (one["length"], one["stride"]) == (4000, 3)
    assert len(one["frames"]) == 1334 <= MAX_FRAMES
    first, second = one["frames"][0]
    assert first[3] == 0 and second == 0
    assert all(0 <= value <= 1000 for joint in first if joint for value in joint)
    assert one["rows"][1]["segments"][0] == [0, 1999, "squat", 0.9]
    assert page.count("</script>") == 1  # a name ends no script


def test_the_picture_has_a_bar_for_each_person():
    figure = timeline_figure(ROWS)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a, 0", "a, 1"]
    assert len(axes.patches) == 4
    assert axes.get_xlim() == (0, 4000)
