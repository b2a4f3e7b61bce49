import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.faults import Faults


def test_nothing_noted_refuses_nothing():
    Faults().refuse("x.pkl")


def test_one_fault_is_told_as_such():
    faults = Faults()
    faults.add("'a'", "it is empty.")
    with pytest.raises(UserError, match=r"^x.pkl: recording 'a': it is empty\.$"):
        faults.refuse("x.pkl")


def test_items_with_one_reason_are_told_together():
    faults = Faults("line")
    for line in range(2, 9):
        faults.add(str(line), "it is empty.")
    with faults.of("9"):
        raise UserError("it is too long.")
    with faults.of("10"):
        pass
    with pytest.raises(UserError) as caught:
        faults.refuse("x.csv")
    expected = "2, 3, 4, 5, 6 and 2 more: it is empty; 9: it is too long."
    assert str(caught.value) == f"x.csv: 8 lines can't be used: {expected}"


def test_the_line_stays_short_whatever_is_wrong():
    faults = Faults()
    for number in range(100_000):
        faults.add(str(number), f"it has {number} joints.")
    with pytest.raises(UserError) as caught:
        faults.refuse("x.pkl")
    assert "100000 recordings can't be used: 0: it has 0 joints; " in str(caught.value)
    assert str(caught.value).endswith("4: it has 4 joints; and 99995 others.")
