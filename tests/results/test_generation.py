"""Measures of generated recordings, against numbers worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.results.generation import (
    Whitening,
    bone_variation,
    diversity,
    foot_speed,
    frechet_distance,
    halves,
    kernel_distance,
    multimodality,
    nearest_distances,
)


def test_whitened_features_have_variance_1_and_only_axes_that_vary():
    rng = np.random.default_rng(0)
    known = rng.standard_normal((200, 3)) * [5.0, 2.0, 0.0] + [1, 2, 3]
    features = known @ np.linalg.qr(rng.standard_normal((3, 3)))[0]
    whiten = Whitening.of(features)
    found = whiten(features)
    assert found.shape == (200, 2)
    np.testing.assert_allclose(np.cov(found, rowvar=False), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    assert Whitening.of(features, 1)(features).shape == (200, 1)


def test_the_frechet_distance_of_two_points_and_of_two_spreads():
    one = np.array([[0.0, 0.0], [2.0, 0.0]])  # mean (1, 0), variances (2, 0)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, one + [3, 4]) == pytest.approx(25)
    # In one dimension it is (m1 - m2)^2 + (s1 - s2)^2.
    line = np.array([[-1.0], [1.0]])  # variance 2
    assert frechet_distance(line, 3 * line + 1) == pytest.approx(1 + (3 - 1) ** 2 * 2)


def test_the_frechet_distance_of_covariances_that_do_not_commute():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((50, 3)), rng.standard_normal((60, 3)) @ rng.random((3, 3))
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real.sum()
    apart = one.mean(0) - other.mean(0)
    wanted = apart @ apart + np.trace(first + second) - 2 * roots
    assert frechet_distance(one, other) == pytest.approx(wanted)


def test_the_kernel_distance_is_the_sum_over_pairs():
    one, other = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    # Within: k(0, 1) = 1 and k(0, 2) = 1. Between: k(0, 0) = k(0, 2) = k(1, 0) = 1, k(1, 2) = 27.
    assert kernel_distance(one, other) == pytest.approx(1 + 1 - 2 * (1 + 1 + 1 + 27) / 4)


def test_samples_of_one_distribution_have_no_kernel_distance_on_average():
    rng = np.random.default_rng(0)
    found = [kernel_distance(*rng.standard_normal((2, 40, 4))) for _ in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)
    assert kernel_distance(rng.standard_normal((40, 4)), 2 + rng.standard_normal((40, 4))) > 1


def test_halves_are_disjoint_and_complete():
    one, other = halves(7, np.random.default_rng(0))
    assert (len(one), len(other)) == (3, 4)
    assert sorted([*one, *other]) == list(range(7))


def test_diversity_is_over_all_and_multimodality_within_classes():
    features = np.array([[0.0], [1.0], [10.0], [11.0]])
    rng = np.random.default_rng(0)
    assert multimodality(features, np.array([0, 0, 1, 1]), rng) == 1
    assert multimodality(features[:2], np.array([0, 0]), rng) == diversity(features[:2], rng) == 1
    # All pairs: 1, 10, 11, 9, 10, 1.
    assert diversity(features, rng, 20_000) == pytest.approx(7, abs=0.1)
    assert np.isnan(multimodality(features, np.arange(4), rng))


def test_bones_of_one_length_have_no_variation():
    joints = np.zeros((2, 3, 3))
    joints[:, 1, 0] = 1.0  # a rigid bone
    joints[:, 2, 0] = [2.0, 4.0]  # a bone of length 1, then 3: mean 2, deviation 1
    assert bone_variation(joints, np.array([[0, 1]])) == 0
    assert bone_variation(joints, np.array([[0, 1], [1, 2]])) == pytest.approx((0 + 0.5) / 2)


def test_only_feet_near_the_floor_count_in_their_speed():
    joints = np.zeros((3, 2, 3))
    joints[:, 0, 0] = [0.0, 0.1, 0.3]  # slides on the floor
    joints[:, 1, 0] = [0.0, 5.0, 9.0]
    joints[:, 1, 2] = 1.0  # swings high above it
    assert foot_speed(joints, np.array([0, 1]), 2, 10) == pytest.approx((0.1 + 0.2) / 2 * 10)
    joints[1, 0, 2] = 0.2
    assert np.isnan(foot_speed(joints, np.array([0]), 2, 10))


def test_a_copy_is_at_a_distance_of_0_and_a_clip_is_no_copy_of_itself():
    clips = np.zeros((3, 2, 2, 3))
    clips[1, :, :, 0] = 0.3
    clips[2, :, 0, 1] = 0.5
    np.testing.assert_allclose(nearest_distances(clips, clips), 0)
    found = nearest_distances(clips, clips, without_itself=True)
    np.testing.assert_allclose(found[:2], [0.25, 0.3])
