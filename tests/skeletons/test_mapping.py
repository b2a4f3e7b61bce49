"""Maps between layouts."""

import json

import numpy as np
import pytest

from flag3d_exp.skeletons.layout import LAYOUTS, load_layout
from flag3d_exp.skeletons.mapping import joint_sources, relaid, without_source

PUBLISHED = {
    "coco": "coco17",
    "openpose": "openpose18",
    "body25": "body25",
    "body25b": "body25b",
    "halpe26": "halpe26",
    "mediapipe": "mediapipe33",
    "azure": "azure32",
    "h36m": "h36m17",
    "smpl": "smpl24",
    "kinect20": "kinect20",
    "wholebody": "wholebody133",
}


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("target", "key"), [("coco", "coco17"), ("nturgb+d", "ntu25")])
def test_maps_equal_the_reference(shared, name, target, key):
    text = (shared / "formats/maps.json").read_text(encoding="utf-8")
    expected = json.loads(text)[PUBLISHED[name]][key]
    sources = joint_sources(load_layout(name), load_layout(target))
    for joint, wanted, found in zip(load_layout(target).joints, expected, sources, strict=True):
        numbers = [] if wanted is None else wanted if isinstance(wanted, list) else [wanted]
        assert sorted(found) == sorted(numbers), joint


@pytest.mark.parametrize(
    "name", ["body25", "body25b", "halpe26", "mediapipe", "azure", "h36m", "smpl"]
)
def test_parents_equal_the_reference(shared, name):
    text = (shared / "formats/maps.json").read_text(encoding="utf-8")
    assert list(load_layout(name).parents) == json.loads(text)[PUBLISHED[name]]["parents"]


def test_a_layout_maps_to_itself_joint_by_joint():
    for path in LAYOUTS.glob("*.yaml"):
        layout = load_layout(path.stem)
        expected = tuple((joint,) for joint in range(layout.num_joints))
        assert joint_sources(layout, layout) == expected


def test_every_layout_of_a_body_has_limbs_for_every_other():
    bodies = [load_layout(path.stem) for path in LAYOUTS.glob("*.yaml") if path.stem != "handmp"]
    limbs = [f"{side} {joint}" for side in ("left", "right") for joint in
             ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
    for source in bodies:
        for target in bodies:
            sources = joint_sources(source, target)
            missing = without_source(sources, target)
            number = target.joint_number
            if target.name == "h36m":  # calls its ankles feet
                assert not {"left foot", "right foot"} & set(missing)
                continue
            assert all(sources[number(limb)] for limb in limbs), (source.name, target.name)


def test_a_mean_is_missing_where_one_of_its_joints_is():
    keypoints = np.array([[[[2, 4], [4, 8]], [[2, 4], [0, 0]], [[2, 4], [4, 8]]]], np.float32)
    scores = np.array([[[1, 0.5], [1, 1], [0, 1]]], np.float32)
    made, made_scores = relaid(keypoints, scores, ((0, 1), (), (1,)))
    np.testing.assert_array_equal(made[0, :, 0], [[3, 6], [0, 0], [0, 0]])
    np.testing.assert_array_equal(made[0, :, 2], [[4, 8], [0, 0], [4, 8]])
    np.testing.assert_array_equal(made_scores[0], [[0.75, 0, 0.5], [0, 0, 0], [0, 0, 1]])
    assert not made[0, :, 1].any()


def test_what_has_no_source_is_named():
    coco, ntu = load_layout("coco"), load_layout("nturgb+d")
    missing = without_source(joint_sources(ntu, coco), coco)
    assert missing == ["nose", "left eye", "right eye", "left ear", "right ear"]
