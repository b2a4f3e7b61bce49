"""Transforms and test pipelines against the reference's outputs, case by case.

Here a missing joint stays 0 in every channel; the reference moves some of them, and reckons with
them. Where it does, either its output is compared at the visible joints, or every joint is taken
for visible.
"""

import json

import numpy as np
import pytest

from flag3d_exp.data import boxes, transforms
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.poses import Poses, visible
from flag3d_exp.data.sampling import TEST_SEED, clip_indices, fixed_indices
from flag3d_exp.data.transforms import Stream
from flag3d_exp.skeletons.layout import load_layout

COCO = load_layout("coco")
STREAMS = {
    "j": Stream("joint"),
    "b": Stream("bone", bones=True),
    "jm": Stream("joint_motion", motion=True),
    "bm": Stream("bone_motion", bones=True, motion=True),
}
# Cases of the heatmap networks' first lines (tests/models), and what we have no use for.
ELSEWHERE = {
    "heat_kp",
    "heat_kp_noscore",
    "heat_kp_double",
    "heat_limb",
    "heat_limb_default",
    "heat_limb_double",
    "heat_scaling",
    "format_heatmap",
    "pad_zero",  # short recordings run over again
    "merge",  # a run has one stream
    "flip_never",
}


class Case:
    """One case: its step's settings, and its arrays by name."""

    def __init__(self, case, arrays):
        self.name, self.tolerance, self.extra = case["name"], case["tolerance"], case
        self.transform, self.settings = case["steps"][0]["transform"], case["steps"][0]
        self.inputs = {key: self.value(value, arrays) for key, value in case["inputs"].items()}
        self.outputs = {key: self.value(value, arrays) for key, value in case["outputs"].items()}
        self.keypoints = self.inputs.get("keypoint")
        self.scores = self.inputs.get("keypoint_score")
        self.shape = tuple(self.inputs.get("img_shape", (1080, 1920)))

    @staticmethod
    def value(value, arrays):
        return arrays[value["array"]] if isinstance(value, dict) and "array" in value else value

    def poses(self, score_threshold=None, all_visible=False):
        """The case's poses; its scores may be a last channel of its keypoints."""
        keypoints, scores = np.asarray(self.keypoints, np.float32), self.scores
        if scores is None and self.scored:
            keypoints, scores = keypoints[..., :-1], keypoints[..., -1]
        there = visible(keypoints, scores, score_threshold)
        return Poses(keypoints, there | all_visible, scores)

    @property
    def scored(self):
        """Whether there are scores; in 2D layouts they are the third channel."""
        in_channel = self.settings.get("dataset") == "coco" and self.keypoints.shape[-1] == 3
        return self.scores is not None or in_channel

    def check(self, where=None, **outputs):
        """Compare with the reference's; `where` (M, T, V): at these joints, and 0 at the others."""
        for key, output in outputs.items():
            output, expected = np.asarray(output, float), np.asarray(self.outputs[key], float)
            if where is not None:
                assert where.any() and not output[~where].any()
                output, expected = output[where], expected[where]
            np.testing.assert_allclose(
                output, expected, rtol=0, atol=self.tolerance, err_msg=f"{self.name}: {key}"
            )


@pytest.fixture(scope="module")
def cases(shared):
    folder = shared / "parity"
    cases = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))["cases"]
    with np.load(folder / "transforms.npz") as arrays:
        return {case["name"]: Case(case, arrays) for case in cases}


@pytest.fixture(scope="module")
def family(cases):
    """The cases whose names begin with a word; which were asked for is kept in `seen`."""

    def named(prefix):
        found = [case for name, case in cases.items() if name.startswith(prefix)]
        assert found, prefix
        named.seen.update(case.name for case in found)
        return found

    named.seen = set()
    return named


