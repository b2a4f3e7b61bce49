"""Read a user's copy of the body model SMPL, without running code from the file.

SMPL comes under a licence of its own from https://smpl.is.tue.mpg.de. Its template, its skinning
weights and its joints are used; shapes and corrections of poses are not, because the fit sets
lengths itself and glTF's skinning has no corrections.

Sizes: N vertices, F triangles, J joints of SMPL, B bones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flag3d_exp.bodies.body import BONES, NUMBER, PLACES, SIDES, Body
from flag3d_exp.data.formats.pickles import NUMPY_NAMES, plain, read_pickle
from flag3d_exp.errors import UserError
from flag3d_exp.reading import Malformed
from flag3d_exp.reading.arrays import npz_arrays
from flag3d_exp.reading.unpickle import Stateful

KEPT = 4  # bones per vertex
# SMPL's joints in its order, as the bones that start there; hands hang on the wrists.
JOINTS = (
    *("pelvis", "left thigh", "right thigh", "lower spine", "left shin", "right shin"),
    *("middle spine", "left foot", "right foot", "chest", "left toes", "right toes", "neck"),
    *("left clavicle", "right clavicle", "head", "left upper arm", "right upper arm"),
    *("left forearm", "right forearm", "left hand", "right hand"),
)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
HANDS = {22: "left hand", 23: "right hand"}
NUM_VERTICES = 6890
VERTICES = {"nose": 332, "left eye": 2800, "right eye": 6260, "left ear": 583, "right ear": 4071,
            "left thumb": 2746, "right thumb": 6191, "tip of left hand": 2445,
            "tip of right hand": 5905}  # fmt: skip
WANTED = ("v_template", "weights", "kintree_table", "f", "J_regressor")


def read_smpl(path: Path) -> Body:
    """The body in a file of SMPL, .pkl or .npz.

    Raises:
        UserError: the file can't be read, or is not SMPL's with 24 joints.
    """
    content = _content(path)
    lacking = [name for name in WANTED if name not in content]
    if lacking:
        raise UserError(f"{path} is no file of SMPL: it has no `{lacking[0]}`.")
    arrays = {name: _array(path, name, content[name]) for name in WANTED}
    vertices, weights = arrays["v_template"], arrays["weights"]
    regressor, faces, tree = (arrays[name] for name in ("J_regressor", "f", "kintree_table"))
    count = len(PARENTS)
    wanted = {
        "v_template": (NUM_VERTICES, 3),
        "weights": (NUM_VERTICES, count),
        "J_regressor": (count, NUM_VERTICES),
        "kintree_table": (2, count),
    }
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            raise UserError(
                f"{path} is no file of SMPL with {count} joints: `{name}` has shape "
                f"{arrays[name].shape}, not {shape}."
            )
    if tree[0, 1:].astype(np.int64).tolist() != list(PARENTS[1:]):
        raise UserError(f"{path} is no file of SMPL: its joints hang together in another way.")
    if faces.ndim != 2 or faces.shape[1] != 3 or not 0 <= faces.min() <= faces.max() < NUM_VERTICES:
        raise UserError(f"{path} is no file of SMPL: `f` must hold triangles of its vertices.")
    if weights.min() < 0 or not np.allclose(weights.sum(1), 1, atol=0.01):
        raise UserError(f"{path} is no file of SMPL: `weights` must be shares that add up to 1.")
    joints = regressor @ vertices
    heads = np.zeros((len(BONES), 3))
    shares = np.zeros((NUM_VERTICES, len(BONES)))
    for joint, bone in enumerate(JOINTS):
        heads[NUMBER[bone]] = joints[joint]
        shares[:, NUMBER[bone]] += weights[:, joint]
    for joint, bone in HANDS.items():
        shares[:, NUMBER[bone]] += weights[:, joint]
    influences = np.argsort(-shares, axis=1, kind="stable")[:, :KEPT]
    kept = np.take_along_axis(shares, influences, axis=1)
    return Body(
        "SMPL",
        vertices.astype(np.float32),
        faces.astype(np.int32),
        influences,
        (kept / kept.sum(1, keepdims=True)).astype(np.float32),
        heads,
        _places(vertices, joints, heads),
    )


def _places(vertices: np.ndarray, joints: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """(P, 3) the places of `PLACES`."""
    head = {bone: heads[number] for number, bone in enumerate(BONES)}
    found = {name: vertices[number] for name, number in VERTICES.items()}
    shoulders = (head["left upper arm"] + head["right upper arm"]) / 2
    found |= {
        "base of spine": (head["left thigh"] + head["right thigh"]) / 2,
        "middle of spine": head["middle spine"],
        "spine at the shoulders": (shoulders + head["neck"]) / 2,
        "neck": head["neck"],
        "head": (found["left ear"] + found["right ear"]) / 2,
    }
    for side, hand in zip(SIDES, HANDS, strict=True):
        found |= {
            f"{side} shoulder": head[f"{side} upper arm"],
            f"{side} elbow": head[f"{side} forearm"],
            f"{side} wrist": head[f"{side} hand"],
            f"{side} hand": joints[hand],
            f"{side} hip": head[f"{side} thigh"],
            f"{side} knee": head[f"{side} shin"],
            f"{side} ankle": head[f"{side} foot"],
            f"{side} foot": head[f"{side} toes"],
        }
    return np.array([found[name] for name in PLACES])


class _Object(Stateful):
    """An object of a pickle, of which only its state is kept."""

    def __init__(self, *_: Any) -> None:
        self.state: dict[str, Any] = {}

    def fill(self, state: Any) -> None:
        """Keep the state."""
        self.state = state if isinstance(state, dict) else {}


class _Sparse(_Object):
    """A sparse matrix of SciPy, column by column."""

    def dense(self) -> np.ndarray:
        """The matrix as an array."""
        shape = self.state["_shape"]
        ends, rows, values = (plain(self.state[key]) for key in ("indptr", "indices", "data"))
        counts = np.diff(ends)
        fits = len(counts) == NUM_VERTICES and counts.min() >= 0 and ends[0] == 0
        if shape != (len(PARENTS), NUM_VERTICES) or not fits or ends[-1] != len(values):
            raise ValueError("its shape is not that of SMPL")
        columns = np.repeat(np.arange(NUM_VERTICES), counts)
        made = np.zeros(shape)
        np.add.at(made, (rows, columns), values)
        return made


def _set(items: Any = ()) -> list[Any]:
    return list(items)


def _reconstructed(kind: Any, *_: Any) -> _Object:
    """What protocols 0 and 1 call to make an object."""
    if kind not in (_Object, _Sparse):
        raise Malformed("it makes an object that a body does not need")
    return kind()


NAMES: Mapping[tuple[str, str], Any] = NUMPY_NAMES | {
    ("copy_reg", "_reconstructor"): _reconstructed,
    ("copyreg", "_reconstructor"): _reconstructed,
    ("__builtin__", "object"): "object",  # only an argument of _reconstructor, never called
    ("builtins", "object"): "object",
    ("chumpy.ch", "Ch"): _Object,
    ("scipy.sparse.csc", "csc_matrix"): _Sparse,
    ("scipy.sparse._csc", "csc_matrix"): _Sparse,
    ("__builtin__", "set"): _set,
    ("builtins", "set"): _set,
}


def _content(path: Path) -> Mapping[str, Any]:
    if path.suffix.lower() == ".npz":
        try:
            return npz_arrays(path, WANTED)
        except FileNotFoundError as error:
            raise UserError(f"{path} is not there.") from error
        except Malformed as error:
            raise UserError(f"{path} can't be read as a body: {error}.") from error
    if path.suffix.lower() not in (".pkl", ".pickle"):
        raise UserError(f"a body must be a file of SMPL, .pkl or .npz; got {path.name}.")
    content = read_pickle(path, names=NAMES, what="a body", oldest=0)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no file of SMPL: it is no dict.")
    return content


def _array(path: Path, name: str, value: Any) -> np.ndarray:
    """A number array of the file, whatever object it is stored as."""
    try:
        if isinstance(value, _Sparse):
            return value.dense()
        found = plain(value.state.get("x") if isinstance(value, _Object) else value)
        if isinstance(found, np.ndarray) and found.dtype.kind in "iuf":
            made = found.astype(np.float64)
            if np.isfinite(made).all():
                return made
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no file of SMPL: `{name}` is damaged.") from error
    raise UserError(f"{path} is no file of SMPL: `{name}` must be an array of finite numbers.")
