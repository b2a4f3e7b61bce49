"""What `task=inspect` shows of augmentations."""

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.augment.affine import Affine
from flag3d_exp.data.augment.mirror import Mirror
from flag3d_exp.data.augment.noise import DetectorNoise
from flag3d_exp.data.augment.recipe import NOTHING, recipe
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.report.inspection.augmentations import rows

RECORDING = Recording(
    "r",
    0,
    np.random.default_rng(0).uniform(100, 300, (1, 40, 17, 2)).astype(np.float32),
    image_shape=(480, 854),
)
PIPELINE = GraphPipeline("coco", normalise="image", clip_len=10)


def test_each_augmentation_that_is_on_has_a_row_of_its_own_before_all_together():
    augment = recipe([DetectorNoise(0.01), Affine(), Mirror(0.2)])
    shown = rows(RECORDING, [RECORDING], PIPELINE, augment)
    names = [name for name, _ in shown]
    assert names[:3] == ["unchanged", "DetectorNoise", "Mirror"]
    assert names[3:] == [f"all, draw {n}" for n in (1, 2, 3)]
    plain, mirrored = shown[0][1].keypoints, shown[2][1].keypoints
    # In pixels, so that pictures keep their proportions; mirrored for certain.
    assert plain.max() > 100
    assert (mirrored[..., 0] < 0).all()


def test_nothing_to_show_is_one_row():
    assert [name for name, _ in rows(RECORDING, [RECORDING], PIPELINE, NOTHING)] == ["unchanged"]
