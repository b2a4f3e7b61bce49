import pytest

from flag3d_exp.engine.train import Plan
from flag3d_exp.tasks.train import FEW_UPDATES, few_updates


@pytest.mark.parametrize(("epochs", "steps"), [(5, 4), (1, FEW_UPDATES - 1)])
def test_a_plan_of_few_updates_is_told_with_its_number_and_what_to_change(epochs, steps):
    line = few_updates(Plan(num_epochs=epochs, steps_per_epoch=steps, learning_rate=0.1))
    assert line is not None
    assert f"makes {epochs * steps} updates" in line
    assert "`task.repeat`" in line and "`task.batch_size`" in line


def test_a_plan_of_enough_updates_is_not_warned_of():
    assert few_updates(Plan(num_epochs=10, steps_per_epoch=20, learning_rate=0.1)) is None
