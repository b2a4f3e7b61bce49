"""`task=generate`: recordings of an action from its class or a sentence."""

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from flag3d_exp import bounds, console, files
from flag3d_exp.config.command_line import assignment, shell_command
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.convert import Converted, write_annotations
from flag3d_exp.data.source import open_dataset_file
from flag3d_exp.data.upright import upward_axis
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.errors import UserError, blamed_on, nearest
from flag3d_exp.problems.generate import Generate as Problem
from flag3d_exp.report.inspection.pictures import sheets, write_gif
from flag3d_exp.report.inspection.viewer import viewer
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.splits import check_split_names
from flag3d_exp.tasks.convert import dataset_settings
from flag3d_exp.tasks.inspect import by_turns
from flag3d_exp.texts.vectors import sentence_vectors

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.problems.completion import Completion

log = logging.getLogger(__name__)
BY_CLASS, BY_TEXT = 0, 1  # seed clips of classes and of sentences differently
NUM_PLAYED = 40  # recordings in the viewer


@dataclass(frozen=True)
class ClipRequest:
    """Clips to generate from one condition.

    Args:
        label: of the recordings.
        condition: (W,).
        lengths, headings: quantiles of the recordings' lengths and headings, see
            `models.generator`.
        seed: of the clips, after the run's seed.
    """

    label: int
    condition: np.ndarray
    lengths: np.ndarray
    headings: np.ndarray
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Generate:
    """Settings of `task=generate`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best one) or an MLflow run id, of a run
            with `problem=generate`.
        classes: names of the classes to generate; None: all, unless `text` is given.
        text: a sentence on the movement to generate, instead of classes.
        input: an annotation file with a recording to complete; None: generate whole recordings.
        recording: the name of the recording in `input`; None: the first one.
        gap: range of the share of the recording to generate anew; None: none of it.
        stretch: length of the result, relative to the recording; above 1, the rest is generated.
        count: recordings of each class, or of the sentence.
        guidance: factor on the effect of the condition; None: `problem.guidance` of the run.
        temperature: factor on the random numbers of sampling; below 1, recordings are more typical
            and less diverse. None: `model.temperature` of the run, for `model=actor` 1.
        frames: of each recording; None: drawn from the lengths of the class's training clips.
        weights: the trained weights, or their moving average; auto: the average if there is one.
        output: the annotation file to write; None: `generated.pkl` in the run folder.
        split: name of the split in the file.
        batch_size: clips per forward pass.
    """

    checkpoint: str
    classes: list[str] | None = None
    text: str | None = None
    input: str | None = None
    recording: str | None = None
    gap: tuple[float, float] | None = None
    stretch: Annotated[float, ">= 1, <= 10"] = 1.0
    count: Annotated[int, ">= 1, <= 100000"] = 20
    guidance: Annotated[float, ">= 0, <= 100"] | None = None
    temperature: Annotated[float, ">= 0, <= 10"] | None = None
    frames: Annotated[int, ">= 2, <= 100000"] | None = None
    weights: Literal["auto", "raw", "ema"] = "auto"
    output: str | None = None
    split: str = "generated"
    batch_size: Annotated[int, ">= 1, <= 65536"] = 20

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        check_split_names([self.split], "`task.split`")
        if self.classes is not None and self.text is not None:
            raise UserError("`task.classes` and `task.text` exclude each other; give one of them.")
        if self.classes is not None and not self.classes:
            raise UserError("`task.classes` must name at least one class, or be null; got [].")
        if self.gap is not None and not 0 < self.gap[0] < self.gap[1] <= 1:
            raise UserError(
                "`task.gap` must be [from, to], two shares of the recording above 0 and at most 1, "
                f"the smaller one first; got {list(self.gap)}."
            )
        if self.input is not None and self.gap is None and self.stretch == 1:
            raise UserError(
                "`task.input`: nothing of the recording would be generated; set `task.gap` or "
                "`task.stretch`."
            )
        if self.input is None and (self.gap, self.stretch, self.recording) != (None, 1, None):
            raise UserError(
                "`task.gap`, `task.stretch` and `task.recording` are for the recording of "
                "`task.input`, which is null."
            )
        if self.input is not None and self.frames is not None:
            raise UserError("`task.frames` is for whole recordings; use `task.stretch`.")

    def __call__(self, experiment: Experiment) -> None:
        """Generate; write the annotation file, sheets, an animation and the viewer."""
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        problem = experiment.problem_of(Problem, "generate")
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        device, _ = experiment.device()
        weights = self.weights
        if weights == "auto":
            weights = "ema" if checkpoint.ema else "raw"
        network = restored_model(experiment, checkpoint, [], weights)
        backbone: Any = network.backbone
        if self.temperature is not None:
            backbone.temperature = self.temperature
        completion = self._completion(problem, network)
        requests = self._requests(problem, network, experiment.classes, completion)
        recordings = self._generate(
            experiment, problem, network, requests, completion, device.compiles()
        )
        output = experiment.folder / "generated.pkl"
        if self.output is not None:
            output = Path(self.output).expanduser()
        names = tuple(recording.name for recording in recordings)
        write_annotations(output, {self.split: names}, recordings)
        console.say(f"{len(recordings)} generated recordings: {output}")
        show(experiment, problem, recordings)
        classes = list(problem.classes) if problem.classes else None
        done = Converted({self.split: names}, recordings, problem.layout, [], classes)
        settings = dataset_settings(done, output)
        settings.pop("splits")
        given = [assignment(f"dataset.{name}", value) for name, value in settings.items()]
        # Two overrides: one would add its splits to those of `dataset=custom`.
        given += ["~dataset.splits", "+" + assignment("dataset.splits", {self.split: self.split})]
        console.say("To look at them:")
        console.say("  " + shell_command(["task=inspect", "dataset=custom", *given], []))

    def _completion(self, problem: Problem, network: "nn.Cell") -> "Completion | None":
        """The recording to complete; None if whole recordings are generated.

        Raises:
            UserError: there is none, or the network can't complete it.
        """
        if self.input is None:
            return None
        from flag3d_exp.problems.completion import Completion

        backbone: Any = network.backbone
        if not backbone.completes:
            raise UserError(
                "`task.input` needs a network that completes recordings, `model=mdm`; "
                f"{type(backbone).__name__} generates whole ones only."
            )
        with blamed_on("task.input"):
            recordings = {one.name: one for one in open_dataset_file(self.input).all}
            name = next(iter(recordings), None) if self.recording is None else self.recording
            if name is None or name not in recordings:
                hint = nearest(str(name), recordings)
                raise UserError(f"`task.recording`: there is no recording {name!r}.{hint}")
            head: Any = network.head
            longest = int(head.lengths.asnumpy().max())
            length = round(recordings[name].keypoints.shape[1] * self.stretch)
            if length > longest:
                raise UserError(
                    f"the completed {name!r} would have {length} frames, but the network's "
                    f"recordings had at most {longest}; a part of it fits."
                )
            return Completion.of(recordings[name], problem, self.gap or (0, 0), self.stretch)

    def _requests(
        self,
        problem: Problem,
        network: "nn.Cell",
        classes: Sequence[str],
        completion: "Completion | None",
    ) -> list[ClipRequest]:
        """What to generate.

        Raises:
            UserError: the network was not trained to take it.
        """
        head: Any = network.head
        lengths, headings = head.lengths.asnumpy(), head.headings.asnumpy()
        known = lengths.any(1)
        if self.text is not None:
            return [self._by_text(problem, lengths, headings, classes)]
        chosen = self.classes
        if chosen is None and completion is not None:
            label = completion.recording.label
            if label not in range(len(classes)):
                raise UserError(
                    f"`task.input`: label {label} is no class of the network; give `task.classes`."
                )
            chosen = [classes[label]]
        if chosen is None:
            chosen = [name for label, name in enumerate(classes) if known[label]]
        requests = []
        for name in dict.fromkeys(chosen):
            if name not in classes:
                raise UserError(
                    f"`task.classes`: {name!r} is not a class that the network was trained with."
                    f"{nearest(name, classes)} Classes: {', '.join(classes)}."
                )
            label = classes.index(name)
            if known[label]:
                condition = problem.class_conditions(np.array([label]))[0]
                like = label
            elif problem.takes_texts:
                condition, like = _of_sentence(problem, problem.vectors[0, label], known)
                console.say(
                    f"{name!r} had no recordings in the network's training: its sentence is taken, "
                    f"and the lengths and headings of {classes[like]!r}"
                )
            else:
                raise UserError(
                    f"`task.classes`: {name!r} had no recordings in the network's training, which "
                    "was with `problem.texts=none`, so that no sentence can replace them."
                )
            found = (lengths[like], headings[like], (BY_CLASS, label))
            requests.append(ClipRequest(label, condition, *found))
        return requests

    def _by_text(
        self,
        problem: Problem,
        lengths: np.ndarray,
        headings: np.ndarray,
        classes: Sequence[str],
    ) -> ClipRequest:
        """The request for a sentence; its label is that of the nearest trained class.

        Raises:
            UserError: the network takes classes only, or the sentence can't be encoded.
        """
        text = str(self.text).strip()
        if not problem.takes_texts:
            raise UserError(
                "`task.text` needs a network that was trained with sentences; this one was trained "
                "with `problem.texts=none`."
            )
        if not text:
            raise UserError("`task.text` must be a sentence; got an empty text.")
        with blamed_on("task.text"):
            vector = sentence_vectors([text])[0]
        condition, label = _of_sentence(problem, vector, lengths.any(1))
        console.say(
            f"the nearest sentence of the training is that of {classes[label]!r} (cosine "
            f"{problem.vectors[0, label] @ vector:.2f}); it gives the label, length and heading"
        )
        seed = (BY_TEXT, zlib.crc32(text.encode()))
        return ClipRequest(label, condition, lengths[label], headings[label], seed)

    def _generate(
        self,
        experiment: Experiment,
        problem: Problem,
        network: "nn.Cell",
        requests: Sequence[ClipRequest],
        completion: "Completion | None",
        jit: bool,
    ) -> list[Recording]:
        """The recordings, `count` of each request."""
        from flag3d_exp.problems.sampling import (
            Sampler,
            drawn_length,
            drawn_value,
            resampled_joints,
        )

        guidance = problem.guidance if self.guidance is None else self.guidance
        sampler = Sampler(network, jit, self.batch_size, guidance)
        each = [request for request in requests for _ in range(self.count)]
        numbers = [number for _ in requests for number in range(self.count)]
        rngs = [
            np.random.default_rng((experiment.seed, *request.seed, number))
            for request, number in zip(each, numbers, strict=True)
        ]
        counts = [
            self.frames or drawn_length(request.lengths, rng)
            for request, rng in zip(each, rngs, strict=True)
        ]
        headings = np.array(
            [drawn_value(request.headings, rng) for request, rng in zip(each, rngs, strict=True)]
        )
        conditions = np.stack([request.condition for request in each])
        known = None
        if completion is not None:
            shape = (len(each), *completion.known.shape)
            parts = (completion.features, completion.known)
            known = np.broadcast_to(parts[0], shape), np.broadcast_to(parts[1], shape)
        with console.progress_bar() as bar:
            features = sampler(
                conditions,
                rngs,
                problem.clip_len,
                known,
                progress=lambda done: bar.show("generating", done, len(each)),
            )
        if completion is not None:
            clips = [completion.completed_keypoints(one, problem) for one in features]
        else:
            made = problem.keypoints(features, headings, np.zeros((len(each), 3)))
            clips = [resampled_joints(one, count) for one, count in zip(made, counts, strict=True)]
        rows = zip(each, numbers, clips, strict=True)
        return [
            Recording(
                f"generated_{request.label:03d}_{number:05d}",
                request.label,
                clip[None],
                generated=True,
            )
            for request, number, clip in rows
        ]