def test_image_normalisation_equals_the_reference(family):
    for case in family("prenorm2d"):
        poses = case.poses(case.settings.get("threshold", 0.01))
        if case.settings.get("mode") == "auto":
            placed = transforms.normalise_box(poses)
        else:
            placed = transforms.normalise_image(poses, case.shape)
        case.check(keypoint=placed.array(case.scored), where=poses.visible)
        if case.scored:  # the reference zeroes these, too, but leaves their scores
            assert not case.outputs["keypoint"][~poses.visible][:, :2].any()


def test_body_normalisation_equals_the_reference(family):
    for case in family("prenorm3d"):
        joints = {}
        if not case.settings.get("align_spine", True):
            joints = {"spine": None, "shoulders": None}
        if "zaxis" in case.settings:
            joints = {"spine": case.settings["zaxis"], "shoulders": case.settings["xaxis"][::-1]}
        case.check(keypoint=transforms.normalise_body(case.poses(), **joints).keypoints)


def test_bones_and_motions_equal_the_reference(family):
    for case in [*family("bone_"), *family("motion_")]:
        stream = STREAMS["jm" if case.transform == "ToMotion" else "b"]
        layout, key = load_layout(case.settings["dataset"]), case.settings.get("target", "motion")
        output = stream(case.poses(all_visible=True), layout)
        case.check(**{key: output.array(case.scored)})
        output = stream(case.poses(), layout)
        case.check(**{key: output.array(case.scored)}, where=output.visible)


def test_streams_equal_the_reference(family):
    for case in family("feat_"):
        layout = load_layout(case.settings["dataset"])
        poses = case.poses(all_visible=True)
        streams = [STREAMS[name](poses, layout) for name in case.settings["feats"]]
        case.check(keypoint=np.concatenate([poses.array(case.scored) for poses in streams], -1))


def test_test_clips_have_the_frames_of_the_reference(family):
    sampled = [case for case in family("sample_") if case.transform == "UniformSample"]
    assert len(sampled) > 70
    for case in sampled:
        settings = case.settings
        part = tuple(settings.get("p_interval", (1, 1)))
        indices = fixed_indices(
            case.inputs["total_frames"], settings["clip_len"], settings["num_clips"], part
        )
        case.check(frame_inds=indices.reshape(-1))


def test_a_drawn_start_gives_the_frames_of_the_reference(family):
    for case in family("sample_decode"):
        rng = np.random.RandomState(TEST_SEED)  # noqa: NPY002
        num_frames, clip_len = case.keypoints.shape[1], case.settings["clip_len"]
        clips = [clip_indices(num_frames, clip_len, rng) for _ in range(case.settings["num_clips"])]
        case.check(keypoint=case.keypoints[:, np.concatenate(clips)])


def test_frames_are_taken_by_index(family):
    for case in family("decode"):
        frames = case.inputs["frame_inds"]
        case.check(keypoint=case.keypoints[:, frames].astype(np.float32))
    for case in family("pad_loop"):
        rng = np.random.default_rng(0)
        frames = clip_indices(case.keypoints.shape[1], case.settings["length"], rng, start=0)
        case.check(keypoint=case.keypoints[:, frames])


def test_persons_and_scores_are_laid_out_as_in_the_reference(family):
    for case in family("format_"):
        if case.name in ELSEWHERE:
            continue
        poses = case.poses().with_persons(case.settings["num_person"])
        frames = np.arange(poses.visible.shape[1]).reshape(case.inputs.get("num_clips", 1), -1)
        case.check(keypoint=poses.frames(frames).array(case.scored).swapaxes(0, 1))


def test_compact_boxes_equal_the_reference(family):
    for case in family("compact"):
        padding = case.settings.get("padding", 0.25)
        square, beyond = "hw_ratio" in case.settings, case.settings["allow_imgpad"]
        poses, shape = boxes.compact(case.poses(), case.shape, padding, square, beyond)
        case.check(keypoint=poses.keypoints, img_shape=shape)


def test_resizing_equals_the_reference(family):
    shapes = {
        "resize_short64": boxes.short_side((1080, 1920), 64),
        "resize_factor": boxes.short_side((1080, 1920), 108),
        "resize_box": boxes.short_side((1080, 1920), 56),
    }
    for case in family("resize"):
        shape = shapes.get(case.name) or tuple(case.settings["scale"][::-1])
        poses = boxes.resized_poses(case.poses(), case.shape, shape)
        case.check(keypoint=poses.keypoints, img_shape=shape)


