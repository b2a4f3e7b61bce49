"""Parts of the body have the joints that their names say."""

from pathlib import Path

import pytest

from flag3d_exp.skeletons import layout
from flag3d_exp.skeletons.layout import load_layout
from flag3d_exp.skeletons.parts import WORDS, part_joints

BODIES = sorted(
    path.stem
    for path in (Path(layout.__file__).parent / "layouts").glob("*.yaml")
    if path.stem != "handmp"  # one hand
)


@pytest.mark.parametrize("name", BODIES)
def test_every_joint_belongs_to_a_part_and_every_part_has_joints(name):
    found = part_joints(load_layout(name))
    assert found.keys() == WORDS.keys()
    assert {joint for joints in found.values() for joint in joints} == set(
        range(load_layout(name).num_joints)
    )


def test_the_legs_of_coco():
    joints = load_layout("coco").joints
    assert [joints[n] for n in part_joints(load_layout("coco"))["legs"]] == [
        *("left knee", "right knee", "left ankle", "right ankle"),
    ]
