import sys

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.command_line import CommandLine
from flag3d_exp.config.recall import expanded_words, saved_configuration
from flag3d_exp.config.recalled import groups
from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError
from flag3d_exp.sweep.job import handed_on

OWN = [
    "dataset=custom",
    "dataset.path=mine.pkl",
    "dataset.layout=coco",
    "dataset.num_classes=3",
    "dataset.normalise=image",
    "dataset.score_channel=true",
    "model=posec3d",
    "pipeline.test_part=[0.5,1]",
    "seed=7",
    "task.epochs=3",
    "device=cpu",
]


def composed(argv):
    """What Hydra composes from a command line, once it is expanded."""
    line = CommandLine.parse(expanded_words(argv))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(line.overrides))


def saved(folder, overrides, **choices):
    """A run folder whose best checkpoint is of a run with these overrides."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        hydra = compose("config", overrides, return_hydra_config=True).hydra
        config = OmegaConf.to_yaml(compose("config", overrides))
    chosen = hydra.runtime.choices.items()
    known = {k: v for k, v in chosen if v and not k.startswith("hydra")}
    meta = {"config": config, "choices": known | choices}
    checkpoint = Checkpoint({"w": np.zeros(1, np.float32)}, meta=meta)
    (folder / "checkpoints").mkdir(parents=True)
    save_checkpoint(folder / "checkpoints" / "best.npz", checkpoint)
    return str(folder)


@pytest.fixture(autouse=True)
def nothing_recalled():
    """A process is for one command line; here it is for many."""
    groups.clear()
    yield
    groups.clear()


@pytest.fixture
def run(tmp_path):
    return saved(tmp_path / "run", OWN)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "neither a run folder, nor a file"),
        (b"", "is not a checkpoint of this program"),
        (b"\x89PNG\r\n\x1a\n0000", "is not a checkpoint of this program"),
    ],
    ids=["missing", "empty", "picture"],
)
def test_what_is_no_checkpoint_is_refused_with_its_key_before_the_run(tmp_path, content, expected):
    path = tmp_path / "best.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=f"^`task.checkpoint.*{expected}"):
        expanded_words(["task=evaluate", f"task.checkpoint={path}"])


def test_an_unknown_mlflow_run_is_refused_without_a_store_being_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^`task.checkpoint`: .*there is no store `tracking.uri="):
        expanded_words(["task=evaluate", f"task.checkpoint={'0' * 32}"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "task",
    ["evaluate", "predict task.input=other.pkl", "explain task.recording=r1", "export"],
)
def test_a_checkpoint_of_one_s_own_data_needs_no_dataset_on_the_command_line(run, task):
    argv = expanded_words([f"task={task.split()[0]}", *task.split()[1:], f"task.checkpoint={run}"])
    check_command_line(argv)
    assert composed(argv).dataset.path == "mine.pkl"


def test_the_jobs_of_a_multirun_each_take_the_values_of_their_checkpoint(run, tmp_path):
    other = saved(tmp_path / "other", [])
    check_command_line(expanded_words(["-m", "task=evaluate", f"task.checkpoint={run},{other}"]))
    with pytest.raises(UserError, match="`dataset.path` must be given"):
        check_command_line(["-m", "task=evaluate", f"task.checkpoint={other}", "dataset=custom"])


def test_a_job_that_a_launcher_carries_takes_the_values_of_its_checkpoint(run, monkeypatch):
    """Such a job gets its overrides from the environment, not from the command line."""
    launched = []

    class Launcher:
        def launch(self, jobs, initial_job_idx):
            launched.extend(jobs)
            return [type("Result", (), {"return_value": None})]

    class Plugins:
        @staticmethod
        def instance():
            return Plugins

        @staticmethod
        def instantiate_launcher(**_):
            return Launcher()

    monkeypatch.setattr("hydra.core.plugins.Plugins", Plugins)
    monkeypatch.setenv("FLAG3D_EXP_JOB", f'["task=evaluate", "task.checkpoint={run}"]')
    sys.modules["hydra_plugins.flag3d_exp_sweeper"].launch(None, None, None, handed_on())
    assert "dataset=custom" in launched[0]


@pytest.mark.parametrize("reference", ["", "/checkpoints/best.npz"], ids=["folder", "file"])
def test_the_run_s_values_hold_except_where_the_command_line_speaks(run, reference):
    line = ["task=evaluate", f"task.checkpoint={run}{reference}", "model.sigma=5", "device=auto"]
    cfg = composed(line)
    assert (cfg.seed, cfg.dataset.num_classes, cfg.model.layout) == (7, 3, "coco")
    assert cfg.model._target_.endswith("PoseC3D")
    assert cfg.model.sigma == 5
    assert (cfg.task._target_, cfg.device.target) == ("flag3d_exp.tasks.evaluate.Evaluate", "auto")
    assert cfg.pipeline.test_part == [0.5, 1]


def test_a_checkpoint_from_before_augmentations_were_objects_is_used_as_it_was(tmp_path):
    """Their numbers were settings of the pipeline, and tests took clips from `part` as well."""
    old = {"part": [0.5, 1], "rotation": 0.2, "joint_dropout": 0.1, "mirror": "${dataset.mirror}"}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["dataset=uiprmd", "dataset.path=x.pkl", "seed=7"])
    OmegaConf.set_struct(config, False)
    del config["augment"], config["pipeline"]["test_part"]
    config.pipeline = OmegaConf.merge(config.pipeline, old)
    meta = {"config": OmegaConf.to_yaml(config), "choices": {"pipeline": "graph"}}
    (tmp_path / "checkpoints").mkdir()
    weights = {"w": np.zeros(1, np.float32)}
    save_checkpoint(tmp_path / "checkpoints" / "best.npz", Checkpoint(weights, meta=meta))
    line = ["task=evaluate", f"task.checkpoint={tmp_path}"]
    check_command_line(expanded_words(line))
    cfg = composed(line)
    assert cfg.pipeline.test_part == [0.5, 1] and "rotation" not in cfg.pipeline
    assert (cfg.augment.affine.rotation, cfg.augment.joints.probability) == (0.2, 0.1)
    assert (cfg.augment.frames.part, cfg.augment.mirror.probability) == ([0.5, 1], 0.5)
    assert composed([*line, "augment=none"]).augment.affine.rotation == 0


def test_choices_that_only_the_run_s_config_dir_had_come_from_the_checkpoint(tmp_path):
    run = saved(tmp_path, OWN, dataset="mine")
    line = ["task=evaluate", f"task.checkpoint={run}"]
    assert "dataset=mine" in expanded_words(line)
    assert composed(line).dataset.path == "mine.pkl"
    check_command_line(expanded_words(line))


def test_a_choice_name_that_is_none_is_replaced(tmp_path):
    run = saved(tmp_path, OWN, dataset="../../elsewhere")
    assert "dataset=checkpoint" in expanded_words(["task=evaluate", f"task.checkpoint={run}"])


def test_flags_stay_flags(run):
    line = ["task=evaluate", f"task.checkpoint={run}", "--config-dir", "my conf", "--cfg", "job"]
    argv = expanded_words(line)
    assert argv[:2] == ["--cfg=job", "--config-dir=my conf"]
    assert all("=" in word and not word.startswith("-") for word in argv[2:])


def test_another_choice_replaces_the_whole_group(run):
    line = ["task=evaluate", f"task.checkpoint={run}", "dataset=demo_out_domain"]
    cfg = composed(line)
    assert cfg.dataset.name == "demo_out_domain (synthetic)"
    assert cfg.pipeline.test_part == [0.5, 1]


def test_another_model_brings_its_pipeline_along(run):
    cfg = composed(["task=evaluate", f"task.checkpoint={run}", "model=stgcn"])
    assert cfg.pipeline._target_.endswith("GraphPipeline")


def test_the_run_s_own_choice_given_again_keeps_the_run_s_values(run):
    line = ["task=evaluate", f"task.checkpoint={run}", "dataset=custom", "model=posec3d"]
    assert composed(line).dataset.path == "mine.pkl"
    assert composed(line).pipeline._target_.endswith("HeatmapPipeline")


def test_an_experiment_replaces_the_run_s_configuration(run):
    line = ["experiment=published_posec3d_out_domain", f"task.checkpoint={run}"]
    assert expanded_words(line) == line
    assert composed(line).seed == 0


def test_what_a_checkpoint_brought_along_does_not_outlast_its_command_line(run):
    expanded_words(["task=evaluate", f"task.checkpoint={run}"])
    assert OmegaConf.is_missing(composed(["dataset=custom"]).dataset, "path")


def test_values_that_hang_on_a_changed_one_follow_it(run):
    cfg = composed(["task=evaluate", f"task.checkpoint={run}", "dataset.layout=openpose"])
    assert cfg.model.layout == "openpose"


def test_resuming_repeats_the_run_s_command_line_in_its_folder(tmp_path):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "overrides.yaml").write_text("- model=aagcn\n- task.resume=auto\n")
    assert expanded_words([f"task.resume={tmp_path}", "task.epochs=9"]) == [
        "model=aagcn",
        "task.epochs=9",
        "task.resume=auto",
        f"hydra.run.dir={tmp_path}",
    ]


def interrupted(folder, **choices) -> str:
    """A run folder as of a run that was started with choices of `my_conf`."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", OWN)
    config.dataset.name = "mine"
    if "model" in choices:
        config.model._target_ = "mine.Model"
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(config, folder / ".hydra" / "config.yaml")
    lines = [f"{group}={choice}" for group, choice in choices.items()]
    OmegaConf.save(OmegaConf.create(lines), folder / ".hydra" / "overrides.yaml")
    source = {"provider": "command-line", "path": str(folder.parent / "my_conf")}
    runtime = {"cwd": str(folder.parent), "config_sources": [source]}
    hydra = {"runtime": runtime, "job": {"config_name": "config"}}
    OmegaConf.save({"hydra": hydra}, folder / ".hydra" / "hydra.yaml")
    return str(folder)


