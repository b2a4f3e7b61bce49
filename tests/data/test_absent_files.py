"""Files that can't be there, because no file system takes their names, are refused as absent."""

from pathlib import Path

import pytest

from flag3d_exp.data.annotations import open_annotations
from flag3d_exp.data.formats.convert import converted_recordings
from flag3d_exp.data.inputs import read_inputs
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.reading.text import file_text
from flag3d_exp.runs.references import find_checkpoint, open_run
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.tasks.best import study_results

READERS = {
    "layout": lambda name: load_layout(f"{name}.yaml"),
    "annotations": lambda name: open_annotations(name, None),
    "cached annotations": lambda name: open_annotations(name, "cache"),
    "source": lambda name: converted_recordings(Path(name)),
    "inputs": lambda name: read_inputs(Path(name), load_layout("coco")),
    "run": open_run,
    "checkpoint": lambda name: find_checkpoint(name, "task.checkpoint", None),
    "study": lambda name: study_results(Path(name)),
    "text": lambda name: file_text(Path(name)),
    "arrays": lambda name: npz_arrays(Path(name)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["a" * 100_000, "a/" * 50_000])
def test_a_name_too_long_for_a_file_is_that_of_no_file(reader, name):
    with pytest.raises((UserError, Malformed)):
        READERS[reader](name)


def test_a_table_may_name_any_file(tmp_path):
    table = "data: {}\nlayout: coco\nsplits: {{train: [a], val: [b]}}\n"
    path = tmp_path / "table.yaml"
    path.write_text(table.format("a" * 100_000))
    with pytest.raises(UserError, match="is not there"):
        converted_recordings(path)
