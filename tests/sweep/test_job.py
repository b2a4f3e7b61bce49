import os

import pytest

from flag3d_exp.sweep.job import slot_cores


@pytest.mark.parametrize(
    ("cores", "num_slots", "expected"),
    [
        ({0, 1}, 1, [None]),
        ({0, 1}, 2, [[0], [1]]),
        ({2, 3, 5, 7, 8}, 2, [[2, 3], [5, 7]]),
        ({0, 1}, 3, [[0], [1], [0]]),
    ],
)
def test_slots_share_the_cores_without_overlap(monkeypatch, cores, num_slots, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert [slot_cores(slot, num_slots) for slot in range(num_slots)] == expected
