"""Counting of movements whose repetitions are known."""

import numpy as np
import pytest

from flag3d_exp.results.repetitions import autocorrelation_count, count_metrics, repetitions


def squats(lengths, pause=0, noise=0.01, seed=0):
    """(T, 12, 2) joints that go down and up once in each of the lengths, and stand for a while."""
    rng = np.random.default_rng(seed)
    down = [0.5 - 0.5 * np.cos(np.linspace(0, 2 * np.pi, length, endpoint=False))
            for length in lengths]  # fmt: skip
    depth = np.concatenate([np.zeros(pause), *down, np.zeros(pause)])
    place = rng.uniform(0, 1, (12, 2))
    share = rng.uniform(-1, 1, (12, 2))
    keypoints = place + depth[:, None, None] * share
    return keypoints + rng.normal(0, noise, keypoints.shape)


def seen(keypoints):
    return np.ones(keypoints.shape[:2], bool)


@pytest.mark.parametrize("lengths", [[40] * 8, [30, 36, 42, 48, 54, 60], [20] * 20])
@pytest.mark.parametrize("pause", [0, 60])
def test_every_repetition_is_found_whatever_its_length(lengths, pause):
    keypoints = squats(lengths, pause)
    found = repetitions(keypoints, seen(keypoints))
    assert abs(len(found) - len(lengths)) <= 1
    for (_, last), (first, _) in zip(found, found[1:], strict=False):
        assert last < first
    lasting = [last - first + 1 for first, last in found]
    assert np.median(lasting) == pytest.approx(np.median(lengths), abs=6)
    assert found[0][0] >= 0 and found[-1][1] < len(keypoints)


def test_missing_frames_and_joints_change_little():
    keypoints = squats([40] * 8)
    visible = seen(keypoints)
    visible[100:112] = False
    visible[::3, 4] = False
    visible[:, 5] = False
    keypoints[~visible] = 0
    assert abs(len(repetitions(keypoints, visible)) - 8) <= 1


def test_who_is_not_seen_or_does_not_move_repeats_nothing():
    still = np.ones((100, 12, 2))
    assert repetitions(still, seen(still)) == []
    assert repetitions(still, np.zeros((100, 12), bool)) == []
    assert autocorrelation_count(still, seen(still)) == 0
    short = squats([5])
    assert repetitions(short, seen(short)) == []


def test_autocorrelation_counts_even_repetitions():
    keypoints = squats([40] * 8)
    assert autocorrelation_count(keypoints, seen(keypoints)) == 8


def test_metrics_worked_out_by_hand():
    found = count_metrics([10, 4, 0], [8, 5, 0])
    assert found["mae"].value == pytest.approx((2 / 8.1 + 1 / 5.1 + 0) / 3)
    assert found["obo"].value == pytest.approx(2 / 3)
    assert found["mae"].low <= found["mae"].value <= found["mae"].high


def test_real_recordings_are_counted_better_than_by_autocorrelation(shared):
    """On 33 recordings of RepCount; the settings were chosen on 54 others."""
    import pickle

    content = pickle.loads((shared / "data/repcount.pkl").read_bytes())
    named = {one["frame_dir"]: one for one in content["annotations"]}
    chosen = [named[name] for name in content["split"]["val"]]
    bodies = [one["keypoint"][0][:, 11:, :2].astype(np.float32) for one in chosen]
    true = [one["count"] for one in chosen]
    counted = count_metrics([len(repetitions(one, one.any(2))) for one in bodies], true)
    simple = count_metrics([autocorrelation_count(one, one.any(2)) for one in bodies], true)
    assert counted["mae"].value < 0.27 < simple["mae"].value
    assert counted["obo"].value > 0.5 > simple["obo"].value
