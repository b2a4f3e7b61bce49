"""Comparison of generated recordings with real ones.

Distances of distributions (Fréchet, Heusel et al., NeurIPS 2017; kernel, Binkowski et al., ICLR
2018) are of features of a recogniser that was trained on real recordings. The features are first
reduced to a few whitened principal components, because the Fréchet distance of many features is
large even between samples of one distribution.

Sizes: n recordings, F features, T frames, V joints, B bones.
"""

from dataclasses import dataclass

import numpy as np

NUM_COMPONENTS = 32
NUM_PAIRS, PAIRS_OF_CLASS = 200, 20  # of diversity and multimodality
NEAR_FLOOR = 0.05  # metres
SHORT = 0.02  # relative to the longest bone; shorter ones are joints recorded at one place
COPY = 0.02  # metres, mean distance of a joint, below which a clip counts as a copy


@dataclass(frozen=True)
class Whitening:
    """(n, F) features -> (n, P) principal components with variance 1 in the reference.

    Args:
        mean: (F,) of the reference.
        axes: (F, P).
    """

    mean: np.ndarray
    axes: np.ndarray

    @classmethod
    def of(cls, reference: np.ndarray, num_components: int = NUM_COMPONENTS) -> "Whitening":
        """The whitening of the reference (n, F).

        Components without variance are left out.
        """
        reference = reference.astype(np.float64)
        mean = reference.mean(0)
        _, spread, axes = np.linalg.svd(reference - mean, full_matrices=False)
        spread = spread / np.sqrt(max(len(reference) - 1, 1))
        count = min(num_components, int((spread > 1e-6 * spread[0]).sum()))
        return cls(mean, axes[:count].T / spread[:count])

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The components."""
        return (features.astype(np.float64) - self.mean) @ self.axes


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The squared Fréchet distance of two normal distributions fitted to (n, P) features.

    With means m and covariances C: ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))``.
    """
    apart = one.mean(0) - other.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    # C1 C2 has the eigenvalues of the symmetric matrix root C2 root.
    product = np.linalg.eigvalsh(root @ second @ root)
    common = np.sqrt(np.maximum(product, 0)).sum()
    return float(apart @ apart + np.trace(first) + np.trace(second) - 2 * common)


def kernel_distance(one: np.ndarray, other: np.ndarray) -> float:
    """The unbiased squared maximum mean discrepancy of (n, P) features.

    The kernel is (x y / P + 1)^3. The expected value is 0 for samples of one distribution, so it
    may be negative.
    """
    count, others, size = len(one), len(other), one.shape[1]
    within = (one @ one.T / size + 1) ** 3
    beyond = (other @ other.T / size + 1) ** 3
    between = (one @ other.T / size + 1) ** 3
    own = (within.sum() - np.trace(within)) / (count * (count - 1))
    theirs = (beyond.sum() - np.trace(beyond)) / (others * (others - 1))
    return float(own + theirs - 2 * between.mean())


def halves(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The numbers below `count` in two random halves."""
    order = rng.permutation(count)
    return order[: count // 2], order[count // 2 :]


def diversity(features: np.ndarray, rng: np.random.Generator, num_pairs: int = NUM_PAIRS) -> float:
    """The mean distance of random pairs of different recordings (n, P)."""
    first, second = pairs(len(features), num_pairs, rng)
    return float(np.linalg.norm(features[first] - features[second], axis=1).mean())


def multimodality(
    features: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    num_pairs: int = PAIRS_OF_CLASS,
) -> float:
    """The mean distance of random pairs of one class; NaN if no class has two recordings."""
    found = [
        diversity(features[labels == label], rng, num_pairs)
        for label in np.unique(labels)
        if (labels == label).sum() > 1
    ]
    return float(np.mean(found)) if found else float("nan")


def pairs(count: int, num_pairs: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random pairs of different numbers below `count`."""
    first = rng.integers(count, size=num_pairs)
    return first, (first + rng.integers(1, count, size=num_pairs)) % count


def bone_variation(joints: np.ndarray, bones: np.ndarray) -> float:
    """The mean over bones of the standard deviation of the length over time, relative to the mean.

    Args:
        joints: (T, V, 3).
        bones: (B, 2) joints at the ends of each.
    """
    ends = joints[:, bones].astype(np.float64)  # (T, B, 2, 3)
    lengths = np.linalg.norm(ends[:, :, 0] - ends[:, :, 1], axis=-1)
    mean = lengths.mean(0)
    long = mean > SHORT * mean.max()
    return float((lengths.std(0)[long] / mean[long]).mean())


def foot_speed(joints: np.ndarray, feet: np.ndarray, up: int, rate: float) -> float:
    """The mean horizontal speed of feet while they are near the floor; NaN if they never are.

    The floor is the lowest foot of the recording. Feet that slide have a high speed.

    Args:
        joints: (T, V, 3) in metres.
        feet: numbers of the joints.
        up: the upward axis.
        rate: frames per second.
    """
    places = joints[:, feet].astype(np.float64)
    height = places[..., up] - places[..., up].min()
    flat = np.delete(places, up, axis=-1)
    speeds = np.linalg.norm(np.diff(flat, axis=0), axis=-1) * rate
    low = np.maximum(height[1:], height[:-1]) < NEAR_FLOOR
    return float(speeds[low].mean()) if low.any() else float("nan")


def nearest_distances(
    clips: np.ndarray, others: np.ndarray, without_itself: bool = False
) -> np.ndarray:
    """(n,) mean distance of a joint to that in the nearest other clip.

    Args:
        clips: (n, T, V, 3), placed and turned alike.
        others: (m, T, V, 3).
        without_itself: the arrays hold the same clips; a clip is not compared with itself.
    """
    found = np.empty(len(clips))
    for number, clip in enumerate(clips):
        distances = np.linalg.norm(others - clip, axis=-1).mean((1, 2))
        if without_itself:
            distances[number] = np.inf
        found[number] = distances.min()
    return found
