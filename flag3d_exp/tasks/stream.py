"""`task=stream`: read frames as JSON lines and write answers as JSON lines while they arrive.

A line is a frame: {"frame": 12, "persons": [{"id": 1, "keypoints": [[x, y], ...], "scores":
[...]}]}. `frame`, `id` and `scores` may be left out.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.data.formats.detections import check_image_shape, entries, numbers, whole
from flag3d_exp.engine.checkpoint import load_checkpoint
from flag3d_exp.errors import UserError, blamed_on
from flag3d_exp.interface import LoadedRun
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.text import parsed_json
from flag3d_exp.results.predictions import CONFIDENCE
from flag3d_exp.runs.references import find_checkpoint
from flag3d_exp.streaming import Stream

log = logging.getLogger(__name__)
MAX_LINE = 4 << 20  # characters
FIELDS = ("frame", "persons")


@dataclass(frozen=True)
class StreamFrames:
    """Settings of `task=stream`.

    Args:
        checkpoint: a checkpoint file, a run folder (its best checkpoint) or an MLflow run id.
        input: a file of JSON lines; `-` for standard input.
        window: number of frames that the network sees at once.
        hop: number of frames from one answer to the next.
        wait: number of frames that an answer waits for late frames.
        confidence: a person whose best probability is lower gets the class `unknown`.
        top_k: number of classes in an answer.
        layout: of the keypoints; None: the network's.
        image_shape: (height, width) of the video, if the network was trained with it.
        max_persons: largest number of persons in an answer.
    """

    checkpoint: str
    input: str = "-"
    window: Annotated[int, ">= 2, <= 100000"] = 100
    hop: Annotated[int, ">= 1, <= 100000"] = 10
    wait: Annotated[int, ">= 0, <= 10000"] = 3
    confidence: Annotated[float, ">= 0, <= 1"] = CONFIDENCE
    top_k: Annotated[int, ">= 1"] = 1
    layout: str | None = None
    image_shape: tuple[int, int] | None = None
    max_persons: Annotated[int, ">= 1, <= 200"] = 8

    def __post_init__(self) -> None:
        bounds.check(self, "task")
        check_image_shape(self.image_shape)
        if self.hop > self.window:
            raise UserError(
                f"`task.hop` must be at most `task.window`; got {self.hop} and {self.window}."
            )

    def __call__(self, experiment: Experiment) -> None:
        """Answer until the input ends; log to standard error during that time."""
        answers = sys.stdout
        with redirect_stdout(sys.stderr):
            stream = self._stream(experiment)
            if self.input == "-":
                self._answer(stream, sys.stdin, answers)
                return
            path = Path(self.input).expanduser()
            try:
                with path.open(encoding="utf-8", errors="replace") as lines:
                    self._answer(stream, lines, answers)
            except OSError as error:
                raise UserError(f"`task.input`: {path}: {error.strerror or error}.") from error

    def _stream(self, experiment: Experiment) -> Stream:
        path = find_checkpoint(self.checkpoint, "task.checkpoint", experiment.tracking_uri)
        with blamed_on("task.checkpoint"):
            checkpoint = load_checkpoint(path)
        experiment.device()
        run = LoadedRun(path, restored_model(experiment, checkpoint, ()), experiment, checkpoint)
        shape = None if self.image_shape is None else (self.image_shape[0], self.image_shape[1])
        return Stream(
            run,
            self.window,
            self.hop,
            self.wait,
            self.confidence,
            self.top_k,
            layout=self.layout,
            image_shape=shape,
            max_persons=self.max_persons,
        )

    def _answer(self, stream: Stream, lines: IO[str], answers: IO[str]) -> None:
        """Write an answer for each hop; for a bad line, write the error instead."""
        for at, line in enumerate(_lines(lines), start=1):
            if not line.strip():
                continue
            try:
                frame = frame_of(line)
                for answer in stream.push(**frame):
                    _write(answers, answer)
            except UserError as error:
                _write(answers, {"error": f"line {at}: {error}"})
        for answer in stream.close():
            _write(answers, answer)
        if stream.buffer.num_left_out:
            log.warning("%d frames came too late for any answer.", stream.buffer.num_left_out)


def frame_of(line: str) -> dict[str, Any]:
    """The arguments of `Stream.push` that a line describes.

    Raises:
        UserError: the line is not a frame.
    """
    if len(line) > MAX_LINE:
        raise UserError(f"it has more than {MAX_LINE:,} characters.")
    try:
        content = parsed_json(line)
    except Malformed as error:
        raise UserError(f"{error}.") from error
    if not isinstance(content, dict) or "persons" not in content:
        raise UserError("a frame must be an object with `persons`.")
    for key in content:
        if key not in FIELDS:
            raise UserError(f"{key!r:.60} is not a field of a frame; fields: {', '.join(FIELDS)}.")
    persons = entries(content["persons"], "persons")
    number = content.get("frame")
    frame: dict[str, Any] = {"frame": None if number is None else whole(number, "frame", 2**53)}
    places = [numbers(one.get("keypoints"), "keypoints") for one in persons]
    frame["keypoints"] = _stacked_arrays(places, "keypoints")
    for key, name in (("scores", "scores"), ("id", "ids")):
        given = [one.get(key) for one in persons]
        if not any(value is not None for value in given):
            continue
        if any(value is None for value in given):
            raise UserError(f"some persons of the frame have `{key}`, others do not.")
        if key == "id":
            frame[name] = [whole(value, "id", 2**53) for value in given]
        else:
            frame[name] = _stacked_arrays([numbers(value, key) for value in given], key)
    return frame


def _stacked_arrays(arrays: list[np.ndarray], key: str) -> np.ndarray:
    """The arrays of all persons as one; `null` becomes 0, a missing joint."""
    if len({array.shape for array in arrays}) > 1:
        raise UserError(f"the `{key}` of all persons of a frame must have the same shape.")
    return np.nan_to_num(np.array(arrays))


def _lines(lines: IO[str]) -> Iterator[str]:
    """The lines; a line that is too long is cut, and the rest of it is dropped."""
    while line := lines.readline(MAX_LINE + 1):
        kept = line
        while line and not line.endswith("\n"):
            line = lines.readline(MAX_LINE + 1)
        yield kept


def _write(answers: IO[str], answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=answers, flush=True)