def test_resuming_recalls_the_dataset_that_the_run_s_config_dir_had(tmp_path):
    run = interrupted(tmp_path / "run", dataset="mine")
    cfg = composed([f"task.resume={run}"])
    assert (cfg.dataset.name, cfg.dataset.path, cfg.dataset.layout) == ("mine", "mine.pkl", "coco")
    assert cfg.dataset.cache == "auto"


@pytest.mark.parametrize("choice", [{"model": "mine"}, {"experiment": "mine"}])
def test_what_a_run_folder_must_not_bring_is_refused_with_the_whole_command(tmp_path, choice):
    run = interrupted(tmp_path / "run", **choice)
    whole = rf"The whole command: `python -m flag3d_exp --config-dir=my_conf task.resume={run}`"
    with pytest.raises(UserError, match=whole):
        expanded_words([f"task.resume={run}"])


def test_a_dataset_of_a_run_folder_is_data_only(tmp_path):
    run = interrupted(tmp_path / "run", dataset="mine")
    path = tmp_path / "run" / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace("source.Dataset", "source.build"))
    with pytest.raises(UserError, match=r"`dataset._target_=.*source.build.* is not accepted"):
        expanded_words([f"task.resume={run}"])


def test_resuming_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        expanded_words([f"task.resume={tmp_path}"])
    assert expanded_words(["task.resume=auto"]) == ["task.resume=auto"]


