"""`task=lift`: lift a dataset of 2D keypoints to 3D joints."""

import logging
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from flag3d_exp import console
from flag3d_exp.bodies.joints import check_layout
from flag3d_exp.config.command_line import assignment, shell_command
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.convert import Converted, converted_recordings, write_annotations
from flag3d_exp.data.formats.detections import OpenFacts
from flag3d_exp.data.source import annotation_file
from flag3d_exp.data.upright import AXES
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.faults import Faults
from flag3d_exp.problems.lift import Lift as Problem
from flag3d_exp.problems.lifted import lifted_recordings
from flag3d_exp.results.attribution import in_batches
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.tasks.convert import dataset_settings
from flag3d_exp.tasks.mesh import Space, chosen_body, chosen_recordings, write_bodies

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lift(OpenFacts):
    """Settings of `task=lift`, besides those of `OpenFacts`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best one) or an MLflow run id, of a run
            with `problem=lift`.
        input: 2D recordings: whatever `task=convert` reads, or `demo_out_domain`, the synthetic
            data. Splits, labels and subjects of an annotation file are kept.
        output: the annotation file to write; None: `lifted.pkl` in the run folder.
        num_persons: the maximum number of persons to keep of a video.
        score_threshold: joints with a score of at most this are missing; None: of at most 0.
        hop: frames from one window to the next; overlapping windows are averaged.
        batch_size: windows per forward pass.
        mesh: also put bodies over the 3D joints, as `task=mesh` does.
        mesh_recordings, mesh_count, mesh_body, mesh_frame_rate: `recordings`, `count`, `body` and
            `frame_rate` of `task=mesh`.
    """

    checkpoint: str
    input: str
    output: str | None = None
    num_persons: Annotated[int, ">= 1"] = 2
    score_threshold: Annotated[float, ">= 0, < 1"] | None = None
    hop: Annotated[int, ">= 1, <= 100000"] = 16
    batch_size: Annotated[int, ">= 1, <= 65536"] = 32
    mesh: bool = False
    mesh_recordings: list[str] | None = None
    mesh_count: Annotated[int, ">= 1, <= 1000"] = 4
    mesh_body: str | None = None
    mesh_frame_rate: Annotated[float, "> 0, <= 1000"] = 30.0

    def __call__(self, experiment: Experiment) -> None:
        """Lift the recordings, write the annotation file, and print a command that shows it."""
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        problem = experiment.problem_of(Problem, "lift")
        output = self._output(experiment.folder)
        if self.mesh:
            with blamed_on("task.mesh"):
                check_layout(problem.skeleton)
            with blamed_on("task.mesh_body"):
                body = chosen_body(self.mesh_body)
        with blamed_on("task.input"):
            found = self._read_input()
            layout = load_layout(found.layout, "task.layout")
            problem.check_input(layout)
            check_flat(found.recordings, layout)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        device, _ = experiment.device()
        model = restored_model(experiment, checkpoint, [])
        predict = Predictor(model, device.compiles())
        network = Windowed(predict, problem.num_persons, self.batch_size)
        made = []
        with console.progress_bar() as bar:
            flat = found.recordings
            for one in lifted_recordings(
                flat, layout, problem, network, self.hop, self.score_threshold
            ):
                made.append(one)
                bar.show("lifting", len(made), len(flat))
        write_annotations(output, found.splits, made)
        console.say(f"{len(made)} recordings in 3D: {output}")
        done = Converted(found.splits, made, problem.layout, [])
        settings = dataset_settings(done, output)
        given = [assignment(f"dataset.{name}", value) for name, value in settings.items()]
        console.say("To look at them:")
        console.say("  " + shell_command(["task=inspect", "dataset=custom", *given], []))
        if self.mesh:
            with blamed_on("task.mesh_recordings"):
                chosen = chosen_recordings(made, self.mesh_recordings, self.mesh_count)
            up = AXES.index(problem.cameras.up)
            space = Space(problem.skeleton, up, problem.metres)
            write_bodies(experiment.folder, chosen, space, body, self.mesh_frame_rate)

    def _read_input(self) -> Converted:
        """Read the input.

        Raises:
            UserError: it does not exist or can't be read.
        """
        source = annotation_file(self.input)
        how = self.reading(2, self.num_persons)
        return converted_recordings(source, self.num_persons, how=how, key="task.input")

    def _output(self, folder: Path) -> Path:
        """The path of the annotation file to write.

        Raises:
            UserError: it is the input.
        """
        if self.output is None:
            return folder / "lifted.pkl"
        output = Path(self.output).expanduser()
        if output.exists() and output.samefile(annotation_file(self.input)):
            raise UserError("`task.output` must be another file than `task.input`.")
        return output


@dataclass(frozen=True)
class Windowed:
    """keypoints (W, L, V, 3) -> joints (W, L, V, 3), in batches of `batch_size` windows.

    Args:
        num_persons: the network's number of persons; all but the first are missing in its input.
    """

    predict: Predictor
    num_persons: int
    batch_size: int

    def __call__(self, keypoints: np.ndarray) -> np.ndarray:
        """The joints."""
        clips = np.zeros((len(keypoints), self.num_persons, *keypoints.shape[1:]), np.float32)
        clips[:, 0] = keypoints
        return in_batches(self.predict, clips, self.batch_size)[:, 0]


def check_flat(recordings: Sequence[Recording], layout: Layout) -> None:
    """Check that all recordings are 2D keypoints of the layout.

    Raises:
        UserError: some are not; the message names them.
    """
    faults = Faults()
    for one in recordings:
        num_joints, num_coordinates = one.keypoints.shape[2:]
        if num_coordinates != 2:
            faults.add(
                reprlib.repr(one.name), "it is in 3D already; `task=lift` needs 2D keypoints."
            )
        elif num_joints != layout.num_joints:
            reason = f"it has {num_joints} joints, but layout {layout.name} has "
            faults.add(reprlib.repr(one.name), f"{reason}{layout.num_joints}; set `task.layout`.")
        elif not one.finite:
            faults.add(reprlib.repr(one.name), "it holds NaN or infinite values.")
    faults.refuse("")
