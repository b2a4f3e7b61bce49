"""The network of a checkpoint, made from a composed configuration."""

import logging
from typing import TYPE_CHECKING

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.preprocessing import departures
from flag3d_exp.config.untrusted import recorded_values
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.reading.settings import selected

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.engine.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def restored_model(
    experiment: Experiment, checkpoint: "Checkpoint", weights: str = "raw"
) -> "nn.Cell":
    """The configured model with a checkpoint's weights; say where its clips are others.

    Raises:
        UserError: they do not fit, there is no moving average, or the dataset's classes or joints
            are not those of the checkpoint.
    """
    from flag3d_exp.engine.parameters import assign_parameters

    for line in departures(experiment, checkpoint.meta):
        log.warning(line)
    if weights == "ema" and not checkpoint.ema:
        raise UserError("`task.weights=ema`: the run kept no moving average (`task.ema_decay`).")
    model = experiment.model()
    values = checkpoint.ema if weights == "ema" else checkpoint.weights
    with blamed_on("task.checkpoint"):
        assign_parameters(model.get_parameters(), values)
    return model


def trained_batch_size(checkpoint: "Checkpoint") -> int:
    """Clips per forward pass in the evaluations of the checkpoint's own run; 16 if it had none."""
    saved = recorded_values(checkpoint.meta.get("config", ""), "`task.checkpoint`")
    for key in ("task.eval_batch_size", "task.batch_size"):
        size = selected(saved, key)
        if isinstance(size, int) and 1 <= size <= 65536:
            return size
    return 16
