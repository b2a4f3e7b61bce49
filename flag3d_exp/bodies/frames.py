"""Values over the frames of a recording: fill unknown ones, and make doubtful ones steady.

Sizes: T frames.
"""

import numpy as np

PRIOR, SMOOTH = 0.02, 1.0  # weights of no twist, and of an unchanged twist, see `steady_angles`


def hold(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The values (T, ...), where not known those of the last known frame, else of the next one.

    If no frame is known, rotations are the identity and other values 0.
    """
    if known.all():
        return values
    if not known.any():
        blank = np.eye(3) if values.shape[1:] == (3, 3) else 0.0
        return np.broadcast_to(blank, values.shape).copy()
    order = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    order[order < 0] = known.argmax()
    return values[order]


def steady_angles(evidence: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(T,) angles that follow the evidence where it is strong and change slowly elsewhere.

    The angles are those of the complex numbers z that minimise

        sum of w abs(z - e^(i angle))^2 + PRIOR abs(z - 1)^2 + SMOOTH abs(z' - z)^2

    over the frames: a tridiagonal system of equations.

    Args:
        evidence: (T,) w e^(i angle); `weight`: (T,) w >= 0.
    """
    right = evidence + PRIOR
    diagonal = weight + PRIOR + SMOOTH * 2.0
    diagonal[0] -= SMOOTH
    diagonal[-1] -= SMOOTH
    upper = np.zeros(len(right))
    sums = np.zeros(len(right), complex)
    for t in range(len(right)):  # Thomas's algorithm
        before = t and upper[t - 1]
        pivot = diagonal[t] - SMOOTH * before
        upper[t] = SMOOTH / pivot
        sums[t] = (right[t] + SMOOTH * (sums[t - 1] if t else 0)) / pivot
    found = sums.copy()
    for t in range(len(right) - 2, -1, -1):
        found[t] = sums[t] + upper[t] * found[t + 1]
    return np.angle(found)
