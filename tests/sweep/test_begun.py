"""What a study or a grid was begun with, against starts that continue it."""

import json

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from flag3d_exp.config.checks import CONF
from flag3d_exp.errors import UserError
from flag3d_exp.sweep import grid
from flag3d_exp.sweep.begun import description
from flag3d_exp.sweep.points import Point, recall, save
from flag3d_exp.sweep.space import choices_or_range, parse_space
from flag3d_exp.sweep.storage import open_study

SPACE = "problem.label_smoothing=interval(0.0,0.5)"


@pytest.fixture(autouse=True)
def hydra():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides: str):
    config = compose("config", list(overrides), return_hydra_config=True)
    config.hydra.job.config_name = "config"
    HydraConfig.instance().set_config(config)
    return config


def described(*overrides: str, space: str = SPACE) -> dict:
    """What a search with these overrides is begun with."""
    config = composed(*overrides)
    loader = GlobalHydra.instance().config_loader()
    found = parse_space({}, [*overrides, space], None, loader)
    varied = {key: choices_or_range(one) for key, one in found.distributions.items()}
    objectives = {config.task.objective: "maximize"}
    return description(config, found.fixed, varied, objectives=objectives)


def start(folder, begun: dict) -> int:
    """Start a driver of the study; its number."""
    return open_study(folder, "s", str(folder / "journal.log"), ["maximize"], begun)[2]


@pytest.mark.parametrize(
    ("overrides", "space", "expected"),
    [
        (["stream=bone"], SPACE, "`stream.name` was joint, now bone"),
        (["dataset.clip_len=16"], SPACE, "`dataset.clip_len` was 32, now 16"),
        (["task.objective=val/loss"], SPACE, "`task.objective` was val/top1, now val/loss"),
        (["seed=1"], SPACE, "`seed` was 0, now 1"),
        (
            [],
            "problem.label_smoothing=interval(0.0,0.9)",
            "`problem.label_smoothing` was interval(0.0, 0.5), now interval(0.0, 0.9)",
        ),
        (
            [],
            "task.clip_norm=interval(1.0,2.0)",
            "`task.clip_norm` was null, now interval(1.0, 2.0)",
        ),
    ],
)
def test_a_start_of_a_study_that_differs_is_refused(tmp_path, overrides, space, expected):
    assert start(tmp_path, described()) == 0
    with pytest.raises(UserError) as caught:
        start(tmp_path, described(*overrides, space=space))
    assert expected in str(caught.value)
    assert "The study `s`" in str(caught.value)
    assert "`hydra.sweeper.study_name`" in str(caught.value)
    assert start(tmp_path, described("tracking=none", "device=cpu")) == 2


def test_an_added_choice_is_refused(tmp_path):
    start(tmp_path, described(space="optimizer=choice(sgd)"))
    with pytest.raises(UserError, match=r"`optimizer` was choice\(sgd\), now choice\(sgd, adamw\)"):
        start(tmp_path, described(space="optimizer=sgd,adamw"))


def written(folder, content: bytes, name: str = "data.pkl") -> list[str]:
    """The overrides of a dataset with a file of this content."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return ["dataset=uiprmd", f"dataset.path={folder / name}", f"dataset.cache={folder}"]


def test_the_data_may_move_but_not_change(tmp_path):
    start(tmp_path, described(*written(tmp_path / "one", b"content")))
    start(tmp_path, described(*written(tmp_path / "other", b"content")))
    with pytest.raises(UserError, match=r"`dataset.path \(SHA-256\)` was [0-9a-f]{57}"):
        start(tmp_path, described(*written(tmp_path / "one", b"changed")))


@pytest.mark.parametrize(
    ("fixed", "space", "changed"),
    [
        (["dataset=uiprmd"], "dataset.path={0}/a.pkl,{0}/b.pkl", "b.pkl"),
        (["dataset.path={0}/a.pkl"], "dataset=uiprmd,penn_action", "a.pkl"),
    ],
)
def test_every_file_of_a_sweep_over_datasets_is_compared(tmp_path, fixed, space, changed):
    for name in ("a.pkl", "b.pkl"):
        written(tmp_path, b"content", name)
    fixed = [line.format(tmp_path) for line in (*fixed, "dataset.cache={0}")]
    start(tmp_path, described(*fixed, space=space.format(tmp_path)))
    (tmp_path / changed).write_bytes(b"changed")
    with pytest.raises(UserError, match="SHA-256"):
        start(tmp_path, described(*fixed, space=space.format(tmp_path)))


def test_a_grid_that_differs_is_refused_in_its_folder(tmp_path):
    def begun(*overrides: str, seeds: str = "1") -> dict:
        return description(composed(*overrides), overrides, {"seed": seeds.split(",")})

    points = [Point("0", {"seed": "1"}, "complete", {"val/top1": 5.0})]
    recall(points, begun(), tmp_path)
    save(points, tmp_path)
    again = [Point("0", {"seed": "1"})]
    recall(again, begun("device=cpu"), tmp_path)
    assert again[0].metrics == {"val/top1": 5.0}
    with pytest.raises(UserError, match="`task.epochs` was 30, now 2; choose another folder"):
        recall(again, begun("task.epochs=2"), tmp_path)
    with pytest.raises(UserError, match=r"`seed` was choice\(1\), now choice\(1, 2\)"):
        recall(again, begun(seeds="1,2"), tmp_path)


def test_what_a_grid_was_begun_with_is_in_its_folder(tmp_path):
    recall([], {"stream.name": "joint"}, tmp_path)
    assert json.loads((tmp_path / "begun.json").read_text()) == {"stream.name": "joint"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("begun.json", "[1]"), ("begun.json", "{"), ("grid.yaml", "a: 1"), ("grid.yaml", "- {a: 1}")],
)
def test_a_folder_with_files_that_no_grid_writes_is_refused(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=f"`hydra.sweep.dir`: .*{name} can't be read"):
        recall([Point("0", {"seed": "1"})], {}, tmp_path)


def test_grids_started_in_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = composed("hydra.sweep.dir=multirun/${now:%Y}")
    with grid.own_folder(config) as one, grid.own_folder(config) as other:
        assert other.name == f"{one.name}-2"
        assert {path.name for path in (tmp_path / "multirun").iterdir()} == {one.name, other.name}


def test_a_named_grid_is_continued_by_one_process_at_a_time(tmp_path):
    config = composed(f"hydra.sweep.dir={tmp_path}/grid")
    with (
        grid.own_folder(config) as folder,
        pytest.raises(UserError, match="choose another `hydra.sweep.dir`"),
        grid.own_folder(config),
    ):
        pass
    with grid.own_folder(config) as again:
        assert again == folder
