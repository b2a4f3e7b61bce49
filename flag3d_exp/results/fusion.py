"""Late fusion: one prediction per recording from the scores of several streams or models."""

from collections.abc import Sequence

import numpy as np

from flag3d_exp.errors import UserError
from flag3d_exp.results import metrics
from flag3d_exp.results.predictions import Predictions


def fuse(members: Sequence[Predictions], weights: Sequence[float]) -> Predictions:
    """The weighted mean of the members' scores, with recordings in the first member's order.

    Args:
        members: predictions of the same recordings in the same order, see
            `predictions.paired_predictions`.
        weights: one per member, such as 2, 2, 1, 1; only their ratios matter.
    """
    total = metrics.fuse_scores([member.scores for member in members], weights)
    scores = total / total.sum(axis=1, keepdims=True)
    return Predictions(members[0].names, members[0].labels, scores)


def check_weights(weights: Sequence[float], num_members: int) -> None:
    """Refuse weights that do not match the members."""
    if len(weights) != num_members:
        raise UserError(
            f"`task.weights` must have one weight per run; got {len(weights)} weights "
            f"and {num_members} runs."
        )
    if not np.isfinite(weights).all() or min(weights) < 0 or sum(weights) <= 0:
        raise UserError(f"`task.weights` must not be negative and not all 0; got {list(weights)}.")


def fit_weights(
    members: Sequence[Predictions], tolerance: float = 1e-6, max_steps: int = 10_000
) -> list[float]:
    """The maximum-likelihood weights of the mixture of the members' scores; they sum to 1.

    Computed by expectation maximisation. The likelihood has a single maximum, so the result does
    not depend on the initial weights.
    """
    labels = members[0].labels
    rows = np.arange(len(labels))
    likelihood = np.stack([member.scores[rows, labels] for member in members], axis=1)
    likelihood = np.maximum(likelihood, 1e-12)  # (n, members)
    weights = np.full(len(members), 1 / len(members))
    for _ in range(max_steps):
        share = likelihood * weights
        updated = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
        if np.abs(updated - weights).max() < tolerance:
            return updated.tolist()
        weights = updated
    return weights.tolist()
