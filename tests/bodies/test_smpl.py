"""Files in the format of SMPL: made here, because SMPL itself may not be passed on."""

import io
import pickle
import sys
import types

import numpy as np
import pytest
from made_up_bodies import made_up
from scipy.sparse import csc_matrix

from flag3d_exp.bodies.body import NUMBER, stored_body
from flag3d_exp.bodies.fit import fitted_body
from flag3d_exp.bodies.moving import moving_body
from flag3d_exp.bodies.smpl import (
    HANDS,
    JOINTS,
    NAMES,
    NUM_VERTICES,
    PARENTS,
    VERTICES,
    read_smpl,
)
from flag3d_exp.data.formats.pickles import plain, read_pickle
from flag3d_exp.errors import UserError


def content():
    """The stored body's upper layer of vertices, with SMPL's joints."""
    body = stored_body()
    rng = np.random.default_rng(0)
    vertices = body.vertices[:NUM_VERTICES].astype(np.float64)
    for name, number in VERTICES.items():
        vertices[number] = body.place(name)
    weights = np.zeros((NUM_VERTICES, len(PARENTS)))
    for joint, bone in enumerate(JOINTS):
        weights[:, joint] = body.shares[:NUM_VERTICES, NUMBER[bone]]
    weights /= weights.sum(1, keepdims=True)
    regressor = np.zeros((len(PARENTS), NUM_VERTICES))
    wanted = [body.head(bone) for bone in JOINTS]
    wanted += [body.place("left hand"), body.place("right hand")]
    chosen = rng.choice(NUM_VERTICES, 200, replace=False)
    system = np.concatenate([vertices[chosen].T, np.ones((1, 200))])
    targets = np.concatenate([np.array(wanted).T, np.ones((1, len(wanted)))])
    regressor[:, chosen] = np.linalg.lstsq(system, targets, rcond=None)[0].T
    tree = np.array([[2**32 - 1, *PARENTS[1:]], range(24)], np.uint32)
    return {"v_template": vertices, "weights": weights, "J_regressor": regressor,
            "kintree_table": tree, "f": body.triangles[:500] % NUM_VERTICES,
            "bs_type": "lrotmin", "shapedirs": rng.normal(size=(4, 3, 2))}  # fmt: skip


@pytest.fixture
def chumpy(monkeypatch):
    """A stand-in for the class that SMPL's files name."""
    module = types.ModuleType("chumpy.ch")

    class Ch:
        def __init__(self, x):
            self.x, self._dirty_vars, self._itr = x, {"x"}, None

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


def written(path, values, protocol=2):
    path.write_bytes(pickle.dumps(values, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [0, 2, 3])
def test_a_pickle_with_sparse_matrices_and_chumpy_is_read(tmp_path, chumpy, protocol):
    values = content()
    expected = values["J_regressor"] @ values["v_template"]
    values["J_regressor"] = csc_matrix(values["J_regressor"])
    values["v_template"], values["shapedirs"] = (
        chumpy(values[key]) for key in ("v_template", "shapedirs")
    )
    body = read_smpl(written(tmp_path / "model.pkl", values, protocol))
    assert body.vertices.shape == (NUM_VERTICES, 3) and body.name == "SMPL"
    for joint, bone in enumerate(JOINTS):
        assert np.allclose(body.head(bone), expected[joint])
    for joint, bone in HANDS.items():
        assert np.allclose(body.place(bone), expected[joint])
    assert np.allclose(body.weights.sum(1), 1)


def test_an_archive_is_read_and_fitted(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, **content())
    body = read_smpl(path)
    made = made_up(body)
    seen = np.ones(made.joints.shape[:2], bool)
    found = moving_body(body, fitted_body(made.joints, seen, body))
    off = np.linalg.norm(found.posed_vertices(7) - made.body.posed_vertices(7), axis=1)
    assert off.mean() < 0.01 and found.error < 0.004


def test_a_pickle_runs_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("was run",))

    path = written(tmp_path / "model.pkl", content() | {"more": Evil()})
    with pytest.raises(UserError, match="builtin.*print.*nothing in it was run"):
        read_smpl(path)


def test_texts_of_python_2_are_read(tmp_path):
    """Its protocol 0 writes the bytes of arrays as quoted text with escapes."""
    values = np.array([1.5, -2.0])
    raw = "".join(f"\\x{byte:02x}" for byte in values.tobytes())
    text = (
        "(dp0\nS'weights'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n"
        "(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\np4\n(S'f8'\nI0\nI1\ntR"
        "(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + raw + "'\ntbsS'n'\nL7L\nsS'x'\nF0.5\ns."
    )
    path = tmp_path / "model.pkl"
    path.write_bytes(text.encode())
    found = read_pickle(path, names=NAMES, oldest=0)
    assert plain(found["weights"]).tolist() == [1.5, -2.0]
    assert (found["n"], found["x"]) == (7, 0.5)
    with pytest.raises(UserError, match="it has no `v_template`"):
        read_smpl(path)


def with_changes(**changes):
    return {key: value for key, value in (content() | changes).items() if value is not None}


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"f": None}, "it has no `f`"),
        ({"weights": np.ones((NUM_VERTICES, 55))}, r"`weights` has shape \(6890, 55\)"),
        ({"weights": np.ones((NUM_VERTICES, 24))}, "shares that add up to 1"),
        ({"f": np.full((3, 3), NUM_VERTICES)}, "triangles of its vertices"),
        ({"v_template": np.full((NUM_VERTICES, 3), np.nan)}, "finite numbers"),
        ({"kintree_table": np.zeros((2, 24), int)}, "hang together in another way"),
        ({"v_template": "text"}, "`v_template` must be an array"),
    ],
)
def test_other_contents_are_refused(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        read_smpl(written(tmp_path / "model.pkl", with_changes(**changes)))


def test_damaged_sparse_matrices_are_refused(tmp_path):
    matrix = csc_matrix(content()["J_regressor"])
    matrix.indptr[-1] += 10**9
    with pytest.raises(UserError, match="`J_regressor` is damaged"):
        read_smpl(written(tmp_path / "model.pkl", with_changes(J_regressor=matrix)))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"\.pkl or \.npz; got model.obj"):
        read_smpl(tmp_path / "model.obj")
    for name in ("model.pkl", "model.npz"):
        with pytest.raises(UserError, match="is not there"):
            read_smpl(tmp_path / name)
    (tmp_path / "model.pkl").write_bytes(b"(dp1\n")
    with pytest.raises(UserError, match="cut short|damaged"):
        read_smpl(tmp_path / "model.pkl")
    content = io.BytesIO()
    np.savez(content, v_template=np.zeros(3))
    (tmp_path / "other.npz").write_bytes(content.getvalue())
    with pytest.raises(UserError, match="is no file of SMPL"):
        read_smpl(tmp_path / "other.npz")
    with pytest.raises(UserError, match="it is no dict"):
        read_smpl(written(tmp_path / "model.pkl", [1, 2]))
