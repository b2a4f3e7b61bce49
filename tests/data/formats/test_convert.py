"""Other forms of data into annotation files."""

import json
import pickle
import re
import zipfile

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.annotations import open_annotations
from flag3d_exp.data.formats import ntu
from flag3d_exp.data.formats.convert import converted_recordings, read_pyskl, write_annotations
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.tasks.convert import Convert

COCO = load_layout("coco")


def skeleton_file(path, bodies, num_frames=20):
    """Writes an NTU RGB+D text file; `bodies` maps numbers to {frame: (25, 3) joints}."""
    lines = [str(num_frames)]
    for frame in range(num_frames):
        here = {number: frames[frame] for number, frames in bodies.items() if frame in frames}
        lines.append(str(len(here)))
        for number, joints in here.items():
            lines += [f"{number} 0 1 1 1 1 0 0.1 -0.2 2", "25"]
            rest = "200.1 180.2 900.3 500.4 0.1 0.2 0.3 0.4 2"
            lines += [f"{x:.6f} {y:.6f} {z:.6f} {rest}" for x, y, z in joints]
    path.write_text("\n".join(lines) + "\n")
    return path


def moving(seed, amount, frames=range(20)):
    rng = np.random.default_rng(seed)
    pose = rng.normal(size=(25, 3)) + [0, 0, 3]
    return {frame: pose + rng.normal(0, amount, (25, 3)) for frame in frames}


def test_a_skeleton_file_gives_its_bodies_in_order_of_motion(tmp_path):
    bodies = {
        "720575": moving(0, 0.1, range(0, 18)),
        "720576": moving(1, 0.5, range(3, 20)),
        "720577": moving(2, 5.0, range(5, 8)),  # three frames: the sensor's mistake
    }
    path = skeleton_file(tmp_path / "S001C002P003R002A013.skeleton", bodies)
    recording = ntu.read_skeleton(path)
    assert (recording.name, recording.label, recording.subject) == (path.stem, 12, "P003")
    assert recording.keypoints.shape == (2, 20, 25, 3)
    expected = np.zeros((20, 25, 3))
    for frame, joints in bodies["720576"].items():
        expected[frame] = joints
    np.testing.assert_allclose(recording.keypoints[0], expected, atol=1e-5)
    assert not recording.keypoints[1, 18:].any()
    assert ntu.read_skeleton(path, num_persons=1).keypoints.shape[0] == 1


def test_a_body_of_few_frames_is_kept_if_there_is_no_other(tmp_path):
    bodies = {"1": moving(0, 0.1, range(4))}
    path = skeleton_file(tmp_path / "S001C002P003R002A013.skeleton", bodies)
    assert ntu.read_skeleton(path).keypoints.shape == (1, 4, 25, 3)


def test_a_body_that_is_twice_in_a_frame_is_refused_with_all_other_broken_files(tmp_path):
    """Both can't be one person, and which of them the next frame goes on with is not said."""
    names = ["S001C001P001R001A001", "S001C001P001R001A002", "S001C001P001R001A003"]
    for name in names:
        skeleton_file(tmp_path / f"{name}.skeleton", {"1": moving(0, 1), "2": moving(1, 1)})
    path = tmp_path / f"{names[0]}.skeleton"
    path.write_text(path.read_text().replace("\n2 0 1", "\n1 0 1", 1))
    (tmp_path / f"{names[2]}.skeleton").write_text("many")
    with pytest.raises(UserError, match="line 30: body 1 for the second time in one frame"):
        ntu.read_skeleton(path)
    with pytest.raises(UserError, match="2 files can't be used: .*A001.*line 30.*A003.*line 1"):
        converted_recordings(tmp_path)
    _, recordings, *_ = converted_recordings(tmp_path, missing=frozenset((names[0], names[2])))
    assert [recording.name for recording in recordings] == [names[1]]


def test_a_folder_leaves_out_what_is_listed_and_names_what_is_empty(tmp_path):
    names = ["S001C001P001R001A001", "S001C002P003R001A002", "S001C003P001R001A002"]
    (tmp_path / "deeper").mkdir()
    for name in names:
        skeleton_file(tmp_path / "deeper" / f"{name}.skeleton", {"1": moving(0, 1)})
    empty = skeleton_file(tmp_path / "S001C001P002R001A001.skeleton", {})
    listed = tmp_path / "missing.txt"
    listed.write_text(f"The following have missing skeletons:\n\n{names[2]}\n")
    found = converted_recordings(tmp_path, missing=ntu.read_missing(listed))
    splits, recordings, layout, left_out, *_ = found
    assert [recording.name for recording in recordings] == names[:2]
    assert left_out == [empty.stem]
    assert layout == "nturgb+d"
    assert splits == {
        "xsub_train": (names[0],),
        "xsub_val": (names[1],),
        "xview_train": (names[1],),
        "xview_val": (names[0],),
    }


