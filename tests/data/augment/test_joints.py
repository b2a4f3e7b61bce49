"""Lost joints, bone lengths, detector noise and turns, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment import noise
from flag3d_exp.data.augment.bones import BoneLengths, lengths, with_ratios
from flag3d_exp.data.augment.clip import Clip, box_size, in_stretches
from flag3d_exp.data.augment.drop import DropStretch
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.offset import JointOffset
from flag3d_exp.data.augment.turn import Turn, guessed_depth, turned_poses
from flag3d_exp.data.poses import Poses, visible
from flag3d_exp.skeletons.layout import load_layout

COCO, NTU = load_layout("coco"), load_layout("nturgb+d")


def rng(seed=0):
    return np.random.default_rng(seed)


def poses(keypoints, scores=None):
    keypoints = np.asarray(keypoints, np.float32)
    return Poses(keypoints, visible(keypoints, scores), scores)


def moving(layout, num_coordinates, num_frames=40):
    """One person whose joints are anywhere."""
    shape = (1, num_frames, layout.num_joints, num_coordinates)
    return rng(1).normal(5, 1, shape).astype(np.float32)


def test_a_stretch_loses_the_same_joints_in_all_of_its_frames():
    clip = Clip(poses(moving(COCO, 2)), COCO)
    changed = DropStretch(1.0, joints=(0.5, 0.5), frames=(0.25, 0.25))(clip, rng()).poses
    lost = ~changed.visible[0]
    frames, joints = lost.any(1).nonzero()[0], lost.any(0).nonzero()[0]
    assert frames.tolist() == list(range(frames[0], frames[0] + 10))
    assert len(joints) == 8  # round(17 / 2)
    assert lost[np.ix_(frames, joints)].all()


def test_stretches_cover_their_share_of_the_time():
    frames = in_stretches(100_000, 0.1, 8, rng())
    assert frames.mean() == pytest.approx(1 - (1 - 0.1 / 8) ** 8, abs=0.01)
    assert not in_stretches(100, 0.0, 8, rng()).any()


def test_a_clip_with_the_bones_of_another_keeps_directions_and_gets_lengths():
    own = moving(NTU, 3, num_frames=1)
    donor = Recording("donor", 0, 1.5 * own)
    clip = Clip(poses(own), NTU, donors=[donor])
    changed = BoneLengths(1.0)(clip, rng()).poses
    root = own[..., 20:21, :]
    np.testing.assert_allclose(changed.keypoints, root + 1.5 * (own - root), rtol=1e-4)


def test_a_donor_s_joints_below_the_threshold_give_no_length():
    own, far = moving(NTU, 3, num_frames=1), moving(NTU, 3, num_frames=1)
    far[..., 13, :] += 1000
    scores = np.full(own.shape[:-1], 0.9, np.float32)
    scores[..., 13] = 0.2
    found = []
    for keypoints in (own, far):
        donor = Recording("donor", 0, 1.5 * keypoints, scores)
        clip = Clip(poses(own), NTU, donors=[donor], score_threshold=0.3)
        found.append(BoneLengths(1.0)(clip, rng()).poses.keypoints)
    np.testing.assert_array_equal(*found)


def test_a_longer_thigh_moves_what_hangs_on_it():
    points = np.zeros((1, 1, 25, 3))
    points[..., 0] = 1 + np.arange(25)
    ratios = np.ones(25)
    ratios[13] = 2  # to the left knee, from the left hip: 1 long
    built = with_ratios(poses(points), NTU, ratios).keypoints[0, 0, :, 0]
    moved = (built != points[0, 0, :, 0]).nonzero()[0]
    assert moved.tolist() == [13, 14, 15]
    np.testing.assert_allclose(built[[13, 14, 15]], points[0, 0, [13, 14, 15], 0] + 1)


def test_bones_are_measured_where_both_ends_are_seen():
    points = np.ones((1, 2, 25, 3))
    points[0, 0, 13] = [1, 1, 4]
    points[0, 1, 13] = 0
    measured = lengths(poses(points), NTU)
    assert measured[13] == 3 and measured[20] == 0


def test_noise_is_small_in_the_middle_larger_at_the_ends_and_grows_with_its_strength():
    far = noise.remoteness(COCO)
    assert far[COCO.center] == 0 and far.max() == far[COCO.joint_number("left ankle")] == 1
    error = noise.displacement((1, 4000, 17, 2), COCO, 4000, rng()).std((0, 1, 3))
    likely, deviation = 0.75, noise.SMALL[1]
    ends = np.sqrt(likely * deviation**2 + (1 - likely) * noise.LARGE**2 / 3 + noise.JITTER**2)
    assert error[far == 1] == pytest.approx(ends, rel=0.05)
    assert error[COCO.center] == pytest.approx(np.hypot(noise.SMALL[0], noise.JITTER), rel=0.08)


def test_confidence_falls_with_the_displacement():
    means = [noise.confidence(np.full(20_000, d), rng()).mean() for d in (0.0, 0.01, 0.03)]
    assert means[0] > means[1] > means[2] > 0.4
    assert means[2] == pytest.approx(0.028 / 0.058 + 1.1 * 0.03 - 0.0046, abs=0.01)


def test_noise_scales_with_the_person_and_loses_its_share_of_joints():
    keypoints = moving(COCO, 2, num_frames=2000)
    scores = np.ones(keypoints.shape[:3], np.float32)
    step = DetectorNoise(1.0, missing=0.1, missing_frames=0.0, exchanged=0.0)
    small = step(Clip(poses(keypoints, scores), COCO), rng()).poses
    large = step(Clip(poses(10 * keypoints, scores), COCO), rng()).poses
    np.testing.assert_allclose(large.keypoints, 10 * small.keypoints, rtol=1e-4)
    assert 1 - small.visible.mean() == pytest.approx(0.1, abs=0.01)
    assert (small.scores[small.visible] > 0).all() and not small.scores[~small.visible].any()


def test_exchanged_frames_have_left_on_the_right():
    keypoints = moving(COCO, 2, num_frames=3)
    changed = noise.exchanged_poses(
        poses(keypoints), np.array([False, True, False]), COCO
    ).keypoints
    np.testing.assert_array_equal(changed[:, 1], keypoints[:, 1][:, COCO.mirror_order])
    np.testing.assert_array_equal(changed[:, ::2], keypoints[:, ::2])


def test_the_size_of_a_person_is_the_longer_side_of_the_box():
    points = np.zeros((1, 3, 17, 2))
    points[0, :, :2] = [[10, 10], [30, 110]]
    points[0, 2] = 0  # nobody in this frame
    assert box_size(poses(points)) == 100
    assert box_size(poses(np.zeros((1, 3, 17, 2)))) == 0


def arm(angles):
    """COCO poses of a left forearm of length 10 that points out of the image by these angles."""
    points = np.zeros((1, len(angles), 17, 2))
    points[0, :, 7] = [100, 100]
    points[0, :, 9, 0] = 100 + 10 * np.cos(angles)
    points[0, :, 9, 1] = 100
    return poses(points)


def test_a_bone_that_looks_short_points_out_of_the_image():
    angles = np.array([0.0] * 19 + [np.pi / 3])
    depth = guessed_depth(arm(angles), COCO, rng())[0, :, 9]
    np.testing.assert_allclose(np.abs(depth), 10 * np.sin(angles), atol=1e-3)


@pytest.mark.parametrize("angle", [-0.7, 0.4])
def test_a_turn_shows_the_depth_and_hides_the_width(angle):
    flat = arm(np.zeros(4))
    depth = np.zeros((1, 4, 17))
    depth[..., 9] = 3
    changed = turned_poses(flat, depth, angle).keypoints[0, 0]
    middle = 105
    assert changed[9, 0] == pytest.approx(middle + 5 * np.cos(angle) + 3 * np.sin(angle), rel=1e-5)
    assert changed[7, 0] == pytest.approx(middle - 5 * np.cos(angle), rel=1e-5)
    assert changed[9, 1] == 100


def test_no_turn_changes_nothing():
    clip = Clip(poses(moving(COCO, 2)), COCO)
    np.testing.assert_array_equal(
        Turn(1.0, angle=0.0)(clip, rng()).poses.keypoints, clip.poses.keypoints
    )


def test_shoulders_seen_from_the_side_are_one_behind_the_other():
    points = np.zeros((1, 1, 17, 2))
    points[0, 0, [5, 6, 11, 12]] = [[50, 50], [50, 50], [50, 150], [50, 150]]
    depth = guessed_depth(poses(points), COCO, rng())[0, 0]
    assert depth[5] == -depth[6] and abs(depth[5]) == pytest.approx(35)
    assert depth[11] == -depth[12] and abs(depth[11]) == pytest.approx(18)


def test_an_offset_is_the_same_in_all_frames_and_as_large_as_asked():
    points = moving(NTU, 3)
    clip = Clip(poses(points), NTU)
    size = box_size(clip.poses)
    deviations = []
    for seed in range(200):
        offset = JointOffset(1.0, deviation=0.02)(clip, rng(seed)).poses.keypoints - points
        np.testing.assert_allclose(offset, offset[:, :1].repeat(40, 1), atol=1e-5)
        deviations.append(offset[0, 0].std() / size)
    assert np.mean(deviations) == pytest.approx(0.02, rel=0.1)
    assert max(deviations) < 0.06 and min(deviations) < 0.005
