"""The joints of a recording as places on a body.

Sizes: M persons, T frames, V joints of the recording's layout, P places.
"""

import numpy as np

from flag3d_exp.bodies.body import PLACES, SIDES
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.skeletons.mapping import joint_sources, relaid

NEEDED = tuple(
    f"{side} {joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in SIDES
)
_NAMES = tuple(PLACES)
AS_LAYOUT = Layout(
    "body", _NAMES, (-1,) + (0,) * (len(_NAMES) - 1), (), (), 0, ()
)  # `joint_sources` needs no more of it


def check_layout(layout: Layout) -> None:
    """Check that the layout has the joints that a body needs.

    Raises:
        UserError: it lacks some; the message names them.
    """
    sources = dict(zip(_NAMES, joint_sources(layout, AS_LAYOUT), strict=True))
    lacking = [name for name in NEEDED if not sources[name]]
    if lacking:
        raise UserError(
            f"a body needs shoulders, elbows, wrists, hips, knees and ankles; layout {layout.name} "
            f"has no {', no '.join(lacking[:4])}{' and others' if len(lacking) > 4 else ''}."
        )


def places_of(
    keypoints: np.ndarray, scores: np.ndarray | None, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (M, T, P, 3) of the places, and whether each is known (M, T, P).

    Args:
        keypoints: (M, T, V, 3); missing joints are 0.
        scores: (M, T, V), 0 for missing joints; None if there are none.
    """
    sources = joint_sources(layout, AS_LAYOUT)
    found, _ = relaid(keypoints.astype(np.float64), scores, sources)
    return found, (found != 0).any(-1)
