"""VideoPose3D: how far it looks, its size, what it drops."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from flag3d_exp.errors import UserError
from flag3d_exp.models.videopose import VideoPose


def features(model: VideoPose, keypoints: np.ndarray, *kept: np.ndarray) -> np.ndarray:
    return model(Tensor(keypoints), *map(Tensor, kept)).asnumpy()


def keypoints(num_persons: int = 1, num_frames: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, num_persons, num_frames, 17, 2)).astype(np.float32)


@pytest.mark.parametrize(("dilations", "reach"), [((1, 3), 4), ((1, 3, 9), 13)])
def test_a_frame_s_features_come_from_so_many_frames_around_it(dilations, reach):
    ms.set_seed(0)
    # with fewer channels, all those that see the changed frame may be 0 after a ReLU
    model = VideoPose("coco", 2, channels=64, dilations=dilations).set_train(False)
    x = keypoints()
    changed = x.copy()
    changed[0, 0, 20] += 1
    differs = np.abs(features(model, changed) - features(model, x)).max((2, 4)) > 0  # (N, M, T)
    assert not differs[1].any()
    np.testing.assert_array_equal(differs[0, 0].nonzero()[0], np.arange(20 - reach, 21 + reach))


def test_persons_and_clips_do_not_see_each_other():
    model = VideoPose("coco", 2, 2, channels=8).set_train(False)
    x = keypoints(2)
    out = features(model, x)
    assert out.shape == (2, 2, 8, 40, 1)
    np.testing.assert_allclose(features(model, x[1:, ::-1])[0, ::-1], out[1], atol=1e-5)


def test_the_network_has_the_published_number_of_weights():
    model = VideoPose("coco", 2)
    weights = sum(p.size for p in model.get_parameters() if p.name.endswith("conv.weight"))
    # 34 inputs, 1024 channels: 3 frames, then two pairs of 3 frames and 1
    assert weights == 3 * 34 * 1024 + 2 * (3 + 1) * 1024**2


def test_what_is_dropped_is_drawn_on_the_host_in_the_share_asked_for():
    model = VideoPose("coco", 2, channels=16, layer_dropout=0.25).set_train(True)
    kept = model.chance((8, 1, 40, 17, 2), np.random.default_rng(0))
    assert list(kept) == [f"kept_{layer}" for layer in range(5)]
    for mask in kept.values():
        assert mask.shape == (1, 16, 40, 8) and mask.dtype == np.float32
        assert set(np.unique(mask)) == {0, np.float32(1 / 0.75)}
        assert abs(mask.mean() - 1) < 0.05
    assert VideoPose("coco", 2, channels=8, layer_dropout=0).chance((1, 1, 4, 17, 2), None) == {}
    ones = [np.ones((1, 16, 40, 2), np.float32)] * 5
    np.testing.assert_array_equal(features(model, keypoints(), *ones), features(model, keypoints()))
    zeros = [np.zeros((1, 16, 40, 2), np.float32)] * 5
    assert not features(model, keypoints(), *zeros).any()


def test_a_network_without_layers_is_refused():
    with pytest.raises(UserError, match=r"model\.dilations"):
        VideoPose("coco", dilations=())


def test_training_and_evaluation_compute_the_same():
    model = VideoPose("coco", 2, 2, channels=8, layer_dropout=0)
    x = keypoints(2)
    model.set_train(False)
    model.training = True  # itself, while its norms stay as in evaluation
    trained = features(model, x)
    model.set_train(False)
    np.testing.assert_allclose(features(model, x), trained, atol=1e-5)
