import html
import json
import re

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.report.animation import animations
from flag3d_exp.report.document import Animations, Section, to_html
from flag3d_exp.skeletons.layout import load_layout

NTU, COCO = load_layout("nturgb+d"), load_layout("coco")


def standing(up: int, sign: int, num_frames: int = 3) -> Recording:
    """A body whose joints' height is their distance from the feet along one axis."""
    keypoints = np.random.default_rng(0).normal(0, 0.1, (1, num_frames, 25, 3)).astype(np.float32)
    keypoints[..., up] += sign * np.where(np.arange(25) == 3, 1.7, 0.5)
    keypoints[:, :, [14, 15, 18, 19], up] = 0
    return Recording("r", 0, keypoints)


def clips(block: Animations) -> list[dict]:
    return [json.loads(clip) for clip, _ in block.clips]


def test_up_is_where_heads_are():
    for axis in range(3):
        assert upward_axis([standing(axis, 1)], NTU) == axis
        assert upward_axis([standing(axis, -1)], NTU) == -1 - axis


def test_pixels_point_down():
    pixels = Recording("r", 0, np.ones((1, 2, 17, 2), np.float32))
    assert upward_axis([pixels], COCO) == -2


def test_heads_are_drawn_above_feet_whatever_the_axis():
    for axis, sign in ((2, 1), (1, 1), (1, -1)):
        recording = standing(axis, sign)
        (clip,) = clips(animations([recording], ["x"], NTU, upward_axis([recording], NTU)))
        for (person,) in clip["frames"]:
            assert person[3][1] < person[14][1]


def test_long_recordings_are_thinned_and_fit_the_canvas():
    (clip,) = clips(animations([standing(2, 1, num_frames=400)], ["x"], NTU, 2))
    assert 50 <= len(clip["frames"]) <= 60
    places = np.array(clip["frames"])
    assert places.min() >= 0
    assert places.max() <= 1000


def test_lost_joints_and_absent_persons_are_not_drawn():
    keypoints = np.random.default_rng(0).uniform(10, 400, (2, 4, 17, 2)).astype(np.float32)
    scores = np.ones((2, 4, 17), np.float32)
    keypoints[1] = scores[1] = 0  # there is one person only
    scores[0, 2, 9] = 0
    recording = Recording("r", 0, keypoints, scores, image_shape=(480, 854))
    (clip,) = clips(animations([recording], ["x"], COCO, -2))
    assert [len(frame) for frame in clip["frames"]] == [1, 1, 1, 1]
    assert clip["frames"][2][0][9] == 0
    assert clip["frames"][1][0][9] != 0


def test_sides_have_colours_of_their_own():
    (clip,) = clips(animations([standing(2, 1)], ["x"], NTU, 2))
    colours = {frozenset(joints): colour for *joints, colour in clip["bones"]}
    left, right = colours[frozenset((4, 5))], colours[frozenset((8, 9))]
    assert left != right
    assert colours[frozenset((0, 1))] not in (left, right)


def test_captions_are_text_and_clips_are_data():
    block = animations([standing(2, 1)], ["<b>\nlabel: x"], NTU, 2)
    page = to_html("t", "l", [Section("s", [block, block])])
    assert page.count("<figcaption>&lt;b&gt;\nlabel: x</figcaption>") == 2
    played = re.findall(r'data-skeleton="([^"]+)"', page)
    assert [json.loads(html.unescape(text)) for text in played] == clips(block) * 2
    assert page.count("<script>") == 1


def test_a_recording_without_a_visible_joint_plays_nothing():
    for layout, size in ((COCO, 2), (NTU, 3)):
        nobody = Recording("r", 0, np.zeros((1, 4, layout.num_joints, size), np.float32))
        (clip,) = clips(animations([nobody], ["x"], layout, upward_axis([nobody], layout)))
        assert clip["frames"] == [[], [], [], []]
