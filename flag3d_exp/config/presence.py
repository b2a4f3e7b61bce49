"""Refusals of files and devices that are not there, before MindSpore is imported.

The tasks find them missing, too, but only after imports that take seconds.
"""

import os
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from flag3d_exp.errors import UserError, blamed_on

READERS = tuple(f"flag3d_exp.tasks.{name}" for name in ("predict", "count", "evaluate"))
LEARNERS = tuple(f"flag3d_exp.tasks.{name}" for name in ("train", "evaluate"))


def check_present(cfg: DictConfig) -> None:
    """Refuse a configuration that names a missing file or device.

    Args:
        cfg: already checked by `checks`.

    Raises:
        UserError: names the key and what is missing.
    """
    from flag3d_exp.devices.device import Device

    device = instantiate(cfg.device)
    if isinstance(device, Device):
        device.check_driver()
    task: Any = cfg.task
    module = str(task._target_).rpartition(".")[0]
    source = task.get("input")
    if module in READERS and source is not None:
        if not os.path.exists(Path(source).expanduser()):
            raise UserError(f"`task.input`: {source} is not there.")
    elif module in LEARNERS and str(cfg.dataset._target_).startswith("flag3d_exp."):
        check_dataset(cfg.dataset.path)
    if task.get("init_from") is not None:
        from flag3d_exp.runs.references import RUN_ID, find_checkpoint

        if not RUN_ID.fullmatch(task.init_from):  # MLflow's answer takes seconds
            find_checkpoint(task.init_from, "task.init_from")


def check_dataset(path: str) -> None:
    """Refuse a missing annotation file.

    Raises:
        UserError: names the file.
    """
    from flag3d_exp.data.formats.pickles import check_file
    from flag3d_exp.data.source import DEMOS

    if path not in DEMOS:
        with blamed_on("dataset.path"):
            check_file(Path(path).expanduser())
