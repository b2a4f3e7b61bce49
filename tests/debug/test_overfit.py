import logging
from itertools import count

import pytest
from engine.toy import batch, train_step

from flag3d_exp.debug.overfit import Overfit
from flag3d_exp.debug.updates import Update
from flag3d_exp.errors import UserError


def updates():
    """Other clips at every update, at a learning rate that a warm-up keeps at nothing."""
    return (Update(n, [batch(n)], 0.0, ["a", "b", "c", "d"]) for n in count(1))


def test_one_batch_is_learnt_by_heart_and_it_is_said(caplog):
    with caplog.at_level(logging.INFO):
        Overfit(steps=60)(train_step(lr=0.5), updates())
    assert caplog.messages[-1].startswith("The batch was memorised: loss ")
    losses = [float(m.split("loss ")[1].split(",")[0]) for m in caplog.messages[:-1]]
    assert len(losses) == 9 and losses[-1] < losses[0] / 4


def test_a_batch_that_is_not_learnt_is_an_error_with_its_figures():
    with pytest.raises(UserError) as caught:
        Overfit(steps=3)(train_step(lr=1e-9), updates())
    for part in ("not learnt", "after 3 updates", "of 4 clips right", "`optimizer.lr`"):
        assert part in str(caught.value)


def test_fewer_than_two_updates_are_refused():
    with pytest.raises(UserError, match="`task.debug.steps` must be at least 2; got 1"):
        Overfit(steps=1)
