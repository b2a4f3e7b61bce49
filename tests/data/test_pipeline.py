"""Clips of recordings: what the settings do to them."""

from dataclasses import replace

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.bones import BoneLengths
from flag3d_exp.data.augment.drop import DropAxis, DropJoints, DropStretch
from flag3d_exp.data.augment.frames import Frames
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.mixup import Mixup
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.offset import JointOffset
from flag3d_exp.data.augment.recipe import Recipe, recipe
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

JOINT, BONE = Stream("joint"), Stream("bone", bones=True)
LAYOUT_OF = {17: "coco", 25: "nturgb+d"}


@pytest.fixture
def recording():
    """Two persons of 17 joints in 90 frames of a 480 x 854 video, in half precision."""
    rng = np.random.default_rng(7)
    keypoints = rng.uniform([200, 100], [600, 400], (2, 90, 17, 2)).astype(np.float16)
    scores = rng.uniform(0, 1, (2, 90, 17)).astype(np.float16)
    return Recording("r", 0, keypoints, scores, (480, 854))


@pytest.fixture
def solid():
    """One person of 25 joints in 3D."""
    keypoints = np.random.default_rng(8).normal(size=(1, 120, 25, 3)).astype(np.float32)
    return Recording("s", 0, keypoints)


def mirrored(clips, width=None):
    """Clips (..., V, 3) mirrored: in pixels of an image of this width, or else about x = 0."""
    changed = clips[..., load_layout(LAYOUT_OF[clips.shape[-2]]).mirror_order, :]
    changed[..., 0] = -changed[..., 0] if width is None else width - changed[..., 0]
    return changed


def rng():
    return np.random.default_rng(3)


def test_graph_clips_have_the_shape_that_networks_take(recording, solid):
    flat = GraphPipeline(
        "coco", num_persons=2, normalise="image", score_channel=True, clip_len=20, num_clips=3
    )
    for clips, num_clips in (
        (flat.train_clips(recording, BONE, rng()), 1),
        (flat.test_clips(recording, BONE), 3),
    ):
        assert clips.shape == (num_clips, 2, 20, 17, 3)
        assert clips.dtype == np.float32
        assert clips.flags.c_contiguous
    clips = GraphPipeline("nturgb+d", num_persons=2, clip_len=20).test_clips(solid, JOINT)
    assert clips.shape == (1, 2, 20, 25, 3)
    assert not clips[:, 1].any()


def test_a_joint_clip_is_frames_of_the_recording(solid):
    clip = GraphPipeline("nturgb+d", clip_len=10).train_clips(solid, JOINT, rng())[0, 0]
    frames = {frame.tobytes() for frame in solid.keypoints[0]}
    assert {frame.tobytes() for frame in clip} <= frames


def test_a_motion_clip_is_of_neighbouring_frames_of_the_recording(solid):
    stream = Stream("joint_motion", motion=True)
    clip = GraphPipeline("nturgb+d", clip_len=10).test_clips(solid, stream)[0, 0]
    changes = {change.tobytes() for change in np.diff(solid.keypoints[0], axis=0)}
    assert {frame.tobytes() for frame in clip} <= changes


@pytest.mark.parametrize(
    "augment",
    [
        Affine(rotation=0.7),
        Affine(scale=0.7),
        Affine(shear=0.7),
        Mirror(0.7),
        DropJoints(0.7),
        DropStretch(0.7),
        DropAxis(0.7),
        DetectorNoise(0.7),
        JointOffset(0.7),
        BoneLengths(0.7),
        Frames(tempo=0.7),
    ],
    ids=repr,
)
def test_every_augmentation_changes_the_clip_and_repeats_itself(solid, augment):
    longer = replace(solid, keypoints=solid.keypoints * 1.2)
    pipeline = GraphPipeline("nturgb+d", clip_len=30)
    clips = [
        np.stack(
            [
                pipeline.train_clips(
                    solid, JOINT, np.random.default_rng(n), recipe(steps), [solid, longer]
                )
                for n in range(5)
            ]
        )
        for steps in ([], [augment], [augment])
    ]
    assert (clips[0] != clips[1]).any()
    np.testing.assert_array_equal(clips[1], clips[2])


def test_linear_augmentation_leaves_scores_alone(recording):
    pipeline = GraphPipeline("coco", num_persons=2, normalise="image", score_channel=True)
    strong = recipe([Affine(rotation=0.5, scale=0.3, shear=0.3)])
    plain, changed = (
        pipeline.train_clips(recording, JOINT, rng(), one) for one in (Recipe(), strong)
    )
    np.testing.assert_array_equal(changed[..., 2], plain[..., 2])
    assert (changed[..., :2] != plain[..., :2]).any()


