"""The only reader of the command line: compose, check, run the task, return its objective."""

import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from flag3d_exp import __version__, files
from flag3d_exp.config import answers, checks, refusals
from flag3d_exp.config.command_line import assignment, shell_command
from flag3d_exp.config.experiment import Experiment, built_object
from flag3d_exp.config.hydra_adapter import known_mode
from flag3d_exp.config.presence import check_present
from flag3d_exp.config.recall import expanded_words
from flag3d_exp.config.secrecy import hide_in, hide_in_arguments, hide_in_files
from flag3d_exp.config.started import config_flags
from flag3d_exp.console import open_streams
from flag3d_exp.devices.device import set_environment
from flag3d_exp.devices.memory import is_shortage, tell_of_crashes
from flag3d_exp.devices.ranks import Ranks
from flag3d_exp.engine.interrupt import Interrupted, keep_sigint
from flag3d_exp.errors import WANTS_TRACEBACK, UserError, printable
from flag3d_exp.runs import run_folder
from flag3d_exp.runs.tracking import settle
from flag3d_exp.runs.trial_hooks import TrialHooks
from flag3d_exp.sweep import trial, worker

log = logging.getLogger("flag3d_exp")
PARALLEL_TASKS = ("train", "evaluate")


def run(cfg: DictConfig) -> float | None:
    """Run the task of a composed configuration in the run folder; its objective, if it has one.

    A single run that fails prints one line and ends the process here, because Hydra would print the
    overrides and a traceback. A job of a multirun raises, so that the sweeper sees the error.

    Raises:
        UserError: something that the configuration names does not exist.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    worker.check_device(OmegaConf.to_container(cfg.device))
    try:
        hide_in_files(folder)
        hide_in(cfg)
        checks.check(cfg)
        settle(cfg.tracking)
        check_ranks(cfg)
        set_environment(cfg.device.target, cfg.device.verbose, cfg.device.tf32)
        for variable in ("MS_OM_PATH", "MS_COMPILER_CACHE_PATH"):
            os.environ[variable] = str(folder.absolute())  # for analyze_fail.ir and kernel_meta
        if not WANTS_TRACEBACK:
            tell_of_crashes(str(folder))
        with run_folder.lock_folder(folder):
            return trial.run(folder, partial(perform, cfg))
    except Exception as error:
        log.debug("the run failed", exc_info=True)
        if HydraConfig.get().mode == RunMode.MULTIRUN or WANTS_TRACEBACK:
            raise
        leave(error, folder, "resume" in cfg.task)


def perform(cfg: DictConfig, hooks: TrialHooks | None) -> float | None:
    """Run the task; its objective, if it has one.

    Raises:
        UserError: something that the configuration names does not exist.
    """
    check_present(cfg)
    return built_object(cfg.task)(Experiment.from_hydra(cfg, hooks))


def main() -> None:
    """`python -m flag3d_exp` and `flag3d-exp`."""
    open_streams()
    files.settle_home()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises instead of printing a page
    logging.raiseExceptions = False  # else every log line on a full disk prints a traceback
    if Ranks.serve_scheduler():
        return
    with keep_sigint():
        if not worker.serve(execute):
            execute(sys.argv[1:])


def execute(words: Sequence[str]) -> None:
    """Run the words of a command line; an error ends in one line and `SystemExit`."""
    try:
        if (text := answers.answer(words, __version__)) is not None:
            print(text, flush=True)
            return
        sys.argv[1:] = expanded_words(hide_in_arguments(words))
        mode = refusals.check_command_line(sys.argv[1:])
        app = hydra.main(config_path=str(checks.CONF), config_name="config", version_base="1.3")
        with Ranks.here().own_folder() as settings, known_mode(mode):
            sys.argv += [assignment(key, value) for key, value in settings.items()]
            app(run)()
    except Exception as error:
        if WANTS_TRACEBACK:
            raise
        leave(error)
    except KeyboardInterrupt:
        sys.exit(130)


def check_ranks(cfg: DictConfig) -> None:
    """Refuse a task under msrun that does not run in several processes.

    Raises:
        UserError: the task runs in one process, or `-m` is given; names the accepted tasks.
    """
    if Ranks.here().world == 1:
        return
    task = HydraConfig.get().runtime.choices["task"]
    if task not in PARALLEL_TASKS:
        accepted = " and ".join(f"`task={name}`" for name in PARALLEL_TASKS)
        raise UserError(f"`task={task}` runs in one process; msrun is for {accepted}.")
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise UserError("`-m` starts its own processes; leave out either msrun or `-m`.")


def leave(error: Exception, folder: Path | None = None, resumable: bool = False) -> NoReturn:
    """Print the error in one line and exit with code 1, or with 128 + the signal.

    Args:
        folder: the run folder, if the run already has one.
        resumable: whether `task.resume` continues the run.
    """
    match error:
        case Interrupted():
            resume = [assignment("task.resume", str(folder))]
            command = shell_command(resume, config_flags(HydraConfig.get())) if resumable else ""
            _tell(f"{error}; to continue: {command}" if command else f"{error}")
            sys.exit(128 + error.signum)
        case UserError():
            _tell(f"error: {error}")
        case HydraException() | OmegaConfBaseException():
            _tell(f"error: {checks.one_line(error)}.")
        case _ if is_shortage(error):
            where = f"; the traceback is in {folder}/run.log" if folder else ""
            said = checks.one_line(error) if isinstance(error, MemoryError) and str(error) else ""
            what = f" ({said})" if said else ""
            _tell(
                f"error: memory ran out{what}; a smaller `task.batch_size`, `dataset.clip_len` or "
                f"`model.base_channels` takes less{where}."
            )
        case BrokenPipeError() if _nobody_reads():  # for example `... --help | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        case ValueError() if isinstance(error.__cause__, OSError):  # from a log handler
            leave(error.__cause__, folder)
        case OSError():
            key = "" if folder else "`hydra.run.dir`: "
            where = ""
            if folder and files.is_full(error) and not error.filename:
                where = f"; the run folder is `{folder}`"
            _tell(f"error: {key}{files.reason(error)}{where}.")
        case _:
            where = f"is in {folder}/run.log" if folder else "shows with HYDRA_FULL_ERROR=1"
            what = f"{type(error).__name__}: {shorten(checks.one_line(error), 300)}"
            _tell(f"error: {what}; the traceback {where}.")
    sys.exit(1)


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose reader has closed it."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are always reported, even with an empty mask
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _tell(line: str) -> None:
    print(printable(line), file=sys.stderr)
