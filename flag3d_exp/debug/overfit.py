"""`debug=overfit`: check whether the model can memorise one batch.

If it cannot, the learning rate is wrong, a layer is broken, or the labels do not belong to the
keypoints. A model that can may still fail to generalise.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from flag3d_exp import bounds
from flag3d_exp.debug.updates import Update
from flag3d_exp.engine.step import TrainStep
from flag3d_exp.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Overfit:
    """Make updates from the first batch only, with unchanged clips, dropout and learning rate.

    Args:
        steps: number of updates.
    """

    steps: Annotated[int, ">= 2"] = 100

    def __post_init__(self) -> None:
        bounds.check(self, "task.debug")

    def __call__(self, step: TrainStep, updates: Iterator[Update]) -> None:
        """Train, and log the loss and the number of correct predictions.

        Raises:
            UserError: the loss did not fall, or not every clip is classified right at the end.
        """
        update = next(updates)
        num_clips = len(update.names)
        first = loss = float("nan")
        num_right = 0
        for number in range(1, self.steps + 1):
            loss_tensor, counts = step(update.batches, factor=1.0)  # no warm-up
            loss, num_right = float(loss_tensor.asnumpy()), int(counts[0].asnumpy())
            if number == 1:
                first = loss
            if number == self.steps or number in (1, 2, 5) or number % 10 == 0:
                log.info(
                    "update %4d: loss %.4g, %d of %d right", number, loss, num_right, num_clips
                )
        told = f"loss {first:.4g} at first and {loss:.4g} after {self.steps} updates"
        if not (loss < first and num_right == num_clips):
            raise UserError(
                f"The batch was not learnt: {told}, {num_right} of {num_clips} clips right. Try "
                "another `optimizer.lr` or more `task.debug.steps`; a loss that is not finite is "
                "traced by `debug=nonfinite`."
            )
        log.info("The batch was memorised: %s, every clip right.", told)
