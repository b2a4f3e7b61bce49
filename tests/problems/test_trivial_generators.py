"""Recordings made without a network."""

import numpy as np

from flag3d_exp.data.annotations import Recording
from flag3d_exp.problems.trivial_generators import NOISE, mean_recordings, noisy_recordings


def recordings() -> list[Recording]:
    """Four recordings of two classes, in centimetres, whose first joint is missing."""
    rng, made = np.random.default_rng(0), []
    for number in range(4):
        keypoints = 100 * rng.standard_normal((1, 40 + 10 * number, 6, 3)).astype(np.float32)
        keypoints[:, :, 0] = 0
        made.append(Recording(str(number), number % 2, keypoints))
    return made


def test_noise_is_in_metres_and_missing_joints_stay_missing():
    real = {one.name: one for one in recordings()}
    made = noisy_recordings(list(real.values()), 3, 0.01, np.random.default_rng(0))
    assert len(made) == 3 and len({one.name for one in made}) == 3
    for one in made:
        assert one.generated and one.keypoints.dtype == np.float32
        noise = one.keypoints - real[one.name].keypoints
        np.testing.assert_allclose(noise[:, :, 1:].std(), 100 * NOISE, rtol=0.1)
        assert not noise[:, :, 0].any()
    assert len(noisy_recordings(list(real.values()), 9, 0.01, np.random.default_rng(0))) == 4


def test_a_class_s_mean_is_in_the_recordings_axes_and_as_long_as_their_median():
    clips = np.random.default_rng(1).standard_normal((4, 8, 6, 3))
    order = (2, 0, 1)
    zero, one = mean_recordings(recordings(), clips, order, 0.01)
    assert (zero.label, one.label) == (0, 1) and zero.generated
    assert zero.keypoints.shape == (1, 50, 6, 3) and one.keypoints.shape == (1, 60, 6, 3)
    mean = 100 * clips[[1, 3]].mean(0)
    np.testing.assert_allclose(one.keypoints[0][[0, -1]][..., order], mean[[0, -1]], rtol=1e-4)
