import logging
import time
from itertools import count

import numpy as np
import pytest
from engine.toy import batch, train_step
from mindspore import Tensor, nn

from flag3d_exp.debug.profile import Profile, layer_seconds
from flag3d_exp.debug.updates import Update
from flag3d_exp.errors import UserError


class Sleeper(nn.Cell):
    """Takes `seconds`, and what the layer inside it takes."""

    def __init__(self, seconds: float, inside: nn.Cell | None = None):
        super().__init__()
        self.seconds, self.inside = seconds, inside

    def construct(self, clips, dropout_mask=None):
        time.sleep(self.seconds)
        return clips if self.inside is None else self.inside(clips)


def test_a_layer_s_time_is_its_own_without_that_of_the_layers_inside_it():
    seconds = layer_seconds(Sleeper(0.05, Sleeper(0.2)), Tensor(np.ones(3, np.float32)), 2)
    assert set(seconds) == {"model (Sleeper)", "inside (Sleeper)"}
    assert 0.05 <= seconds["model (Sleeper)"] < seconds["inside (Sleeper)"]
    assert seconds["inside (Sleeper)"] >= 0.2


def test_what_was_measured_is_told(caplog):
    updates = (Update(n, [batch(n)], 1.0, ["a", "b", "c", "d"]) for n in count(1))
    with caplog.at_level(logging.INFO):
        Profile(steps=2, rows=1)(train_step(), updates)
    first, medians, whole, *rows = caplog.messages
    assert first.startswith("first update")
    assert "median of 2 updates" in medians and "clips/s" in medians
    assert "uncompiled forward pass" in whole
    assert [row.split()[-2:] for row in rows] == [["model", "(Linear)"]]
    assert "100.0 %" in rows[0]


def test_counts_below_one_are_refused():
    for name in ("steps", "rows"):
        with pytest.raises(UserError, match=f"`task.debug.{name}` must be at least 1; got 0"):
            Profile(**{name: 0})
