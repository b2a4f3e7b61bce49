"""The network of a checkpoint, made from a composed configuration."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.preprocessing import departures
from flag3d_exp.config.untrusted import recorded_values
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.problems.problem import check_provenance
from flag3d_exp.reading.settings import selected_value

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.engine.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def restored_model(
    experiment: Experiment,
    checkpoint: "Checkpoint",
    datasets: Iterable[ClipDataset],
    weights: str = "raw",
    key: str = "task.checkpoint",
) -> "nn.Cell":
    """The configured model with a checkpoint's weights; log where its clips differ from training.

    Args:
        datasets: the clips that the model will classify, if they are already known.
        key: the setting that names the checkpoint, for messages.

    Raises:
        UserError: the weights do not fit, there is no moving average, the dataset's classes or
            joints are not those of the checkpoint, or a recording lacks the scores that the model
            needs.
    """
    from flag3d_exp.engine.parameters import assign_parameters

    for dataset in datasets:
        dataset.check_scores(is_scored(checkpoint))
    for line in departures(experiment, checkpoint.meta):
        log.warning(line)
    with blamed_on(key):
        other_texts = check_provenance(experiment.problem(), checkpoint.meta)
    if other_texts and experiment.config.task.get("classes") is None:  # else it is intended
        log.warning(other_texts)
    if weights == "ema" and not checkpoint.ema:
        raise UserError("`task.weights=ema`: the run kept no moving average (`task.ema_decay`).")
    model = experiment.model()
    values = checkpoint.ema if weights == "ema" else checkpoint.weights
    with blamed_on(key):
        assign_parameters(model.get_parameters(), values)
    return model


def is_scored(checkpoint: "Checkpoint") -> bool:
    """Whether the network was trained with scores and therefore needs them."""
    return bool(checkpoint.meta.get("scored"))


def trained_batch_size(checkpoint: "Checkpoint") -> int:
    """Clips per forward pass in the evaluations of the checkpoint's run; 16 if unknown."""
    saved = recorded_values(checkpoint.meta.get("config", ""), "`task.checkpoint`")
    for key in ("task.eval_batch_size", "task.batch_size"):
        size = selected_value(saved, key)
        if isinstance(size, int) and 1 <= size <= 65536:
            return size
    return 16
