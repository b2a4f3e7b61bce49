"""3D from 2D: what the network is given, what it is to say, what counts, what is learned."""

import mindspore as ms
import numpy as np
import pytest
from cli import TINY, refused, succeeded
from mindspore import Tensor

import flag3d_exp as f3d
from flag3d_exp.data.augment.bodies import Bodies
from flag3d_exp.data.augment.camera import VirtualCameras
from flag3d_exp.errors import UserError
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.models.videopose import VideoPose
from flag3d_exp.problems.lift import Lift, with_errors
from flag3d_exp.problems.lift_error import LiftError
from flag3d_exp.skeletons.layout import load_layout

NTU = load_layout("nturgb+d")
PLAIN = Lift("nturgb+d", clip_len=8, bodies=None, noise=0, missing=0)
STILL = Bodies(limbs=0, lengths=0, turn=0, tilt=0, mirror=0)


def seen_as(layout: str, hidden: tuple[str, ...] = (), **settings) -> Lift:
    camera = VirtualCameras("nturgb+d", layout, hidden=list(hidden), key="problem.camera")
    return Lift("nturgb+d", clip_len=8, camera=camera, bodies=None, noise=0, missing=0, **settings)


def clips(num_clips: int = 3, num_frames: int = 8) -> np.ndarray:
    """(N, 1, T, 25, 3) joints within a cube of a metre; joint 3 is missing."""
    made = np.random.default_rng(1).uniform(-0.5, 0.5, size=(num_clips, 1, num_frames, 25, 3))
    made[..., 3, :] = 0
    return made.astype(np.float32)


def drawn(problem: Lift, seed: int = 0) -> dict[str, np.ndarray]:
    return problem.chance(None, (3, 1, 8, 25, 3), np.random.default_rng(seed))


def test_the_network_gets_the_perspective_of_what_it_is_to_predict():
    inputs, targets = PLAIN.batch(clips(), {}, drawn(PLAIN))
    keypoints, places = inputs["keypoints"], targets["places"]
    assert keypoints.shape == (3, 1, 8, 25, 3) and keypoints.dtype == np.float32
    np.testing.assert_array_equal(keypoints[..., 2] == 1, clips().any(-1))
    np.testing.assert_array_equal(targets["counted"] == 1, clips().any(-1))
    root = NTU.joint_number("base of spine")
    assert np.abs(places[..., root, :]).max() < 1e-6
    assert np.abs(keypoints[..., root, :2]).max() < 1e-5
    far = [keypoints[..., axis].ravel() for axis in (0, 1)]
    true = [places[..., axis].ravel() for axis in (0, 1)]
    for seen, known in zip(far, true, strict=True):
        assert np.corrcoef(seen, known)[0, 1] > 0.9  # right is right, and down is down


def test_where_joints_are_does_not_depend_on_the_unit_of_the_recordings():
    millimetres = Lift("nturgb+d", clip_len=8, bodies=None, noise=0, missing=0, unit="millimetres")
    _, first = PLAIN.batch(clips(), {}, drawn(PLAIN))
    _, second = millimetres.batch(1000 * clips(), {}, drawn(millimetres))
    np.testing.assert_allclose(second["places"], first["places"], atol=1e-5)


def test_joints_that_the_camera_s_layout_lacks_are_not_shown_but_are_to_be_predicted():
    problem = seen_as("coco", hidden=("left ankle",))
    inputs, targets = problem.batch(clips(), {}, drawn(problem))
    shown = inputs["keypoints"][..., 2].any((0, 1, 2))
    wanted = targets["counted"].any((0, 1, 2))
    for joint in ("left hand", "right foot", "left ankle"):
        assert not shown[NTU.joint_number(joint)] and wanted[NTU.joint_number(joint)]
    assert shown[NTU.joint_number("base of spine")] and shown[NTU.joint_number("right ankle")]
    assert not wanted[3]


