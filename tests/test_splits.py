import pytest

from flag3d_exp.errors import UserError
from flag3d_exp.splits import check_split_names


def test_letters_of_any_script_digits_and_three_marks_make_a_name():
    check_split_names(["val", "xsub_train", "kinect-2", "v1.0", "_x", "3d", "深蹲"], "`here`")
    check_split_names(["val_ema"], "`here`", averaged=True)


@pytest.mark.parametrize(
    "name",
    ["../up", "/tmp/run/checkpoints/best", "phone/front", "kinect_2_(v1)@home", "", "."]
    + [".hidden", "-v", "a b", "a:b", "a\n", "a\0", "\x1b[2J", "x" * 101, 1, None, "\ud800"],
)
def test_other_names_are_refused_with_what_is_accepted(name):
    with pytest.raises(UserError, match="`here`: .* can't be the name of a split; it must be"):
        check_split_names(["val", name], "`here`")


def test_the_mark_of_averaged_weights_is_reserved():
    with pytest.raises(UserError, match="`here`: 'val_ema' can't .* marks the metrics of averaged"):
        check_split_names(["val_ema"], "`here`")
