"""Files that name what they must not: nothing of it runs, and one line names file and key."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.recall import expanded_words
from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.config.untrusted import check_values, checked_overrides, known_targets
from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError
from flag3d_exp.sweep import trial
from flag3d_exp.tasks import best

RUNS_CODE = {"_target_": "shutil.copyfile", "src": "a", "dst": "code_of_a_file_was_run"}
RUNS_CODE_LINE = "{_target_:shutil.copyfile,src:a,dst:code_of_a_file_was_run}"


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    """The tests' working folder, in which no file's code leaves a trace."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("a").touch()
    yield
    assert not Path("code_of_a_file_was_run").exists()


def started_with(folder: Path, *lines: str) -> str:
    """A run folder with these overrides; the command line that resumes it."""
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(lines)))
    return f"task.resume={folder}"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        (f"+hydra.callbacks.x={RUNS_CODE_LINE}", "hydra.callbacks.x"),
        (f"+model.layout={RUNS_CODE_LINE}", "model.layout._target_"),
        (f"task.debug=[1,{RUNS_CODE_LINE}]", "task.debug.1._target_"),
        ("model._target_=subprocess.getoutput", "model._target_"),
        ("model._target_=flag3d_exp.data.cache.os.system", "model._target_"),
        ("model._target_=flag3d_exp.tasks.convert.Convert", "model._target_"),
        ("optimizer._target_=optuna.samplers.TPESampler", "optimizer._target_"),
        ("model._args_=[1]", "model._args_"),
        ("hydra.searchpath=[file:///tmp]", "hydra.searchpath"),
        ("hydra/launcher=joblib", "hydra/launcher"),
        ("dataset.path=${oc.env:HOME}", "dataset.path"),
        ("dataset.name='a ${oc.env:HOME} b'", "dataset.name"),
        ("tracking.run_name=${tracking.uri}${tracking.uri}", "tracking.run_name"),
        ("--config-dir=/tmp", "--config-dir"),
        ("--multirun", "--multirun"),
        ("model=stgcn,aagcn", "model=stgcn,aagcn"),
        ("nothing.of=ours", "nothing.of"),
        (f"seed=1{'0' * 5000}", "overrides"),
        ("a text", "a text"),
    ],
)
def test_a_resumed_folder_names_no_objects_and_asks_no_resolver(tmp_path, line, names):
    with pytest.raises(UserError) as caught:
        expanded_words([started_with(tmp_path / "run", "model=stgcn_small", line)])
    message = str(caught.value)
    assert names in message and "overrides.yaml" in message
    assert os.environ["HOME"] not in message.replace(str(tmp_path), "")


def test_a_resumed_folder_may_say_what_a_run_says(tmp_path):
    lines = [
        "model=stgcn_small",
        "+dataset.splits.other=val",
        "~dataset.classes",
        "model._target_=flag3d_exp.models.stgcn.STGCN",
        "task.init_from='a b'",
        "model.num_classes=${dataset.num_classes}",
    ]
    assert expanded_words([started_with(tmp_path / "run", *lines)])[:6] == lines


def test_what_the_command_line_gives_replaces_what_the_folder_may_not_say(tmp_path):
    line = started_with(tmp_path / "run", "dataset.path=${oc.env:HOME}", "model._target_=my.Net")
    own = ["dataset.path=here.pkl", "model._target_=my.Net"]
    assert expanded_words([line, *own])[:2] == own


def test_a_folder_whose_overrides_are_no_list_is_refused(tmp_path):
    path = tmp_path / "run" / ".hydra" / "overrides.yaml"
    started_with(tmp_path / "run")
    for text in ("a: 1", "- [1]", "a: &x [1]\nb: *x", "[" * 10_000, "- " + "x" * 50_000 + "=1"):
        path.write_text(text)
        with pytest.raises(UserError, match="overrides"):
            expanded_words([f"task.resume={tmp_path / 'run'}"])


@pytest.mark.parametrize("name", ["run.log", "history.jsonl", "checkpoints", ".hydra/config.yaml"])
def test_a_folder_whose_files_are_links_to_elsewhere_is_not_continued(tmp_path, name):
    line = started_with(tmp_path / "run", "model=stgcn_small")
    (tmp_path / "run" / name).symlink_to(tmp_path / "work")
    with pytest.raises(UserError, match=f"{name}` is not a file of the run"):
        expanded_words([line])


