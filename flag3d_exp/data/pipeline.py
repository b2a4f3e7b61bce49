"""How a recording becomes network input: once for graph networks, once for heatmap networks.

Missing joints are 0 in every channel of the input, the score included; see `poses`.

Sizes: M persons, T frames of a clip, T0 of the recording, V joints, C channels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import boxes, transforms
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.poses import Poses, poses_of
from flag3d_exp.data.sampling import fixed_indices, random_indices
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import Layout, load_layout


@dataclass(frozen=True)
class GraphPipeline:
    """Joints, normalised and as a stream, for networks that convolve over the skeleton's graph.

    Args:
        normalise: none; image ([-1, 1] of the image), box ([-1, 1] of the persons' box) in 2D;
            center (the layout's centre joint starts at the origin), body (NTU RGB+D: centred,
            spine upwards, shoulders along x) in 3D.
        score_threshold: joints with a score of at most this are missing; None: of at most 0.
        mask_missing: False: take missing joints for visible ones at 0, as FLAG3D's authors did.
        score_channel: the joint's score is the last channel.
        clip_len: frames of a clip, T.
        num_clips: clips of a recording over which a test averages.
        test_mirrored: average over mirrored test clips as well.
        part: range of the share of a recording from which a training clip is taken.
        tempo: largest departure from the mean speed in training, 0 to below 1.
        rotation: largest angle about each axis, radians.
        scale: largest change of size along each axis, as a share.
        shear: largest shear of one axis by another.
        mirror: probability of exchanging left and right.
        joint_dropout: probability of losing a joint for the whole clip.
    """

    layout: str
    num_persons: Annotated[int, ">= 1"] = 1
    normalise: Literal["none", "image", "box", "center", "body"] = "none"
    score_threshold: float | None = None
    mask_missing: bool = True
    score_channel: bool = False
    clip_len: Annotated[int, ">= 1, <= 100000"] = 100
    num_clips: Annotated[int, ">= 1, <= 1000"] = 1
    test_mirrored: bool = False
    part: tuple[float, float] = (1.0, 1.0)
    tempo: Annotated[float, ">= 0, < 1"] = 0.0
    rotation: Annotated[float, ">= 0"] = 0.0
    scale: Annotated[float, ">= 0"] = 0.0
    shear: Annotated[float, ">= 0"] = 0.0
    mirror: Annotated[float, ">= 0, <= 1"] = 0.0
    joint_dropout: Annotated[float, ">= 0, <= 1"] = 0.0

    def __post_init__(self) -> None:
        bounds.check(self, "pipeline")
        _check_pair("part", self.part, 0, 1)

    @property
    def needs_image(self) -> bool:
        """Whether a recording must say how large its image is."""
        return self.normalise == "image"

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the joints."""
        return load_layout(self.layout)

    def train_clips(
        self, recording: Recording, stream: Stream, rng: np.random.Generator
    ) -> np.ndarray:
        """(1, M, T, V, C) float32: a random clip."""
        poses = self._prepared(recording, stream)
        num_frames = poses.visible.shape[1]
        indices = random_indices(num_frames, self.clip_len, rng, self.part, self.tempo)
        clip = self._changed(poses.frames(indices), rng)
        return clip.with_persons(self.num_persons).array(self.score_channel)[None]

    def test_clips(self, recording: Recording, stream: Stream) -> np.ndarray:
        """(num_clips, M, T, V, C) float32, the mirrored ones after the others."""
        poses = self._prepared(recording, stream).with_persons(self.num_persons)
        num_frames = poses.visible.shape[1]
        indices = fixed_indices(num_frames, self.clip_len, self.num_clips, self.part)
        clips = [poses.frames(indices)]  # (M, num_clips, T, V)
        if self.test_mirrored:
            clips.append(transforms.mirrored(clips[0], self.skeleton.mirror_order))
        return _stacked(clips, self.score_channel)

    def _prepared(self, recording: Recording, stream: Stream) -> Poses:
        """The whole recording (M, T', V), normalised, as a stream."""
        poses = poses_of(recording, self.score_threshold, mask_missing=self.mask_missing)
        match self.normalise:
            case "image":
                poses = transforms.normalise_image(poses, _image_shape(recording))
            case "box":
                poses = transforms.normalise_box(poses)
            case "center":
                poses = transforms.normalise_center(poses, self.skeleton.center)
            case "body":
                poses = transforms.normalise_body(poses)
        return stream(poses, self.skeleton)

    def _changed(self, clip: Poses, rng: np.random.Generator) -> Poses:
        """A clip with the random changes of training. Every change is linear, so that those of
        joints, bones and motions agree."""
        size = clip.keypoints.shape[-1]
        matrix = np.eye(size)
        if self.scale:
            matrix = np.diag(1 + rng.uniform(-self.scale, self.scale, size))
        if self.shear:
            amount = rng.uniform(-self.shear, self.shear, (size, size))
            matrix = (np.eye(size) + amount * (1 - np.eye(size))) @ matrix
        if self.rotation:
            angles = rng.uniform(-self.rotation, self.rotation, 3 if size == 3 else 1)
            matrix = transforms.rotation(angles) @ matrix
        if self.scale or self.shear or self.rotation:
            clip = transforms.mapped(clip, matrix)
        if self.mirror and rng.random() < self.mirror:
            clip = transforms.mirrored(clip, self.skeleton.mirror_order)
        if self.joint_dropout:
            num_joints = self.skeleton.num_joints
            clip = transforms.without_joints(clip, rng.random(num_joints) < self.joint_dropout)
        return clip


@dataclass(frozen=True)
class HeatmapPipeline:
    """Joints in pixels of a small square crop around the persons, for networks that draw heatmaps.

    Training crops at random; testing takes all of the box. An unknown score counts as 1, but that
    of a missing joint is 0, so that none is drawn.

    Args:
        score_threshold, clip_len, num_clips, test_mirrored, part, tempo, mirror, joint_dropout: as
            in GraphPipeline.
        padding: how much wider than the persons the box is, as a share.
        short_side: side to which the box is resized before the random crop, pixels.
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
    part: tuple[float, float] = (1.0, 1.0)
    tempo: Annotated[float, ">= 0, < 1"] = 0.0
    padding: Annotated[float, ">= 0"] = 0.25
    short_side: Annotated[int, ">= 1"] = 64
    area: tuple[float, float] = (0.56, 1.0)
    ratio: tuple[float, float] = (0.75, 1.3333333)
    train_size: Annotated[int, ">= 1"] = 56
    test_size: Annotated[int, ">= 1"] = 64
    mirror: Annotated[float, ">= 0, <= 1"] = 0.5
    joint_dropout: Annotated[float, ">= 0, <= 1"] = 0.0

    def __post_init__(self) -> None:
        bounds.check(self, "pipeline")
        for name, low, high in (("part", 0, 1), ("area", 0, 1), ("ratio", 0, None)):
            _check_pair(name, getattr(self, name), low, high)

    needs_image = True
    normalise = "none"
    score_channel = True

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the joints."""
        return load_layout(self.layout)

    def train_clips(
        self, recording: Recording, stream: Stream, rng: np.random.Generator
    ) -> np.ndarray:
        """(1, M, T, V, 3) float32: x and y in pixels of the heatmaps, and the score."""
        num_frames = recording.keypoints.shape[1]
        indices = random_indices(num_frames, self.clip_len, rng, self.part, self.tempo)
        clip, shape = self._boxed(recording, indices)
        side = boxes.short_side(shape, self.short_side)
        clip = boxes.resized(clip, shape, side)
        corner, crop = boxes.random_crop(side, self.area, self.ratio, rng)
        size = (self.train_size, self.train_size)
        clip = boxes.resized(boxes.cropped(clip, corner), crop, size)
        if self.mirror and rng.random() < self.mirror:
            clip = boxes.flipped(clip, self.train_size, self.skeleton.mirror_order)
        if self.joint_dropout:
            num_joints = self.skeleton.num_joints
            clip = transforms.without_joints(clip, rng.random(num_joints) < self.joint_dropout)
        return clip.with_persons(self.num_persons).array(self.score_channel)[None]

    def test_clips(self, recording: Recording, stream: Stream) -> np.ndarray:
        """(num_clips, M, T, V, 3) float32 as above, the mirrored clips after the others."""
        num_frames = recording.keypoints.shape[1]
        indices = fixed_indices(num_frames, self.clip_len, self.num_clips, self.part)
        poses, shape = self._boxed(recording, indices.reshape(-1))
        poses = boxes.resized(poses, shape, (self.test_size, self.test_size))
        poses = poses.with_persons(self.num_persons)
        clips = [poses.frames(np.arange(indices.size).reshape(indices.shape))]
        if self.test_mirrored:
            # The pixel centres are at whole numbers, so the last one is at size - 1.
            order = self.skeleton.mirror_order
            clips.append(boxes.flipped(clips[0], self.test_size - 1, order))
        return _stacked(clips, self.score_channel)

    def _boxed(self, recording: Recording, indices: np.ndarray) -> tuple[Poses, tuple[int, int]]:
        """The frames with these numbers in the persons' box, and the shape of the box."""
        poses = poses_of(recording, self.score_threshold, indices)
        return boxes.compact(poses, _image_shape(recording), self.padding)


Pipeline = GraphPipeline | HeatmapPipeline


def _stacked(clips: list[Poses], score_channel: bool) -> np.ndarray:
    """Clips (M, num_clips, T, V) one after the other: (all clips, M, T, V, C)."""
    arrays = [one.array(score_channel).swapaxes(0, 1) for one in clips]
    return np.ascontiguousarray(np.concatenate(arrays))


def _image_shape(recording: Recording) -> tuple[int, int]:
    if recording.image_shape is None:
        raise UserError(
            f"recording {recording.name!r} has no `image_shape` to scale its pixels by."
        )
    return recording.image_shape


def _check_pair(name: str, pair: tuple[float, float], low: float, high: float | None) -> None:
    if len(pair) != 2 or not low < pair[0] <= pair[1] or (high is not None and pair[1] > high):
        limits = f"above {low}" if high is None else f"above {low} and at most {high}"
        raise UserError(f"`pipeline.{name}` must be two rising numbers {limits}; got {list(pair)}.")