def test_crops_and_flips_equal_the_reference(family):
    for case in family("center_crop"):
        corner = boxes.center_crop(case.shape, tuple(case.settings["crop_size"][::-1]))
        poses = boxes.cropped_poses(case.poses(), corner)
        case.check(keypoint=poses.keypoints, where=poses.visible)
    for case in family("flip"):
        if case.name not in ELSEWHERE:
            poses = boxes.flipped_poses(case.poses(), case.shape[1], COCO.mirror_order)
            case.check(keypoint=poses.keypoints, keypoint_score=poses.scores)


def test_rotation_and_scale_equal_the_reference(family):
    for case in family("rotate"):
        # The reference turns 3D joints the other way round.
        theta = np.atleast_1d(case.extra["theta"])
        matrix = transforms.rotation(theta if len(theta) == 1 else -theta)
        np.testing.assert_allclose(matrix, case.extra["matrix"], atol=1e-12)
        case.check(keypoint=transforms.mapped_poses(case.poses(), matrix).keypoints)
    for case in family("scale"):
        matrix = np.diag(1 + case.settings["scale"] * np.array(case.extra["u"]))
        case.check(keypoint=transforms.mapped_poses(case.poses(), matrix).keypoints)


def test_graph_pipelines_equal_the_reference(family):
    flag = {"clip_len": 50, "num_clips": 3}
    ntu = {"clip_len": 30, "num_clips": 2, "num_persons": 2, "normalise": "body"}
    expected = {
        "pipeline_flag2d_gcn": (
            GraphPipeline(
                "coco", normalise="image", score_threshold=0.01, score_channel=True, **flag
            ),
            "j",
        ),
        "pipeline_flag3d_gcn": (GraphPipeline("nturgb+d", **flag), "j"),
        "pipeline_ntu_j": (GraphPipeline("nturgb+d", **ntu), "j"),
        "pipeline_ntu_bm": (GraphPipeline("nturgb+d", **ntu), "bm"),
    }
    graph = [case for case in family("pipeline_") if case.name in expected]
    assert len(graph) == len(expected)
    for case in graph:
        pipeline, stream = expected[case.name]
        clips = pipeline.test_clips(recording(case), STREAMS[stream])
        if not pipeline.score_channel:
            case.check(keypoint=clips)
            continue
        there = clips[..., 2] > 0
        case.check(keypoint=clips, where=there)  # the reference leaves scores up to the threshold
        assert not case.outputs["keypoint"][~there][:, :2].any()
        assert case.outputs["keypoint"][~there][:, 2].max() <= pipeline.score_threshold


def test_the_posec3d_test_pipeline_equals_the_reference(family):
    (case,) = family("pipeline_flag2d_posec3d")
    pipeline = HeatmapPipeline("coco", clip_len=6, num_clips=2, test_mirrored=True, test_size=64)
    clips = pipeline.test_clips(recording(case), STREAMS["j"])[:, 0]  # (2 + 2, T, V, 3)
    expected = np.asarray(case.outputs["imgs"], np.float64)  # (2 + 2, V, T, H, W)
    assert expected.shape[0] == len(clips)
    for drawn, clip, is_mirrored in zip(expected, clips, (False, False, True, True), strict=True):
        joints = clip.copy()
        if is_mirrored:  # drawn, then mirrored; drawing mirrored joints cuts a pixel differently
            joints[..., 0] = 63 - joints[..., 0]
            drawn = drawn[..., ::-1]
        maps = gaussians(joints.astype(np.float64), 64).swapaxes(0, 1)
        np.testing.assert_allclose(maps, drawn, atol=case.tolerance)


