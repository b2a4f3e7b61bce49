import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.errors import UserError
from flag3d_exp.results.published import CLASSES
from flag3d_exp.runs import references


def made(
    folder: Path,
    splits: tuple[str, ...] = ("val",),
    classes: list[str] | None = None,
    model: str = "",
    num_classes: int = 2,
) -> str:
    """A run folder with predictions, and a configuration if the classes or the model are told."""
    (folder / "predictions").mkdir(parents=True)
    for split in splits:
        np.savez(
            folder / "predictions" / f"{split}.npz",
            names=np.array(["a", "b"]),
            labels=np.array([0, 1]),
            scores=np.eye(num_classes)[:2],
        )
    if classes or model:
        dataset = {"name": "made up", "classes": classes}
        config = {"dataset": dataset, "model": {"_target_": model}, "stream": {"name": "joint"}}
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(json.dumps(config))
    return str(folder)


def test_predictions_alone_are_enough(tmp_path):
    run = references.open_run(made(tmp_path / "alone"))
    assert run.title == "alone"
    assert run.classes == ("class 0", "class 1")
    assert run.dataset is None


def test_the_configuration_names_model_stream_and_classes(tmp_path):
    run = references.open_run(
        made(tmp_path / "a", classes=["jump", "sit"], model="x.models.agcn.AGCN")
    )
    assert run.title == "AGCN joint"
    assert run.classes == ("jump", "sit")
    assert run.dataset == "made up"


def test_runs_alike_get_titles_of_their_own(tmp_path):
    paths = [made(tmp_path / name, model="x.AGCN") for name in ("first", "second")]
    titles = [run.title for run in references.open_runs(paths)]
    assert titles == ["AGCN joint (first)", "AGCN joint (second)"]


def test_a_run_named_twice_is_refused(tmp_path):
    path = made(tmp_path / "a")
    with pytest.raises(UserError, match="names one run twice"):
        references.open_runs([path, path + "/../a"])


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere", "neither a run folder, nor a file, nor an MLflow run id"),
        (".", "holds no predictions"),
    ],
)
def test_references_to_nothing_are_refused(tmp_path, monkeypatch, reference, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        references.open_runs([reference])


def test_no_runs_are_refused():
    with pytest.raises(UserError, match=r"`task\.runs` must name at least one run"):
        references.open_runs([])


def test_splits_of_a_run_must_have_the_same_classes(tmp_path):
    made(tmp_path / "a", num_classes=2)
    made(tmp_path / "b", ("test",), num_classes=3)
    source = tmp_path / "b" / "predictions" / "test.npz"
    source.rename(tmp_path / "a" / "predictions" / "test.npz")
    with pytest.raises(UserError, match="differ in the number of classes"):
        references.open_run(str(tmp_path / "a"))


def test_common_splits_start_with_val(tmp_path):
    paths = [
        made(tmp_path / "a", ("kinect", "out_domain", "val")),
        made(tmp_path / "b", ("out_domain", "val")),
    ]
    opened = references.open_runs(paths)
    assert references.common_splits(opened) == ["val", "out_domain"]
    with pytest.raises(
        UserError,
        match="`task.splits`: run .* has no predictions of split 'kinect'; there: out_domain",
    ):
        references.common_splits(opened, ["kinect"])


def test_runs_without_a_common_split_are_refused(tmp_path):
    opened = references.open_runs([made(tmp_path / "a", ("val",)), made(tmp_path / "b", ("test",))])
    with pytest.raises(UserError, match="no split in common"):
        references.common_splits(opened)


def test_class_lists_that_differ_are_refused(tmp_path):
    paths = [
        made(tmp_path / "a", classes=["jump", "sit"]),
        made(tmp_path / "b", classes=["jump", "run"]),
    ]
    with pytest.raises(UserError, match="label 1 is 'sit' and 'run'"):
        references.check_same_classes(references.open_runs(paths))


def test_a_configuration_that_cannot_be_resolved_is_no_obstacle(tmp_path):
    path = Path(made(tmp_path / "a", model="x.AGCN"))
    config = path / ".hydra" / "config.yaml"
    config.write_text(
        "model: {_target_: x.AGCN, layout: '${nowhere.layout}'}\nstream: {name: bone}"
    )
    assert references.open_run(str(path)).title == "AGCN bone"


def test_a_group_of_a_configuration_may_be_null_but_not_a_list(tmp_path):
    path = Path(made(tmp_path / "a", model="x.AGCN"))
    config = path / ".hydra" / "config.yaml"
    config.write_text("model: null\ndataset: null\n")
    assert references.open_run(str(path)).dataset is None
    config.write_text("dataset: [1]\n")
    with pytest.raises(UserError, match="`dataset` must be a group of settings"):
        references.open_run(str(path))


def test_a_run_without_class_names_takes_those_of_the_others(tmp_path):
    named = made(tmp_path / "a", classes=["jump", "sit"])
    opened = references.open_runs([made(tmp_path / "b"), named])
    assert [run.classes for run in opened] == [("jump", "sit")] * 2
    references.check_same_classes(opened)


def test_a_checkpoint_is_found_by_its_file_and_by_its_run_folder(tmp_path):
    best = tmp_path / "run" / "checkpoints" / "best.npz"
    best.parent.mkdir(parents=True)
    best.touch()
    for reference in (best, tmp_path / "run"):
        assert references.find_checkpoint(str(reference), "task.init_from") == best


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("absent.npz", "`task.init_from`: absent.npz is neither a run folder"),
        (".", "`task.init_from=.`: . holds no checkpoints/best.npz"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused(tmp_path, monkeypatch, reference, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        references.find_checkpoint(reference, "task.init_from")


def test_the_checkpoint_in_the_package_knows_flag3d_s_actions_and_no_machine():
    path = references.find_checkpoint("builtin", "task.checkpoint")
    assert path.stat().st_size < 5_000_000
    checkpoint = load_checkpoint(path)
    config = yaml.safe_load(checkpoint.meta["config"])
    assert tuple(config["dataset"]["classes"]) == CLASSES
    assert config["dataset"]["layout"] == "coco"
    assert not {"device", "tracking"} & config.keys()
    assert not checkpoint.optimizer


def test_a_run_called_builtin_goes_before_the_checkpoint_in_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "builtin" / "checkpoints").mkdir(parents=True)
    own = tmp_path / "builtin" / "checkpoints" / "best.npz"
    own.write_bytes(b"")
    assert references.find_checkpoint("builtin", "task.checkpoint").resolve() == own


def test_a_misspelled_builtin_is_told():
    with pytest.raises(UserError, match="Did you mean `builtin`"):
        references.find_checkpoint("build-in", "task.checkpoint")