def test_protocols_follow_persons_cameras_and_setups():
    small = ["S001C001P001R001A001", "S001C002P003R001A060", "S017C003P038R001A001"]
    splits = ntu.splits(small)
    assert splits["xsub_train"] == (small[0], small[2])
    assert splits["xview_train"] == (small[1], small[2])
    assert "xset_train" not in splits
    large = ["S001C001P001R001A001", "S018C001P103R001A061", "S032C001P106R001A120"]
    splits = ntu.splits(large)
    assert splits["xsub_train"] == (large[0], large[1])
    assert splits["xset_train"] == (large[1], large[2])
    assert splits["xset_val"] == (large[0],)
    assert "xview_train" not in splits
    assert len(ntu.TRAIN_PERSONS_60) == 20
    assert len(ntu.TRAIN_PERSONS_120) == 53


def good_lines(tmp_path):
    path = skeleton_file(tmp_path / "S001C002P003R002A013.skeleton", {"1": moving(0, 1)})
    return path.read_text().split("\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda lines: lines[:400], "line 401: the file ends too soon"),
        (lambda lines: ["many", *lines[1:]], "line 1: invalid literal"),
        (lambda lines: ["9999999", *lines[1:]], "expected a count; got .9999999"),
        (lambda lines: ["-1", *lines[1:]], "expected a count; got .-1"),
        (lambda lines: [*lines[:3], "24", *lines[4:]], "24 joints instead of 25"),
        (lambda lines: [*lines[:4], "1 2", *lines[5:]], "line 5: a joint without three"),
        (lambda lines: [*lines[:4], "a b c", *lines[5:]], "could not convert"),
        (lambda lines: [*lines[:2], "", *lines[3:]], "a body without a number"),
        (lambda lines: [""], "line 1: expected a count"),
    ],
)
def test_a_broken_skeleton_file_is_refused_with_its_line(tmp_path, change, expected):
    path = tmp_path / "S001C002P003R002A013.skeleton"
    path.write_text("\n".join(change(good_lines(tmp_path))))
    with pytest.raises(UserError, match=expected) as caught:
        converted_recordings(path)
    assert "\n" not in str(caught.value)


