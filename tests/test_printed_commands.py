"""Commands that the program prints run as printed, also from folders with odd names."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli import TINY
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.command_line import CommandLine
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.recall import expanded_words
from flag3d_exp.config.refusals import check_command_line
from flag3d_exp.config.started import command, command_of
from flag3d_exp.console import browse_line
from flag3d_exp.engine.interrupt import Interrupted
from flag3d_exp.main import leave
from flag3d_exp.sweep import job
from flag3d_exp.tasks.convert import Convert
from flag3d_exp.tasks.export import serving_lines

ODD = "it's = [x] {y} (z), $HOME & é; #1"
MINE = """
defaults: [custom, _self_]
name: mine
path: mine.pkl
layout: coco
num_classes: 2
score_channel: true
normalise: box
"""


@pytest.fixture
def odd(tmp_path, monkeypatch) -> Path:
    """A working folder with an odd name, and in it a folder of choices with another."""
    folder = tmp_path / ODD
    (folder / 'my "conf", [1]' / "dataset").mkdir(parents=True)
    (folder / 'my "conf", [1]' / "dataset" / "mine.yaml").write_text(MINE)
    (folder / "runs, 1").mkdir()
    monkeypatch.chdir(folder)
    return folder


def words(line: str) -> list[str]:
    """The overrides and flags of a printed command, as a shell gives them to the program."""
    shell = ["/bin/sh", "-c", f'python() {{ printf "%s\\0" "$@"; }}; {line}']
    printed = subprocess.run(shell, capture_output=True, check=True).stdout.decode()
    assert printed.startswith("-m\0flag3d_exp\0")
    return printed.split("\0")[2:-1]


def started(*argv: str) -> DictConfig:
    """What hydra.yaml says of a run with this command line, as far as it is read."""
    line = CommandLine.parse(argv)
    choices = str(Path(line.flags.config_dir).absolute())
    sources = [{"provider": "main", "path": "x"}, {"provider": "command-line", "path": choices}]
    return OmegaConf.create(
        {
            "mode": None,
            "job": {"config_name": "config"},
            "runtime": {"config_sources": sources, "cwd": os.getcwd()},
            "overrides": {"task": list(line.overrides), "hydra": ["hydra.run.dir=x"]},
        }
    )


ARGV = ("--config-dir", 'my "conf", [1]', "dataset=mine", "dataset.name='a, b'", "seed=3")


def test_the_command_of_a_run_starts_it_again_with_its_config_dir(odd):
    argv = words(command(started(*ARGV, "task.resume=auto")))
    check_command_line(expanded_words(argv))
    assert argv == ['--config-dir=my "conf", [1]', *ARGV[2:]]


def test_a_run_folder_says_the_command_of_its_run(odd):
    (odd / "runs, 1" / ".hydra").mkdir()
    OmegaConf.save({"hydra": started(*ARGV)}, odd / "runs, 1" / ".hydra" / "hydra.yaml")
    line = command_of(Path("runs, 1"))
    assert line is not None
    check_command_line(expanded_words(words(line)))
    assert command_of(odd) is None


def test_an_interrupted_run_says_the_command_that_continues_it(odd, capsys, monkeypatch):
    hydra = started(*ARGV)
    monkeypatch.setattr(HydraConfig, "get", lambda: hydra)
    with pytest.raises(SystemExit):
        leave(Interrupted(15), odd / "runs, 1", resumable=True)
    line = capsys.readouterr().err.partition("to continue: ")[2].strip()
    argv = words(line)
    assert CommandLine.parse(argv).text("task.resume") == str(odd / "runs, 1")
    assert CommandLine.parse(argv).flags.config_dir == 'my "conf", [1]'


def test_an_interrupted_task_that_cannot_be_resumed_promises_nothing(odd, capsys):
    with pytest.raises(SystemExit):
        leave(Interrupted(15), odd)
    assert "resume" not in capsys.readouterr().err


def test_a_stopped_sweep_says_the_command_that_continues_it(odd, monkeypatch):
    argv = ["--config-dir", 'my "conf", [1]', "-m", "dataset=mine", "seed=1,2", "hydra.sweep.dir=x"]
    monkeypatch.setattr(sys, "argv", ["flag3d-exp", *argv])
    line = CommandLine.parse(words(job.command_line(odd / "grid, 1")))
    check_command_line(line.argv())
    assert line.multirun
    assert line.text("hydra.sweep.dir") == str(odd / "grid, 1")
    assert CommandLine.parse(words(job.command_line())).overrides == tuple(argv[3:])


CSV = "recording,label,frame,joint,x,y,score\n"
CSV += "".join(f"{name},{name},{frame},nose,{frame},2,1\n" for name in "01" for frame in (0, 1))


def test_convert_prints_a_command_that_reads_its_file(odd, capsys):
    Path("clips.csv").write_text(CSV)
    Path("clips.yaml").write_text(
        "data: clips.csv\nlayout: coco\nimage_shape: [480, 640]\n"
        "splits: {train: ['0'], my_val: ['1']}\n"
    )
    Convert("clips.yaml", "runs, 1/mine.pkl")(Experiment(OmegaConf.create(), odd, {}))
    argv = words(capsys.readouterr().out.strip().splitlines()[-3])
    check_command_line(expanded_words(argv))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", argv)
    assert cfg.dataset.path == "runs, 1/mine.pkl"
    assert cfg.dataset.splits == {"train": "train", "val": "my_val"}


def test_the_lines_for_mlflow_and_curl_are_whole_words_of_a_shell(odd):
    uri = f"sqlite:///{odd}/mlflow.db"
    assert uri in shlex.split(browse_line(uri, "#/x"))
    serve, ask = serving_lines(uri, "models:/a b/1", odd / "request.json")
    assert f"MLFLOW_TRACKING_URI={uri}" in shlex.split(serve)
    assert "models:/a b/1" in shlex.split(serve)
    assert f"@{odd}/request.json" in shlex.split(ask)


@pytest.mark.slow
def test_the_printed_commands_of_one_s_own_data_run_as_printed(odd):
    """Convert, inspect, train, report and train again, each by the command printed before."""
    rows = CSV.splitlines()[:1]
    rows += [
        f"r{number},{number % 2},{frame},{joint},{number + frame},{joint * (number % 2)},1"
        for number in range(24)
        for frame in range(8)
        for joint in range(17)
    ]
    Path("clips.csv").write_text("\n".join(rows) + "\n")
    names = [f"r{number}" for number in range(24)]
    splits = {"train": names[:16], "val": names[16:]}
    table = {"data": "clips.csv", "layout": "coco", "image_shape": [99, 99], "splits": splits}
    OmegaConf.save(table, "clips.yaml")

    def run(line: str) -> str:
        python = f'python() {{ "{sys.executable}" "$@"; }}; '
        done = subprocess.run(["/bin/sh", "-c", python + line], capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        assert "error" not in done.stderr, done.stderr
        return done.stdout

    convert = "python -m flag3d_exp task=convert task.source=clips.yaml task.output=mine.pkl"
    inspect = run(convert).strip().splitlines()[-3]
    assert "viewer.html" in run(f"{inspect} hydra.run.dir=inspected")
    flags = shlex.quote('my "conf", [1]')
    own = shlex.join([*TINY, "task.epochs=1", "hydra.run.dir='own = run, 1'"])
    train = f"python -m flag3d_exp --config-dir {flags} dataset=mine {own}"
    assert "run folder: " in run(train)
    again = command_of(Path("own = run, 1"))
    assert again is not None
    assert run(f"{again} hydra.run.dir=again tracking=none").count("val: top1") == 1
