"""Frames that arrive one by one, worked out by hand."""

import numpy as np
import pytest

from flag3d_exp.data.live import FrameBuffer
from flag3d_exp.errors import UserError


def buffer(window=4, hop=2, wait=0, **settings):
    return FrameBuffer(window, hop, wait, 3, 2, **settings)


def pose(number):
    """A person whose joints tell the frame's number."""
    return np.array([[[0, 0], [50, 10], [100, 20]]], np.float32) + number + 1


def fed(frames, made, ids=None):
    """The windows of frames that come in this order."""
    found = []
    for number in frames:
        found += made.push(number, pose(number), identities=ids)
    return found


def held(window, person=0):
    """The numbers of the frames in a window's recording; None where the person is missing."""
    places = window.recordings[person].keypoints[0, :, 0, 0]
    return [int(value) - 1 if value else None for value in places]


def test_a_window_is_given_at_every_hop():
    found = fed(range(7), buffer())
    assert [(one.first, one.last) for one in found] == [(0, 1), (0, 3), (2, 5)]
    assert [held(one) for one in found] == [[0, 1], [0, 1, 2, 3], [2, 3, 4, 5]]


def test_the_end_gives_what_is_left():
    made = buffer(wait=2)
    assert [one.last for one in fed(range(5), made)] == [1]
    assert [(one.first, one.last) for one in made.close()] == [(0, 3), (1, 4)]
    assert list(buffer().close()) == []


def test_missing_frames_are_missing_joints():
    found = fed([0, 1, 3, 5], buffer())
    assert [held(one) for one in found] == [[0, 1], [0, 1, None, 3], [3, None, 5]]


def test_late_frames_are_in_their_window_if_it_waits_and_in_later_ones_otherwise():
    waiting = fed([0, 2, 1, 3, 5, 4], buffer(wait=2))
    assert [held(one) for one in waiting] == [[0, 1], [0, 1, 2, 3]]
    hasty = fed([0, 2, 3, 1, 4, 5], buffer())
    assert [held(one) for one in hasty] == [[0, None], [0, None, 2, 3], [2, 3, 4, 5]]
    made = buffer()
    late = fed([0, 1, 2, 3, 4, 5, 1, 7], made)
    assert [held(one) for one in late] == [[0, 1], [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, None, 7]]
    assert made.num_left_out == 1


def test_a_long_pause_costs_no_time_and_memory_is_bounded():
    made = buffer()
    found = fed([0, 1, 10**12, 10**12 + 1], made)
    assert [one.last for one in found][:2] == [1, 3]
    assert found[-1].last >= 10**12
    assert len(found) <= 4
    for number in range(10**12 + 2, 10**12 + 2000):
        list(made.push(number, pose(number % 50)))
        assert len(made.frames) <= 4 + 2


def test_persons_are_tracked_and_the_lasting_ones_kept():
    made = buffer(4, 4, max_persons=1)
    for number in range(3):
        both = np.concatenate([pose(number) + 500, pose(number)])
        assert not list(made.push(number, both[:: 1 if number % 2 else -1]))
    (window,) = made.push(3, pose(3))
    assert held(window) == [0, 1, 2, 3]


def test_identities_of_the_caller_are_kept():
    made = buffer(4, 4)
    for number, who in enumerate((7, 9, 7)):
        assert not list(made.push(number, pose(number), identities=[who]))
    (window,) = made.push(3, np.concatenate([pose(3), pose(3)]), identities=[9, 7])
    assert window.persons == [7, 9]
    assert [held(window, at) for at in range(2)] == [[0, None, 2, 3], [None, 1, None, 3]]


def test_scores_and_frames_without_anyone_are_taken():
    made = buffer(4, 4)
    list(made.push(None, pose(0), np.full((1, 3), 0.5)))
    list(made.push(None, np.zeros((0, 3, 2)), np.zeros((0, 3))))
    list(made.push(None, pose(2), np.full((1, 3), 0.5)))
    (window,) = made.push(None, pose(3), np.full((1, 3), 0.5))
    assert held(window) == [0, None, 2, 3]
    assert window.recordings[0].scores[0, :, 0].tolist() == [0.5, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ((-1, pose(0)), "`frame` must be a whole number from 0"),
        ((0, np.zeros((1, 4, 2))), r"`keypoints` must be \(persons, 3, 2\); got \(1, 4, 2\)"),
        ((0, pose(0), np.ones((1, 4))), "`scores` must be"),
        ((0, pose(np.nan)), "must be finite"),
        ((0, pose(0), None, [1, 2]), "the ids of 1 persons must differ"),
        ((0, np.ones((300, 3, 2))), "a frame may have 200 persons"),
    ],
)
def test_a_wrong_frame_is_refused_and_leaves_the_buffer_alone(frame, expected):
    made = buffer()
    with pytest.raises(UserError, match=expected):
        made.push(*frame)
    assert not made.frames and made.newest == -1