def test_other_sources_are_refused(tmp_path):
    for name, content, expected in (
        ("S001C002P003R002A013.skeleton", b"\xff\xfe", "not plain text"),
        ("mine.skeleton", b"1\n0\n", "'mine' is not a name of NTU RGB"),
        ("data.mat", b"", "must be a folder of .skeleton files or of poses, or end in"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=expected):
            converted_recordings(tmp_path / name)
    with pytest.raises(UserError, match="is not there"):
        converted_recordings(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no .skeleton files"):
        converted_recordings(tmp_path / "empty")
    (tmp_path / "list.txt").write_text("no names here")
    with pytest.raises(UserError, match="`task.missing`: .* names no recordings"):
        ntu.read_missing(tmp_path / "list.txt")


@pytest.mark.parametrize("bare", [True, False])
def test_a_pyskl_pickle_gets_the_splits_of_the_protocols(tmp_path, bare):
    names = ["S001C001P001R001A001", "S001C002P003R001A002"]
    annotations = [
        {
            "frame_dir": name,
            "label": number,
            "total_frames": 4,
            "keypoint": np.full((2, 4, 25, 3), number, np.float16),
        }
        for number, name in enumerate(names)
    ]
    path = tmp_path / "ntu60.pkl"
    path.write_bytes(pickle.dumps(annotations if bare else {"annotations": annotations}))
    splits, recordings, *_ = converted_recordings(path)
    output = tmp_path / "out" / "ours.pkl"
    write_annotations(output, splits, recordings)
    opened = open_annotations(output, None)
    assert opened.recordings("xview_train")[0].name == names[1]
    np.testing.assert_array_equal(opened.all[1].keypoints, annotations[1]["keypoint"])
    assert [recording.name for recording in read_pyskl(output)] == names


def table(tmp_path, rows, header="recording,label,frame,joint,x,y,score,person", **settings):
    (tmp_path / "clips.csv").write_text("\n".join([header, *rows]) + "\n")
    content = {
        "data": "clips.csv",
        "layout": "coco",
        "image_shape": [480, 854],
        "splits": {"train": ["one"], "val": ["two"]},
    }
    path = tmp_path / "clips.yaml"
    path.write_text(yaml.safe_dump(content | settings))
    return path


ROWS = ["one,0,5,0,1.5,2.5,0.9,0", "one,0,7,left eye,3,4,,1", "two,1,0,16,5,6,1,0"]


def test_a_csv_file_gives_recordings_with_absent_rows_as_unseen(tmp_path):
    splits, recordings, layout, *_ = converted_recordings(table(tmp_path, ROWS))
    one, two = recordings
    assert layout == "coco"
    assert splits == {"train": ("one",), "val": ("two",)}
    assert (one.label, one.image_shape, one.keypoints.shape) == (0, (480, 854), (2, 3, 17, 2))
    assert one.keypoints[0, 0, 0].tolist() == [1.5, 2.5]
    assert one.keypoints[1, 2, COCO.joints.index("left eye")].tolist() == [3, 4]
    assert (one.scores[0, 0, 0], one.scores[1, 2, 1]) == (np.float32(0.9), 1)
    assert one.scores.astype(bool).sum() == 2
    assert two.keypoints[0, 0, 16].tolist() == [5, 6]
    output = tmp_path / "ours.pkl"
    write_annotations(output, splits, recordings)
    np.testing.assert_array_equal(open_annotations(output, None).all[0].keypoints, one.keypoints)


def test_an_npz_file_gives_an_array_for_each_recording(tmp_path):
    arrays = {"one": np.ones((3, 17, 2)), "two": np.ones((2, 4, 17, 2))}
    np.savez(tmp_path / "clips.npz", **arrays, **{"one.scores": np.full((3, 17), 0.5)})
    path = table(tmp_path, ROWS, data="clips.npz", labels={"one": 3, "two": 4})
    _, (one, two), *_ = converted_recordings(path)
    assert (one.keypoints.shape, one.label) == ((1, 3, 17, 2), 3)
    assert (two.keypoints.shape, two.scores) == ((2, 4, 17, 2), None)
    assert (one.scores == 0.5).all()


def test_a_folder_of_json_files_is_converted(tmp_path):
    (tmp_path / "clips").mkdir()
    for name, label in (("one", 3), ("two", 4)):
        fields = {"keypoints": np.ones((3, 17, 2)).tolist(), "label": label}
        (tmp_path / "clips" / f"{name}.json").write_text(json.dumps(fields), "utf-8-sig")
    splits, (one, two), layout, *_ = converted_recordings(table(tmp_path, ROWS, data="clips"))
    assert [one.name, one.label, two.label, two.image_shape] == ["one", 3, 4, (480, 854)]
    assert (splits["val"], layout, one.keypoints.shape) == (("two",), "coco", (1, 3, 17, 2))
    _, recordings, *_ = converted_recordings(table(tmp_path, ROWS, data="clips", labels={"one": 5}))
    assert [recording.label for recording in recordings] == [5, 4]


def test_a_csv_file_without_scores_makes_none_up(tmp_path):
    rows = ["one,0,5,0,1.5,2.5", "two,1,0,16,5,6"]
    found = converted_recordings(table(tmp_path, rows, "recording,label,frame,joint,x,y"))
    assert [recording.scores for recording in found.recordings] == [None, None]


def test_labels_may_be_names_and_recordings_say_their_split(tmp_path):
    header = "recording,label,frame,joint,x,y,split"
    rows = ["one,squat,0,0,1,2,train", "two,lunge,0,0,1,2,val", "three,squat,0,0,1,2,train"]
    path = table(tmp_path, rows, header, splits=None)
    splits, recordings, _, _, classes, _ = converted_recordings(path)
    assert splits == {"train": ("one", "three"), "val": ("two",)}
    assert [recording.label for recording in recordings] == [1, 0, 1]
    assert classes == ["lunge", "squat"]
    found = converted_recordings(
        table(tmp_path, rows, header, splits=None, classes=["squat", "lunge"])
    )
    assert [recording.label for recording in found.recordings] == [0, 1, 0]
    with pytest.raises(UserError, match="'two': `classes` lacks 'lunge'"):
        converted_recordings(table(tmp_path, rows, header, splits=None, classes=["squat"]))
    with pytest.raises(UserError, match="'one' has a different split than in earlier rows"):
        converted_recordings(table(tmp_path, [*rows, "one,squat,1,0,1,2,val"], header, splits=None))
    with pytest.raises(UserError, match="lacks `splits`, and no recording has a `split`"):
        converted_recordings(table(tmp_path, ROWS, splits=None))


def test_a_converted_file_is_described_as_a_choice_of_dataset(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    header = "recording,label,frame,joint,x,y,split"
    rows = ["one,squat,0,0,1,2,train", "two,lunge,0,0,1,2,val", "three,squat,0,0,1,2,test"]
    table(tmp_path, rows, header, splits=None)
    convert = Convert("clips.yaml", "mine.pkl", "my_conf")
    convert(Experiment(OmegaConf.create(), tmp_path, {}))
    described = yaml.safe_load((tmp_path / "my_conf" / "dataset" / "mine.yaml").read_text())
    assert described["classes"] == ["lunge", "squat"]
    assert described["splits"] == {"train": "train", "val": "val", "test": "test"}
    assert (described["num_channels"], described["clip_len"]) == (2, 16)
    inspect, train = re.findall("python -m flag3d_exp (.*)", capsys.readouterr().out)
    assert inspect == "--config-dir=my_conf task=inspect dataset=mine"
    assert train.startswith("--config-dir=my_conf dataset=mine optimizer=adamw")
    assert "task.repeat=160" in train
    convert(Experiment(OmegaConf.create(), tmp_path, {}))
    assert "mine.yaml already exists and is not changed" in capsys.readouterr().out


def test_recordings_without_a_label_are_told_at_once(tmp_path):
    arrays = {name: np.ones((3, 17, 2)) for name in ("one", "two", "three")}
    np.savez(tmp_path / "clips.npz", **arrays)
    path = table(tmp_path, ROWS, data="clips.npz", labels={"two": 1})
    with pytest.raises(
        UserError, match="2 recordings can't be used: 'one', 'three': it has no label"
    ):
        converted_recordings(path)


@pytest.mark.parametrize(
    ("rows", "header", "expected"),
    [
        (["one,0,0,0,a,2,1,0"], None, "line 2: `x` must be a number; got .a."),
        (["one,0,0,17,1,2,1,0"], None, "'17' is not a joint of coco"),
        (["one,0,0,left eey,1,2,1,0"], None, "Did you mean `left eye`"),
        (["one,0,0,0,1"], None, "line 2"),
        ([], None, "holds no rows"),
        (["one,0,0,0,1,2,1,0", "one,1,1,0,1,2,1,0"], None, "a different label than"),
        (["one,,0,0,1,2,1,0"], None, "`label` must be a text of 1 to 500 letters"),
        (["one,squat,0,0,1,2,1,0", "two,1,0,0,1,2,1,0"], None, "'two': its label is a number"),
        (["one,0,-1,0,1,2,1,0"], None, "`person` must be from 0 to 999 and `frame`.*got 0 and -1"),
        (["one,0,0,0,1,2,1,0", "one,0,9999999999,0,1,2,1,0"], None, "got 0 and 9999999999"),
        (
            ["one,0,0,0,1,2,1,0", "one,0,14000000,0,1,2,1,0"],
            None,
            "too many for the number of its rows",
        ),
        (["one,0,0,0,1,2,1,0", "one,0,0,0,1,2,1,14000000"], None, "got 14000000 and 0"),
        (["one,0,0,0,nan,2,1,0"], "recording,label,frame,x,y", "lacks the column `joint`"),
    ],
)
def test_a_broken_csv_file_is_refused(tmp_path, rows, header, expected):
    path = table(tmp_path, rows, **({"header": header} if header else {}))
    with pytest.raises(UserError, match=expected):
        converted_recordings(path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"data": "nothing.csv"}, "`data`: .*nothing.csv is not there"),
        ({"data": "clips.yaml"}, "must end in .csv, .npz, .json or hold such files"),
        ({"layout": "cocoo"}, "`layout` must be one of"),
        ({"layout": "openpose"}, "'left eye' is not a joint|has 17 joints|left eye"),
        ({"label": {}}, "unknown key `label`. Did you mean `labels`"),
        ({"splits": ["one"]}, "`splits` must map"),
        ({"image_shape": [480]}, "`image_shape` must be"),
    ],
)
def test_a_broken_table_description_is_refused(tmp_path, settings, expected):
    rows = [row.replace("left eye", "1") for row in ROWS] if "layout" not in settings else ROWS
    if settings.get("layout") == "openpose":
        rows = ["one,0,0,17,1,2,1,0", "one,0,0,nose tip,1,2,1,0"]
        expected = "'nose tip' is not a joint of openpose"
    with pytest.raises(UserError, match=expected):
        converted_recordings(table(tmp_path, rows, **settings))


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "clips.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one.npy", bytes(300_000_000))
    path = table(tmp_path, ROWS, data="clips.npz", labels={"one": 0})
    with pytest.raises(UserError, match="it would expand to 0.3 GB"):
        converted_recordings(path)


