"""Heatmaps drawn inside the network equal the reference's."""

import dataclasses
import json

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from flag3d_exp.errors import UserError
from flag3d_exp.models.heatmap import Heatmaps
from flag3d_exp.models.kernels import cpu, native, using
from flag3d_exp.skeletons.layout import load_layout

COCO = load_layout("coco")


@pytest.fixture(scope="module")
def reference(shared):
    text = (shared / "parity/transforms.json").read_text(encoding="utf-8")
    cases = {case["name"]: case for case in json.loads(text)["cases"]}
    return cases, np.load(shared / "parity/transforms.npz")


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", ["heat_kp", "heat_kp_noscore", "heat_limb", "heat_limb_default"])
def test_heatmaps_equal_the_reference(shared, reference, name, jit):
    cases, arrays = reference
    case = cases[name]
    keypoints = arrays[case["inputs"]["keypoint"]["array"]]
    scores = arrays[case["inputs"]["keypoint_score"]["array"]]
    if name == "heat_kp_noscore":
        scores = np.ones_like(scores)
    layout = COCO
    if name == "heat_limb_default":
        text = (shared / "parity/graphs.json").read_text(encoding="utf-8")
        limbs = json.loads(text)["layouts"]["coco"]["posec3d_limbs_default"]["limbs"]
        layout = dataclasses.replace(COCO, limbs=tuple(map(tuple, limbs)))
    draw = Heatmaps(layout, "limb" in name, 56, 64, case["steps"][0].get("sigma", 0.6))
    draw.set_train()
    clip = Tensor(np.concatenate([keypoints, scores[..., None]], -1)[None].astype(np.float32))
    found = (ms.jit(draw.construct) if jit else draw)(clip).asnumpy()
    expected = arrays[case["outputs"]["imgs"]["array"]]
    np.testing.assert_allclose(found, expected, atol=case["tolerance"])


def test_a_joint_between_pixels_worked_out_by_hand():
    keypoints = np.zeros((1, 1, 1, 17, 3), np.float32)
    keypoints[..., 5, :] = 2.0, 1.25, 0.5
    maps = Heatmaps(COCO, False, 8, 6, sigma=1.0).set_train(False)(Tensor(keypoints)).asnumpy()
    assert maps.shape == (1, 17, 6, 6)
    assert maps[0, 5, 1, 2] == pytest.approx(0.5 * np.exp(-(0.25**2) / 2), rel=1e-5)
    assert maps[0, 5, 4, 2] == pytest.approx(0.5 * np.exp(-(2.75**2) / 2), rel=1e-5)
    assert maps[0, 5, 5].max() == 0  # beyond int(1.25 + 3)
    assert maps[0, :5].max() == maps[0, 6:].max() == 0  # scores of 0 draw nothing


def test_persons_are_joined_by_the_maximum():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(0, 1, (1, 2, 3, 17, 3)).astype(np.float32) * [8, 8, 1]
    draw = Heatmaps(COCO, False, 8, 8)
    both = draw(Tensor(keypoints.astype(np.float32))).asnumpy()
    each = [draw(Tensor(keypoints[:, m : m + 1].astype(np.float32))).asnumpy() for m in (0, 1)]
    np.testing.assert_array_equal(both, np.maximum(*each))


@pytest.mark.parametrize("limbs", [False, True], ids=["joints", "limbs"])
def test_matrix_products_draw_what_other_devices_draw(limbs):
    keypoints = np.random.default_rng(0).uniform(0, 1, (2, 1, 3, 17, 3)) * [12, 12, 1]
    keypoints[0, 0, 0, 1] = keypoints[0, 0, 0, 0]  # limbs shorter than a pixel
    keypoints[0, 0, 1, :4, 2] = 0  # not certain enough to be drawn
    drawn = []
    for table in (native, cpu):
        with using(table):
            draw = Heatmaps(COCO, limbs, 12, 12)
        drawn.append(draw(Tensor(keypoints.astype(np.float32))).asnumpy())
    assert drawn[0].max() > 0.5
    np.testing.assert_allclose(*drawn, atol=1e-5)


def test_training_and_testing_have_their_own_size():
    draw = Heatmaps(COCO, True, 7, 9)
    keypoints = Tensor(np.ones((2, 1, 4, 17, 3), np.float32))
    assert draw.set_train(True)(keypoints).shape == (8, 17, 7, 7)
    assert draw.set_train(False)(keypoints).shape == (8, 17, 9, 9)


@pytest.mark.parametrize("settings", [{"train_size": 0}, {"test_size": -1}, {"sigma": 0.0}])
def test_impossible_sizes_are_refused(settings):
    sizes = {"train_size": 8, "test_size": 8} | settings
    with pytest.raises(UserError, match=f"`{next(iter(settings))}` must be"):
        Heatmaps(COCO, False, **sizes)
