"""Fit a body to the joints of a recording, in closed form.

The pelvis and the chest are moved as rigid blocks (Kabsch). Limbs point from where the body's joint
is to where the recorded one is (swing); errors therefore do not add up along a limb. Upper arms and
thighs are turned about their own axis so that elbow and knee bend in the plane of the recorded limb
(twist). A straight limb has no such plane, and its twist is that of the frames around it.

Lengths are medians over the recording. Girths follow the person's size.

Sizes: T frames, P places, B bones, N vertices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flag3d_exp.bodies.body import BONES, NUMBER, PARENT, PLACES, SIDES, Body
from flag3d_exp.bodies.joints import NEEDED
from flag3d_exp.bodies.rotations import about, applied, inverse, kabsch, partial, shortest_arc, unit
from flag3d_exp.errors import UserError

P = {name: number for number, name in enumerate(PLACES)}
# The places of two rigid blocks. The last one stands in for the middle of the spine where that is
# not seen.
MIDDLE, BASE, TOP = "middle of spine", "base of spine", "spine at the shoulders"
PELVIS = ("left hip", "right hip", BASE, MIDDLE, TOP)
CHEST = ("left shoulder", "right shoulder", TOP, MIDDLE, BASE)
FACE = ("nose", "left eye", "right eye", "left ear", "right ear", "head")
SPINE = {"lower spine": 0.25, "middle spine": 0.6}  # how far on the way from pelvis to chest
# The bones with a length of their own, and the places between which it is measured.
MEASURED = {"upper arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist"),
            "thigh": ("hip", "knee"), "shin": ("knee", "ankle")}  # fmt: skip
# Places at the end of a bone, and the place where it starts. They may be copies of that place.
ENDS = {"hand": "wrist", "tip": "wrist", "thumb": "wrist", "foot": "ankle"}
COPY = 0.2  # of the body's own length: a place that is nearer is a copy
PRIOR, SMOOTH = 0.02, 1.0  # weights of no twist, and of an unchanged twist, see `steady_angles`
MAX_NOD, MAX_FOOT_PITCH = np.radians(35), np.radians(15)  # see `_pitched`
FOOT = 0.15  # weight of the foot's direction in the twist of a straight leg


@dataclass(frozen=True, eq=False)
class Shape:
    """A body with the lengths of a person, at rest.

    Args:
        scale: the person's size relative to the body.
        heads: (B, 3) where the bones start.
        lengths: (B,) the bones' lengths relative to the body's.
        places: (P, 3).
    """

    scale: float
    heads: np.ndarray
    lengths: np.ndarray
    places: np.ndarray


@dataclass(frozen=True, eq=False)
class Fitted:
    """A body in the poses of a recording.

    Args:
        rotations: (T, B, 3, 3) of the bones, from rest, in the recording's axes.
        untwisted: (T, B, 3, 3), the same without the bones' twist about their own axes.
        positions: (T, B, 3) where the bones start.
        held: (T, B) bool, whether joints were missing, so that the bone keeps its last (else next)
            known pose relative to its parent.
        error: mean distance between the places of the body and the recorded joints.
    """

    shape: Shape
    rotations: np.ndarray
    untwisted: np.ndarray
    positions: np.ndarray
    held: np.ndarray
    error: float


def fitted(joints: np.ndarray, seen: np.ndarray, body: Body) -> Fitted:
    """The body in the poses of one person.

    Args:
        joints: (T, P, 3), see `joints.places_of`, in a right-handed system of axes.
        seen: (T, P) bool, whether each joint is known.

    Raises:
        UserError: no frame has the joints of pelvis and chest, or a limb is never seen.
    """
    seen = seen.copy()
    scale, lengths = measured(joints, seen, body)
    _drop_copies(joints, seen, body, scale)
    return _Fit(joints, seen, body, scale, lengths).made()


def measured(joints: np.ndarray, seen: np.ndarray, body: Body) -> tuple[float, dict[str, float]]:
    """The person's size relative to the body, and the lengths of the bones of the limbs.

    A bone that is never seen is as long as that of the other side, else as the size suggests.

    Raises:
        UserError: no bone is seen in any frame.
    """
    rest = {bone: float(np.linalg.norm(body.place(end) - body.place(start)))
            for bone, (start, end) in _measured()}  # fmt: skip
    found = {bone: median_distance(joints, seen, start, end)
             for bone, (start, end) in _measured()}  # fmt: skip
    known = {bone: length for bone, length in found.items() if length > 0}
    if not known:
        raise UserError("no frame has both ends of a limb.")
    scale = float(np.median([length / rest[bone] for bone, length in known.items()]))
    other = {"left": "right", "right": "left"}
    lengths = {}
    for bone in rest:
        side, _, name = bone.partition(" ")
        lengths[bone] = known.get(bone, known.get(f"{other[side]} {name}", scale * rest[bone]))
    return scale, lengths


class _Fit:
    """The bones' poses while they are found, from the pelvis outwards."""

    def __init__(
        self,
        joints: np.ndarray,
        seen: np.ndarray,
        body: Body,
        scale: float,
        lengths: dict[str, float],
    ) -> None:
        num_frames = len(joints)
        self.joints, self.seen, self.body, self.scale = joints, seen, body, scale
        self.rotations = np.zeros((num_frames, len(BONES), 3, 3))
        self.untwisted = np.zeros_like(self.rotations)
        self.positions = np.zeros((num_frames, len(BONES), 3))
        self.held = np.zeros((num_frames, len(BONES)), bool)
        self.heads = scale * body.heads
        self.places = scale * body.places
        self.lengths = np.full(len(BONES), scale)
        self.measured = lengths

    def made(self) -> Fitted:
        """Fit all bones."""
        self._torso()
        self._head()
        for side in SIDES:
            self._arm(side)
            self._leg(side)
        for name, carrier in PLACES.items():
            if name in NEEDED:
                self.places[P[name]] = self.heads[NUMBER[carrier]]
        on_body = self._on_body()
        distances = np.linalg.norm(on_body - self.joints, axis=-1)[self.seen]
        shape = Shape(self.scale, self.heads, self.lengths, self.places)
        return Fitted(
            shape,
            self.rotations,
            self.untwisted,
            self.positions,
            self.held,
            float(distances.mean()),
        )

    def _torso(self) -> None:
        low, low_at, low_places, low_held = self._block(PELVIS)
        high, high_at, high_places, high_held = self._block(CHEST)
        # At rest the chest is shifted so that both blocks have a place in common.
        common = MIDDLE if self.seen[:, P[MIDDLE]].any() else BASE
        shift = low_places[PELVIS.index(common)] - high_places[CHEST.index(common)]
        for name, place in zip(CHEST[:3], high_places, strict=False):
            self.places[P[name]] = place + shift
        for name, place in zip(PELVIS[:4], low_places, strict=False):
            self.places[P[name]] = place
        for name in ("neck", "head", "nose", *(f"{side} {part}" for side in SIDES
                                                for part in ("eye", "ear"))):  # fmt: skip
            self.places[P[name]] += shift
        # Relative to the pelvis, so that a chest without joints moves with it.
        local = hold(inverse(low) @ high, ~high_held)
        local_at = hold(applied(inverse(low), high_at - low_at), ~high_held)
        high, high_at = low @ local, low_at + applied(low, local_at)
        for side in SIDES:
            self.heads[NUMBER[f"{side} thigh"]] = self.places[P[f"{side} hip"]]
        rest = self.heads.copy()
        for bone in ("chest", "neck", "head", *(f"{side} clavicle" for side in SIDES)):
            self.heads[NUMBER[bone]] = rest[NUMBER[bone]] + shift
        self._set("pelvis", low, low_at + applied(low, rest[NUMBER["pelvis"]]), low_held)
        for bone, share in SPINE.items():
            number = NUMBER[bone]
            self.heads[number] = rest[number] + share * shift
            below = low_at + applied(low, rest[number])
            above = high_at + applied(high, rest[number])
            bent = low @ partial(inverse(low) @ high, share)
            self._set(bone, bent, (1 - share) * below + share * above, high_held)
        chest_at = high_at + applied(high, rest[NUMBER["chest"]])
        self._set("chest", high, chest_at, high_held)

    def _block(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Rotations, translations, places and held frames of a rigid part of the body.

        The places are first those of the body, then medians of the recorded ones in its frame.
        """
        numbers = [P[name] for name in names]
        targets, weights = self.joints[:, numbers], self.seen[:, numbers].astype(float)
        weights[:, 4] *= 1 - weights[:, 3]
        known = weights[:, :2].all(1) & weights[:, 3:].any(1)
        if not known.any():
            raise UserError(f"no frame has the joints {names[0]}, {names[1]} and {names[3]}.")
        places = self.places[numbers]
        for _ in range(2):
            rotations, moves = kabsch(places, targets, weights)
            found = applied(inverse(rotations)[:, None], targets - moves[:, None])  # (T, K, 3)
            there = (weights > 0) & known[:, None]
            places = np.stack(
                [
                    np.median(found[there[:, k], k], axis=0) if there[:, k].any() else places[k]
                    for k in range(len(names))
                ]
            )
        rotations, moves = kabsch(places, targets, weights)
        rotations = hold(rotations, known)
        shares = weights / np.maximum(weights.sum(1, keepdims=True), 1)
        offsets = targets - applied(rotations[:, None], np.broadcast_to(places, targets.shape))
        moves = hold(np.einsum("tk,tkc->tc", shares, offsets), weights.any(1))
        return rotations, moves, places, ~known

    def _head(self) -> None:
        number, place = NUMBER["neck"], P["head"]
        start = self._at("neck")
        chest = self.rotations[:, NUMBER["chest"]]
        there = self.seen[:, place]
        rest = self.places[place] - self.heads[number]
        aims = self.joints[:, place] - start
        aimed = applied(inverse(chest), unit(aims))
        if there.any():  # the place moves on the head; neck and head keep their form
            rest = _pitched(rest, aimed[there], MAX_NOD)
            rest = rest * np.median(np.linalg.norm(aims[there], axis=-1)) / np.linalg.norm(rest)
            change = self.heads[number] + rest - self.places[place]
            for name in FACE:
                self.places[P[name]] += change
        neck = chest @ hold(shortest_arc(unit(rest), aimed), there)
        self._set("neck", neck, start, ~there & there.any())
        self._measure("neck")
        numbers = [P[name] for name in FACE]
        faces = self.seen[:, numbers].sum(1) >= 3
        head = neck
        if faces.any():
            weights = self.seen[:, numbers].astype(float)
            turned, _ = kabsch(self.places[numbers], self.joints[:, numbers], weights)
            head = neck @ hold(inverse(neck) @ turned, faces)
        self._set("head", head, self._at("head"), np.zeros(len(neck), bool))

    def _arm(self, side: str) -> None:
        clavicle, upper, fore, hand = (
            f"{side} {bone}" for bone in ("clavicle", "upper arm", "forearm", "hand")
        )
        shoulder, elbow, wrist = (f"{side} {joint}" for joint in ("shoulder", "elbow", "wrist"))
        start = self._at(clavicle)
        there = self.seen[:, P[shoulder]]
        distances = np.linalg.norm(self.joints[:, P[shoulder]] - start, axis=-1)
        width = self.scale * float(np.linalg.norm(self.body.head(upper) - self.body.head(clavicle)))
        self._stretch(clavicle, upper, float(np.median(distances[there])) if there.any() else width)
        self._aim(clavicle, self.body.head(upper) - self.body.head(clavicle), shoulder, there)
        along = self.body.head(fore) - self.body.head(upper)
        self._stretch(upper, fore, self.measured[upper])
        self._aim(upper, along, elbow, there & self.seen[:, P[elbow]])
        beyond = self.body.head(hand) - self.body.head(fore)
        both = self.seen[:, [P[shoulder], P[elbow], P[wrist]]].all(1)
        bent = self._evidence(upper, along, _bend(along, beyond, [0, 0, 1]), elbow, wrist, both)
        self._twist(upper, along, [bent])
        self._stretch(fore, hand, self.measured[fore])
        self._aim(fore, beyond, wrist, self.seen[:, [P[elbow], P[wrist]]].all(1))
        thumb = self.body.place(f"{side} thumb") - self.body.head(hand)
        both = self.seen[:, [P[wrist], P[f"{side} thumb"]]].all(1)
        self._twist(
            fore, beyond, [self._evidence(fore, beyond, thumb, wrist, f"{side} thumb", both)]
        )
        end = f"tip of {side} hand"
        end = end if self.seen[:, P[end]].any() else f"{side} hand"
        self._extremity(hand, end, wrist)

    def _leg(self, side: str) -> None:
        thigh, shin, foot = (f"{side} {bone}" for bone in ("thigh", "shin", "foot"))
        hip, knee, ankle, toes = (f"{side} {joint}" for joint in ("hip", "knee", "ankle", "foot"))
        along = self.body.head(shin) - self.body.head(thigh)
        beyond = self.body.head(foot) - self.body.head(shin)
        self._stretch(thigh, shin, self.measured[thigh])
        self._aim(thigh, along, knee, self.seen[:, [P[hip], P[knee]]].all(1))
        both = self.seen[:, [P[hip], P[knee], P[ankle]]].all(1)
        bent = self._evidence(thigh, along, _bend(along, beyond, [0, 0, -1]), knee, ankle, both)
        toe = self.body.place(toes) - self.body.head(foot)
        both = self.seen[:, [P[hip], P[knee], P[ankle], P[toes]]].all(1)
        forwards = self._evidence(thigh, along, toe, ankle, toes, both)
        straight = FOOT * (1 - np.minimum(np.abs(bent), 1))
        self._twist(thigh, along, [bent, straight * forwards])
        self._stretch(shin, foot, self.measured[shin])
        self._aim(shin, beyond, ankle, self.seen[:, [P[knee], P[ankle]]].all(1))
        self._extremity(foot, toes, ankle)
        at = self._at(f"{side} toes")
        number = NUMBER[foot]
        self._set(f"{side} toes", self.rotations[:, number], at, self.held[:, number])

    def _extremity(self, bone: str, place: str, start: str) -> None:
        """A hand or foot, which keeps its form: the place at its end is where it was measured."""
        there = self.seen[:, [P[place], P[start]]].all(1)
        rest = self.body.place(place) - self.body.head(bone)
        shift = self.heads[NUMBER[bone]] - self.scale * self.body.head(bone)
        for name, carrier in PLACES.items():
            if carrier == bone:
                self.places[P[name]] = self.scale * self.body.place(name) + shift
        if there.any():
            length = median_distance(self.joints, self.seen, start, place)
            if bone.endswith("foot"):
                rest = _pitched(rest, self._resting_feet(bone, place, there), MAX_FOOT_PITCH)
            self.places[P[place]] = self.heads[NUMBER[bone]] + length * unit(rest)
        self._aim(bone, rest, place, there)
        for name, carrier in PLACES.items():
            if carrier == bone and name not in (place, start):
                self._measure(name)

    def _resting_feet(self, foot: str, toes: str, there: np.ndarray) -> np.ndarray:
        """(n, 3) directions of a foot relative to its shin, in the tenth with the straightest knee.

        A straight leg mostly stands on the whole foot.
        """
        number = NUMBER[foot]
        shin, thigh = PARENT[number], PARENT[PARENT[number]]
        aims = unit(self.joints[there, P[toes]] - self._at(foot)[there])
        local = applied(inverse(self.rotations[there, shin]), aims)
        upper = self.positions[there, shin] - self.positions[there, thigh]
        lower = self._at(foot)[there] - self.positions[there, shin]
        straight = (unit(upper) * unit(lower)).sum(-1)
        return local[straight >= np.quantile(straight, 0.9)]

    def _measure(self, place: str) -> None:
        """Put a place where it is on its bone, by the median over the frames that show it."""
        there = self.seen[:, P[place]]
        if there.any():
            number = NUMBER[PLACES[place]]
            offsets = (self.joints[:, P[place]] - self.positions[:, number])[there]
            local = applied(inverse(self.rotations[there, number]), offsets)
            self.places[P[place]] = self.heads[number] + np.median(local, axis=0)

    def _stretch(self, bone: str, end: str, length: float) -> None:
        """Give a bone its length at rest; the head of the next bone follows."""
        along = self.body.head(end) - self.body.head(bone)
        number, after = NUMBER[bone], NUMBER[end]
        self.lengths[number] = length / np.linalg.norm(along)
        moved = self.heads[number] + length * unit(along) - self.heads[after]
        for other in (after, *_hanging_on(after)):
            self.heads[other] += moved

    def _aim(self, bone: str, rest: np.ndarray, place: str, there: np.ndarray) -> None:
        """Swing a bone so that it points to the recorded place."""
        start, parent = self._at(bone), self.rotations[:, PARENT[NUMBER[bone]]]
        aims = applied(inverse(parent), unit(self.joints[:, P[place]] - start))
        local = hold(shortest_arc(unit(rest), aims), there)
        self._set(bone, parent @ local, start, ~there & there.any())

    def _evidence(
        self,
        bone: str,
        along: np.ndarray,
        rest: np.ndarray,
        start: str,
        end: str,
        there: np.ndarray,
    ) -> np.ndarray:
        """(T,) complex: the twist that a vector of the recording asks for, times its weight.

        The weight is the square of the sine of the angle between the vector and the bone: near 0
        the direction around the bone is lost in the errors of the joints.

        Args:
            along: (3,) axis of the bone at rest.
            rest: (3,) the vector at rest; `start` and `end` are the places it joins.
        """
        turn = self.rotations[:, NUMBER[bone]]
        axis = unit(along)
        first = unit(rest - (rest @ axis) * axis)
        vector = unit(self.joints[:, P[end]] - self.joints[:, P[start]])
        local = applied(inverse(turn), vector)
        across = local @ first + 1j * (local @ np.cross(axis, first))
        return np.where(there, across * np.abs(across), 0)

    def _twist(self, bone: str, along: np.ndarray, evidence: Sequence[np.ndarray]) -> None:
        """Turn a bone about its own axis by what all evidence together asks for."""
        number = NUMBER[bone]
        total = np.sum(evidence, axis=0)
        weight = np.sum(np.abs(evidence), axis=0)
        if not weight.any():
            return
        angles = hold(steady_angles(total, weight), ~self.held[:, number])
        axis = np.broadcast_to(unit(along), (len(angles), 3))
        self.rotations[:, number] = self.rotations[:, number] @ about(axis, angles)

    def _at(self, bone: str) -> np.ndarray:
        """(T, 3) where the bone starts, carried by its parent."""
        number = NUMBER[bone]
        parent = PARENT[number]
        offset = np.broadcast_to(
            self.heads[number] - self.heads[parent], self.positions[:, 0].shape
        )
        return self.positions[:, parent] + applied(self.rotations[:, parent], offset)

    def _set(self, bone: str, rotations: np.ndarray, at: np.ndarray, held: np.ndarray) -> None:
        number = NUMBER[bone]
        self.rotations[:, number] = self.untwisted[:, number] = rotations
        self.positions[:, number] = at
        self.held[:, number] = held

    def _on_body(self) -> np.ndarray:
        """(T, P, 3) the places of the posed body."""
        carriers = [NUMBER[bone] for bone in PLACES.values()]
        offsets = self.places - self.heads[carriers]
        turned = applied(self.rotations[:, carriers], offsets[None].repeat(len(self.joints), 0))
        return self.positions[:, carriers] + turned


def shaped(body: Body, shape: Shape) -> np.ndarray:
    """(N, 3) float32 vertices of the body with the person's lengths, at rest."""
    moved = np.empty((len(BONES), 3, 4))
    for number in range(len(BONES)):
        stretch = shape.scale * np.eye(3)
        end = next((child for child, parent in enumerate(PARENT) if parent == number), None)
        if shape.lengths[number] != shape.scale and end is not None:
            axis = unit(body.heads[end] - body.heads[number])
            stretch += (shape.lengths[number] - shape.scale) * np.outer(axis, axis)
        moved[number, :, :3] = stretch
        moved[number, :, 3] = shape.heads[number] - stretch @ body.heads[number]
    blended = (body.shares @ moved.reshape(len(BONES), 12).astype(np.float32)).reshape(-1, 3, 4)
    return np.einsum("nij,nj->ni", blended[..., :3], body.vertices) + blended[..., 3]


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

        sum w |z - e^(i angle)|^2 + PRIOR |z - 1|^2 + SMOOTH |z' - z|^2 over frames,

    a tridiagonal system of equations.

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


def median_distance(joints: np.ndarray, seen: np.ndarray, start: str, end: str) -> float:
    """The median distance of two places, over the frames with both; NaN without such a frame."""
    both = seen[:, P[start]] & seen[:, P[end]]
    if not both.any():
        return float("nan")
    return float(np.median(np.linalg.norm(joints[both, P[end]] - joints[both, P[start]], axis=-1)))


def _measured() -> list[tuple[str, tuple[str, str]]]:
    """Each bone with a length of its own, and the places at its ends."""
    return [
        (f"{side} {bone}", (f"{side} {start}", f"{side} {end}"))
        for side in SIDES
        for bone, (start, end) in MEASURED.items()
    ]


def _drop_copies(joints: np.ndarray, seen: np.ndarray, body: Body, scale: float) -> None:
    """Count places that are copies of others as not seen, such as hands at the wrist."""
    for side in SIDES:
        for end, start in ENDS.items():
            place = f"tip of {side} hand" if end == "tip" else f"{side} {end}"
            own = np.linalg.norm(body.place(place) - body.place(f"{side} {start}"))
            length = median_distance(joints, seen, f"{side} {start}", place)
            if length < COPY * scale * own:
                seen[:, P[place]] = False


def _bend(along: np.ndarray, beyond: np.ndarray, forwards: Sequence[float]) -> np.ndarray:
    """(3,) where the limb bends to: that of the rest pose if it is bent, else `forwards`."""
    axis, bent = unit(along), unit(beyond)
    across = bent - (bent @ axis) * axis
    return across if np.linalg.norm(across) > 0.2 else np.asarray(forwards, float)


def _pitched(rest: np.ndarray, found: np.ndarray, most: float) -> np.ndarray:
    """(3,) the vector at rest, pitched to the median direction of the recorded ones (n, 3).

    Layouts and sensors put the joints of heads and feet at different places. The pitch is limited
    because a head or foot may be bent all the time.
    """
    middle = np.median(found, axis=0)
    angles = [np.arctan2(vector[1], vector[2]) for vector in (rest, middle)]
    pitch = (angles[1] - angles[0] + np.pi) % (2 * np.pi) - np.pi
    turn = about(np.array([-1.0, 0.0, 0.0]), np.clip(pitch, -most, most))
    return turn @ rest


def _hanging_on(bone: int) -> list[int]:
    """All bones that hang on the bone."""
    found = {bone}
    for number, parent in enumerate(PARENT):
        if parent in found:
            found.add(number)
    return sorted(found - {bone})