def test_an_npz_file_of_objects_is_refused(tmp_path):
    np.savez(tmp_path / "clips.npz", one=np.array([{}], object))
    path = table(tmp_path, ROWS, data="clips.npz", labels={"one": 0})
    with pytest.raises(UserError, match="not an NPZ file of plain arrays"):
        converted_recordings(path)


def test_splits_that_name_no_recording_are_refused_when_used(tmp_path):
    splits, recordings, *_ = converted_recordings(
        table(tmp_path, ROWS, splits={"train": ["three"]})
    )
    output = tmp_path / "ours.pkl"
    write_annotations(output, splits, recordings)
    with pytest.raises(UserError, match="names 1 recordings that are not"):
        open_annotations(output, None).recordings("train")


def test_an_annotation_file_is_mapped_to_another_layout_with_its_own_splits(tmp_path, capsys):
    keypoints = np.arange(1, 2 * 17 * 2 + 1, dtype=np.float32).reshape(1, 2, 17, 2)
    annotation = {"name": "one", "label": 1, "keypoints": keypoints, "total_frames": 2}
    source, output = tmp_path / "a.pkl", tmp_path / "b.pkl"
    content = {"split": {"train": ["one"]}, "annotations": [annotation]}
    source.write_bytes(pickle.dumps(content))
    convert = Convert(str(source), str(output), to_layout="openpose")
    convert(Experiment(OmegaConf.create(), tmp_path, {}))
    opened = open_annotations(output, None)
    assert opened.splits == {"train": ("one",)}
    (made,) = opened.all
    assert made.keypoints.shape == (1, 2, 18, 2) and made.label == 1
    neck = keypoints[:, :, [5, 6]].mean(2)
    np.testing.assert_array_equal(made.keypoints[:, :, 1], neck)
    np.testing.assert_array_equal(made.keypoints[:, :, 0], keypoints[:, :, 0])
    assert "dataset.layout=openpose" in capsys.readouterr().out


