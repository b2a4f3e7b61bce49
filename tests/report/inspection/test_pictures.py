"""Sheets, animations and the viewer: what they show of a recording."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from flag3d_exp.data.annotations import Recording
from flag3d_exp.report.animation import LEFT, MIDDLE, RIGHT
from flag3d_exp.report.inspection.pictures import clearest, coloured_bones, sheets, write_gif
from flag3d_exp.report.inspection.viewer import viewer
from flag3d_exp.skeletons.layout import load_layout

NTU, COCO = load_layout("nturgb+d"), load_layout("coco")


@pytest.fixture
def solid():
    keypoints = np.random.default_rng(0).normal(size=(1, 300, 25, 3)).astype(np.float32)
    return Recording("solid", 1, keypoints)


@pytest.fixture
def flat():
    rng = np.random.default_rng(1)
    keypoints = rng.uniform(100, 300, (2, 40, 17, 2)).astype(np.float16)
    scores = np.ones((2, 40, 17), np.float16)
    scores[0, :, 16] = 0
    return Recording("flat", 0, keypoints, scores, (480, 854))


def data_of(page):
    return json.loads(re.search(r"const DATA = (.*);\n", page).group(1))


def test_there_is_a_row_of_poses_for_each_class(solid, flat):
    samples = {label: solid for label in range(20)}
    figures = list(sheets(samples, [f"class {n}" for n in range(20)], NTU, 2))
    assert [len(figure.axes) for figure in figures] == [16, 4]
    titles = [axis.get_title(loc="left") for axis in figures[1].axes]
    assert titles[0] == "16  class 16  (solid)"
    squares, bones = figures[0].axes[0].collections
    assert len(squares.get_segments()) == 8
    assert len(bones.get_segments()) == 8 * len(NTU.limbs)
    (figure,) = sheets({0: flat}, ["one"], COCO, -2)
    unseen = sum(16 in limb for limb in COCO.limbs)
    bones = figure.axes[0].collections[1]
    assert len(bones.get_segments()) == 8 * (2 * len(COCO.limbs) - unseen)


def test_lines_stay_within_their_square(solid):
    (figure,) = sheets({0: solid}, ["one"], NTU, 2)
    squares, bones = (np.array(one.get_segments()) for one in figure.axes[0].collections)
    for square, pose in zip(squares, bones.reshape(8, -1, 2), strict=True):
        assert (pose >= square.min(0)).all()
        assert (pose <= square.max(0)).all()


def test_sides_have_colours_of_their_own():
    colours = {(start, end): colour for start, end, colour in coloured_bones(COCO)}
    assert colours[5, 7] == LEFT
    assert colours[6, 8] == RIGHT
    assert colours[0, 5] == LEFT
    assert colours[11, 12] == MIDDLE


def test_a_gif_moves_and_runs_for_ever(tmp_path, solid):
    write_gif(tmp_path / "solid.gif", solid, NTU, 2, size=120)
    with Image.open(tmp_path / "solid.gif") as image:
        assert image.n_frames == 100
        assert image.size == (120, 120)
        assert image.info["loop"] == 0
        first = np.asarray(image.convert("L"))
        image.seek(50)
        assert (np.asarray(image.convert("L")) != first).any()
        assert first.min() < 100 < 250 < first.max()


def test_the_clearest_recording_is_the_one_seen_best(flat):
    blurred = Recording("blurred", 0, flat.keypoints, flat.scores * 0.5, flat.image_shape)
    assert clearest([blurred, flat, blurred]) is flat


def test_the_viewer_is_one_file_with_the_recordings_in_it(solid, flat):
    title = "one </script> two <!--<script> & \u2028"
    page = viewer([solid], [title], NTU, 2)
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("</script>") == page.count("<script>") == 1
    assert "<!--" not in page and "\u2028" not in page
    data = data_of(page)
    assert data["flat"] is False
    (shown,) = data["recordings"]
    assert shown["title"] == title.replace("\u2028", r"\u2028")
    assert (len(shown["frames"]), shown["stride"], shown["length"]) == (150, 2, 300)
    assert np.abs(np.array(shown["frames"])).max() <= 500
    flat_data = data_of(viewer([flat], ["flat"], COCO, -2))
    assert flat_data["flat"] is True
    assert flat_data["recordings"][0]["frames"][0][0][16] == 0


@pytest.mark.parametrize("up", [0, 1, 2, -1, -2, -3])
def test_the_viewer_mirrors_nobody(up):
    """The corners of a body's axes stay right-handed, whichever axis points up."""
    corners = np.zeros((1, 1, 25, 3), np.float32)
    corners[0, 0, :4] = [[1, 1, 1], [2, 1, 1], [1, 2, 1], [1, 1, 2]]
    corners[0, 0, 4:] = 1
    (shown,) = data_of(viewer([Recording("r", 0, corners)], ["r"], NTU, up))["recordings"]
    origin, *axes = np.array(shown["frames"][0][0][:4], float)
    right, upward, away = np.stack([axis - origin for axis in axes], -1)
    # (right, up, away) is left-handed, so that a right-handed triple has a negative volume.
    assert np.linalg.det(np.stack([right, upward, away])) < 0
    assert upward[up if up >= 0 else -1 - up] * (1 if up >= 0 else -1) > 0
