"""Temperature scaling: calibrate confidences with one parameter.

Guo et al., On calibration of modern neural networks, ICML 2017. All logits are divided by the same
number, so predictions of recordings with one clip do not change.

Sizes: n recordings, K classes.
"""

import math

import numpy as np
from scipy.optimize import minimize_scalar

from flag3d_exp.results.metrics import average_clips, calibration, log_losses

RANGE = (0.05, 20.0)  # bounds of the temperature


def fitted_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature with the smallest negative log-likelihood, within `RANGE`.

    Args:
        logits: (n, num_clips, K).
        labels: (n,).
    """

    def loss(log_temperature: float) -> float:
        return mean_loss(logits, labels, math.exp(log_temperature))

    found = minimize_scalar(loss, bounds=tuple(map(math.log, RANGE)), method="bounded")
    return float(math.exp(found.x))


def mean_loss(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The mean negative log-likelihood of the labels, with scores averaged over clips."""
    return float(log_losses(average_clips(logits / temperature), labels).mean())


def calibration_error(logits: np.ndarray, labels: np.ndarray, temperature: float = 1.0) -> float:
    """The expected calibration error, 0 to 1."""
    return calibration(average_clips(logits / temperature), labels).error