def _of_sentence(problem: Problem, vector: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, int]:
    """The condition of a sentence's vector, and the trained class whose sentence is nearest.

    Args:
        known: (K,) bool, whether a class had recordings in the training.
    """
    cosines = np.where(known, problem.vectors[0] @ vector, -np.inf)
    return problem.text_conditions(vector[None])[0], int(cosines.argmax())


def show(experiment: Experiment, problem: Problem, recordings: Sequence[Recording]) -> None:
    """Write sheets with a recording of each class, an animation and the viewer."""
    folder, classes, layout = experiment.folder, experiment.classes, problem.skeleton
    up = upward_axis(recordings, layout)
    samples = {one.label: one for one in reversed(recordings)}
    for number, figure in enumerate(sheets(samples, classes, layout, up), start=1):
        files.write_figure(folder / f"sheet_{number}.png", figure, dpi=110)
    write_gif(folder / "recording.gif", recordings[0], layout, up)
    played = by_turns(recordings)[:NUM_PLAYED]
    titles = [f"{classes[one.label]}: {one.name}" for one in played]
    files.write_text(folder / "viewer.html", viewer(played, titles, layout, up))
    console.say(f"a recording of each class: {folder / 'sheet_1.png'}")
    console.say(f"recordings to play and turn: {folder / 'viewer.html'}")
