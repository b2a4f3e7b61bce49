"""Names are any text that can be written; what cannot is refused where it is read."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.data.annotations import recording_of
from flag3d_exp.data.formats.tables import read_table
from flag3d_exp.data.inputs import read_inputs
from flag3d_exp.data.source import Dataset
from flag3d_exp.errors import UserError
from flag3d_exp.names import name_fault
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.runs.references import open_run
from flag3d_exp.skeletons.layout import load_layout

HALF = "squat \ud83d"  # half of a character outside the basic plane
KEYPOINT = np.ones((1, 2, 17, 2), np.float32)


@pytest.mark.parametrize(
    "name", ["深蹲", "$\\frac{1$", "<b>", "=1+1", "\x1b[2J", "\u2028", "🏋", "a b"]
)
def test_any_text_is_a_name(name):
    assert name_fault(name) is None
    found = recording_of({"frame_dir": name, "label": 0, "keypoint": KEYPOINT, "subject": name})
    assert (found.name, found.subject) == (name, name)


@pytest.mark.parametrize("name", ["", "n" * 501, HALF, None, 7, b"a", ["a"]])
def test_what_cannot_be_written_is_no_name(name):
    assert name_fault(name) is not None
    with pytest.raises(UserError, match="^`(frame_dir|name)` must be"):
        recording_of({"frame_dir": name, "label": 0, "keypoint": KEYPOINT})


def annotation(**fields) -> dict:
    return {"frame_dir": "a", "label": 0, "keypoint": KEYPOINT} | fields


def dataset(*classes: str) -> Dataset:
    return Dataset("made", "made.pkl", "coco", len(classes), {}, classes=list(classes))


def of_layout(folder: Path) -> None:
    (folder / "mine.yaml").write_text('joints: {"a\\uD83D": null}')
    load_layout(str(folder / "mine.yaml"))


def of_csv(folder: Path) -> None:
    (folder / "a.csv").write_bytes(
        b"recording,label,frame,joint,x,y\n"
        + "sq\ud83d,0,0,0,1,1\n".encode("utf-8", "surrogatepass")
    )
    (folder / "a.yaml").write_text("data: a.csv\nlayout: coco\nsplits: {train: []}\n")
    read_table(folder / "a.yaml")


def of_file_name(folder: Path) -> None:
    path = folder / "sq\udcff.npz"
    np.savez(path, keypoint=KEYPOINT)
    read_inputs(path, load_layout("coco"))


def of_predictions(folder: Path) -> None:
    np.savez(folder / "val.npz", names=np.array([HALF]), labels=[0], scores=[[1.0]])
    load_predictions(folder / "val.npz")


def of_run(folder: Path) -> None:
    (folder / "predictions").mkdir()
    np.savez(folder / "predictions" / "val.npz", names=["a"], labels=[0], scores=[[1.0]])
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text('dataset: {classes: ["a\\uD83D"]}')
    open_run(str(folder))


def of_pickle(folder: Path) -> None:
    (folder / "a.pkl").write_bytes(pickle.dumps([annotation(subject=HALF)]))
    read_inputs(folder / "a.pkl", load_layout("coco"))


@pytest.mark.parametrize(
    "read", [of_layout, of_csv, of_file_name, of_predictions, of_run, of_pickle]
)
def test_half_a_character_is_refused_by_every_reader(read, tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    str(caught.value).encode("utf-8")  # the refusal itself can be printed


def test_names_of_classes_can_be_written_and_told_apart():
    dataset("深蹲", "squat")
    with pytest.raises(UserError, match="`dataset.classes`: the name of a class must be text"):
        dataset("a", HALF)
    with pytest.raises(UserError, match="`dataset.classes`: classes 0 and 2 have one name, 'a'"):
        dataset("a", "b", "a")
