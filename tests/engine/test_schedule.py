import pytest

from flag3d_exp.engine.schedule import Constant, Cosine, Step
from flag3d_exp.errors import UserError


def test_cosine_falls_from_one_to_the_floor_through_the_middle():
    schedule = Cosine(floor=0.2)
    assert [schedule(epoch, 10) for epoch in (0, 5, 10)] == pytest.approx([1.0, 0.6, 0.2])


def test_cosine_moves_within_an_epoch():
    assert Cosine()(0.5, 2) == pytest.approx((1 + 0.5**0.5) / 2)


def test_warm_up_rises_linearly_and_the_cosine_starts_after_it():
    schedule = Cosine(warmup_epochs=2)
    assert [schedule(epoch, 10) for epoch in (0, 1, 2, 6, 10)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_step_decays_at_each_milestone():
    schedule = Step(milestones=(2, 4), decay=0.1)
    assert [schedule(epoch, 6) for epoch in (1.99, 2, 4.5)] == pytest.approx([1, 0.1, 0.01])


def test_constant_stays():
    assert [Constant()(epoch, 3) for epoch in (0, 1.5, 3)] == [1, 1, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Cosine(floor=2),
        lambda: Cosine(warmup_epochs=-1),
        lambda: Step(milestones=(4, 2)),
        lambda: Step(decay=-1),
        lambda: Constant(warmup_epochs=-0.1),
    ],
)
def test_a_setting_out_of_range_is_named(wrong):
    with pytest.raises(UserError, match="`scheduler"):
        wrong()
