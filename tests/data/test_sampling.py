"""Frame indices: in range, in order, evenly spread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.frames import Frames
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.sampling import (
    clip_indices,
    even_starts,
    even_times,
    fixed_indices,
    successive_indices,
    warped_frames,
)
from flag3d_exp.data.transforms import Stream

frames = st.integers(1, 2000)
lengths = st.integers(1, 600)
seeds = st.integers(0, 2**32)


@given(frames, lengths, seeds, st.floats(0, 0.99))
def test_random_clips_are_in_range_and_in_order(num_frames, clip_len, seed, tempo):
    rng = np.random.default_rng(seed)
    indices = Frames(tempo=tempo)(num_frames, clip_len, rng)
    assert indices.shape == (clip_len,)
    assert indices.min() >= 0
    assert indices.max() < num_frames
    if num_frames >= clip_len:
        assert (np.diff(indices) >= (tempo == 0)).all()


@given(st.integers(1, 99), seeds)
def test_short_recordings_run_over_again(num_frames, seed):
    indices = clip_indices(num_frames, 100, np.random.default_rng(seed))
    assert set(indices.tolist()) == set(range(num_frames))
    np.testing.assert_array_equal(np.diff(indices) % num_frames, 1 % num_frames)


@given(st.integers(1, 60), st.integers(2, 20), seeds)
def test_long_recordings_give_a_frame_of_each_segment(clip_len, times, seed):
    indices = clip_indices(clip_len * times, clip_len, np.random.default_rng(seed))
    np.testing.assert_array_equal(indices // times, np.arange(clip_len))


@given(frames, lengths, st.integers(1, 12))
def test_fixed_clips_are_the_same_each_time(num_frames, clip_len, num_clips):
    first = fixed_indices(num_frames, clip_len, num_clips)
    assert first.shape == (num_clips, clip_len)
    assert first.min() >= 0
    assert first.max() < num_frames
    np.testing.assert_array_equal(first, fixed_indices(num_frames, clip_len, num_clips))


def test_fixed_clips_leave_the_global_generator_alone():
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    fixed_indices(900, 48, 10)
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002


@given(frames, lengths, seeds)
def test_a_part_is_shorter_than_the_whole(num_frames, clip_len, seed):
    rng = np.random.default_rng(seed)
    indices = Frames(part=(0.5, 0.5))(num_frames, clip_len, rng)
    assert np.ptp(indices) < max(num_frames / 2, 1)


def test_parts_begin_anywhere():
    rng = np.random.default_rng(0)
    begins = [Frames(part=(0.2, 0.2))(1000, 10, rng).min() for _ in range(200)]
    assert min(begins) < 100
    assert max(begins) > 700


@pytest.mark.parametrize("strength", [-0.8, -0.4, 0.4, 0.8])
def test_a_change_of_tempo_keeps_the_ends_and_moves_the_middle(strength):
    indices = np.arange(101)
    changed = warped_frames(indices, 101, strength)
    assert (changed[0], changed[-1]) == (0, 100)
    assert (changed[50] > 50) == (strength > 0)
    assert changed[50] == round(50 + 25 * strength)


def test_successive_frames_are_in_a_row_and_end_with_the_last_one():
    starts = even_starts(20, 8, 3)
    np.testing.assert_array_equal(starts, [0, 6, 12])
    found = successive_indices(20, 8, starts)
    np.testing.assert_array_equal(found, starts[:, None] + np.arange(8))
    short = successive_indices(5, 8, even_starts(5, 8, 2))
    np.testing.assert_array_equal(short, [[0, 1, 2, 3, 4, 4, 4, 4]] * 2)


def test_a_pipeline_of_successive_frames_draws_and_tests_frames_in_a_row():
    frames = np.arange(20.0).reshape(1, 20, 1, 1) + np.ones((1, 1, 17, 2))
    recording = Recording("x", 0, frames)
    pipeline = GraphPipeline("coco", clip_len=8, num_clips=3, successive=True)
    test = pipeline.test_clips(recording, Stream("joint"))[:, 0, :, 0, 0] - 1
    np.testing.assert_array_equal(test, np.array([[0], [6], [12]]) + np.arange(8))
    drawn = [
        pipeline.train_clips(recording, Stream("joint"), np.random.default_rng(seed))[0, 0, :, 0, 0]
        for seed in range(40)
    ]
    assert all((np.diff(one) == 1).all() for one in drawn)
    assert {one[0] - 1 for one in drawn} >= {0, 12}


def test_even_times_span_the_recording_or_a_random_part_of_it():
    np.testing.assert_allclose(even_times(9, 5), [0, 2, 4, 6, 8])
    np.testing.assert_allclose(even_times(2, 3), [0, 0.5, 1])
    np.testing.assert_allclose(even_times(1, 3), 0)
    starts = set()
    for seed in range(20):
        times = even_times(11, 6, 0.5, np.random.default_rng(seed))
        np.testing.assert_allclose(np.diff(times), 1)
        assert times[0] >= 0 and times[-1] <= 10
        starts.add(round(times[0], 3))
    assert len(starts) > 10
