"""The estimate of a clean clip from a noisy one by a Gaussian model of clips.

The model's coefficients are independent: those over temporal frequencies (an orthonormal cosine
transform over frames) of principal components. Its best estimate is the Wiener filter. A network
that adds to it has only the rest to learn, and smooth clips are smooth from the start. Karras et
al. (NeurIPS 2022, arXiv 2206.00364) do the same with one variance for all numbers.

Sizes: N clips, T frames, D features, P principal components.
"""

import numpy as np
from mindspore import Tensor, nn, ops
from scipy.fft import dct

from flag3d_exp.models.constants import constant, set_constants


class Prior(nn.Cell):
    """Standardised noisy clips (N, T, D), shares (N, 1, 1) of the clean clip -> clean clips.

    A noisy clip is sqrt(share) clean clip + sqrt(1 - share) noise. Before `set_spectrum`, all
    numbers have mean 0 and variance 1.

    Args:
        clip_len: T.
        num_features: D.
    """

    def __init__(self, clip_len: int, num_features: int):
        super().__init__()
        cosines = dct(np.eye(clip_len), axis=0, norm="ortho").astype(np.float32)
        self.cosines = Tensor(cosines)
        self.inverse = Tensor(np.ascontiguousarray(cosines.T))
        self.basis = constant(np.eye(num_features), "basis")  # (D, P)
        self.means = constant(np.zeros((clip_len, num_features)), "means")  # (T, P)
        self.variances = constant(np.ones((clip_len, num_features)), "variances")
        self.product = ops.MatMul()
        self.product_with_transposed = ops.MatMul(transpose_b=True)

    def construct(self, noisy, share):
        given = self.coefficients(noisy) - ops.sqrt(share) * self.means
        gain = ops.sqrt(share) * self.variances / (share * self.variances + 1 - share)
        return self.clips(self.means + gain * given)

    def correction(self, out, share):
        """(N, T, D) what to add to the estimate: (N, T, P) in its standard errors, over time."""
        errors = ops.sqrt(self.variances * (1 - share) / (share * self.variances + 1 - share))
        return self.clips(errors * ops.matmul(self.cosines, out))

    def coefficients(self, clips):
        """(N, T, P) of clips (N, T, D)."""
        n, t, d = clips.shape
        components = self.product(clips.reshape(n * t, d), self.basis)
        return ops.matmul(self.cosines, components.reshape(n, t, d))

    def clips(self, coefficients):
        """(N, T, D) of coefficients (N, T, P)."""
        n, t, d = coefficients.shape
        components = ops.matmul(self.inverse, coefficients).reshape(n * t, d)
        return self.product_with_transposed(components, self.basis).reshape(n, t, d)

    def set_spectrum(self, basis: np.ndarray, means: np.ndarray, variances: np.ndarray) -> None:
        """Set the statistics of the training clips, see `skeletons.moments.Spectrum`."""
        set_constants(self, {"basis": basis, "means": means, "variances": variances})

    def multiply_adds(self, x, _out):
        """Multiply-adds of the transforms of one clip's estimate and of the correction."""
        n, t, d = x
        return n * (3 * t * d * d + 4 * t * t * d)
