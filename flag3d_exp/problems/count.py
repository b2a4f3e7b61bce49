"""Count repetitions of any movement: a density over frames, whose sum is the count.

The network looks at clips of several paces (`pipeline.paces`). For each frame of a clip it says
whether the frame is part of a repetition, and how long the repetition is. Only repetitions whose
length in the clip's frames is within `lengths` are to be found; so each pace finds those of its
own range, and `results.density` joins the paces. FLAG3D++ and others learn a Gaussian for each
repetition instead (Hu et al., TransRAC, CVPR 2022); a length does not depend on where a repetition
is said to begin, which differs between datasets.

Sizes: n recordings, N clips in a batch, M persons, T frames, V joints, C channels, R repetitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.errors import UserError
from flag3d_exp.problems.problem import Arrays, backbone_chance
from flag3d_exp.results.density import Density, Joining, joined_density
from flag3d_exp.results.repetitions import count_metrics

if TYPE_CHECKING:
    from mindspore import nn

TOUCHING = 2  # frames between two repetitions that belong to the first one
NEVER = -30.0  # logit
MARGIN = 1.25  # lengths this close to the limits of `lengths` are not judged


@dataclass(frozen=True)
class Count:
    """Settings of `problem=count`.

    Args:
        layout, num_persons, num_channels, clip_len: of the clips, as in `dataset`.
        time_channel, paces: of the clips, as in `pipeline`.
        lengths: shortest and longest repetition that a clip shows, in frames of the clip.
        heads: number of similarities of a frame with the frames around it.
        width: channels of the head.
        length_weight: weight of the error of the length in the loss.
        joining: how the paces are joined to one density.
        objective: metric that decides which epoch is best, unless `task.objective` is set.
    """

    layout: str
    num_channels: Annotated[int, ">= 2"]
    num_persons: Annotated[int, ">= 1"] = 1
    clip_len: Annotated[int, ">= 16, <= 100000"] = 64
    time_channel: bool = True
    paces: list[float] | None = None
    lengths: tuple[Annotated[float, ">= 2"], Annotated[float, ">= 2"]] = (7.0, 28.0)
    heads: Annotated[int, ">= 1"] = 4
    width: Annotated[int, ">= 1"] = 64
    length_weight: Annotated[float, "> 0"] = 1.0
    joining: Joining = field(default_factory=Joining)
    objective: Literal["loss"] = "loss"

    metric_names = ("mae", "obo", "loss")
    classifies = False

    def __post_init__(self) -> None:
        bounds.check(self, "problem")
        if not self.time_channel or not self.paces:
            raise UserError(
                "`problem=count` needs clips of several paces that know the time of their frames: "
                f"`pipeline.time_channel=true` and `pipeline.paces=[...]`; got {self.time_channel} "
                f"and {self.paces}."
            )
        if len(self.lengths) != 2 or not self.lengths[0] < self.lengths[1] <= self.clip_len:
            raise UserError(
                "`problem.lengths` must be two rising numbers, at most `dataset.clip_len`="
                f"{self.clip_len}; got {list(self.lengths)}."
            )
        if self.heads > self.width or self.width % self.heads:
            raise UserError(
                f"`problem.width` must be a multiple of `problem.heads`; got {self.width} and "
                f"{self.heads}."
            )

    def check_recordings(self, split: str, recordings: Sequence[Any]) -> None:
        """Check that the repetitions of all recordings are known.

        Raises:
            UserError: some are not; the message names one of them.
        """
        lacking = [one.name for one in recordings if one.repetitions is None]
        if lacking:
            raise UserError(
                f"`problem=count` needs the field `repetitions` of each recording; {len(lacking)} "
                f"of {len(recordings)} in split {split!r} lack it, such as {lacking[0]!r:.80}."
            )

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """keypoints (N, M, T, V, C) -> (N, T, 2), see `models.counter`.

        Raises:
            UserError: the backbone's features are not of persons, or have too few frames.
        """
        from flag3d_exp.models.counter import Counter
        from flag3d_exp.skeletons.layout import load_layout

        num_joints = load_layout(self.layout).num_joints
        shape = (1, self.num_persons, self.clip_len, num_joints, self.num_channels)
        return Counter(backbone, shape, self.heads, self.width)

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """Cross entropy of repeating, and the error of the length."""
        from flag3d_exp.problems.count_error import CountError

        return CountError(self.length_weight)

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """What the backbone draws."""
        return backbone_chance(network, (*shape[:-1], shape[-1] - 1), rng)

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """The clips without the time; what each frame shows, see `frame_targets`."""
        frames = frames_of(clips, targets["num_frames"])
        return self.test_inputs(clips, targets) | chance, self.frame_targets(frames, targets)

    def frame_targets(self, frames: np.ndarray, targets: Arrays) -> Arrays:
        """`repeating`, `log_length` and `judged`, each (N, T) float32.

        `repeating` is 1 in a frame of a repetition whose length is within `lengths`, else 0;
        `log_length` is the logarithm of this length. `judged` is 0 outside the recording, and where
        the length is close to the limits.

        Args:
            frames: (N, T) numbers of the clips' frames in their recordings.
        """
        repeating = np.zeros(frames.shape, np.float32)
        log_length = np.zeros(frames.shape, np.float32)
        judged = ((frames >= 0) & (frames < targets["num_frames"][:, None])).astype(np.float32)
        low, high = self.lengths
        for row, (own, spans) in enumerate(zip(frames, targets["repetitions"], strict=True)):
            spans = spans[spans[:, 0] >= 0]
            if not len(spans):
                continue
            starts, stops = edges(spans)
            pace = max((own[-1] - own[0]) / (len(own) - 1), 1e-6)
            lengths = (stops - starts) / pace
            at = np.searchsorted(starts, own, side="right") - 1
            inside = (at >= 0) & (own < stops[at])
            length = np.where(inside, lengths[at], 1.0)
            found = inside & (length >= low) & (length <= high)
            near = (length >= low / MARGIN) & (length <= high * MARGIN)
            repeating[row], log_length[row] = found, np.where(found, np.log(length), 0)
            judged[row] *= ~(inside & near & ~found)
        return {"repeating": repeating, "log_length": log_length, "judged": judged}

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """The clips without the time."""
        return {"keypoints": np.ascontiguousarray(clips[..., :-1])}

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """(n, 1) counts.

        Args:
            outputs: (n, num_clips, T, 2).
        """
        found = []
        for own, clip in zip(outputs, clips, strict=True):
            num_frames = frames_in_all(clip, (self.paces or [1.0])[0])
            found.append([self.density(own, clip, num_frames).count])
        return np.array(found, np.float32)

    def density(self, outputs: np.ndarray, clips: np.ndarray, num_frames: int) -> Density:
        """The density of a recording; clips in which nobody is seen repeat nothing.

        Args:
            outputs: (num_clips, T, 2).
            clips: (num_clips, M, T, V, C) of all paces.
            num_frames: of the recording.
        """
        frames = frames_of(clips, np.full(len(clips), num_frames))
        outputs = outputs.copy()
        outputs[~clips[..., :-1].any((1, 2, 3, 4)), :, 0] = NEVER
        return joined_density(outputs, frames, num_frames, self.joining)

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """MAE, OBO in percent, and `loss`, the mean absolute error of log(1 + count)."""
        true = true_counts(targets)
        counts = predictions[:, 0].astype(np.float64)
        found = count_metrics(counts.tolist(), true.tolist())
        errors = np.abs(np.log1p(counts) - np.log1p(true))
        return {
            "mae": found["mae"].value,
            "obo": 100 * found["obo"].value,
            "loss": float(errors.mean()),
        }

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """counts (n,), true_counts (n,)."""
        return {"counts": predictions[:, 0], "true_counts": true_counts(targets)}


def true_counts(targets: Arrays) -> np.ndarray:
    """(n,) from `repetitions` (n, R, 2), where -1 fills up."""
    return (targets["repetitions"][..., 0] >= 0).sum(1)


def edges(spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first frame of each repetition (R, 2), and the one after it; small gaps are closed."""
    starts, stops = spans[:, 0], spans[:, 1] + 1
    gaps = starts[1:] - stops[:-1]
    stops = stops.copy()
    stops[:-1] = np.where(gaps <= TOUCHING, starts[1:], stops[:-1])
    return starts, stops


def frames_of(clips: np.ndarray, num_frames: np.ndarray) -> np.ndarray:
    """(N, T) numbers of the frames of clips (N, M, T, V, C) in their recordings.

    Args:
        num_frames: (N,) frames of the recordings.
    """
    times = clips[:, 0, :, 0, -1].astype(np.float64)
    return np.rint((times + 1) / 2 * num_frames[:, None])


def frames_in_all(clips: np.ndarray, pace: float) -> int:
    """The number of frames of a recording, from the times of its test clips.

    Args:
        pace: of the first clip.
    """
    times = clips[0, 0, :, 0, -1].astype(np.float64)
    return max(1, round(2 * pace * (len(times) - 1) / float(times[-1] - times[0])))
