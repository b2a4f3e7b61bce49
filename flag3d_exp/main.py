"""The only reader of the command line: compose, check, run the task, return its objective."""

import logging
import os
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from flag3d_exp import config, run_folder
from flag3d_exp.device import set_environment
from flag3d_exp.errors import UserError

log = logging.getLogger("flag3d_exp")


def run(cfg: DictConfig) -> float | None:
    """Run the task of a composed configuration in the run folder; its objective, if it has one.

    Raises:
        UserError: what the configuration asks for is not there.
    """
    config.check(cfg)
    set_environment(cfg.device.verbose)
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        with run_folder.locked(folder):
            return instantiate(cfg.task)(cfg)
    except UserError:
        log.debug("refused", exc_info=True)
        raise


def main() -> None:
    """`python -m flag3d_exp` and `flag3d-exp`."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises instead of printing a page
    try:
        config.check_command_line(sys.argv[1:])
        app = hydra.main(config_path=str(config.CONF), config_name="config", version_base="1.3")
        app(run)()
    except UserError as error:
        if wants_traceback:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
