"""Convert a recording to network input: one pipeline for graph networks, one for heatmap networks.

Missing joints are 0 in every channel of the input, including the score; see `poses`.

Sizes: M persons, T frames of a clip, T0 of the recording, V joints, C channels.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import boxes, transforms
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.clip import Clip
from flag3d_exp.data.augment.recipe import NOTHING, Recipe
from flag3d_exp.data.poses import Poses, poses_of
from flag3d_exp.data.sampling import (
    covering_indices,
    even_starts,
    even_times,
    fixed_indices,
    paced_indices,
    successive_indices,
)
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import Layout, load_layout


@dataclass(frozen=True)
class GraphPipeline:
    """Normalised joints as a stream, for networks that convolve over the skeleton's graph.

    Args:
        normalise: none; in 2D image ([-1, 1] of the image), box ([-1, 1] of the persons' box) or
            frame ([-1, 1] of each person's box in each frame, for data that was published so); in
            3D center (the layout's centre joint starts at the origin) or body (NTU RGB+D: centred,
            spine upwards, shoulders along x).
        score_threshold: joints with a score of at most this are missing; None means 0.
        mask_missing: False treats missing joints as visible ones at 0, as FLAG3D's authors did.
        score_channel: the joint's score is the last channel.
        clip_len: frames of a clip, T.
        num_clips: clips per recording over which a test averages.
        test_mirrored: also average over mirrored test clips.
        test_part: range of the share of a recording from which test clips are taken.
        joint_channels: add the joints' coordinates after the stream's channels, with the same
            random changes.
        time_channel: add the frame's time as the last channel, from -1 at the recording's start
            towards 1 at its end; missing joints have it too.
        successive: use successive frames at the recording's own rate instead of frames sampled over
            all of it; test clips start at even distances, and `test_part` has no effect.
        even: use evenly spaced times of the whole recording, with poses interpolated between its
            frames; in training, of a random part of it, `augment.frames.part`. All test clips of a
            recording are equal, and `test_part` has no effect.
        paces: frames of the recording from one frame of a clip to the next, rising. A training clip
            has a random pace between the first and the last; the test clips of each pace cover the
            whole recording, half overlapping. A clip is changed and normalised on its own. Frames
            before the recording's start or after its end are missing. `num_clips`, `test_part`,
            `test_mirrored` and `augment.frames` have no effect. None: see `successive`.
        fill_gaps: joints that are missing in some frames of a clip move linearly between the frames
            in which they are visible; before the first and after the last, they rest.
    """

    layout: str
    num_persons: Annotated[int, ">= 1"] = 1
    normalise: Literal["none", "image", "box", "frame", "center", "body"] = "none"
    score_threshold: float | None = None
    mask_missing: bool = True
    score_channel: bool = False
    clip_len: Annotated[int, ">= 1, <= 100000"] = 100
    num_clips: Annotated[int, ">= 1, <= 1000"] = 1
    test_mirrored: bool = False
    test_part: tuple[float, float] = (1.0, 1.0)
    joint_channels: bool = False
    time_channel: bool = False
    successive: bool = False
    even: bool = False
    paces: Annotated[list[Annotated[float, "> 0, <= 1000"]], "not empty"] | None = None
    fill_gaps: bool = False

    def __post_init__(self) -> None:
        bounds.check(self, "pipeline")
        bounds.check_rising("pipeline.test_part", self.test_part, 0, 1)
        if self.successive and self.even:
            raise UserError(
                "`pipeline.successive` and `pipeline.even` exclude each other; got true for both."
            )
        if self.paces is not None and self.paces != sorted(set(self.paces)):
            raise UserError(f"`pipeline.paces` must be rising numbers; got {self.paces}.")
        if self.paces is not None and (self.successive or self.even):
            other = "successive" if self.successive else "even"
            raise UserError(f"`pipeline.paces` and `pipeline.{other}` exclude each other.")
        if self.paces is not None and self.normalise == "body":
            raise UserError(
                "`pipeline.paces` needs all frames of a clip, but `dataset.normalise=body` leaves "
                "out some; use another `dataset.normalise`, such as `center`."
            )

    def num_channels(self, num_coordinates: int) -> int:
        """C of the clips."""
        stream = num_coordinates + self.score_channel
        return stream + num_coordinates * self.joint_channels + self.time_channel

    @property
    def needs_image(self) -> bool:
        """Whether recordings need `image_shape`."""
        return self.normalise == "image"

    @property
    def varies(self) -> bool:
        """Whether the number of test clips depends on the recording."""
        return self.paces is not None

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the joints."""
        return load_layout(self.layout)

    def train_clips(
        self,
        recording: Recording,
        stream: Stream,
        rng: np.random.Generator,
        augment: Recipe = NOTHING,
        donors: Sequence[Recording] = (),
    ) -> np.ndarray:
        """(1, M, T, V, C) float32: a random clip.

        Args:
            augment: the random changes.
            donors: recordings of the same class.
        """
        clip = self._recorded(recording, donors)
        times = None
        if self.paces is not None:
            num_frames = clip.poses.visible.shape[1]
            times = paced_indices(num_frames, self.clip_len, self.paces, rng)
            clip = clip.of(clip.poses.frames_at(times))
        clip = augment.changed_recording(clip, rng)
        joints = self._prepared_recording(clip, recording.name)
        if self.even:
            share = rng.uniform(*augment.frames.part)
            joints = joints.at(even_times(joints.visible.shape[1], self.clip_len, share, rng))
        if times is None:
            num_frames = joints.visible.shape[1]  # `body` leaves out frames
            indices = times = self._train_indices(num_frames, augment, rng)
        else:
            indices = np.arange(self.clip_len)
        places = None
        if self.joint_channels:
            same = deepcopy(rng)  # draws the same changes as for the stream
            places = augment.changed_clip(Clip(joints.frames(indices), self.skeleton), same).poses
        poses = stream(joints, self.skeleton).frames(indices)
        poses = augment.changed_clip(Clip(poses, self.skeleton), rng).poses
        return self._array(poses, places, 2 * times / num_frames - 1)[None]

    def test_clips(self, recording: Recording, stream: Stream) -> np.ndarray:
        """(num_clips, M, T, V, C) float32; mirrored clips come last."""
        if self.paces is not None:
            return self._paced_tests(recording, stream)
        joints = self._prepared_recording(self._recorded(recording), recording.name)
        if self.even:
            joints = joints.at(even_times(joints.visible.shape[1], self.clip_len))
        num_frames = joints.visible.shape[1]
        indices = self._test_indices(num_frames)
        poses = stream(joints, self.skeleton).with_persons(self.num_persons).frames(indices)
        places = joints.frames(indices) if self.joint_channels else None  # (M, num_clips, T, V)
        times = 2 * indices / num_frames - 1
        clips = [self._array(poses, places, times)]
        if self.test_mirrored:
            order = self.skeleton.mirror_order
            places = None if places is None else transforms.mirrored_poses(places, order)
            clips.append(self._array(transforms.mirrored_poses(poses, order), places, times))
        return _stacked_clips(clips)

    def _paced_tests(self, recording: Recording, stream: Stream) -> np.ndarray:
        """(num_clips, M, T, V, C): the test clips of all paces, each prepared on its own."""
        whole = self._recorded(recording)
        num_frames = whole.poses.visible.shape[1]
        clips = []
        for indices in covering_indices(num_frames, self.clip_len, self.paces or ()):
            clip = whole.of(whole.poses.frames_at(indices))
            joints = self._prepared_recording(clip, recording.name).with_persons(self.num_persons)
            poses = stream(joints, self.skeleton)
            places = joints if self.joint_channels else None
            clips.append(self._array(poses, places, 2 * indices / num_frames - 1))
        return np.stack(clips)

    def _train_indices(
        self, num_frames: int, augment: Recipe, rng: np.random.Generator
    ) -> np.ndarray:
        """(T,) frame indices of a random clip."""
        if self.even:
            return np.arange(self.clip_len)
        if not self.successive:
            return augment.frames(num_frames, self.clip_len, rng)
        start = np.asarray(rng.integers(max(num_frames - self.clip_len, 0) + 1))
        return successive_indices(num_frames, self.clip_len, start)

    def _test_indices(self, num_frames: int) -> np.ndarray:
        """(num_clips, T) frame indices of the test clips."""
        if self.even:
            return np.tile(np.arange(self.clip_len), (self.num_clips, 1))
        if not self.successive:
            return fixed_indices(num_frames, self.clip_len, self.num_clips, self.test_part)
        starts = even_starts(num_frames, self.clip_len, self.num_clips)
        return successive_indices(num_frames, self.clip_len, starts)

    def _recorded(self, recording: Recording, donors: Sequence[Recording] = ()) -> Clip:
        """The whole recording (M, T0, V)."""
        poses = poses_of(recording, self.score_threshold, mask_missing=self.mask_missing)
        return Clip(poses, self.skeleton, recording.image_shape, donors, self.score_threshold)

    def _prepared_recording(self, clip: Clip, name: str) -> Poses:
        """The whole recording (M, T', V), normalised."""
        poses = clip.poses
        match self.normalise:
            case "image":
                poses = transforms.normalise_image(poses, _image_shape(clip, name))
            case "box":
                poses = transforms.normalise_box(poses)
            case "frame":
                poses = transforms.normalise_frame(poses)
            case "center":
                poses = transforms.normalise_center(poses, self.skeleton.center)
            case "body":
                poses = transforms.normalise_body(poses)
        return poses

    def _array(self, poses: Poses, places: Poses | None, times: np.ndarray) -> np.ndarray:
        """(M, ..., T, V, C) float32 of one or more clips: the stream and the additional channels.

        Args:
            places: the joints from which the stream was computed.
            times: (..., T) times of the frames.
        """
        if self.fill_gaps:
            poses = transforms.fill_gaps(poses)
        parts = [poses.with_persons(self.num_persons).array(self.score_channel)]
        if places is not None:
            parts.append(places.with_persons(self.num_persons).keypoints)
        if self.time_channel:
            shape = (*parts[0].shape[:-1], 1)
            parts.append(np.broadcast_to(times[..., None, None], shape))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, -1, dtype=np.float32)


@dataclass(frozen=True)
class HeatmapPipeline:
    """Joints in pixels of a small square crop around the persons, for networks that draw heatmaps.

    Training uses random crops of the persons' box; testing uses the whole box. Unknown scores are
    1, but the score of a missing joint is 0, so that it is not drawn.

    Args:
        score_threshold, clip_len, num_clips, test_mirrored, test_part: as in GraphPipeline.
        padding: relative increase of the persons' box.
        short_side: length to which the box's shorter side is resized before the crop, pixels.
        area: range of the share of the box that the random crop keeps.
        ratio: range of the random crop's width / height.
        train_size: height and width of the heatmaps in training.
        test_size: height and width of the heatmaps otherwise.
    """

    layout: str
    num_persons: Annotated[int, ">= 1"] = 1
    score_threshold: float | None = None
    clip_len: Annotated[int, ">= 1, <= 100000"] = 48
    num_clips: Annotated[int, ">= 1, <= 1000"] = 1
    test_mirrored: bool = False
    test_part: tuple[float, float] = (1.0, 1.0)
    padding: Annotated[float, ">= 0"] = 0.25
    short_side: Annotated[int, ">= 1"] = 64
    area: tuple[float, float] = (0.56, 1.0)
    ratio: tuple[float, float] = (0.75, 1.3333333)
    train_size: Annotated[int, ">= 1"] = 56
    test_size: Annotated[int, ">= 1"] = 64

    def __post_init__(self) -> None:
        bounds.check(self, "pipeline")
        for name, low, high in (("test_part", 0, 1), ("area", 0, 1), ("ratio", 0, None)):
            bounds.check_rising(f"pipeline.{name}", getattr(self, name), low, high)

    needs_image = True
    varies = False
    normalise = "none"
    score_channel = True

    def num_channels(self, num_coordinates: int) -> int:
        """C of the clips."""
        return 3  # x, y and score

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the joints."""
        return load_layout(self.layout)

    def train_clips(
        self,
        recording: Recording,
        stream: Stream,
        rng: np.random.Generator,
        augment: Recipe = NOTHING,
        donors: Sequence[Recording] = (),
    ) -> np.ndarray:
        """(1, M, T, V, 3) float32: x and y in pixels of the heatmaps, and the score.

        Args:
            augment, donors: as in GraphPipeline.
        """
        indices = augment.frames(recording.keypoints.shape[1], self.clip_len, rng)
        clip = augment.changed_recording(self._recorded(recording, indices, donors), rng)
        poses, shape = boxes.compact(clip.poses, _image_shape(clip, recording.name), self.padding)
        side = boxes.short_side(shape, self.short_side)
        poses = boxes.resized_poses(poses, shape, side)
        corner, crop = boxes.random_crop(side, self.area, self.ratio, rng)
        size = (self.train_size, self.train_size)
        poses = boxes.resized_poses(boxes.cropped_poses(poses, corner), crop, size)
        clip = augment.changed_clip(Clip(poses, self.skeleton, size), rng)
        return clip.poses.with_persons(self.num_persons).array(self.score_channel)[None]

    def test_clips(self, recording: Recording, stream: Stream) -> np.ndarray:
        """(num_clips, M, T, V, 3) float32, as in `train_clips`; mirrored clips come last."""
        num_frames = recording.keypoints.shape[1]
        indices = fixed_indices(num_frames, self.clip_len, self.num_clips, self.test_part)
        clip = self._recorded(recording, indices.reshape(-1))
        poses, shape = boxes.compact(clip.poses, _image_shape(clip, recording.name), self.padding)
        poses = boxes.resized_poses(poses, shape, (self.test_size, self.test_size))
        poses = poses.with_persons(self.num_persons)
        clips = [poses.frames(np.arange(indices.size).reshape(indices.shape))]
        if self.test_mirrored:
            # Pixel centres are at integers, so the last one is at size - 1.
            order = self.skeleton.mirror_order
            clips.append(boxes.flipped_poses(clips[0], self.test_size - 1, order))
        return _stacked_clips([one.array(self.score_channel) for one in clips])

    def _recorded(
        self, recording: Recording, indices: np.ndarray, donors: Sequence[Recording] = ()
    ) -> Clip:
        """The clip with the frames of these indices."""
        poses = poses_of(recording, self.score_threshold, indices)
        return Clip(poses, self.skeleton, recording.image_shape, donors, self.score_threshold)


Pipeline = GraphPipeline | HeatmapPipeline
NO_IMAGE_SHAPE = "has no `image_shape` (height and width in pixels), which scaling pixels needs."


def _stacked_clips(clips: list[np.ndarray]) -> np.ndarray:
    """(all clips, M, T, V, C) from a list of clips (M, num_clips, T, V, C)."""
    return np.ascontiguousarray(np.concatenate([one.swapaxes(0, 1) for one in clips]))


def _image_shape(clip: Clip, name: str) -> tuple[int, int]:
    if clip.image_shape is None:
        raise UserError(f"recording {name!r} {NO_IMAGE_SHAPE}")
    return clip.image_shape
