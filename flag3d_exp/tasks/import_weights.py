"""`task=import_weights`: make a checkpoint from weights that another program trained."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.engine.checkpoint import Checkpoint, save_checkpoint
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.weights.importing import fitted_values, read_source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportWeights:
    """Settings of `task=import_weights`.

    Args:
        source: a PyTorch `.pth` or `.pt` of PYSKL, MMAction2 or the authors of CTR-GCN, ProtoGCN,
            BlockGCN and SkateFormer, or a MindSpore `.ckpt` released with FLAG3D.
        output: the checkpoint to write, ending in `.npz`.
        head: `skip` leaves out the file's head; the checkpoint gets a new head for the dataset.
    """

    source: str
    output: str
    head: Literal["keep", "skip"] = "keep"

    def __post_init__(self) -> None:
        if not self.output.endswith(".npz"):
            raise UserError(f"`task.output` must end in .npz; got {self.output}.")

    def __call__(self, experiment: Experiment) -> None:
        """Read, fit and write."""
        experiment.device()
        with blamed_on("task.source"):
            checkpoint = imported_checkpoint(
                experiment, Path(self.source).expanduser(), self.head == "skip"
            )
        output = Path(self.output).expanduser()
        output.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(output, checkpoint)
        model = experiment.model_name
        log.info("%s: %d tensors of %s -> %s", model, len(checkpoint.weights), self.source, output)


def imported_checkpoint(
    experiment: Experiment, source: Path, skip_head: bool = False
) -> Checkpoint:
    """A checkpoint of the configured model with the weights of a `.pth` or `.ckpt` file.

    Raises:
        UserError: the file can't be used, or does not fit the model.
    """
    model = experiment.model()
    tensors = read_source(source)
    try:
        weights = fitted_values(model, tensors, skip_head)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    return Checkpoint(weights, meta=experiment.meta)
