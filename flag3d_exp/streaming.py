"""Online classification: the classes of each person every `hop` frames, while frames arrive.

For example::

    run = f3d.load("outputs/mine")
    stream = f3d.Stream(run, window=100, hop=10)
    for number, keypoints in enumerate(camera):       # (persons, joints, coordinates)
        for answer in stream.push(keypoints, frame=number):
            print(answer["frame"], answer["persons"])

Memory is bounded. Frames may be missing or late; see `data.live`. Sizes: P persons in a frame,
V joints, D coordinates, K classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from flag3d_exp.config.restore import is_scored
from flag3d_exp.data.inputs import input_clips
from flag3d_exp.data.live import FrameBuffer, Window
from flag3d_exp.errors import UserError
from flag3d_exp.interface import LoadedRun
from flag3d_exp.results.predictions import CONFIDENCE, answer, likeliest
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.skeletons.mapping import joint_sources, relaid

if TYPE_CHECKING:
    from flag3d_exp.engine.predict import Predictor


class Stream:
    """A network that classifies a sliding window of frames.

    Args:
        run: a loaded run, whose network classifies.
        window: number of frames that the network sees at once.
        hop: number of frames from one answer to the next.
        wait: number of frames that an answer waits for late frames.
        confidence: a person whose best probability is lower gets the class `unknown`.
        top_k: number of classes in an answer.
        layout: of the keypoints; None: the network's.
        image_shape: (height, width) of the image whose pixels 2D keypoints are given in.
        max_persons: number of persons in an answer: those seen in most frames of the window.

    Raises:
        UserError: a setting is refused, or the network does not classify.
    """

    def __init__(
        self,
        run: LoadedRun,
        window: int = 100,
        hop: int = 10,
        wait: int = 3,
        confidence: float = CONFIDENCE,
        top_k: int = 5,
        layout: str | None = None,
        image_shape: tuple[int, int] | None = None,
        max_persons: int = 8,
    ) -> None:
        if not 1 <= hop <= window or wait < 0 or top_k < 1 or max_persons < 1:
            raise UserError(
                "`hop` must be 1 to `window`, `wait` at least 0, `top_k` and `max_persons` at "
                f"least 1; got {hop}, {window}, {wait}, {top_k} and {max_persons}."
            )
        self.run, self.confidence, self.top_k = run, confidence, top_k
        self.problem = run.experiment.classification("stream")
        made = run.experiment.build
        self.settings, self.pipeline, self.kind = made("dataset"), made("pipeline"), made("stream")
        own = load_layout(self.settings.layout)
        source = own if layout is None else load_layout(layout)
        self.sources = joint_sources(source, own)
        self.buffer = FrameBuffer(
            window,
            hop,
            wait,
            source.num_joints,
            self.settings.num_coordinates,
            image_shape=image_shape,
            max_persons=max_persons,
        )

    def push(
        self,
        keypoints: np.ndarray,
        scores: np.ndarray | None = None,
        frame: int | None = None,
        ids: Sequence[int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Add a frame and yield the answers that are due.

        Args:
            keypoints: (P, V, D), or (V, D) of one person; P is 0 if nobody is seen.
            scores: (P, V) or (V,).
            frame: its number from 0; None: the number after the newest frame.
            ids: of the persons; None: persons are tracked by the overlap of their boxes.

        Raises:
            UserError: the frame does not fit the network.
        """
        places = np.asarray(keypoints, np.float32)
        if places.ndim == 2:
            places = places[None]
        if places.size == 0:
            places = places.reshape(0, *self.buffer.shape)
        known = None if scores is None else np.asarray(scores, np.float32)
        if known is not None:
            known = known.reshape(0, self.buffer.shape[0]) if not known.size else known
            known = known[None] if known.ndim == 1 else known
        given = None if ids is None else list(ids)
        for window in self.buffer.push(frame, places, known, given):
            yield self.answer(window)

    def close(self) -> Iterator[dict[str, Any]]:
        """The answers that still wait for late frames, and one for the newest frame."""
        for window in self.buffer.close():
            yield self.answer(window)

    def answer(self, window: Window) -> dict[str, Any]:
        """`first` and `frame` (the last) of a window, and each person's classes."""
        scores = self.scores(window)
        rows = likeliest([str(who) for who in window.persons], scores, self.run.classes, self.top_k)
        persons = []
        for who, row in zip(window.persons, rows, strict=True):
            best = row["classes"][0]
            persons.append(
                {
                    "id": who,
                    "class": answer(best, self.confidence),
                    "confidence": best["probability"],
                    "classes": row["classes"],
                }
            )
        return {"first": window.first, "frame": window.last, "persons": persons}

    def scores(self, window: Window) -> np.ndarray:
        """(n, K) probabilities of the persons of a window."""
        recordings = []
        for one in window.recordings:
            keypoints, scores = relaid(one.keypoints, one.scores, self.sources)
            recordings.append(replace(one, keypoints=keypoints, scores=scores))
        clips = input_clips(recordings, self.settings, self.pipeline, self.kind)
        clips.check_scores(is_scored(self.run.checkpoint))
        found = []
        for index in range(len(recordings)):
            arrays = clips.clips(index)  # (num_clips, M, T, V, C)
            outputs = [
                self._predict(*self.problem.test_inputs(arrays[at : at + 1], {}).values())
                for at in range(len(arrays))
            ]
            found.append(
                self.problem.predictions(np.stack([np.concatenate(outputs)]), arrays[None])
            )
        return np.concatenate(found)

    @cached_property
    def _predict(self) -> "Predictor":
        """The network, compiled for one clip at a time."""
        from flag3d_exp.engine.predict import Predictor

        return Predictor(self.run.model, self.run.experiment.build("device").compiles())
