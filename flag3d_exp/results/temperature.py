"""Temperature scaling: one number that makes confidences mean what they say.

Guo et al., On calibration of modern neural networks, ICML 2017. No prediction of a recording with
one clip changes, since all logits are divided by the same number.

Sizes: n recordings, K classes.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar

from flag3d_exp.results.metrics import average_clips, calibration, log_losses

RANGE = (0.05, 20.0)  # of temperatures that are tried


def fitted_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the least negative log-likelihood, within `RANGE`.

    Args:
        logits: (n, num_clips, K).
        labels: (n,).
    """

    def loss(log_temperature: float) -> float:
        return mean_loss(logits, labels, math.exp(log_temperature))

    found = minimize_scalar(loss, bounds=tuple(map(math.log, RANGE)), method="bounded")
    return float(math.exp(found.x))


def mean_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The mean negative log-likelihood of the labels, scores being averaged over clips."""
    return float(log_losses(average_clips(logits / temperature), labels).mean())


def calibration_error(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The expected calibration error, 0 to 1."""
    return calibration(average_clips(logits / temperature), labels).error