def test_the_posec3d_training_steps_equal_the_reference(family):
    (case,) = family("pipeline_train_posec3d_limb")
    indices = fixed_indices(120, 6, 1)[0]
    poses, shape = boxes.compact(case.poses().frames(indices), case.shape)
    side = boxes.short_side(shape, 64)
    poses = boxes.resized_poses(poses, shape, side)
    poses = boxes.cropped_poses(poses, boxes.center_crop(side, (48, 48)))
    poses = boxes.flipped_poses(
        boxes.resized_poses(poses, (48, 48), (56, 56)), 56, COCO.mirror_order
    )
    joints = poses.array(score_channel=True)
    limbs = case.extra["steps"][-2]["skeletons"]
    drawn = np.asarray(case.outputs["imgs"], np.float64)[0]  # (limbs, T, H, W)
    for limb, (start, end) in enumerate(limbs):
        for frame, volume in enumerate(drawn[limb]):
            expected = segment(joints[0, frame, start], joints[0, frame, end], 56)
            np.testing.assert_allclose(volume, expected, atol=case.tolerance)


def test_no_case_is_left_out(cases, family):
    """Runs last: every case was compared above, or is named as compared elsewhere."""
    assert set(cases) - family.seen <= ELSEWHERE


def recording(case):
    return Recording(case.name, 0, case.keypoints, case.scores, case.shape)


def gaussians(joints, size, sigma=0.6):
    """(T, V, size, size) maps of (T, V, 3) joints, cut off at 3 sigma as the reference does."""
    pixels = np.arange(size)
    axes = []
    for axis in (0, 1):
        center = joints[..., axis, None]
        low = np.maximum(np.trunc(center - 3 * sigma), 0)
        high = np.minimum(np.trunc(center + 3 * sigma) + 1, size)
        bell = np.exp(-((pixels - center) ** 2) / (2 * sigma**2))
        axes.append(bell * (pixels >= low) * (pixels < high))
    x, y = axes
    scores = np.where(joints[..., 2] < 1e-3, 0, joints[..., 2])
    return y[..., :, None] * x[..., None, :] * scores[..., None, None]


def segment(start, end, size, sigma=0.6):
    """(size, size) map of a limb: a bell over the distance to the line between its joints."""
    score = min(start[2], end[2])
    length = np.hypot(*(end - start)[:2])
    if score < 1e-3:
        return np.zeros((size, size))
    if length < 1:  # too short for a line: the map of the start alone
        return gaussians(start[None, None].astype(np.float64), size, sigma)[0, 0]
    low = np.minimum(start[:2], end[:2]) - 3 * sigma
    high = np.maximum(start[:2], end[:2]) + 3 * sigma
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).astype(np.float64)
    along = (grid - start[:2]) @ (end - start)[:2] / length**2
    nearest = start[:2] + np.clip(along, 0, 1)[..., None] * (end - start)[:2]
    distance = np.square(grid - nearest).sum(-1)
    inside = (grid >= np.maximum(np.trunc(low), 0)) & (grid < np.trunc(high) + 1)
    return np.exp(-distance / (2 * sigma**2)) * score * inside.all(-1)


@pytest.mark.parametrize(
    ("name", "layout"), [("protogcn", "nturgb+d"), ("protogcn_coco", "coco_20")]
)
def test_streams_of_protogcn_equal_the_reference(shared, name, layout):
    """Coordinates alone: there, k-bones and motions have differences of scores."""
    arrays = np.load(shared / "parity" / f"{name}.npz")
    keypoints = arrays["input"][0]
    keypoints = keypoints if layout == "nturgb+d" else keypoints[..., :2]
    poses = Poses(keypoints, np.ones(keypoints.shape[:-1], bool))
    for key, stream in (
        ("b", Stream("bone", bones=True)),
        ("k", Stream("k_bone", bones=True, generations=2)),
        ("jm", Stream("joint_motion", motion=True)),
        ("bm", Stream("bone_motion", bones=True, motion=True)),
        ("km", Stream("k_bone_motion", bones=True, motion=True, generations=2)),
    ):
        found = stream(poses, load_layout(layout)).keypoints
        expected = arrays[f"stream/{key}"][..., : found.shape[-1]]
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=key)