def test_errors_of_an_estimator_move_and_hide_joints():
    keypoints = np.random.default_rng(0).normal(size=(50, 1, 16, 25, 3)).astype(np.float32)
    keypoints[..., 2] = 1
    keypoints[..., 7, :] = 0
    made = with_errors(keypoints, 0.05, 0.2, np.random.default_rng(0))
    hidden = made[..., 2] == 0
    assert hidden[..., 7].all() and not made[hidden].any()
    others = np.delete(hidden, 7, -1)
    assert abs(others.mean() - 0.2) < 0.02
    spans = others.reshape(50, 1, 2, 8, 24)
    assert (spans == spans[:, :, :, :1]).all()
    moved = (made - keypoints)[~hidden][:, :2]
    assert moved.std() == pytest.approx(0.05, rel=0.05)


def test_a_perfect_network_makes_no_error_and_a_mirrored_one_does():
    truth = np.stack(
        [PLAIN._seen_in_test(one)[1].coordinates(PLAIN._upward(one)[0]) for one in clips()]
    )
    outputs = truth[:, None]
    found = PLAIN.metrics(PLAIN.predictions(outputs, clips()[:, None]), {})
    assert max(found.values()) < 0.01  # mm
    assert set(found) == set(PLAIN.metric_names)
    found = PLAIN.metrics(PLAIN.predictions(1.1 * outputs + 2, clips()[:, None]), {})
    assert found["pa_mpjpe"] < 0.01 < found["mpjpe"] and found["n_mpjpe"] < 0.01
    assert found["loss"] == pytest.approx(found["mpjpe"] / 1000)
    found = PLAIN.metrics(PLAIN.predictions(outputs * [-1, 1, 1], clips()[:, None]), {})
    assert found["pa_mpjpe"] > 50


def test_errors_are_in_the_recordings_unit_where_it_is_not_known():
    unknown = Lift("nturgb+d", clip_len=8, bodies=None, unit=None)
    outputs = np.random.default_rng(0).normal(size=(3, 1, 1, 8, 25, 3)).astype(np.float32)
    known = PLAIN.metrics(PLAIN.predictions(outputs, clips()[:, None]), {})
    found = unknown.metrics(unknown.predictions(outputs, clips()[:, None]), {})
    assert found["mpjpe"] == pytest.approx(known["mpjpe"] / 1000, rel=1e-4)
    assert found["loss"] == found["mpjpe"]
    assert any("dataset.unit" in line for line in unknown.doubts([]))
    assert PLAIN.doubts([]) == []


def test_saved_errors_are_of_each_recording_and_joint():
    outputs = np.zeros((3, 2, 1, 8, 25, 3), np.float32)
    twice = np.repeat(clips()[:, None], 2, 1)
    saved = PLAIN.arrays_to_save(PLAIN.predictions(outputs, twice), {"label": np.arange(3)})
    assert saved["joint_errors"].shape == (3, 25, 4)
    assert np.isnan(saved["joint_errors"][:, 3]).all()
    assert saved["joints"][0] == "base of spine" and saved["measures"][0] == "mpjpe"


def test_a_clip_is_filmed_alike_in_any_batch_and_at_any_time():
    alone, among = PLAIN.test_inputs(clips()[:1], {}), PLAIN.test_inputs(clips(), {})
    np.testing.assert_array_equal(alone["keypoints"][0], among["keypoints"][0])
    assert np.abs(among["keypoints"][1] - among["keypoints"][0]).max() > 0.1


def test_the_same_chance_makes_the_same_batch():
    problem = Lift("nturgb+d", clip_len=8)
    first, again = (problem.batch(clips(), {}, drawn(problem, 5)) for _ in range(2))
    other = problem.batch(clips(), {}, drawn(problem, 6))
    np.testing.assert_array_equal(first[0]["keypoints"], again[0]["keypoints"])
    np.testing.assert_array_equal(first[1]["places"], again[1]["places"])
    assert np.abs(first[0]["keypoints"] - other[0]["keypoints"]).max() > 0.1


