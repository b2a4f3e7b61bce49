"""3D joints from 2D keypoints (2D-to-3D lifting), trained on motion capture without images.

A virtual camera projects each clip of 3D joints to 2D keypoints. In training, the body is varied
(see `augment.bodies`) and the keypoints get errors. The network predicts the 3D joints relative to
the root, in the camera's coordinates, as VideoPose3D does (Pavllo et al., CVPR 2019).

The network's input has the joints of `layout`: x and y relative to the root and to the person's
size, and 1 if the joint is seen, else 0. Its output is in metres to the right, down and ahead of
the camera. Joints that the camera's layout does not have are predicted, too.

Sizes: n recordings, N clips in a batch, M persons, T frames, V joints, C channels.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from flag3d_exp import bounds
from flag3d_exp.data import upright
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.bodies import Bodies
from flag3d_exp.data.augment.camera import UPWARD, View, VirtualCameras
from flag3d_exp.data.augment.camera import relaid as relaid_in_3d
from flag3d_exp.data.poses import Poses
from flag3d_exp.data.roots import measured_from_root, root_weights
from flag3d_exp.errors import UserError
from flag3d_exp.problems.problem import Arrays, backbone_chance
from flag3d_exp.results import lifting
from flag3d_exp.skeletons.layout import Layout, load_layout
from flag3d_exp.skeletons.mapping import Sources, joint_sources, relaid

if TYPE_CHECKING:
    from mindspore import nn

METRES = {"metres": 1.0, "centimetres": 0.01, "millimetres": 0.001}
SPAN = 8  # frames for which a joint is hidden together


@dataclass(frozen=True)
class Lift:
    """Settings of `problem=lift`.

    Args:
        layout, num_persons, num_channels, score_channel, clip_len: of the clips, as in `dataset`.
        unit: of the recordings; None: metres are assumed, and errors are in the recordings' unit.
        stream: name of the clips' stream, which must be `joint`.
        camera: the virtual cameras; their `layout` is the layout of the 2D keypoints.
        bodies: variation of the bodies in training; None: no variation.
        noise: standard deviation of the errors of 2D keypoints in training, relative to the
            person's size (the root mean square of the joints' distances from the root).
        missing: probability that training hides a 2D joint for 8 frames.
        objective: metric that decides which epoch is best, unless `task.objective` says.
    """

    layout: str
    num_channels: int = 3
    num_persons: Annotated[int, ">= 1"] = 1
    score_channel: bool = False
    clip_len: Annotated[int, ">= 1, <= 100000"] = 32
    unit: Literal["metres", "centimetres", "millimetres"] | None = "metres"
    stream: str = "joint"
    camera: VirtualCameras | None = None
    bodies: Bodies | None = field(default_factory=Bodies)
    noise: Annotated[float, ">= 0"] = 0.01
    missing: Annotated[float, ">= 0, < 1"] = 0.05
    objective: Literal["loss"] = "loss"

    metric_names = (*lifting.METRICS, "loss")
    classifies = False

    def __post_init__(self) -> None:
        bounds.check(self, "problem")
        if (self.num_channels, self.score_channel) != (3, False):
            flat = "2" if self.num_channels - self.score_channel == 2 else "no such"
            raise UserError(
                "`problem=lift` learns from recordings in 3D, `dataset.num_channels=3` and "
                f"`dataset.score_channel=false`; this dataset has {flat} coordinates."
            )
        if self.stream != "joint":
            raise UserError(f"`problem=lift` needs `stream=joint`; got {self.stream}.")
        root_weights(self.skeleton)
        self.check_seen(self.cameras.projected_layout, f"{self.cameras.key}.layout")

    @cached_property
    def skeleton(self) -> Layout:
        """The layout of the 3D joints."""
        return load_layout(self.layout)

    @cached_property
    def cameras(self) -> VirtualCameras:
        """The virtual cameras."""
        if self.camera is not None:
            return self.camera
        return VirtualCameras(self.layout, self.layout, key="problem.camera")

    @cached_property
    def sources(self) -> Sources:
        """For each 3D joint, the joints of the camera's layout whose mean is its 2D keypoint."""
        return joint_sources(self.cameras.projected_layout, self.skeleton)

    @cached_property
    def known_joints(self) -> np.ndarray:
        """Whether each joint has a 2D keypoint in the network's input, (V,) bool."""
        hidden = {self.cameras.projected_layout.joint_number(name) for name in self.cameras.hidden}
        return np.array([bool(ones) and not hidden & set(ones) for ones in self.sources])

    @property
    def metres(self) -> float:
        """Metres per unit of the recordings."""
        return METRES[self.unit or "metres"]

    def check_seen(self, seen: Layout, key: str) -> None:
        """Check that the root can be computed from 2D keypoints of a layout.

        Raises:
            UserError: it can't; the message names the missing joints.
        """
        sources = joint_sources(seen, self.skeleton)
        lacking = [
            name
            for name, ones, weight in zip(
                self.skeleton.joints, sources, root_weights(self.skeleton), strict=True
            )
            if weight and not ones
        ]
        if lacking:
            raise UserError(
                f"`{key}={seen.name}` lacks {' and '.join(lacking)}, which is needed as the "
                "root; use a layout with hips, such as coco."
            )

    def check_input(self, layout: Layout) -> None:
        """Check that a layout has all 2D joints that the network was trained with.

        Raises:
            UserError: it lacks some; the message names them.
        """
        self.check_seen(layout, "task.layout")
        sources = joint_sources(layout, self.skeleton)
        pairs = zip(self.skeleton.joints, sources, self.known_joints, strict=True)
        lacking = [name for name, ones, needed in pairs if needed and not ones]
        if lacking:
            more = ", ..." if len(lacking) > 4 else ""
            raise UserError(
                f"layout {layout.name} lacks {', '.join(lacking[:4])}{more}, which the "
                "network was trained with; train a network with "
                f"`problem.camera.layout={layout.name}`."
            )

    def doubts(self, recordings: Sequence[Recording]) -> list[str]:
        """Warnings about the training recordings, a sentence each."""
        found = upright.doubts(self.cameras, recordings, self.metres)
        if self.unit is None:
            found.append(
                "`dataset.unit` is null: metres are assumed, and errors are in the unit of the "
                "recordings."
            )
        return found

    def network(self, backbone: "nn.Cell") -> "nn.Cell":
        """keypoints (N, M, T, V, 3) -> joints (N, M, T, V, 3).

        Raises:
            UserError: the backbone's features are not of persons.
        """
        from flag3d_exp.models.reconstructor import Reconstructor

        shape = (1, self.num_persons, self.clip_len, self.skeleton.num_joints, 3)
        return Reconstructor(backbone, shape, 3)

    def criterion(self, targets: Arrays) -> "nn.Cell":
        """The mean distance of a joint in metres."""
        from flag3d_exp.problems.lift_error import LiftError

        return LiftError()

    def chance(self, network: "nn.Cell", shape: Sequence[int], rng: np.random.Generator) -> Arrays:
        """`seed` (1,) of bodies, cameras and errors, then what the backbone draws."""
        return {"seed": rng.integers(2**63, size=1), **backbone_chance(network, shape, rng)}

    def batch(self, clips: np.ndarray, targets: Arrays, chance: Arrays) -> tuple[Arrays, Arrays]:
        """2D keypoints of varied bodies; the true joints in camera coordinates, and a mask."""
        drawn = dict(chance)
        rng = np.random.default_rng(drawn.pop("seed"))
        joints, there = self._upward(clips)
        if self.bodies is not None:
            joints, there = self.bodies(joints, there, self.skeleton, rng)
        pairs = [self._filmed_clip(one, own, rng) for one, own in zip(joints, there, strict=True)]
        keypoints = np.stack([one for one, _ in pairs])
        keypoints = with_errors(keypoints, self.noise, self.missing, rng)
        root = root_weights(self.skeleton)
        counted = there & there[..., root > 0].all(-1, keepdims=True)
        places = np.stack(
            [view.coordinates(one) for (_, view), one in zip(pairs, joints, strict=True)]
        )
        places = lifting.relative(places, root).astype(np.float32) * counted[..., None]
        return (
            {"keypoints": keypoints, **drawn},
            {"places": places, "counted": counted.astype(np.float32)},
        )

    def test_inputs(self, clips: np.ndarray, targets: Arrays) -> Arrays:
        """2D keypoints without errors; the camera of a clip depends on the clip only."""
        return {"keypoints": np.stack([self._seen_in_test(clip)[0] for clip in clips])}

    def predictions(self, outputs: np.ndarray, clips: np.ndarray) -> np.ndarray:
        """(n, V, 8), see `lifting.sums`; in millimetres if the unit is known.

        Args:
            outputs: (n, num_clips, M, T, V, 3).
        """
        joints, there = self._upward(clips)
        flat = clips.reshape(-1, *clips.shape[2:])
        views = [self._seen_in_test(clip)[1] for clip in flat]
        joints = joints.reshape(flat.shape)
        true = np.stack([view.coordinates(one) for view, one in zip(views, joints, strict=True)])
        root = root_weights(self.skeleton)
        errors = lifting.joint_errors(outputs, true.reshape(outputs.shape), there, root)
        return lifting.sums(errors * (1000 if self.unit else 1))

    def metrics(self, predictions: np.ndarray, targets: Arrays) -> dict[str, float]:
        """The means over all joints, and `loss`, the MPJPE in metres (if the unit is known)."""
        found = lifting.means(predictions.sum((0, 1), dtype=np.float64))
        named = dict(zip(lifting.METRICS, found.tolist(), strict=True))
        return {**named, "loss": named["mpjpe"] / (1000 if self.unit else 1)}

    def arrays_to_save(self, predictions: np.ndarray, targets: Arrays) -> Arrays:
        """`joint_errors` (n, V, 4), the metrics; `labels` (n,), `joints` (V,), `measures` (4,)."""
        return {
            "joint_errors": lifting.means(predictions).astype(np.float32),
            "labels": targets["label"],
            "joints": np.array(self.skeleton.joints),
            "measures": np.array(lifting.METRICS),
        }

    def keypoints(self, pixels: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The network's input (M, T, V, 3) for 2D joints (M, T, V, 2) and a mask (M, T, V)."""
        return measured_from_root(pixels, seen & self.known_joints, root_weights(self.skeleton))

    def _upward(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Joints (..., V, 3) in metres, with the last axis upwards, and their mask (..., V)."""
        joints = clips[..., UPWARD[self.cameras.up]] * np.float32(self.metres)
        return joints, clips.any(-1)

    def _seen_in_test(self, clip: np.ndarray) -> tuple[np.ndarray, View]:
        """As `_filmed_clip`, with a camera seeded by the clip (M, T, V, 3)."""
        rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(clip).tobytes()))
        return self._filmed_clip(*self._upward(clip), rng)

    def _filmed_clip(
        self, joints: np.ndarray, there: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, View]:
        """The network's input (M, T, V, 3) for a clip, and the camera."""
        points = joints[there] if there.any() else np.zeros((1, 3), np.float32)
        view = self.cameras.view(points, rng)
        seen = self.cameras.projected_layout
        if seen.joints == self.skeleton.joints:
            return self.keypoints(view.pixels(joints), there), view
        poses = relaid_in_3d(Poses(joints, there), self.skeleton, seen)
        pixels = view.pixels(poses.keypoints) * poses.visible[..., None]
        pixels, _ = relaid(pixels, None, self.sources)
        return self.keypoints(pixels, pixels.any(-1)), view


def with_errors(
    keypoints: np.ndarray, noise: float, missing: float, rng: np.random.Generator
) -> np.ndarray:
    """Keypoints (N, M, T, V, 3) with Gaussian noise, and with joints hidden for `SPAN` frames."""
    n, m, t, v, _ = keypoints.shape
    errors = np.float32(noise) * rng.standard_normal((n, m, t, v, 2), np.float32)
    hidden = rng.random((n, m, -(-t // SPAN), v)) < missing
    hidden = np.repeat(hidden, SPAN, axis=2)[:, :, :t]
    made = keypoints.copy()
    made[..., :2] += errors
    made *= (keypoints[..., 2:] > 0) & ~hidden[..., None]
    return made