def test_poses_of_an_estimator_are_labelled_by_a_table(tmp_path, caplog):
    caplog.set_level("INFO", "flag3d_exp")
    (tmp_path / "videos").mkdir()
    for name in ("one", "two"):
        frames = [{"image_id": f"{n}.jpg", "keypoints": [9.0, 50.0, 0.5] * 17, "score": 1}
                  for n in range(3)]  # fmt: skip
        (tmp_path / "videos" / f"{name}.json").write_text(json.dumps(frames))
    labels = {"one": "squat", "two": "lunge"}
    path = table(tmp_path, ROWS, data="videos", labels=labels)
    splits, (one, two), layout, _, classes, _ = converted_recordings(path)
    assert (one.name, one.label, two.label, classes) == ("one", 1, 0, ["lunge", "squat"])
    assert "read as alphapose, joints of coco" in caplog.text
    assert "the unit of coordinates is pixels" in caplog.text
    assert (layout, one.keypoints.shape, one.image_shape) == ("coco", (1, 3, 17, 2), (480, 854))
    assert splits == {"train": ("one",), "val": ("two",)}
    with pytest.raises(UserError, match="17 joints, but `task.layout=openpose` has 18"):
        converted_recordings(table(tmp_path, ROWS, data="videos", labels=labels, layout="openpose"))


def test_a_setting_of_another_size_than_an_image_is_refused():
    with pytest.raises(UserError, match=r"`task.image_shape` must be \[height, width\]"):
        Convert("a", "b", image_shape=(0, 5))
    with pytest.raises(UserError, match="`task.to_layout` must be one of"):
        Convert("a", "b", to_layout="koko")
