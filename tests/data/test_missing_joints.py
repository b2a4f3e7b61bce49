"""What is missing in a recording is missing in every clip of it, and changes nothing else.

Each property is tried on all pipelines: normalisations, streams, augmentations, graph and heatmap.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.bones import BoneLengths
from flag3d_exp.data.augment.drop import DropJoints, DropStretch
from flag3d_exp.data.augment.frames import Frames
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.offset import JointOffset
from flag3d_exp.data.augment.recipe import Recipe, recipe
from flag3d_exp.data.augment.turn import Turn
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.poses import shown_joints
from flag3d_exp.data.transforms import Stream
from flag3d_exp.skeletons.layout import load_layout

LAYOUTS = {name: load_layout(name) for name in ("coco", "nturgb+d")}
NORMALISATIONS = {
    "coco": ("none", "image", "box", "frame", "center"),
    "nturgb+d": ("none", "center", "body"),
}
JOINT = Stream("joint")
STREAMS = [JOINT, Stream("b", bones=True), Stream("m", motion=True), Stream("bm", True, True)]
# Of augmentations that keep the frames in place.
STRONG = Affine(rotation=0.5, scale=0.3, shear=0.3)
MAX_FRAMES = 6


@st.composite
def pipelines(draw, in_place=False):
    """A pipeline, a stream and a recipe.

    Args:
        in_place: a clip is the whole recording, and no joint is dropped.
    """
    shared = {
        "num_persons": draw(st.integers(1, 3)),
        "score_threshold": draw(st.sampled_from([None, 0.3])),
        "test_mirrored": draw(st.booleans()),
    }
    if not in_place:
        shared |= {
            "clip_len": draw(st.integers(1, 10)),
            "num_clips": draw(st.integers(1, 2)),
            "test_part": draw(st.sampled_from([(1.0, 1.0), (0.5, 0.9)])),
        }
    heatmap = draw(st.integers(0, 3)) == 0
    layout = "coco" if heatmap else draw(st.sampled_from(sorted(LAYOUTS)))
    steps = [Mirror(draw(st.sampled_from([0.0, 1.0])))]
    if not in_place:
        of_layout = Turn(0.5) if layout == "coco" else BoneLengths(0.5)
        steps += [
            Frames(
                draw(st.sampled_from([(1.0, 1.0), (0.5, 0.9)])), draw(st.sampled_from([0.0, 0.5]))
            ),
            *draw(
                st.lists(
                    st.sampled_from([of_layout, DetectorNoise(0.8), JointOffset(0.8)]), unique=True
                )
            ),
            DropJoints(draw(st.sampled_from([0.0, 0.3]))),
            DropStretch(draw(st.sampled_from([0.0, 0.5]))),
        ]
    if heatmap:
        return HeatmapPipeline("coco", **shared), JOINT, recipe(steps)
    if draw(st.booleans()):
        steps.insert(0, STRONG)
    graph = {
        "normalise": draw(st.sampled_from(NORMALISATIONS[layout])),
        "score_channel": draw(st.booleans()),
    }
    return GraphPipeline(layout, **shared, **graph), draw(st.sampled_from(STREAMS)), recipe(steps)


@st.composite
def masks(draw, layout):
    """(M, T, V) bool: which joints are there; whole persons and frames are missing, too."""
    shape = draw(st.integers(1, 3)), draw(st.integers(1, MAX_FRAMES)), LAYOUTS[layout].num_joints
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = rng.random(shape) >= draw(st.sampled_from([0.0, 0.1, 0.5, 0.95]))
    mask[rng.random(shape[0]) < draw(st.sampled_from([0, 0.5]))] = False
    mask[:, rng.random(shape[1]) < draw(st.sampled_from([0, 0.5]))] = False
    return mask


def made(mask, layout, scored, fill, threshold=None):
    """A recording in which the joints of the mask are there.

    Args:
        fill: seed of what is stored for the others: 0 with any score, or anything with a score of
            at most the threshold.
    """
    rng = np.random.default_rng(0)
    num_coordinates = 2 if layout == "coco" else 3
    keypoints = rng.uniform(50, 250, (*mask.shape, num_coordinates)).astype(np.float32)
    scores = rng.uniform(0.4, 1, mask.shape).astype(np.float32)
    rng = np.random.default_rng(fill)
    at_zero = ~mask & ((rng.random(mask.shape) < 0.5) | (not scored))
    unsure = ~mask & ~at_zero
    keypoints[unsure] = rng.uniform(-30000, 30000, (int(unsure.sum()), num_coordinates))
    limit = threshold or 0
    scores[unsure] = np.minimum(rng.uniform(-0.5, limit + 0.3, int(unsure.sum())), limit)
    keypoints[at_zero] = 0
    scores[at_zero] = rng.uniform(0, 1, int(at_zero.sum()))
    return Recording("r", 0, keypoints, scores if scored else None, (300, 400))


def clips(pipeline, stream, augment, recording):
    """The training clip and the test clips, (n, M, T, V, C) each."""
    train = pipeline.train_clips(recording, stream, np.random.default_rng(7), augment, [recording])
    return train, pipeline.test_clips(recording, stream)


@given(st.data(), pipelines(), st.booleans())
def test_what_is_stored_for_a_missing_joint_changes_nothing(data, chosen, scored):
    pipeline, stream, augment = chosen
    mask = data.draw(masks(pipeline.layout))
    one, two = (
        made(mask, pipeline.layout, scored, fill, pipeline.score_threshold) for fill in (1, 2)
    )
    for a, b in zip(clips(*chosen, one), clips(*chosen, two), strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.data(), pipelines(in_place=True), st.booleans())
def test_a_missing_joint_is_zero_in_every_channel_and_no_other_is(data, chosen, scored):
    pipeline, stream, augment = chosen
    mask = data.draw(masks(pipeline.layout))
    expected = expected_mask(mask, pipeline, stream)  # (M, T, V)
    pipeline = replace(pipeline, clip_len=expected.shape[1])
    recording = made(mask, pipeline.layout, scored, 1, pipeline.score_threshold)
    layout = LAYOUTS[pipeline.layout]
    mirrored = expected[..., layout.mirror_order]
    train, test = clips(pipeline, stream, augment, recording)
    found = [
        (train[0], mirrored if Mirror(1.0) in augment.clips else expected),
        (test[0], expected),
    ]
    if pipeline.test_mirrored:
        found.append((test[1], mirrored))
    for clip, there in found:
        assert not clip[~there].any()
        if pipeline.score_channel:
            assert (clip[there][:, -1] > 0).all()
        elif stream == JOINT:
            # A visible joint is only at 0 where it is put to the origin, or in a box's middle.
            assert (~clip[there].any(-1)).sum() <= 1


def expected_mask(mask, pipeline, stream):
    """(num_persons, T', V): which joints of a clip of the whole recording are there."""
    mask = mask[mask.any((1, 2))]
    if pipeline.normalise == "body" and len(mask):
        seen = mask.any(2)
        main = seen.sum(1).argmax()
        mask = np.concatenate([mask[main : main + 1], np.delete(mask, main, 0)])[:, seen[main]]
    layout, num_frames = LAYOUTS[pipeline.layout], mask.shape[1]
    if stream.bones:
        mask = mask & mask[..., [max(p, 0) if p >= 0 else j for j, p in enumerate(layout.parents)]]
    if stream.motion:
        after = np.concatenate([mask[:, 1:], np.zeros_like(mask[:, :1])], 1)
        mask = mask & after
    expected = np.zeros((pipeline.num_persons, num_frames, layout.num_joints), bool)
    kept = mask[: pipeline.num_persons]
    expected[: len(kept)] = kept
    return expected


@given(st.data(), pipelines(), st.booleans())
def test_a_person_who_is_missing_throughout_changes_nothing(data, chosen, scored):
    pipeline, stream, augment = chosen
    mask = data.draw(masks(pipeline.layout))
    recording = made(mask, pipeline.layout, scored, 1, pipeline.score_threshold)
    place = data.draw(st.integers(0, len(mask)))
    absent = made(np.zeros_like(mask[:1]), pipeline.layout, scored, 3, pipeline.score_threshold)
    more = inserted(recording, absent, place, axis=0)
    for a, b in zip(clips(*chosen, recording), clips(*chosen, more), strict=True):
        np.testing.assert_array_equal(a, b)


@given(st.data(), pipelines(in_place=True), st.booleans())
def test_a_frame_that_is_missing_throughout_changes_nothing_else(data, chosen, scored):
    pipeline, stream, augment = chosen
    mask = data.draw(masks(pipeline.layout))
    recording = made(mask, pipeline.layout, scored, 1, pipeline.score_threshold)
    place = data.draw(st.integers(0, mask.shape[1]))
    empty = made(np.zeros_like(mask[:, :1]), pipeline.layout, scored, 3, pipeline.score_threshold)
    more = inserted(recording, empty, place, axis=1)
    num_frames = expected_mask(mask, pipeline, stream).shape[1]
    shorter = clips(replace(pipeline, clip_len=num_frames), stream, augment, recording)
    if pipeline.normalise == "body" and mask.any():  # the frame is dropped
        longer = clips(replace(pipeline, clip_len=num_frames), stream, augment, more)
    else:
        longer = clips(replace(pipeline, clip_len=num_frames + 1), stream, augment, more)
        longer = [np.delete(clip, place, axis=2) for clip in longer]
        if stream.motion and place:  # the motion to the frame is missing with it
            for clip in (*shorter, *longer):
                clip[:, :, place - 1] = 0
    for a, b in zip(shorter, longer, strict=True):
        np.testing.assert_array_equal(a, b)


def inserted(recording, other, place, axis):
    """The recording with a person (axis 0) or frame (axis 1) of another at the given place."""

    def joined(array, added):
        before, after = np.split(array, [place], axis)
        return np.concatenate([before, added, after], axis)

    scores = None if recording.scores is None else joined(recording.scores, other.scores)
    return replace(recording, keypoints=joined(recording.keypoints, other.keypoints), scores=scores)


def test_the_box_is_that_of_the_visible_joints():
    keypoints = np.zeros((1, 2, 17, 2), np.float32)
    keypoints[0, :, 5:7] = [[100, 200], [300, 220]]
    pipeline = GraphPipeline("coco", normalise="box", clip_len=2)
    (clip,) = pipeline.test_clips(Recording("r", 0, keypoints), JOINT)
    np.testing.assert_allclose(clip[0, :, 5:7], [[[-1, -1], [1, 1]]] * 2)
    assert not np.delete(clip[0], [5, 6], axis=1).any()


def test_the_centre_is_taken_where_its_joint_is_first_seen():
    keypoints = np.zeros((2, 3, 25, 3), np.float32)
    keypoints[1, 1, 7] = [8, 8, 8]  # the centre joint, 20, is not there yet
    keypoints[1, 2, [7, 20]] = [[2, 3, 4], [1, 1, 1]]
    pipeline = GraphPipeline("nturgb+d", normalise="center", clip_len=3)
    (clip,) = pipeline.test_clips(Recording("r", 0, keypoints), JOINT)
    expected = np.zeros((3, 25, 3))
    expected[1, 7], expected[2, 7] = [7, 7, 7], [1, 2, 3]
    np.testing.assert_array_equal(clip[0], expected)
    keypoints[1, 2, 20] = 0
    (clip,) = pipeline.test_clips(Recording("r", 0, keypoints), JOINT)
    np.testing.assert_array_equal(clip[0], keypoints[1])


def test_a_body_is_turned_by_joints_that_are_there():
    person = np.random.default_rng(1).normal(3, 1, (1, 2, 25, 3)).astype(np.float32)
    pipeline = GraphPipeline("nturgb+d", normalise="body", clip_len=2)
    lacking = person.copy()
    lacking[0, 0, [0, 4]] = 0  # one end of the spine and of the shoulders, in the first frame
    lacking[0, 1, 1] = person[0, 0, 1]
    (clip,) = pipeline.test_clips(Recording("r", 0, lacking), JOINT)
    shoulders = clip[0, 1, 8] - clip[0, 1, 4]
    np.testing.assert_allclose(shoulders / np.linalg.norm(shoulders), [1, 0, 0], atol=1e-6)
    lengths = [np.linalg.norm(k[1, 10] - k[1, 20]) for k in (clip[0], lacking[0])]
    assert lengths[0] == pytest.approx(lengths[1])


def test_scores_follow_their_persons_and_frames():
    """A person who is seen in more frames comes first, and frames without that person go."""
    keypoints = np.random.default_rng(2).normal(3, 1, (2, 4, 25, 3)).astype(np.float32)
    keypoints[0, 1:] = 0
    keypoints[1, 2] = 0
    scores = np.zeros((2, 4, 25), np.float32) + [[[0.25]], [[0.75]]]
    pipeline = GraphPipeline(
        "nturgb+d", num_persons=2, normalise="body", score_channel=True, clip_len=3
    )
    (clip,) = pipeline.test_clips(Recording("r", 0, keypoints, scores.astype(np.float32)), JOINT)
    np.testing.assert_array_equal(clip[0, ..., 3], np.full((3, 25), 0.75))
    np.testing.assert_array_equal(clip[1, :, 0, 3], [0.25, 0, 0])


def test_pictures_show_a_root_at_the_origin_but_no_missing_joint():
    """A recording may begin with its root at the origin, which also stands for missing joints."""
    keypoints = np.random.default_rng(0).normal(size=(1, 5, 25, 3)).astype(np.float32)
    keypoints[0, 0, 0] = 0  # the root, among the others
    keypoints[0, 1, [3, 4]] = 0  # two joints: they are missing
    keypoints[0, 2] += 10
    keypoints[0, 2, 0] = 0  # far away from the others
    keypoints[0, 3, 5] = 0  # not the root
    keypoints[0, 4, 1:, 2] -= keypoints[0, 4, 1:, 2].min() - 0.05
    keypoints[0, 4, 0] = 0  # the root, a little behind all others
    shown = shown_joints(Recording("one", 0, keypoints))
    np.testing.assert_array_equal(np.argwhere(~shown), [[0, 1, 3], [0, 1, 4], [0, 2, 0], [0, 3, 5]])
    scores = np.ones((1, 5, 25), np.float32)
    scores[0, 4, 0] = 0
    scored = shown_joints(Recording("scored", 0, keypoints, scores))
    np.testing.assert_array_equal(np.argwhere(scored != shown), [[0, 4, 0]])
    flat = shown_joints(Recording("flat", 0, keypoints[..., :2]))
    assert not flat[0, 0, 0]


@pytest.mark.parametrize("training", [False, True])
def test_no_missing_joint_is_drawn_without_scores(training):
    keypoints = np.random.default_rng(3).uniform(50, 250, (1, 4, 17, 2)).astype(np.float32)
    keypoints[0, 2, 9] = 0
    recording, pipeline = Recording("r", 0, keypoints, None, (300, 400)), HeatmapPipeline("coco")
    pipeline = replace(pipeline, clip_len=4)
    (clip,) = clips(pipeline, JOINT, Recipe(), recording)[0 if training else 1]
    np.testing.assert_array_equal(clip[0, ..., 2] == 0, ~keypoints[0].any(-1))
    assert not clip[0, 2, 9].any()


def test_missing_joints_can_be_taken_as_stored():
    """As FLAG3D's authors did: a joint at 0 is in the image's corner, with its own score."""
    keypoints = np.full((1, 1, 17, 2), 100, np.float32)
    keypoints[0, 0, 3] = 0
    scores = np.full((1, 1, 17), 0.5, np.float32)
    scores[0, 0, 3] = 0
    pipeline = GraphPipeline(
        "coco", normalise="image", score_channel=True, clip_len=1, mask_missing=False
    )
    recording = Recording("r", 0, keypoints, scores, (300, 400))
    (clip,) = pipeline.test_clips(recording, JOINT)
    np.testing.assert_array_equal(clip[0, 0, 3], [-1, -1, 0])
