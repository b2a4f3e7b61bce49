"""A recording of which a network generates a part: a gap, or what comes after its end.

Sizes: L frames of the completed recording, R of the given one, T of a clip, V joints, D features.
"""

from dataclasses import dataclass

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import poses_of
from flag3d_exp.errors import UserError
from flag3d_exp.problems.generate import Generate
from flag3d_exp.problems.sampling import resampled_joints
from flag3d_exp.skeletons.motion import NUM_ROOT

MIN_KNOWN = 2  # frames of a clip


@dataclass(frozen=True)
class Completion:
    """What is known of a clip.

    Args:
        recording: the given one.
        frames: (R,) numbers of the given frames that are kept; they are the same in the result.
        length: L.
        features: (T, D) of the clip; those of unknown frames have no meaning.
        known: (T, D) bool.
        heading, origin: where the clip was, see `skeletons.motion.Motion`.
    """

    recording: Recording
    frames: np.ndarray
    length: int
    features: np.ndarray
    known: np.ndarray
    heading: float
    origin: np.ndarray

    @classmethod
    def of(
        cls, recording: Recording, problem: Generate, gap: tuple[float, float], stretch: float
    ) -> "Completion":
        """The completion of a recording.

        Args:
            gap: range of the share of the recording to replace.
            stretch: length of the result, relative to the recording.

        Raises:
            UserError: the recording does not fit the network, or too little of it is kept.
        """
        check_recording(recording, problem)
        given = recording.keypoints.shape[1]
        length = max(round(given * stretch), given)
        num_frames = problem.clip_len
        times = np.linspace(0, length - 1, num_frames)  # of the clip's frames
        low, high = gap[0] * (given - 1), gap[1] * (given - 1)
        there = (times <= given - 1) & ((times < low) | (times > high) | (low == high))
        if not there[:1].all() or there.sum() < MIN_KNOWN:
            raise UserError(
                f"`task.gap` and `task.stretch` must keep the first frame and at least {MIN_KNOWN} "
                f"of the {num_frames} frames of the network's clip; they keep {there.sum()}."
            )
        poses = poses_of(recording).at(np.minimum(times, given - 1))
        found = problem.motion(poses.keypoints[None])
        step_known = there & np.concatenate([[True], there[:-1]])
        size = found.features.shape[-1]
        known = np.repeat(there[:, None], size, 1)
        known[:, size - NUM_ROOT : size - 1] = step_known[:, None]
        numbers = np.arange(given)
        frames = numbers[(numbers < low) | (numbers > high) | (low == high)]
        return cls(
            recording,
            frames,
            length,
            found.features[0],
            known,
            float(found.headings[0]),
            found.origins[0],
        )

    def completed_keypoints(self, features: np.ndarray, problem: Generate) -> np.ndarray:
        """(L, V, 3) keypoints from generated features (T, D); given frames are as they were."""
        made = problem.keypoints(
            self._bridged_features(features)[None], np.array([self.heading]), self.origin[None]
        )[0]
        joints = resampled_joints(made, self.length)
        joints[self.frames] = poses_of(self.recording).keypoints[0, self.frames]
        return joints

    def _bridged_features(self, features: np.ndarray) -> np.ndarray:
        """The features, with steps in the gap that lead to where the recording goes on."""
        size = features.shape[-1]
        steps = slice(size - NUM_ROOT, size - 1)
        made = features.astype(np.float64)
        unknown = np.flatnonzero(~self.known[:, size - NUM_ROOT])
        there = self.known[:, 0]
        after = unknown[there[unknown]]  # the first frame after the gap
        if len(after):
            inside = unknown[unknown <= after[0]]
            wanted = self.features[inside, steps].astype(np.float64).sum(0)
            made[inside, steps] += (wanted - made[inside, steps].sum(0)) / len(inside)
        return made.astype(np.float32)


def check_recording(recording: Recording, problem: Generate) -> None:
    """Refuse a recording that the network can't complete.

    Raises:
        UserError: it is in 2D, has other joints, or is not finite.
    """
    num_joints, num_coordinates = recording.keypoints.shape[2:]
    if num_coordinates != 3:
        raise UserError(f"{recording.name!r} is in 2D; the network generates 3D recordings.")
    if num_joints != problem.skeleton.num_joints:
        raise UserError(
            f"{recording.name!r} has {num_joints} joints, but the network's layout "
            f"{problem.layout} has {problem.skeleton.num_joints}."
        )
    if not recording.finite:
        raise UserError(f"{recording.name!r} holds NaN or infinite values.")
