"""Recordings made worse, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.data import disturb
from flag3d_exp.data.annotations import Recording
from flag3d_exp.skeletons.layout import load_layout

COCO = load_layout("coco")


def rng():
    return np.random.default_rng(0)


@pytest.fixture
def recording():
    """40 frames; the first coordinate of the first joint is the number of the frame, from 1."""
    keypoints = rng().uniform(100, 300, (1, 40, 17, 2)).astype(np.float32)
    keypoints[0, :, 0, 0] = np.arange(1, 41)
    keypoints[0, 7, 9] = 0
    scores = np.where(keypoints.any(-1), 0.9, 0).astype(np.float32)
    return Recording("r", 0, keypoints, scores, (480, 854))


def test_a_slower_camera_keeps_evenly_spaced_frames(recording):
    changed = disturb.fewer_frames(recording, COCO, 0.25, rng())
    assert changed.keypoints[0, :, 0, 0].tolist() == list(range(1, 41, 4))
    assert changed.scores.shape == (1, 10, 17)


def test_a_crop_is_one_part_of_its_length(recording):
    frames = disturb.cropped_recording(recording, COCO, 0.5, rng()).keypoints[0, :, 0, 0]
    assert len(frames) == 20 and (np.diff(frames) == 1).all()


def test_lost_joints_are_missing_with_their_scores(recording):
    changed = disturb.lost_joints(recording, COCO, 0.3, rng())
    lost = ~changed.keypoints.any(-1)
    assert 0.25 < lost.mean() < 0.36
    assert not changed.scores[lost].any() and (changed.scores[~lost] > 0).all()


@pytest.mark.parametrize(
    "change", [disturb.jittered_recording, disturb.rotated_recording, disturb.mirrored_recording]
)
def test_a_missing_joint_stays_missing(recording, change):
    changed = change(recording, COCO, 0.05, rng())
    joint = COCO.mirror_order[9] if change is disturb.mirrored_recording else 9
    assert not changed.keypoints[0, 7, joint].any() and changed.scores[0, 7, joint] == 0
    assert (changed.keypoints != recording.keypoints).any()


def test_a_rotation_keeps_distances(recording):
    changed = disturb.rotated_recording(recording, COCO, 0.5, rng())
    before, after = (
        np.linalg.norm(one.keypoints[0, :, 5] - one.keypoints[0, :, 6], axis=-1)
        for one in (recording, changed)
    )
    np.testing.assert_allclose(after, before, rtol=1e-4)


def test_a_mirror_image_of_a_mirror_image_is_the_recording(recording):
    twice = disturb.mirrored_recording(
        disturb.mirrored_recording(recording, COCO, 1, rng()), COCO, 1, rng()
    )
    np.testing.assert_allclose(twice.keypoints, recording.keypoints, rtol=1e-5)
