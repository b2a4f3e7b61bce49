import numpy as np
import pytest

from flag3d_exp.data.formats.csv_file import read_csv
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

COCO = load_layout("coco")
HEADER = "recording,label,frame,joint,x,y,score,person"


def written(tmp_path, *rows, header=HEADER, encoding="utf-8"):
    path = tmp_path / "clips.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
    return path


def test_a_file_of_excel_is_read(tmp_path):
    """It begins with a byte-order mark and may end its lines with empty cells."""
    rows = "one,3,0,nose,1,2,1,0", "", "one,3,1,nose,1,2,1,,,"
    (one,) = read_csv(written(tmp_path, *rows, encoding="utf-8-sig"), COCO)
    assert (one["name"], one["label"], one["keypoints"].shape) == ("one", 3, (1, 2, 17, 2))


@pytest.mark.parametrize(
    "joint", ["left_eye", "left eye", "Left-Eye", "1", " left  eye ", "EyeLeft"]
)
def test_a_joint_may_be_spelled_in_any_way(tmp_path, joint):
    (one,) = read_csv(written(tmp_path, f"one,0,0,{joint},1,2,1,0"), COCO)
    assert one["keypoints"][0, 0].any(-1).nonzero()[0].tolist() == [1]


def test_empty_coordinates_are_a_missing_joint(tmp_path):
    rows = "one,0,0,0,1,2,0.5,0", "one,0,0.0,1,,,0.5,0", "one,0,0,2,nan,NaN,,0", "one,0,0,3,4,5,,0"
    (one,) = read_csv(written(tmp_path, *rows), COCO)
    assert one["keypoints"][0, 0, :4].tolist() == [[1, 2], [0, 0], [0, 0], [4, 5]]
    np.testing.assert_array_equal(one["scores"][0, 0, :4], [0.5, 0, 0, 1])


def test_labels_may_be_absent_where_none_are_needed(tmp_path):
    path = written(tmp_path, "one,0,nose,1,2", header="recording,frame,joint,x,y")
    (one,) = read_csv(path, COCO, labelled=False)
    assert "label" not in one
    with pytest.raises(UserError, match="lacks the column `label`; its columns: recording, frame"):
        read_csv(path, COCO)


@pytest.mark.parametrize(
    ("rows", "header", "expected"),
    [
        ([], HEADER, "holds no rows under its header"),
        ([], "", "lacks the column `recording`; its columns: none"),
        (["one,0,0,nose,1,2"], HEADER, "line 2: it has 6 cells for 8 columns"),
        (["one,0,0,nose,1,5,2,5,1,0"], HEADER, "line 2: it has 10 cells for 8 columns"),
        (["one,0,0,nose,1,,1,0"], HEADER, "line 2: only some of x, y have a value"),
        (["one,0,0,nose,1,inf,1,0"], HEADER, "`y` must be a number; got .inf."),
        (["one,0,0.5,nose,1,2,1,0"], HEADER, "`frame` must be a whole number; got .0.5."),
        (["one,0,0,nose,1,2"], "recording,label,frame,joint,x,x,y", "two columns called `x`"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, rows, header, expected):
    with pytest.raises(UserError, match=expected):
        read_csv(written(tmp_path, *rows, header=header), COCO)


def test_a_joint_that_is_named_twice_in_a_frame_is_refused(tmp_path):
    rows = ["one,0,0,nose,1,2,1,0", "one,0,0,left eye,1,2,1,0", "one,0,0,nose,1,2,1,1"]
    read_csv(written(tmp_path, *rows, "two,0,0,nose,1,2,1,0"), COCO)
    with pytest.raises(UserError) as caught:
        read_csv(written(tmp_path, *rows, "one,0,0,0,9,9,1,0", "one,0,0,left_eye,9,9,1,0"), COCO)
    expected = "2 lines can't be used: 5, 6: it names a joint of a person and frame that an earlier"
    assert expected in str(caught.value)


def test_all_lines_that_are_wrong_are_told_at_once(tmp_path):
    rows = ["one,0,0,nose,a,2,1,0", "one,0,0,nosee,1,2,1,0", "one,0,1,nosee,1,2,1,0"]
    with pytest.raises(UserError) as caught:
        read_csv(written(tmp_path, *rows), COCO)
    expected = (
        "3 lines can't be used: 2: `x` must be a number; got 'a'; 3, 4: 'nosee' is not a joint"
    )
    assert expected in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = written(tmp_path, "Übung,0,0,nose,1,2,1,0", encoding="latin-1")
    with pytest.raises(UserError, match="is not UTF-8 text .in Excel: save as `CSV UTF-8`"):
        read_csv(path, COCO)