def test_mirroring_for_certain_mirrors_every_clip(solid):
    pipeline = GraphPipeline("nturgb+d", clip_len=30)
    for seed in range(5):
        clip = pipeline.train_clips(solid, BONE, np.random.default_rng(seed))
        changed = pipeline.train_clips(
            solid, BONE, np.random.default_rng(seed), recipe([Mirror(1.0)])
        )
        np.testing.assert_array_equal(changed, mirrored(clip))


def test_joints_come_after_the_stream_and_change_as_it_does(solid):
    pipeline = GraphPipeline("nturgb+d", clip_len=30, joint_channels=True)
    strong = recipe([Affine(rotation=0.5, scale=0.3, shear=0.3), Mirror(0.5), DropJoints(0.1)])
    parents = np.maximum(pipeline.skeleton.parents, 0)
    for augment in (recipe([]), strong):
        clip = pipeline.train_clips(solid, BONE, np.random.default_rng(4), augment)
        assert clip.shape == (1, 1, 30, 25, pipeline.num_channels(3))
        bones, joints = clip[..., :3], clip[..., 3:]
        there = bones.any(-1)
        expected = joints - joints[..., parents, :]
        np.testing.assert_allclose(bones[there], expected[there], atol=1e-5)
        plain = replace(pipeline, joint_channels=False)
        alone = plain.train_clips(solid, BONE, np.random.default_rng(4), augment)
        np.testing.assert_array_equal(bones, alone)
    mirror = replace(pipeline, test_mirrored=True).test_clips(solid, BONE)
    np.testing.assert_array_equal(mirror[1, ..., 3:], mirrored(mirror[:1, ..., 3:])[0])


def test_time_is_that_of_the_frame_in_its_recording(solid):
    pipeline = GraphPipeline("nturgb+d", clip_len=10, time_channel=True, num_clips=2)
    solid = replace(solid, keypoints=np.concatenate([solid.keypoints, 0 * solid.keypoints]))
    pipeline = replace(pipeline, num_persons=2)
    frames = solid.keypoints.shape[1]
    for clips in (pipeline.train_clips(solid, JOINT, rng()), pipeline.test_clips(solid, JOINT)):
        assert clips.shape[-1] == pipeline.num_channels(3) == 4
        times = clips[..., 3]
        assert (times == times[:, :1, :, :1]).all()  # of the missing person, too
        for clip in clips:
            numbers = np.rint((clip[0, :, 0, 3] + 1) / 2 * frames).astype(int)
            np.testing.assert_array_equal(clip[0, ..., :3], solid.keypoints[0, numbers])


def test_mirrored_test_clips_come_after_the_others(recording, solid):
    pipeline = GraphPipeline("nturgb+d", clip_len=30, num_clips=2, test_mirrored=True)
    clips = pipeline.test_clips(solid, JOINT)
    assert len(clips) == 4
    np.testing.assert_array_equal(clips[2:], mirrored(clips[:2]))
    heat = HeatmapPipeline("coco", clip_len=8, num_clips=2, test_mirrored=True)
    clips = heat.test_clips(recording, JOINT)
    np.testing.assert_array_equal(clips[2:], mirrored(clips[:2], width=63))


def test_dropping_every_joint_leaves_nothing(solid, recording):
    all_joints = recipe([DropJoints(1.0)])
    pipeline = GraphPipeline("nturgb+d")
    assert not pipeline.train_clips(solid, JOINT, rng(), all_joints).any()
    heatmap = HeatmapPipeline("coco")
    assert not heatmap.train_clips(recording, JOINT, rng(), all_joints)[..., 2].any()


def test_heatmap_test_clips_fill_the_box_with_its_padding(recording):
    clips = HeatmapPipeline("coco", num_persons=2, clip_len=90).test_clips(recording, JOINT)
    assert clips.shape == (1, 2, 90, 17, 3)
    # 25 % wider: the joints span 1 / 1.25 of the longer side, in its middle.
    low, high = clips[..., 0].min(), clips[..., 0].max()
    assert (low, high) == pytest.approx((6.4, 57.6), abs=0.3)
    np.testing.assert_array_equal(clips[0, ..., 2], recording.scores)


def test_heatmap_training_crops_differ_and_show_at_least_the_least_share(recording):
    pipeline = HeatmapPipeline("coco", num_persons=2, clip_len=90)
    spans = [
        np.ptp(pipeline.train_clips(recording, JOINT, np.random.default_rng(n))[..., 0])
        for n in range(50)
    ]
    whole = 56 / 1.25
    assert min(spans) > whole * 0.95
    assert max(spans) < whole / np.sqrt(0.56 * 0.75) * 1.05
    assert np.std(spans) > 1


