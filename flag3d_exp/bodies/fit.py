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

from flag3d_exp.bodies.blocks import Block, rigid_block
from flag3d_exp.bodies.body import BONES, NUMBER, PARENT, PLACES, SIDES, Body, hanging_on
from flag3d_exp.bodies.body import PLACE as P
from flag3d_exp.bodies.frames import hold, steady_angles
from flag3d_exp.bodies.joints import NEEDED
from flag3d_exp.bodies.rotations import (
    about,
    inverse,
    kabsch,
    partial,
    rotated_vectors,
    shortest_arc,
    unit,
)
from flag3d_exp.bodies.shape import Shape, drop_copies, median_distance, size_and_lengths
from flag3d_exp.errors import UserError

# The places of two rigid blocks. The last one stands in for the middle of the spine where that is
# not seen.
MIDDLE, BASE, TOP = "middle of spine", "base of spine", "spine at the shoulders"
PELVIS = ("left hip", "right hip", BASE, MIDDLE, TOP)
CHEST = ("left shoulder", "right shoulder", TOP, MIDDLE, BASE)
FACE = ("nose", "left eye", "right eye", "left ear", "right ear", "head")
SPINE = {"lower spine": 0.25, "middle spine": 0.6}  # how far on the way from pelvis to chest
MAX_NOD, MAX_FOOT_PITCH = np.radians(35), np.radians(15)  # see `_pitched_vector`
FOOT = 0.15  # weight of the foot's direction in the twist of a straight leg


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


