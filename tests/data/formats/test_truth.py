"""Tables of what persons really do."""

import numpy as np
import pytest

from flag3d_exp.data.formats.truth import frame_labels, read_truth
from flag3d_exp.errors import UserError

CLASSES = ("squat", "lunge")


def put(tmp_path, text):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    return path


def test_segments_and_frames_give_the_same(tmp_path):
    spans = read_truth(
        put(tmp_path, "name,person,first,last,class\na,0,0,1,squat\na,0,3,3,1\nb,2,0,0,unknown\n"),
        CLASSES,
    )
    assert spans == {("a", 0): [(0, 1, 0), (3, 3, 1)], ("b", 2): [(0, 0, -1)]}
    frames = read_truth(
        put(tmp_path, "recording,frame,class\na,0,squat\na,1,squat\na,3,lunge\n"), CLASSES
    )
    expected = [0, 0, -1, 1, -1]
    np.testing.assert_array_equal(frame_labels(spans["a", 0], 5, "a"), expected)
    np.testing.assert_array_equal(frame_labels(frames["a", 0], 5, "a"), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "must have columns name, class and first"),
        ("name,first,class\na,1,squat\n", "must have columns"),
        ("name,first,last,class\n", "holds no rows"),
        ("name,first,last,class\na,3,1,squat\n", "line 2: `last` is before `first`"),
        ("name,first,last,class\na,x,1,squat\n", "line 2: `first` must be a whole number"),
        ("name,first,last,class\na,0,1,squad\n", "not a class of the network. Did you mean"),
        ("name,first,last,class\na,0,1,2\n", "'2' is not a class"),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(tmp_path, text, expected):
    with pytest.raises(UserError, match=expected):
        read_truth(put(tmp_path, text), CLASSES)


def test_frames_twice_or_beyond_the_end_are_refused():
    with pytest.raises(UserError, match="names a frame of 1 to 2 twice"):
        frame_labels([(0, 1, 0), (1, 2, 1)], 5, "a")
    with pytest.raises(UserError, match="has 5 frames; `task.truth` names frame 5"):
        frame_labels([(0, 5, 0)], 5, "a")
