import numpy as np

from flag3d_exp.debug.updates import updates
from flag3d_exp.engine.schedule import Cosine
from flag3d_exp.engine.train import Plan, Progress, StepBatch

PLAN = Plan(num_epochs=2, steps_per_epoch=3, learning_rate=0.1)


def load(epoch: int, done: int):
    for number in range(done, 3):
        yield StepBatch([], np.array([epoch, number]))


def told(progress: Progress) -> list[tuple]:
    found = updates(load, ["a", "b", "c"], Cosine(), PLAN, progress)
    return [(u.number, "".join(u.names), round(u.factor, 4)) for u in found]


def test_updates_are_numbered_named_and_rated_as_in_training():
    assert told(Progress()) == [
        (1, "aa", 1.0),
        (2, "ab", 0.933),
        (3, "ac", 0.75),
        (4, "ba", 0.5),
        (5, "bb", 0.25),
        (6, "bc", 0.067),
    ]


def test_a_run_that_stopped_goes_on_with_the_update_after():
    assert told(Progress(epoch=0, step=2)) == told(Progress())[2:]
    assert told(Progress(epoch=1, step=1)) == told(Progress())[4:]