def fitted_body(joints: np.ndarray, seen: np.ndarray, body: Body) -> Fitted:
    """The body in the poses of one person.

    Args:
        joints: (T, P, 3), see `joints.places_of`, in a right-handed system of axes.
        seen: (T, P) bool, whether each joint is known.

    Raises:
        UserError: no frame has the joints of the pelvis, of the chest, or of any limb.
    """
    seen = seen.copy()
    scale, lengths = size_and_lengths(joints, seen, body)
    drop_copies(joints, seen, body, scale)
    return _Fit(joints, seen, body, scale, lengths).fit()


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

    def fit(self) -> Fitted:
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
        """Pelvis and chest as rigid blocks, and the spine between them."""
        low, high = self._block(PELVIS), self._block(CHEST)
        # At rest the chest is shifted so that both blocks have a place in common.
        common = MIDDLE if self.seen[:, P[MIDDLE]].any() else BASE
        shift = low.places[PELVIS.index(common)] - high.places[CHEST.index(common)]
        for name, place in zip(CHEST[:3], high.places, strict=False):
            self.places[P[name]] = place + shift
        for name, place in zip(PELVIS[:4], low.places, strict=False):
            self.places[P[name]] = place
        for name in ("neck", *FACE):
            self.places[P[name]] += shift
        # Relative to the pelvis, so that a chest without joints moves with it.
        back = inverse(low.rotations)
        turn = low.rotations @ hold(back @ high.rotations, ~high.held)
        move = hold(rotated_vectors(back, high.moves - low.moves), ~high.held)
        high = high._replace(rotations=turn, moves=low.moves + rotated_vectors(low.rotations, move))
        self._set("pelvis", low.rotations, low.at(self._head_of("pelvis")), low.held)
        for bone, share in SPINE.items():
            start = self._head_of(bone)
            between = (1 - share) * low.at(start) + share * high.at(start)
            bent = low.rotations @ partial(back @ high.rotations, share)
            self._set(bone, bent, between, high.held)
            self.heads[NUMBER[bone]] += share * shift
        self._set("chest", high.rotations, high.at(self._head_of("chest")), high.held)
        for bone in ("chest", "neck", "head", *(f"{side} clavicle" for side in SIDES)):
            self.heads[NUMBER[bone]] += shift
        for side in SIDES:
            self.heads[NUMBER[f"{side} thigh"]] = self.places[P[f"{side} hip"]]

    def _block(self, names: Sequence[str]) -> Block:
        """A rigid part; `names` are its left, its right, and three places along the spine.

        The last place stands in for the fourth in frames in which that is not seen.
        """
        numbers = [P[name] for name in names]
        weights = self.seen[:, numbers].astype(float)
        weights[:, 4] *= 1 - weights[:, 3]
        known = weights[:, :2].all(1) & weights[:, 3:].any(1)
        if not known.any():
            raise UserError(f"no frame has the joints {names[0]}, {names[1]} and {names[3]}.")
        return rigid_block(self.places[numbers], self.joints[:, numbers], weights, known)

    def _head_of(self, bone: str) -> np.ndarray:
        """(3,) where the bone starts at rest."""
        return self.heads[NUMBER[bone]]

    def _head(self) -> None:
        number, place = NUMBER["neck"], P["head"]
        start = self._at("neck")
        chest = self.rotations[:, NUMBER["chest"]]
        there = self.seen[:, place]
        rest = self.places[place] - self.heads[number]
        aims = self.joints[:, place] - start
        aimed = rotated_vectors(inverse(chest), unit(aims))
        if there.any():  # the place moves on the head; neck and head keep their form
            rest = _pitched_vector(rest, aimed[there], MAX_NOD)
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
        self._twist(upper, along, bent)
        self._stretch(fore, hand, self.measured[fore])
        self._aim(fore, beyond, wrist, self.seen[:, [P[elbow], P[wrist]]].all(1))
        thumb = self.body.place(f"{side} thumb") - self.body.head(hand)
        both = self.seen[:, [P[wrist], P[f"{side} thumb"]]].all(1)
        pointed = self._evidence(fore, beyond, thumb, wrist, f"{side} thumb", both)
        self._twist(fore, beyond, pointed)
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
        bent = np.where(bent.real < 0, 0, bent)  # a knee that bends forwards is an error
        straight = FOOT * (1 - np.abs(bent))
        self._twist(thigh, along, bent, straight * forwards)
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
                rest = _pitched_vector(rest, self._resting_feet(bone, place, there), MAX_FOOT_PITCH)
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
        local = rotated_vectors(inverse(self.rotations[there, shin]), aims)
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
            local = rotated_vectors(inverse(self.rotations[there, number]), offsets)
            self.places[P[place]] = self.heads[number] + np.median(local, axis=0)

    def _stretch(self, bone: str, end: str, length: float) -> None:
        """Give a bone its length at rest; the head of the next bone follows."""
        along = self.body.head(end) - self.body.head(bone)
        number, after = NUMBER[bone], NUMBER[end]
        self.lengths[number] = length / np.linalg.norm(along)
        moved = self.heads[number] + length * unit(along) - self.heads[after]
        for other in (after, *hanging_on(after, PARENT)):
            self.heads[other] += moved

    def _aim(self, bone: str, rest: np.ndarray, place: str, there: np.ndarray) -> None:
        """Swing a bone so that it points to the recorded place."""
        start, parent = self._at(bone), self.rotations[:, PARENT[NUMBER[bone]]]
        aims = rotated_vectors(inverse(parent), unit(self.joints[:, P[place]] - start))
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
        local = rotated_vectors(inverse(turn), vector)
        across = local @ first + 1j * (local @ np.cross(axis, first))
        return np.where(there, across * np.abs(across), 0)

    def _twist(self, bone: str, along: np.ndarray, *evidence: np.ndarray) -> None:
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
        return self.positions[:, parent] + rotated_vectors(self.rotations[:, parent], offset)

    def _set(self, bone: str, rotations: np.ndarray, at: np.ndarray, held: np.ndarray) -> None:
        number = NUMBER[bone]
        self.rotations[:, number] = self.untwisted[:, number] = rotations
        self.positions[:, number] = at
        self.held[:, number] = held

    def _on_body(self) -> np.ndarray:
        """(T, P, 3) the places of the posed body."""
        carriers = [NUMBER[bone] for bone in PLACES.values()]
        offsets = self.places - self.heads[carriers]
        turned = rotated_vectors(
            self.rotations[:, carriers], offsets[None].repeat(len(self.joints), 0)
        )
        return self.positions[:, carriers] + turned


def _bend(along: np.ndarray, beyond: np.ndarray, forwards: Sequence[float]) -> np.ndarray:
    """(3,) where the limb bends to: that of the rest pose if it is bent, else `forwards`."""
    axis, bent = unit(along), unit(beyond)
    across = bent - (bent @ axis) * axis
    return across if np.linalg.norm(across) > 0.2 else np.asarray(forwards, float)


def _pitched_vector(rest: np.ndarray, found: np.ndarray, most: float) -> np.ndarray:
    """(3,) the vector at rest, pitched to the median direction of the recorded ones (n, 3).

    Layouts and sensors put the joints of heads and feet at different places. The pitch is limited
    because a head or foot may be bent all the time.
    """
    middle = np.median(found, axis=0)
    angles = [np.arctan2(vector[1], vector[2]) for vector in (rest, middle)]
    pitch = (angles[1] - angles[0] + np.pi) % (2 * np.pi) - np.pi
    turn = about(np.array([-1.0, 0.0, 0.0]), np.clip(pitch, -most, most))
    return turn @ rest