def test_the_loss_is_the_mean_distance_of_joints_that_count():
    places = np.zeros((1, 1, 2, 3, 3), np.float32)
    outputs = places.copy()
    outputs[0, 0, 0, 0] = [3, 4, 0]
    outputs[0, 0, 1, 2] = 100
    counted = np.ones((1, 1, 2, 3), np.float32)
    counted[0, 0, 1, 2] = 0
    loss, counts = LiftError()(Tensor(outputs), Tensor(places), Tensor(counted))
    assert float(loss.asnumpy()) == pytest.approx(5 / 5, rel=1e-4)
    named = {"distances": float(counts[0].asnumpy()), "num_counted": float(counts[1].asnumpy())}
    assert LiftError().metrics(named, 1)["mpjpe"] == pytest.approx(1000, rel=1e-4)


@pytest.mark.parametrize(
    "backbone",
    [
        lambda: VideoPose("nturgb+d", channels=8),
        lambda: STGCN("nturgb+d", base_channels=4, num_blocks=6),  # with half the frames
    ],
)
def test_every_joint_of_every_frame_is_predicted(backbone):
    network = PLAIN.network(backbone())
    assert network(Tensor(clips())).shape == (3, 1, 8, 25, 3)


def test_one_batch_is_learned_by_heart():
    ms.set_seed(0)
    x = clips(8)
    data = f3d.clips(list(x), layout="nturgb+d", training=True, clip_len=8, successive=True)
    val = f3d.clips(list(x), layout="nturgb+d", clip_len=8, successive=True)
    camera = VirtualCameras("nturgb+d", "nturgb+d", azimuth=(0, 0), roll=0, key="problem.camera")
    problem = Lift("nturgb+d", clip_len=8, camera=camera, bodies=STILL, noise=0, missing=0)
    backbone = VideoPose("nturgb+d", channels=64, layer_dropout=0)
    trained = f3d.train(
        backbone, data, {"val": val}, epochs=3, repeat=60, batch_size=8, lr=0.1, problem=problem
    )
    before = problem.metrics(problem.predictions(np.zeros_like(x)[:, None], x[:, None]), {})
    assert trained.metrics["val/loss"] < 0.3 * before["loss"]


def test_what_can_not_be_lifted_is_refused_in_a_line():
    with pytest.raises(UserError, match="this dataset has 2 coordinates"):
        Lift("coco", num_channels=3, score_channel=True)
    with pytest.raises(UserError, match="stream=joint"):
        Lift("nturgb+d", stream="bone")
    with pytest.raises(UserError, match="neither a base of the spine nor two hips"):
        Lift("handmp")
    with pytest.raises(UserError, match=r"problem\.camera\.layout=handmp.*lacks base of spine"):
        seen_as("handmp")
    with pytest.raises(UserError, match=r"problem\.camera\.focal"):
        VirtualCameras("nturgb+d", "coco", focal=(5, 1), key="problem.camera")
    with pytest.raises(UserError, match="C3DLight"):
        PLAIN.network(C3DLight("nturgb+d", base_channels=4, train_size=16, test_size=16))


@pytest.mark.slow
def test_a_run_is_trained_and_evaluated_from_the_command_line(tmp_path):
    quick = (*TINY[-4:], "dataset.clip_len=8", "task.epochs=1", "tracking=none", "problem=lift")
    small = ("model=videopose", "model.channels=8")
    printed = succeeded(tmp_path, *quick, *small, "hydra.run.dir=first")
    assert "val: mpjpe" in printed and "top1" not in printed
    table = (tmp_path / "first" / "errors_val.csv").read_text().splitlines()
    assert table[0] == '"of","name","mpjpe","pa_mpjpe","n_mpjpe","mpjve"'
    assert [line.split(",")[0] for line in table[1:27]] == ['"all"'] + ['"joint"'] * 25
    assert table[27].startswith('"class","Push-ups",')
    again = succeeded(
        tmp_path, "task=evaluate", "task.checkpoint=first", "tracking=none", "device=cpu"
    )
    assert "val: mpjpe" in again
    line = refused(tmp_path, *quick, "dataset=demo_out_domain")
    assert "this dataset has 2 coordinates" in line
    graph = succeeded(tmp_path, *TINY, "task.epochs=1", "tracking=none", "problem=lift")
    assert "val: mpjpe" in graph