def test_a_missing_person_has_score_zero(recording):
    single = replace(recording, keypoints=recording.keypoints[:1], scores=recording.scores[:1])
    clips = HeatmapPipeline("coco", num_persons=2, clip_len=8).test_clips(single, JOINT)
    assert not clips[:, 1].any()


def test_missing_scores_count_as_certain(recording):
    bare = replace(recording, scores=None)
    clips = HeatmapPipeline("coco", clip_len=8).test_clips(bare, JOINT)
    assert (clips[..., 2] == 1).all()


def test_a_draw_depends_on_seed_pass_and_index_alone(solid, recording):
    pipeline, augment = GraphPipeline("nturgb+d", clip_len=30), recipe([Affine(rotation=0.3)])
    first, again, other = (
        ClipDataset([solid] * 3, pipeline, JOINT, seed=seed, training=True, augment=augment)
        for seed in (1, 1, 2)
    )
    expected = first.clips(1, number=2)
    again.clips(0, number=0)
    np.testing.assert_array_equal(again.clips(1, number=2), expected)
    for clips in (again.clips(1, number=3), again.clips(2, number=2), other.clips(1, number=2)):
        assert (clips != expected).any()


def test_clips_of_a_test_do_not_depend_on_pass_or_seed(solid):
    pipeline = GraphPipeline("nturgb+d", clip_len=30)
    augment = recipe([Affine(rotation=0.3), Mirror(1.0), DetectorNoise(1.0), Mixup(1.0)])
    one = ClipDataset([solid], pipeline, JOINT, seed=1, augment=augment).clips(0, number=1)
    two = ClipDataset([solid], pipeline, JOINT, seed=2, augment=augment).clips(0, number=2)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (GraphPipeline, {"clip_len": 0}, "`pipeline.clip_len` must be from 1 to 100000; got 0"),
        (GraphPipeline, {"num_clips": 0}, "`pipeline.num_clips`"),
        (GraphPipeline, {"test_part": (0.0, 1.0)}, "`pipeline.test_part` must be two rising"),
        (HeatmapPipeline, {"test_part": (0.9, 0.5)}, "`pipeline.test_part`"),
        (HeatmapPipeline, {"area": (0.5, 1.5)}, "`pipeline.area`"),
        (HeatmapPipeline, {"train_size": 0}, "`pipeline.train_size` must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(kind, settings, expected):
    with pytest.raises(UserError, match=expected):
        kind("coco", **settings)


def test_even_clips_are_the_whole_recording_interpolated_between_its_frames():
    keypoints = np.ones((1, 5, 17, 3), np.float32)
    keypoints[0, :, :, 0] = np.array([1.0, 2.0, 3.0, 7.0, 9.0])[:, None]
    keypoints[0, 2, 4] = 0  # missing in the third frame
    moving = Recording("m", 0, keypoints)
    pipeline = GraphPipeline("coco", clip_len=9, num_clips=2, even=True)
    clips = pipeline.test_clips(moving, JOINT)
    assert clips.shape == (2, 1, 9, 17, 3)
    np.testing.assert_array_equal(clips[0], clips[1])
    np.testing.assert_allclose(clips[0, 0, :, 0, 0], [1, 1.5, 2, 2.5, 3, 5, 7, 8, 9])
    there = [True, True, True, False, False, False, True, True, True]
    np.testing.assert_array_equal(clips[0, 0, :, 4].any(-1), there)
    trained = pipeline.train_clips(moving, JOINT, np.random.default_rng(0))
    np.testing.assert_allclose(trained[0], clips[0])
    part = Recipe(frames=Frames(part=(0.5, 0.5)))
    cropped = pipeline.train_clips(moving, JOINT, np.random.default_rng(0), part)[0, 0, :, 0, 0]
    assert cropped[0] >= 1 and cropped[-1] <= 9 and cropped[-1] - cropped[0] < 7


def test_scores_are_interpolated_too():
    scores = np.ones((1, 2, 17), np.float32)
    scores[0, 1] = 0.5
    seen = Recording("m", 0, np.ones((1, 2, 17, 2), np.float32), scores)
    clip = GraphPipeline("coco", clip_len=3, score_channel=True, even=True).test_clips(seen, JOINT)
    np.testing.assert_allclose(clip[0, 0, :, 3, 2], [1, 0.75, 0.5])


def test_successive_and_even_clips_exclude_each_other():
    with pytest.raises(UserError, match=r"pipeline\.successive` and `pipeline\.even` exclude"):
        GraphPipeline("coco", successive=True, even=True)
