"""The estimate of a clean clip by a Gaussian model."""

import numpy as np
from mindspore import Tensor
from scipy.fft import idct
from scipy.stats import ortho_group

from flag3d_exp.models.prior import Prior

T, D, COUNT = 6, 4, 4000


def drawn() -> tuple[Prior, np.ndarray, np.ndarray]:
    """A prior, clips (N, T, D) that it describes, and its variances."""
    rng = np.random.default_rng(0)
    basis, means = ortho_group.rvs(D, random_state=0), rng.standard_normal((T, D))
    variances = rng.uniform(0.1, 3, (T, D))
    coefficients = means + np.sqrt(variances) * rng.standard_normal((COUNT, T, D))
    made = Prior(T, D)
    made.set_spectrum(basis, means, variances)
    return made, np.asarray(idct(coefficients, axis=1, norm="ortho")) @ basis.T, variances


def noisy(clean: np.ndarray, share: float) -> tuple[Tensor, Tensor]:
    noise = np.random.default_rng(1).standard_normal(clean.shape)
    made = np.sqrt(share) * clean + np.sqrt(1 - share) * noise
    shares = np.full((len(clean), 1, 1), share, np.float32)
    return Tensor(made.astype(np.float32)), Tensor(shares)


def test_the_error_of_the_estimate_is_what_remains_to_be_known():
    prior, clean, variances = drawn()
    share = 0.6
    error = prior(*noisy(clean, share)).asnumpy() - clean
    remaining = variances * (1 - share) / (share * variances + 1 - share)
    np.testing.assert_allclose(error.mean((0, 1)), 0, atol=0.03)
    np.testing.assert_allclose(np.square(error).mean(), remaining.mean(), rtol=0.02)
    # No scaling of the given clip is as good.
    best = np.square(noisy(clean, share)[0].asnumpy() * np.sqrt(share) - clean).mean()
    assert np.square(error).mean() < 0.9 * best


def test_little_noise_is_ignored_and_nothing_but_noise_gives_the_mean():
    prior, clean, _ = drawn()
    np.testing.assert_allclose(prior(*noisy(clean, 1 - 1e-7)).asnumpy(), clean, atol=5e-3)
    mean = prior(*noisy(clean, 0.0)).asnumpy()
    np.testing.assert_allclose(mean, np.broadcast_to(mean[0], mean.shape), atol=1e-5)
    np.testing.assert_allclose(mean[0], clean.mean(0), atol=0.1)


def test_corrections_are_as_large_as_the_error_of_the_estimate():
    prior, clean, variances = drawn()
    share = 0.6
    _, shares = noisy(clean, share)
    out = np.random.default_rng(2).standard_normal(clean.shape).astype(np.float32)
    made = prior.correction(Tensor(out), shares).asnumpy()
    remaining = variances * (1 - share) / (share * variances + 1 - share)
    np.testing.assert_allclose(np.square(made).mean(), remaining.mean(), rtol=0.03)


def test_without_statistics_the_noisy_clip_is_scaled():
    prior, clean = Prior(T, D), np.ones((2, T, D), np.float32)
    given, shares = noisy(clean, 0.25)
    np.testing.assert_allclose(prior(given, shares).asnumpy(), 0.5 * given.asnumpy(), atol=1e-6)
    assert not any(p.requires_grad for p in prior.get_parameters())