def a_study(folder: Path) -> str:
    """A journal with a running trial; its path."""
    path = str(folder / "journal.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
    optuna.create_study(storage=storage, study_name="s").ask()
    return path


def test_a_trial_s_pruner_is_one_of_optuna_s(tmp_path):
    job_settings = trial.JobSettings("s", a_study(tmp_path), 0, {"val/top1": "maximize"})
    for pruner in (RUNS_CODE, {"_target_": "optuna.pruners.NopPruner", "x": RUNS_CODE}):
        (tmp_path / "trial.json").write_text(json.dumps(vars(job_settings) | {"pruner": pruner}))
        with pytest.raises(UserError, match=r"trial.json: `hydra.sweeper.pruner.*=.*shutil"):
            trial.run(tmp_path, lambda _: 1.0)
    pruner = {
        "_target_": "optuna.pruners.PatientPruner",
        "patience": 1,
        "wrapped_pruner": {"_target_": "optuna.pruners.MedianPruner"},
    }
    (tmp_path / "trial.json").write_text(json.dumps(vars(job_settings) | {"pruner": pruner}))
    assert trial.run(tmp_path, lambda _: 1.0) == 1.0


def test_a_driver_s_own_pruner_reaches_its_job(tmp_path, monkeypatch):
    pruner = {"_target_": "my_pruners.Mine"}
    (tmp_path / "trial.json").write_text(json.dumps({"pruner": pruner}))
    with pytest.raises(UserError, match="my_pruners.Mine"):
        trial.read_job_settings(tmp_path)
    monkeypatch.setenv("FLAG3D_EXP_PRUNER", json.dumps(pruner))
    assert trial.read_job_settings(tmp_path).pruner == pruner


@pytest.mark.parametrize(
    "found",
    [
        {"overrides": ["model=stgcn_small", f"+model.layout={RUNS_CODE_LINE}"], "best_params": {}},
        {"overrides": [], "best_params": {"model._target_": "subprocess.getoutput"}},
        {"overrides": ["dataset.path=${oc.env:HOME}"], "best_params": {}},
        {"overrides": ["--config-dir=/tmp"], "best_params": {}},
        {"overrides": "model=stgcn", "best_params": {}},
        {"overrides": [], "pareto_front": [{"trial": "0", "params": 3}]},
        {},
        [],
    ],
)
def test_the_best_of_a_study_is_trained_only_if_its_results_are_data(tmp_path, monkeypatch, found):
    started = []
    monkeypatch.setattr(best, "train", lambda folder, overrides, flags: started.append(overrides))
    experiment = SimpleNamespace(overrides=["task=best", "seed=3"], folder=tmp_path, flags=[])
    (tmp_path / "optimization_results.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(UserError, match="`task.study"):
        best.Best(str(tmp_path))(experiment)
    good = {"overrides": ["sweep=sgd", "model=stgcn"], "best_params": {"optimizer.lr": 0.1}}
    (tmp_path / "optimization_results.yaml").write_text(yaml.safe_dump(good))
    best.Best(str(tmp_path), train={"epochs": 2})(experiment)
    assert started == [["model=stgcn", "optimizer.lr=0.1", "seed=3", "task.epochs=2"]]


def configuration(**changes: object) -> str:
    """A recorded configuration, with changes by dotted key."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["model=stgcn_small", "tracking=none"])
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    return OmegaConf.to_yaml(config)


def checkpoint(folder: Path, config: str, **choices: str) -> str:
    """A run folder with a checkpoint that records a configuration; the argument that names it."""
    known = {"model": "stgcn_small", "dataset": "demo_in_domain", "pipeline": "graph"}
    known |= {"stream": "joint", "optimizer": "sgd", "scheduler": "cosine"} | choices
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    meta = {"config": config, "choices": known}
    weights = {"w": np.zeros(1, np.float32)}
    save_checkpoint(folder / "checkpoints" / "best.npz", Checkpoint(weights, meta=meta))
    return f"task.checkpoint={folder}"


def refusal(argument: str, *more: str) -> str:
    with pytest.raises(UserError) as caught:
        check_command_line(expanded_words(["task=evaluate", argument, *more]))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"model___target_": "subprocess.getoutput"}, "model._target_"),
        ({"model__layout": RUNS_CODE}, "model.layout._target_"),
        ({"dataset__splits__val": RUNS_CODE}, "dataset.splits.val._target_"),
        ({"pipeline___target_": "flag3d_exp.models.stgcn.STGCN"}, "pipeline._target_"),
        ({"model__defaults": [{"/hydra/launcher": "joblib"}]}, "model.defaults"),
        ({"dataset__path": "${oc.env:HOME}"}, "dataset.path"),
        ({"dataset__name": "${oc.decode:${oc.env:HOME}}"}, "dataset.name"),
        ({"dataset__name": "${dataset.splits}"}, "dataset.name"),
        ({"seed": "${oc.env:HOME}"}, "seed"),
        ({"evil": RUNS_CODE}, "evil"),
        ({"dataset__splits": {"../up": "val"}}, "dataset.splits"),
        ({"dataset__splits": {"train": "train", "/run/checkpoints/best": "val"}}, "dataset.splits"),
        ({"dataset__splits": {"train": "train", "val_ema": "val"}}, "dataset.splits"),
    ],
)
def test_a_checkpoint_s_configuration_is_data(tmp_path, changes, names):
    argument = checkpoint(tmp_path / "run", configuration(**changes))
    message = refusal(argument)
    assert f"`{names}" in message
    assert os.environ["HOME"] not in message.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nmodel: {b: *x}", "- 1", "model: [", "model: " + "[" * 200, "x" * 300_000]
)
def test_a_checkpoint_without_a_configuration_is_refused(tmp_path, text):
    assert "its configuration" in refusal(checkpoint(tmp_path / "run", text))


def test_references_between_values_are_kept(tmp_path):
    config = configuration(model__num_channels="${dataset.num_channels}")
    argument = checkpoint(tmp_path / "run", config)
    check_command_line(expanded_words(["task=evaluate", argument]))


def test_references_to_lists_are_kept_if_what_they_stand_for_is_plain_and_short():
    values = {"a": ["x", "y"], "b": "${a}", "c": ["${b}"], "d": "${c}", "e": ["x"] * 6000}
    check_values({key: values[key] for key in "ab"}, "file")
    for wrong in (values, {"e": values["e"], "f": "${e}", "g": "${e}"}):
        with pytest.raises(UserError, match="must refer to one value, or to a list of plain ones"):
            check_values(wrong, "file")


MY_MODEL = """
defaults:
  - override /pipeline@_global_.pipeline: graph
_target_: flag3d_exp_test_models.Mine
layout: ${dataset.layout}
root: ${oc.env:HOME}/weights
"""


MY_MODULE = """
class Mine:
    def __init__(self, layout: str, root: str):
        pass
"""


@pytest.fixture
def own_model(tmp_path, monkeypatch) -> tuple[Path, str]:
    """A user's module and `--config-dir`; the checkpoint of a run with its model."""
    module = tmp_path / "code" / "flag3d_exp_test_models.py"
    module.parent.mkdir()
    module.write_text(MY_MODULE)
    monkeypatch.syspath_prepend(str(module.parent))
    folder = tmp_path / "my_conf"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "mine.yaml").write_text(MY_MODEL)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        search_path = f"hydra.searchpath=[file://{folder}]"
        config = OmegaConf.to_yaml(compose("config", ["model=mine", search_path]))
    return folder, checkpoint(tmp_path / "run", config, model="mine")


def test_a_model_of_one_s_own_is_evaluated_with_the_config_dir_that_names_it(own_model):
    folder, argument = own_model
    check_command_line(expanded_words(["--config-dir", str(folder), "task=evaluate", argument]))
    message = refusal(argument)
    assert "`model._target_='flag3d_exp_test_models.Mine'` is not accepted from a file" in message
    assert "`--config-dir` and `model=...`" in message


def test_a_model_of_one_s_own_is_evaluated_if_the_command_line_names_it(own_model, tmp_path):
    folder, argument = own_model
    own = ["model._target_=flag3d_exp_test_models.Mine", "model.root='${oc.env:HOME}/weights'"]
    check_command_line(expanded_words(["task=evaluate", argument, *own]))
    assert "model._target_" in refusal(argument, "model._target_=flag3d_exp.models.stgcn.STGCN")


def test_another_choice_of_one_s_own_does_not_vouch_for_the_checkpoint_s(own_model, tmp_path):
    folder, _ = own_model
    config = configuration(model___target_="subprocess.getoutput")
    argument = checkpoint(tmp_path / "run", config, model="mine")
    assert "model._target_" in refusal(argument, f"--config-dir={folder}")
    shutil.rmtree(folder)


def test_objects_are_known_by_the_files_of_conf():
    known = known_targets()
    assert "flag3d_exp.models.stgcn.STGCN" in known["model"]
    assert known["task.debug"] > {"flag3d_exp.debug.overfit.Overfit"}
    assert all(not name.startswith("optuna") for name in known["model"])


def test_a_sweep_may_name_samplers_and_pruners_of_optuna_only():
    for target in ("optuna.pruners.WilcoxonPruner", "optuna.samplers.BruteForceSampler"):
        check_values({"hydra": {"sweeper": {"pruner": {"_target_": target}}}}, "file")
    for target in ("optuna.pruners.os.system", "optuna.storages.RDBStorage", "os.system"):
        with pytest.raises(UserError, match="hydra.sweeper.pruner._target_"):
            check_values({"hydra": {"sweeper": {"pruner": {"_target_": target}}}}, "file")


def test_overrides_of_a_file_are_returned_as_they_were_written():
    lines = ["model=stgcn", "dataset.splits={train: a, val: 'b c'}", "optimizer.lr=1e-3"]
    assert checked_overrides(lines, "file") == lines
    assert checked_overrides(lines, "file", ["model"]) == lines[1:]