def test_a_model_s_number_of_classes_that_an_older_checkpoint_repeats_is_left_out():
    saved, _ = saved_configuration({"config": "model: {num_classes: 16, base_channels: 4}"})
    assert saved["model"] == {"base_channels": 4}


def test_a_checkpoint_of_a_fold_is_tested_on_that_fold(tmp_path):
    run = saved(tmp_path / "run", [*OWN, "fold=2"])
    evaluation = ["task=evaluate", f"task.checkpoint={run}"]
    assert composed(evaluation).dataset.fold == 2
    assert composed([*evaluation, "fold=2"]).dataset.fold == 2
    for other, told in (("fold=1", "fold=1"), ("fold=null", "fold=null"), ("fold=0,1", "fold=0,1")):
        with pytest.raises(UserError, match=f"`{told}`: the network .* trained with `fold=2`"):
            expanded_words([*evaluation, other])
    other_data = [*evaluation, "dataset=demo_out_domain"]
    assert composed(other_data).dataset.fold is None
    assert composed([*evaluation, "dataset.path=other.pkl", "fold=null"]).dataset.fold is None


def test_a_fold_is_refused_to_a_network_that_was_trained_on_all(run):
    with pytest.raises(UserError, match="`fold=0`: .* trained with `fold=null`"):
        expanded_words(["task=evaluate", f"task.checkpoint={run}", "fold=0"])
