"""Answers while frames arrive: the classes of each person at every hop.

For example::

    run = f3d.load("outputs/mine")
    stream = f3d.Stream(run, window=100, hop=10)
    for number, keypoints in enumerate(camera):       # (persons, joints, coordinates)
        for answer in stream.push(keypoints, frame=number):
            print(answer["frame"], answer["persons"])

Memory is bounded; frames may be missing or late, see `data.live`. Sizes: P persons of a frame,
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
from flag3d_exp.results.predictions import likeliest
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.skeletons.mapping import joint_sources, relaid

if TYPE_CHECKING:
    from flag3d_exp.engine.predict import Predictor


class Stream:
    """A network that is asked about the last frames, again and again.

    Args:
        run: a loaded run, whose network tells classes apart.
        window: frames that the network is asked about at once.
        hop: frames from one answer to the next.
        wait: frames that an answer waits for late ones.
        confidence: below it a person's class is `unknown`.
        top_k: classes in an answer.
        layout: of the keypoints; None: the network's.
        image_shape: (height, width) that 2D keypoints are pixels of.
        max_persons: in an answer: those who are seen in most frames of the window.

    Raises:
        UserError: a setting is refused, or the network tells no classes apart.
    """

    def __init__(
        self,
        run: LoadedRun,
        window: int = 100,
        hop: int = 10,
        wait: int = 3,
        confidence: float = 0.4,
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
        made = run.experiment.made
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
        """Take in a frame; the answers that are due with it.

        Args:
            keypoints: (P, V, D), or (V, D) of one person; P is 0 where nobody is seen.
            scores: (P, V) or (V,).
            frame: its number from 0; None: the one after the newest.
            ids: of the persons; None: they are told apart by the overlap of their boxes.

        Raises:
            UserError: the frame is not what the network was trained on.
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
        """The answers that waited for late frames, and one for the newest frame."""
        for window in self.buffer.close():
            yield self.answer(window)

    def answer(self, window: Window) -> dict[str, Any]:
        """`first` and `frame` (the last) of a window, and each person's classes."""
        scores = self.scores(window)
        rows = likeliest([str(who) for who in window.persons], scores, self.run.classes, self.top_k)
        persons = []
        for who, row in zip(window.persons, rows, strict=True):
            best = row["classes"][0]
            sure = best["probability"] >= self.confidence
            persons.append(
                {
                    "id": who,
                    "class": best["class"] if sure else "unknown",
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
                self._predict(*self.problem.test_inputs(arrays[at : at + 1]).values())
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

        return Predictor(self.run.model, self.run.experiment.made("device").compiles())
