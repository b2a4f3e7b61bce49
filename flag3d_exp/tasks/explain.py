"""`task=explain`: draw and check which joints and frames decided a prediction."""

import logging
from dataclasses import dataclass
from typing import Annotated

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp import bounds, console, files
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.report.explanation import explanation_figure
from flag3d_exp.results import attribution
from flag3d_exp.results.attribution import Gradient
from flag3d_exp.results.metrics import softmax
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.skeletons.layout import load_layout

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Explain:
    """Settings of `task=explain`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        recording: the name of a recording of the dataset.
        label: the class to explain, by number; None for the predicted one.
        num_steps: steps of the integral from the frozen to the moving skeleton.
        num_random: number of random orders of deletion to compare with.
    """

    checkpoint: str
    recording: str
    label: Annotated[int, ">= 0"] | None = None
    num_steps: Annotated[int, ">= 1"] = 24
    num_random: Annotated[int, ">= 1"] = 10

    def __post_init__(self) -> None:
        bounds.check(self, "task")

    def __call__(self, experiment: Experiment) -> None:
        """Write `explain.png` and `explain.json`."""
        folder = experiment.folder
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(
                find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
            )
        experiment.classification("explain")
        device, _ = experiment.device()
        settings = experiment.build("dataset")
        recording = find_recording(settings.open().by_name, self.recording)
        if (cameras := experiment.augment().cameras) is not None:
            recording = cameras.filmed_recording(recording)
        pipeline, stream = experiment.build("pipeline"), experiment.build("stream")
        dataset = ClipDataset([recording], pipeline, stream, experiment.seed)
        model = restored_model(experiment, checkpoint, [dataset])
        clips = dataset.clips(0)
        predict = Predictor(model, jit=device.compiles())
        scores = softmax(attribution.in_batches(predict, clips)).mean(axis=0)
        classes = experiment.classes
        label = int(scores.argmax()) if self.label is None else self.label
        if not 0 <= label < len(classes):
            raise UserError(f"`task.label` must be in 0..{len(classes) - 1}; got {label}.")

        found = attribution.integrated_gradients(
            gradient_function(model, label), clips, self.num_steps
        )
        check = attribution.check_by_deletion(
            lambda changed: softmax(predict(changed))[:, label],
            clips,
            found,
            self.num_random,
            experiment.seed,
        )
        layout = load_layout(settings.layout)
        title = f"{recording.name}: {classes[label]} ({100 * scores[label]:.1f} %)"
        figure = explanation_figure(title, recording, layout, found, check)
        files.write_figure(folder / "explain.png", figure, dpi=130)
        joints = dict(zip(layout.joints, found.sum(axis=0).tolist(), strict=True))
        by_importance, at_random = check.areas
        files.write_json(
            folder / "explain.json",
            {
                "recording": recording.name,
                "label": classes[recording.label],
                "explained": classes[label],
                "score": float(scores[label]),
                "joints": dict(sorted(joints.items(), key=lambda item: -item[1])),
                "frames": found.sum(axis=1).tolist(),
                "deletion": {
                    "mean_score_by_importance": by_importance,
                    "mean_score_at_random": at_random,
                    "passed": check.is_passed,
                },
            },
        )
        log.info("%s", title)
        for joint, value in sorted(joints.items(), key=lambda item: -item[1])[:5]:
            log.info("  %s %+.2f", joint, value)
        verdict = "faster" if check.is_passed else "NOT faster"
        log.info(
            "freezing the joints named important lowers the score %s than chance: "
            "mean score %.3f against %.3f",
            verdict,
            by_importance,
            at_random,
        )
        console.say(f"explanation: {folder / 'explain.png'}")


def find_recording(by_name: dict[str, Recording], name: str) -> Recording:
    """The recording with the given name.

    Raises:
        UserError: there is no such recording.
    """
    if name not in by_name:
        raise UserError(
            f"`task.recording`: the dataset has no recording {name!r}.{nearest(name, by_name)}"
        )
    return by_name[name]


def gradient_function(model: nn.Cell, label: int) -> Gradient:
    """clips -> gradient of the label's log-score, with the model in evaluation mode."""

    def log_score(clips: Tensor) -> Tensor:
        return ops.log_softmax(model(clips, None), -1)[:, label].sum()

    gradient = ms.grad(log_score)

    def of_arrays(clips: np.ndarray) -> np.ndarray:
        model.set_train(False)
        return gradient(Tensor(clips)).asnumpy()

    return of_arrays
