"""A buffer of frames that arrive one by one, for predictions of windows in a stream.

Frames may be missing or late. A window is completed after `wait` further frames; a frame that
arrives after that is only in later windows. Memory is bounded by the window's length and the
maximum number of persons.

Sizes: P persons of a frame, T frames of a window, V joints, D coordinates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.formats.tracking import MAX_IN_FRAME, PersonTracker, boxes
from flag3d_exp.errors import UserError

MAX_NUMBER = 2**53  # of a frame


@dataclass(frozen=True)
class Window:
    """The last `window` frames at a hop: one recording for each person who is visible in them.

    Args:
        first, last: its first and last frame.
        persons: the identity of each recording's person.
    """

    first: int
    last: int
    persons: list[int]
    recordings: list[Recording]


class FrameBuffer:
    """Collects frames and returns the windows that they complete.

    Args:
        window: length of a window, in frames.
        hop: frames from one window to the next; the first window ends `hop` frames after the start.
        wait: frames that must arrive after a window's last frame, to allow for late frames.
        num_joints, num_coordinates: of the keypoints.
        image_shape: (height, width) in pixels, for 2D keypoints.
        max_persons: of a window; those who are visible in most of its frames are kept.
    """

    def __init__(
        self,
        window: int,
        hop: int,
        wait: int,
        num_joints: int,
        num_coordinates: int,
        image_shape: tuple[int, int] | None = None,
        max_persons: int = 8,
    ) -> None:
        self.window, self.hop, self.wait = window, hop, wait
        self.shape = (num_joints, num_coordinates)
        self.image_shape, self.max_persons = image_shape, max_persons
        self.tracker = PersonTracker()
        self.frames: dict[int, dict[int, tuple[np.ndarray, np.ndarray | None]]] = {}
        self.newest = -1
        self.due = -1  # the last frame of the next window
        self.num_left_out = 0

    def push(
        self,
        number: int | None,
        keypoints: np.ndarray,
        scores: np.ndarray | None = None,
        identities: list[int] | None = None,
    ) -> Iterator[Window]:
        """Add a frame; return the windows that it completes.

        Args:
            number: of the frame, from 0; None: the one after the newest.
            keypoints: (P, V, D); P may be 0.
            scores: (P, V).
            identities: of the persons; None: track them by the overlap of their boxes.

        Raises:
            UserError: the frame's number, or an array's shape or values are invalid.
        """
        number = self.newest + 1 if number is None else number
        if not 0 <= number < MAX_NUMBER:
            raise UserError(f"`frame` must be a whole number from 0; got {number}.")
        self._check(keypoints, scores, identities)
        if self.newest >= 0 and number <= self.due - self.window:
            self.num_left_out += 1  # its last window has been given
            return iter(())
        if identities is None:
            identities = self._identities(number, keypoints, scores)
        self.frames[number] = {
            who: (keypoints[at], None if scores is None else scores[at])
            for at, who in enumerate(identities)
            if who >= 0
        }
        if self.due < 0:
            self.due = number + self.hop - 1
        self.newest = max(self.newest, number)
        return self._complete(self.newest - self.wait)

    def close(self) -> Iterator[Window]:
        """The windows that still wait for late frames, and one that ends with the newest frame."""
        yield from self._complete(self.newest)
        if self.newest >= 0 and self.newest > self.due - self.hop:
            yield from self._window(self.newest)

    def _complete(self, until: int) -> Iterator[Window]:
        """The windows whose last frame is at most `until`."""
        while 0 <= self.due <= until:
            due = self.due
            self.due += self.hop
            yield from self._window(due)
            self._forget(due + 1)
            if not self.frames or min(self.frames) > self.due:  # skip to the end of a long pause
                begin = min(self.frames, default=until + 1)
                self.due += max(0, (begin - self.due) // self.hop) * self.hop

    def _forget(self, due: int) -> None:
        """Drop frames that no window ending at frame `due` or later contains."""
        for number in [one for one in self.frames if one <= due - self.window]:
            del self.frames[number]

    def _window(self, last: int) -> Iterator[Window]:
        first = max(0, last - self.window + 1)
        own = {number: found for number, found in self.frames.items() if first <= number <= last}
        counts: dict[int, int] = {}
        for found in own.values():
            for who in found:
                counts[who] = counts.get(who, 0) + 1
        if not counts:
            return
        begin = min(own)
        persons = sorted(sorted(counts, key=lambda who: -counts[who])[: self.max_persons])
        recordings = [self._recording(own, who, begin, last) for who in persons]
        yield Window(begin, last, persons, recordings)

    def _recording(self, frames: dict, who: int, first: int, last: int) -> Recording:
        keypoints = np.zeros((1, last - first + 1, *self.shape), np.float32)
        scores = None
        for number, found in frames.items():
            if who not in found:
                continue
            place, confidence = found[who]
            keypoints[0, number - first] = place
            if confidence is not None:
                if scores is None:
                    scores = np.zeros(keypoints.shape[:3], np.float32)
                scores[0, number - first] = confidence
        return Recording(str(who), 0, keypoints, scores, self.image_shape)

    def _identities(
        self, number: int, keypoints: np.ndarray, scores: np.ndarray | None
    ) -> list[int]:
        seen = (keypoints != 0).any(-1)
        if scores is not None:
            seen &= scores > 0
        return self.tracker.step(number, boxes(keypoints, seen)).tolist()

    def _check(
        self, keypoints: np.ndarray, scores: np.ndarray | None, identities: list[int] | None
    ) -> None:
        if keypoints.ndim != 3 or keypoints.shape[1:] != self.shape:
            raise UserError(
                f"`keypoints` must be (persons, {self.shape[0]}, {self.shape[1]}); got "
                f"{keypoints.shape}."
            )
        if scores is not None and scores.shape != keypoints.shape[:2]:
            raise UserError(f"`scores` must be {keypoints.shape[:2]}; got {scores.shape}.")
        if not np.isfinite(keypoints).all() or not (scores is None or np.isfinite(scores).all()):
            raise UserError("`keypoints` and `scores` must be finite; a missing joint is 0.")
        if len(keypoints) > MAX_IN_FRAME:
            raise UserError(f"a frame may have {MAX_IN_FRAME} persons; got {len(keypoints)}.")
        if identities is not None and len(set(identities)) != len(keypoints):
            raise UserError(f"the ids of {len(keypoints)} persons must differ; got {identities}.")
