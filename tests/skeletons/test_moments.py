"""Statistics of clips from sums: as of all clips at once."""

import numpy as np
import pytest
from scipy.fft import dct

from flag3d_exp.skeletons.moments import Moments


@pytest.fixture
def clips() -> np.ndarray:
    """(40, 8, 5): smooth clips whose features depend on each other."""
    rng = np.random.default_rng(0)
    waves = np.cumsum(rng.standard_normal((40, 8, 5)), 1) @ rng.standard_normal((5, 5))
    return waves + rng.uniform(-3, 3, 5)


@pytest.fixture
def moments(clips) -> Moments:
    made = Moments()
    made.add(clips[:15])
    made.add(clips[15:])
    return made


def test_mean_and_deviation_are_those_of_all_frames(clips, moments):
    np.testing.assert_allclose(moments.mean(), clips.mean((0, 1)))
    np.testing.assert_allclose(moments.std(), clips.std((0, 1)))


def test_the_spectrum_is_that_of_the_standardised_clips(clips, moments):
    basis, means, variances = moments.spectrum(moments.std())
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    standardised = (clips - clips.mean((0, 1))) / clips.std((0, 1))
    coefficients = np.asarray(dct(standardised @ basis, axis=1, norm="ortho"))
    np.testing.assert_allclose(means, coefficients.mean(0), atol=1e-9)
    np.testing.assert_allclose(variances, coefficients.var(0), atol=1e-9)
    changes = coefficients[:, 1:].reshape(-1, 5)
    products = changes.T @ changes / len(changes)  # principal components are uncorrelated
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)
    assert (np.diff(np.diag(products)) < 0).all()
