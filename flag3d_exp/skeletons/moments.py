"""Sums over training clips, and the statistics of features that follow from them.

Sizes: N clips, T frames or temporal frequencies, D features, P principal components.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.fft import dct


class Spectrum(NamedTuple):
    """Means and variances of clips over temporal frequencies and principal components.

    Args:
        basis: (D, P) the principal components of the standardised features' changes over time.
        means, variances: (T, P) of the coefficients of standardised clips: the orthonormal cosine
            transform over the frames of their components.
    """

    basis: np.ndarray
    means: np.ndarray
    variances: np.ndarray


class Moments:
    """Sums over clips; `add` may be called any number of times.

    Attributes:
        count: of clips.
        first: (T, D) sums of their cosine transforms.
        second: (T, D, D) sums of these transforms' products, for each frequency.
    """

    def __init__(self) -> None:
        self.count, self.first, self.second = 0, np.zeros(()), np.zeros(())

    def add(self, clips: np.ndarray) -> None:
        """Add clips (N, T, D)."""
        coefficients: Any = dct(clips.astype(np.float64), axis=1, norm="ortho")
        self.count += len(clips)
        self.first = self.first + coefficients.sum(0)
        by_frequency = coefficients.transpose(1, 2, 0)  # (T, D, N)
        self.second = self.second + by_frequency @ by_frequency.transpose(0, 2, 1)

    def mean(self) -> np.ndarray:
        """(D,) means of the features over all frames."""
        return self.first[0] / (self.count * np.sqrt(len(self.first)))

    def std(self) -> np.ndarray:
        """(D,) standard deviations of the features over all frames."""
        squares = np.einsum("tdd->d", self.second) / (self.count * len(self.first))
        return np.sqrt(np.maximum(squares - self.mean() ** 2, 0))

    def spectrum(self, std: np.ndarray) -> Spectrum:
        """The spectrum of the clips, standardised by their mean and `std` (D,)."""
        scale = np.outer(std, std)
        means = self.first / self.count
        covariances = (self.second / self.count - means[:, :, None] * means[:, None]) / scale
        _, basis = np.linalg.eigh((self.second[1:] / scale).sum(0))
        basis = basis[:, ::-1]  # the largest first
        variances = np.einsum("dp,tde,ep->tp", basis, covariances, basis, optimize=True)
        means[0] = 0  # the mean over all frames is subtracted
        return Spectrum(basis, (means / std) @ basis, np.maximum(variances, 0))
