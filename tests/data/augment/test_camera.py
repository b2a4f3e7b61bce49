"""Virtual cameras, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.bones import BoneLengths
from flag3d_exp.data.augment.camera import VirtualCameras, looking, relaid
from flag3d_exp.data.augment.clip import Clip
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.recipe import recipe
from flag3d_exp.data.augment.turn import Turn
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.poses import Poses, poses_of
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

COCO, NTU = load_layout("coco"), load_layout("nturgb+d")
CAMERAS = VirtualCameras("nturgb+d", "coco")
# From +x at the height of the middle, 4 m away; 36 mm on 1000 pixels: focal length 1000.
SIMPLE = VirtualCameras(
    "nturgb+d",
    "coco",
    "z",
    (500, 1000),
    (36.0, 36.0),
    (4.0, 4.0),
    (1.0, 1.0),
    azimuth=(0.0, 0.0),
    roll=0.0,
)


def standing():
    """A person 2 m tall at the origin who looks along y; the left is at -x, z is up."""
    points = np.zeros((1, 1, 25, 3), np.float32)
    for name, place in {
        "head": (0, 0, 2),
        "left shoulder": (-0.2, 0, 1.5),
        "right shoulder": (0.2, 0, 1.5),
        "left wrist": (-0.2, 0.5, 1.5),
        "left ankle": (-0.1, -0.5, 1e-9),
        "right ankle": (0.1, 0.5, 1e-9),
    }.items():
        points[0, 0, NTU.joint_number(name)] = place
    return Poses(points, points.any(-1))


def rng():
    return np.random.default_rng(0)


def test_a_point_is_where_a_pinhole_shows_it():
    poses = standing()
    pixels = SIMPLE.pixels(poses, rng())
    # The box's middle is (0, 0, 1): the camera is at (4, 0, 1) and looks along -x; y is to its
    # right. The left wrist is 4.2 m away, 0.5 to the right and 0.5 above the axis.
    wrist = pixels[0, 0, NTU.joint_number("left wrist")]
    np.testing.assert_allclose(wrist, [500 + 1000 * 0.5 / 4.2, 250 - 1000 * 0.5 / 4.2], rtol=1e-5)


@pytest.mark.parametrize("up", ["x", "y"])
def test_the_upward_axis_may_be_another(up):
    poses = standing()
    order = {"x": (2, 0, 1), "y": (1, 2, 0)}[up]
    turned = poses.moved_poses(poses.keypoints[..., order])
    expected = SIMPLE.pixels(poses, rng())
    np.testing.assert_allclose(replace(SIMPLE, up=up).pixels(turned, rng()), expected, rtol=1e-5)


def test_a_camera_that_rolls_turns_the_picture():
    axes = looking(np.array([4.0, 0, 1]), np.array([0.0, 0, 1]), np.pi / 2)
    np.testing.assert_allclose(axes, [[0, 0, -1], [0, -1, 0], [-1, 0, 0]], atol=1e-12)


def test_the_face_is_ahead_of_the_head_and_its_sides_are_the_body_s():
    seen = relaid(standing(), NTU, COCO)
    place = {name: seen.keypoints[0, 0, COCO.joint_number(name)] for name in COCO.joints}
    np.testing.assert_allclose(place["nose"], [0, 0.26, 1.88], atol=1e-6)
    assert place["left ear"][0] < 0 < place["right ear"][0]
    np.testing.assert_allclose(place["left wrist"], [-0.2, 0.5, 1.5])
    assert not seen.visible[0, 0, COCO.joint_number("left knee")]


def test_a_face_needs_its_head_and_shoulders():
    poses = standing()
    visible = poses.visible.copy()
    visible[..., NTU.joint_number("head")] = False
    seen = relaid(Poses(poses.keypoints, visible), NTU, COCO)
    assert not seen.visible[..., :5].any() and seen.visible[..., 5:7].all()


def test_hidden_joints_are_missing_and_others_score_1():
    cameras = replace(CAMERAS, hidden=["left ear", "right ear"])
    clip = cameras(Clip(standing(), NTU), rng())
    assert clip.layout == COCO and clip.image_shape == (480, 854)
    assert not clip.poses.visible[..., 3:5].any()
    np.testing.assert_array_equal(clip.poses.scores, clip.poses.visible.astype(np.float32))


def recordings():
    draw = np.random.default_rng(5)
    return [
        Recording(f"r{n}", 0, draw.normal(1, 0.3, (1, 30, 25, 3)).astype(np.float32))
        for n in range(3)
    ]


@pytest.mark.parametrize("kind", [GraphPipeline, HeatmapPipeline])
def test_3d_recordings_train_and_test_networks_for_2d(kind):
    shown = {"normalise": "box", "score_channel": True} if kind is GraphPipeline else {}
    pipeline = kind("coco", clip_len=8, **shown)
    augment = recipe([BoneLengths(1.0), CAMERAS, Turn(0.5), DetectorNoise(1.0)])
    augment.check_fit(2)
    train, test = (
        ClipDataset(recordings(), pipeline, Stream("joint"), 1, training, augment=augment)
        for training in (True, False)
    )
    assert train.clips(0).shape == test.clips(0).shape == (1, 1, 8, 17, 3)
    assert (train.clips(0, 0) != train.clips(0, 1)).any()
    np.testing.assert_array_equal(test.clips(0, 0), test.clips(0, 1))
    assert set(np.unique(test.clips(0)[..., 2])) <= {0.0, 1.0}  # no noise in a test


def test_a_test_recording_is_always_seen_by_its_own_camera():
    one, other = recordings()[:2]
    first, again = CAMERAS.filmed_recording(one), CAMERAS.filmed_recording(one)
    np.testing.assert_array_equal(first.keypoints, again.keypoints)
    renamed = CAMERAS.filmed_recording(replace(one, name=other.name))
    assert (first.keypoints != renamed.keypoints).any()
    assert CAMERAS.filmed_recording(first) is first  # 2D already


def test_a_missing_joint_stays_missing_whatever_is_stored():
    keypoints = recordings()[0].keypoints.copy()
    keypoints[0, 4, 6] = 0  # the left wrist in one frame
    clip = CAMERAS(Clip(poses_of(Recording("r", 0, keypoints)), NTU), rng())
    lost = ~clip.poses.visible[0]
    assert lost.sum() == 1 and lost[4, COCO.joint_number("left wrist")]
    assert not clip.poses.keypoints[0, 4, COCO.joint_number("left wrist")].any()


def test_settings_out_of_range_are_refused():
    for settings, said in (
        ({"focal": (0.0, 1.0)}, "`augment.camera.focal` must be two rising numbers above 0"),
        ({"azimuth": (90.0, 0.0)}, "`augment.camera.azimuth`"),
        ({"hidden": ["tail"]}, "`augment.camera.hidden` names 'tail'"),
        ({"roll": 270.0}, "`augment.camera.roll` must be from 0 to 180"),
        ({"layout": "cocoa"}, "`augment.camera.layout` must be one of"),
    ):
        with pytest.raises(UserError, match=said):
            replace(CAMERAS, **settings)
    with pytest.raises(UserError, match="Turn is for 2 coordinates; this dataset has 3 before"):
        recipe([Turn(0.5), CAMERAS]).check_fit(2)
