"""Serving: an exported network with its run's preprocessing, from keypoints to probabilities.

MLflow loads it by `_load_pyfunc`; a program may also use `Classifier` directly. For an ONNX file
this needs NumPy, PyYAML and ONNX Runtime, but not MindSpore.
"""

import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.data.request import asked_windows, read_recordings
from flag3d_exp.data.timelines import Windows, rows_of, timelines
from flag3d_exp.data.windows import Track, tracks, windows
from flag3d_exp.errors import UserError
from flag3d_exp.export import scoring_server
from flag3d_exp.export.facts import preprocessing
from flag3d_exp.export.file import open_file
from flag3d_exp.results.metrics import average_clips
from flag3d_exp.results.predictions import likeliest

if TYPE_CHECKING:
    from pandas import DataFrame

MAX_WINDOWS = 2000  # over all timelines of a request


class Classifier:
    """An exported file, ready to classify recordings.

    Raises:
        UserError: the file cannot be used.
    """

    def __init__(self, path: Path):
        self.exported = open_file(path)
        facts = preprocessing(self.exported.facts, path)
        self.class_names, self.scored = facts.classes, facts.scored
        self.temperature = np.float32(facts.temperature)
        self.settings, self.pipeline, self.stream = facts.dataset, facts.pipeline, facts.stream
        self._try(path, np.zeros((1, *facts.clip_shape), np.float32))

    def scores(
        self, recordings: Sequence[Recording], between: Callable[[], None] | None = None
    ) -> np.ndarray:
        """Probabilities (n, K): softmax of the logits, averaged over a recording's test clips.

        Args:
            between: called before each recording; an exception that it raises ends the work.

        Raises:
            UserError: a recording has another layout or other coordinates than the network was
                trained on, or the network's output is not finite.
        """
        clips = input_clips(recordings, self.settings, self.pipeline, self.stream)
        clips.check_scores(self.scored)
        scores = np.empty((len(clips), len(self.class_names)), np.float32)
        for index, recording in enumerate(recordings):
            if between is not None:
                between()
            logits = self.exported.logits(clips.clips(index))
            if not np.isfinite(logits).all():
                name = reprlib.repr(recording.name)
                raise UserError(f"recording {name}: the network's output for it is not finite.")
            scores[index] = average_clips(logits[None] / self.temperature)[0]
        return scores

    def _try(self, path: Path, clips: np.ndarray) -> None:
        """Refuse a network that does not return one number per class for clips (N, M, T, V, C)."""
        try:
            logits = np.asarray(self.exported.logits(clips))
        except Exception as error:  # the runtimes' exceptions have no other base class
            reason = " ".join(str(error).split())
            raise UserError(f"`{path}`: its network can't be computed ({reason}).") from error
        expected = (len(clips), len(self.class_names))
        if logits.shape != expected or logits.dtype != np.float32:
            got = f"{logits.dtype} of {list(logits.shape)}"
            raise UserError(
                f"`{path}`: its network must give float32 of {list(expected)}; got {got}."
            )

    def answer(
        self, rows: Sequence[Any], between: Callable[[], None] | None = None
    ) -> list[dict[str, Any]]:
        """The `name` and the `classes` of every recording, the most likely class first.

        A recording with a `window` has `persons` instead: each person's `segments`, and
        `repetitions` if the request asks for them.

        Args:
            rows: the fields of each recording, see `data.request`.
            between: as in `scores`.

        Raises:
            UserError: a field is wrong, or a recording cannot be classified.
        """
        asked = [asked_windows(row, number) for number, row in enumerate(rows)]
        recordings = read_recordings([fields for fields, _, _ in asked])
        whole = [one for one, (_, how, _) in zip(recordings, asked, strict=True) if how is None]
        names = [one.name for one in whole]
        known = iter(())
        if whole:
            scores = self.scores(whole, between)
            known = iter(likeliest(names, scores, self.class_names, len(self.class_names)))
        found = {
            number: tracks([one], how.lengths, how.hop, self.settings.score_threshold)
            for number, (one, (_, how, _)) in enumerate(zip(recordings, asked, strict=True))
            if how is not None
        }
        total = sum(len(track.starts) for members in found.values() for track in members)
        if total > MAX_WINDOWS:
            raise UserError(f"a request may ask for {MAX_WINDOWS} windows; this one has {total}.")
        answers = []
        for number, (one, (_, how, counted)) in enumerate(zip(recordings, asked, strict=True)):
            if how is None:
                answers.append(next(known))
                continue
            rows_found = self._timelines(found[number], how, counted, between)
            answers.append({"name": one.name, "persons": rows_found})
        return answers

    def _timelines(
        self,
        found: Sequence[Track],
        how: Windows,
        counted: bool,
        between: Callable[[], None] | None,
    ) -> list[dict[str, Any]]:
        """The segments of each person of a recording, see `data.timelines`."""
        if not found:
            return []
        scores = self.scores(windows(found), between)
        made = timelines(found, scores, how)
        rows = rows_of(found, made, self.class_names, counted)
        return [{key: value for key, value in row.items() if key != "name"} for row in rows]

    def predict(self, model_input: "DataFrame", params: object = None) -> list[dict[str, Any]]:
        """As `answer`, for one row per recording; for programs that load the model by MLflow."""
        from mlflow.exceptions import MlflowException

        try:
            return self.answer(model_input.to_dict("records"))
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


def _load_pyfunc(data_path: str) -> Classifier:
    """Load the model; MLflow calls this function in its server and in programs."""
    classifier = Classifier(Path(data_path))
    if scoring_server.is_loading():
        scoring_server.limit(classifier.answer)
    return classifier
