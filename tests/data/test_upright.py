"""How persons stand in recordings, and what cameras would make of it."""

from dataclasses import replace

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.camera import VirtualCameras
from flag3d_exp.data.upright import doubts, person_size
from flag3d_exp.skeletons.layout import load_layout

NTU = load_layout("nturgb+d")
HEAD = NTU.joints.index("head")


def standing(axis: int, height: float = 1.7) -> Recording:
    """A person whose head alone is above the ground, along an axis."""
    points = np.full((1, 4, 25, 3), 0.1, np.float32)
    points[:, :, HEAD, axis] += height
    return Recording("r", 0, points)


@pytest.mark.parametrize(("axis", "name"), [(0, "x"), (1, "y"), (2, "z")])
def test_cameras_are_told_the_axis_along_which_persons_stand(axis, name):
    people = [standing(axis)] * 3
    assert doubts(VirtualCameras("nturgb+d", "coco", up=name), people) == []
    other = "y" if name != "y" else "z"
    (line,) = doubts(VirtualCameras("nturgb+d", "coco", up=other), people)
    assert f"set `augment.camera.up={name}`" in line


def test_persons_who_stand_on_their_heads_are_doubted():
    (line,) = doubts(VirtualCameras("nturgb+d", "coco"), [standing(1, -1.7)])
    assert "heads are below feet along axis y" in line


def test_coordinates_must_be_metres():
    cameras = VirtualCameras("nturgb+d", "coco")
    (line,) = doubts(cameras, [standing(2, 1700.0)])
    assert "size of persons is 1.7e+03" in line
    assert doubts(cameras, [standing(2, 1.2), standing(2, 1.9), standing(2, 40.0)]) == []


def test_flat_and_empty_recordings_say_nothing():
    cameras, one = VirtualCameras("nturgb+d", "coco"), standing(2)
    assert doubts(cameras, [replace(one, keypoints=one.keypoints[..., :2])]) == []
    assert person_size([replace(one, keypoints=np.zeros_like(one.keypoints))]) == 0
