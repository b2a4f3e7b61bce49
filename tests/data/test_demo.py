import hashlib
import itertools
import multiprocessing
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import compose, initialize_config_dir

from flag3d_exp.data.demo import actions as demo_actions
from flag3d_exp.data.demo import body as demo_body
from flag3d_exp.data.demo import cameras as demo_cameras
from flag3d_exp.data.demo import dataset as demo
from flag3d_exp.data.demo import motions as demo_motions
from flag3d_exp.data.demo import performers as demo_performers
from flag3d_exp.data.demo.performers import Take
from flag3d_exp.data.source import open_dataset_file
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

CONF = Path(__file__).parents[2] / "conf" / "dataset"
LABELS = {action.name: label for label, action in enumerate(demo_motions.ACTIONS)}
UPRIGHT = {name: np.zeros(1) for name in demo_body.ANGLES}


@cache
def made(domain: str, num_classes: int = 16) -> dict:
    return demo.make_demo(domain, num_classes)


@pytest.fixture(params=[domain for domain in demo.DOMAINS if domain != "repetitions"])
def domain(request) -> str:
    return request.param


@pytest.fixture(params=demo.PROGRAMMES)
def num_classes(request) -> int:
    return request.param


@pytest.fixture
def cache_home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "flag3d_exp"


def body(**angles: float) -> np.ndarray:
    posed = UPRIGHT | {name: np.array([float(value)]) for name, value in angles.items()}
    return demo_body.pose_body(posed, demo_body.Bones(), np.ones(1))[0]


def take(name: str, person: int = 2, repeat: int = 1) -> np.ndarray:
    return demo_performers.perform([Take(name, LABELS[name], person, 1, repeat)])[0]


def test_an_upright_body_is_as_tall_as_its_bones():
    points = body()
    np.testing.assert_allclose(points[3], [0, 0.02, 0.24 + 0.27 + 0.08 + 0.17], atol=1e-12)
    np.testing.assert_allclose(points[14, 2], -(0.05 + 0.42 + 0.41), atol=1e-12)
    assert points[4, 0] < 0 < points[8, 0]  # left, right
    assert points[15, 1] > points[14, 1]  # feet point forward


@pytest.mark.parametrize(
    ("angles", "joint", "start", "direction"),
    [
        ({"right_arm": 90}, 9, 8, [1, 0, 0]),
        ({"left_arm": 90}, 5, 4, [-1, 0, 0]),
        ({"left_arm": 90, "left_arm_plane": 90}, 5, 4, [0, 1, 0]),
        ({"left_elbow": 90}, 6, 5, [0, 1, 0]),
        ({"right_arm": 90, "right_arm_plane": 90, "right_elbow": 90}, 10, 9, [0, 0, 1]),
        ({"right_leg": 90, "right_leg_plane": 90}, 17, 16, [0, 1, 0]),
        ({"right_leg": 90, "right_leg_plane": 90, "right_knee": 90}, 18, 17, [0, 0, -1]),
        ({"pitch": 90}, 1, 0, [0, 1, 0]),
        ({"bend": 90}, 20, 1, [0, 1, 0]),
        ({"twist": 90, "left_elbow": 90}, 6, 5, [-1, 0, 0]),
    ],
)
def test_an_angle_turns_the_bone_it_names(angles, joint, start, direction):
    points = body(**angles)
    bone = points[joint] - points[start]
    np.testing.assert_allclose(bone / np.linalg.norm(bone), direction, atol=1e-9)


def test_bones_keep_their_length_in_every_motion():
    bones = [(1, 0), (20, 1), (5, 4), (6, 5), (10, 9), (13, 12), (14, 13), (19, 18)]
    for points in demo_performers.perform([Take(n, k, 4, 2, 1) for n, k in LABELS.items()]):
        for joint, parent in bones:
            length = np.linalg.norm(points[:, joint] - points[:, parent], axis=-1)
            np.testing.assert_allclose(length, length[0], rtol=1e-9)


def test_no_joint_sinks_into_the_floor():
    for points in demo_performers.perform([Take(n, k, 5, 1, 2) for n, k in LABELS.items()]):
        assert points[..., 2].min() > -0.25


def test_a_squat_lowers_the_pelvis_and_keeps_the_feet_on_the_floor():
    points = take("Squat With Arm Lift")
    pelvis, feet = points[:, 0, 2], points[:, (15, 19), 2]
    assert pelvis.max() > 0.75
    assert pelvis.min() < 0.65 * pelvis.max()
    assert np.abs(feet).max() < 0.12


def test_push_ups_are_horizontal_on_hands_and_toes():
    points = take("Push-ups")
    trunk = points[:, 20] - points[:, 0]
    assert np.abs(trunk[:, 2]).max() < 0.6 * np.linalg.norm(trunk, axis=-1).min()
    assert points[:, 0, 2].mean() < 0.6
    assert points[:, (6, 10), 2].mean() < 0.15


def test_a_squat_jump_leaves_the_floor_and_a_sumo_squat_does_not():
    assert take("Squat Jump")[:, (15, 19), 2].min(axis=1).max() > 0.08
    assert take("Sumo Squat")[:, (15, 19), 2].min(axis=1).max() < 0.05


def test_forward_and_backward_circles_are_each_other_reversed_in_time():
    phase = np.linspace(0, 2 * np.pi, 20)
    reach = np.ones(20)
    forward = demo_motions.ACTIONS[LABELS["Lateral Raise Forward Circles"]].motion(phase, reach)
    backward = demo_motions.ACTIONS[LABELS["Lateral Raise Backward Circles"]].motion(phase, reach)
    for name in ("left_arm", "left_arm_plane"):
        np.testing.assert_allclose(forward[name], np.asarray(backward[name])[::-1], atol=1e-9)


def test_subjects_differ_in_body_and_the_same_subject_does_not():
    def stature(person: int, repeat: int) -> float:
        points = take("Dumbbell Curls", person, repeat)
        return float(np.linalg.norm(points[0, 13] - points[0, 14]))

    assert stature(2, 1) == pytest.approx(stature(2, 2), rel=1e-9)
    lengths = [stature(person, 1) for person in range(1, 11)]
    assert min(abs(a - b) for a, b in itertools.combinations(lengths, 2)) > 0
    assert np.std(lengths) > 0.01


def test_a_take_does_not_depend_on_the_others_made_with_it():
    one = Take("a", 3, 7, 1, 2)
    alone = demo_performers.perform([one])[0]
    np.testing.assert_array_equal(alone, demo_performers.perform([Take("b", 1, 1, 1, 1), one])[1])


# Of the others, the next test compares a digest.
@pytest.mark.parametrize(("domain", "num_classes"), [("out_domain", 60), ("crowd", 16)])
def test_the_data_are_the_same_each_time(domain, num_classes):
    again = demo.make_demo(domain, num_classes)
    assert pickle.dumps(again) == pickle.dumps(made(domain, num_classes))


@pytest.mark.parametrize(
    ("domain", "digest"),
    [
        ("in_domain", "064a4ed70e58639f839b1ee3d93ee3972a889c2d2b506efbf04491452776e385"),
        ("out_domain", "0af624d33d53adbfd0fc83fb4e1ac7aeb2db91c05a2e315d8e0b3cf4acba5590"),
    ],
)
def test_the_data_of_sixteen_actions_stay_as_they_are(domain, digest):
    """Published figures are of them.

    Of 11 million coordinates in tenths of a millimetre, rounded so that the last bits of sine and
    cosine, which differ between processors, do not count, some change if all move by a nanometre.
    """
    found = hashlib.sha256()
    for one in made(domain)["annotations"]:
        found.update(f"{one['frame_dir']} {one['label']}".encode())
        found.update(np.rint(one["keypoint"].astype(float) * 1e4).astype(np.int32).tobytes())
        if "keypoint_score" in one:
            found.update(one["keypoint_score"].tobytes())
    assert found.hexdigest() == digest


def test_each_class_has_as_many_recordings_in_a_split(domain, num_classes):
    data = made(domain, num_classes)
    labels = {a["frame_dir"]: a["label"] for a in data["annotations"]}
    assert len(labels) == len(data["annotations"])
    for names in data["split"].values():
        counts = np.bincount([labels[name] for name in names], minlength=num_classes)
        assert len(counts) == num_classes
        assert len(set(counts)) == 1


def test_in_domain_has_the_form_of_flag3d(num_classes):
    data = made("in_domain", num_classes)
    for annotation in data["annotations"]:
        keypoint = annotation["keypoint"]
        assert keypoint.dtype == np.float32
        assert keypoint.shape == (1, annotation["total_frames"], 25, 3)
        np.testing.assert_array_equal(keypoint[0, 0, 0], 0)
    persons = {split: {name[12:16] for name in names} for split, names in data["split"].items()}
    assert persons["val"] == {"P001", "P005", "P010"}
    assert len(persons["train"]) == 7
    assert not persons["train"] & persons["val"]


def test_a_crowd_is_fifty_people_who_do_each_action_once():
    data = made("crowd", 16)
    persons = {split: {name[12:16] for name in names} for split, names in data["split"].items()}
    assert [len(persons[split]) for split in ("train", "val")] == [40, 10]
    assert not persons["train"] & persons["val"]
    assert len(data["annotations"]) == 50 * 16
    assert data["annotations"][0]["keypoint"].shape[2:] == (25, 3)


def test_out_domain_has_the_form_of_flag3d(num_classes):
    data = made("out_domain", num_classes)
    for annotation in data["annotations"]:
        num_frames = annotation["total_frames"]
        assert annotation["keypoint"].shape == (1, num_frames, 17, 2)
        assert annotation["keypoint_score"].shape == (1, num_frames, 17)
        assert annotation["keypoint"].dtype == annotation["keypoint_score"].dtype == np.float16
        assert annotation["img_shape"] == (480, 854)
    assert all(name.startswith("S001C") for name in data["split"]["train"])
    assert all(name.startswith("PSY") for name in data["split"]["val"])


def test_rendered_people_are_in_the_image_and_filmed_ones_lose_joints(num_classes):
    data = made("out_domain", num_classes)
    named = {a["frame_dir"]: a for a in data["annotations"]}
    rendered = [named[name] for name in data["split"]["train"]]
    filmed = [named[name] for name in data["split"]["val"]]
    pixels = np.concatenate([a["keypoint"].reshape(-1, 2) for a in rendered]).astype(float)
    inside = (pixels >= 0).all(axis=1) & (pixels <= (853, 479)).all(axis=1)
    assert inside.mean() > 0.99
    lost = [np.mean(a["keypoint_score"] == 0) for a in filmed]
    assert 0.02 < np.mean(lost) < 0.06
    assert all((a["keypoint_score"] > 0).all() for a in rendered)


def test_a_camera_in_front_sees_the_left_hand_on_the_right():
    camera = demo_cameras.Camera(0, 1.0, 4.0, 700, jitter=0, loss=0, exchange=0, wander=0)
    points = np.array([[[0, 0, 1], [-0.5, 0, 1], [0, 0, 1.5]]])
    pixels = demo_cameras.project(points, camera, np.random.default_rng(0))[0]
    assert pixels[1, 0] > pixels[0, 0]
    assert pixels[2, 1] < pixels[0, 1]
    # The middle of what is seen, (-0.25, 0, 1.25), is at the middle of the image.
    centre = demo_cameras.project(points.mean(1)[None], camera, np.random.default_rng(0))[0, 0]
    np.testing.assert_allclose(centre, [427, 240], atol=1e-9)


def test_conf_says_what_is_in_the_files():
    for domain, channels in (("in_domain", 3), ("out_domain", 3)):
        conf = yaml.safe_load((CONF / f"demo_{domain}.yaml").read_text())
        assert conf["classes"] == list(LABELS)
        assert conf["num_classes"] == len(LABELS)
        assert conf["num_channels"] == channels
        assert "synthetic" in conf["name"]


def test_conf_of_sixty_actions_composes_to_what_is_in_the_files(domain, cache_home):
    with initialize_config_dir(str(CONF.parent), version_base="1.3"):
        conf = compose("config", [f"dataset=demo60_{domain}"]).dataset
    assert list(conf.classes) == [action.name for action in demo_actions.ACTIONS]
    assert conf.path == f"demo60_{domain}"
    assert open_dataset_file(conf.path, cache=None).splits.keys() == set(conf.splits.values())
    keypoint = made(domain, 60)["annotations"][0]["keypoint"]
    assert keypoint.shape[2] == load_layout(conf.layout).num_joints
    assert keypoint.shape[-1] == conf.num_channels - conf.score_channel


def test_files_of_other_actions_have_other_names(cache_home):
    paths = {demo.demo_path("out_domain", num_classes) for num_classes in demo.PROGRAMMES}
    assert [len(pickle.loads(path.read_bytes())["annotations"]) for path in sorted(paths)] == [
        1344,
        2520,
    ]


def test_the_file_is_written_once(cache_home):
    path = demo.demo_path("in_domain")
    written = path.stat().st_mtime_ns
    assert demo.demo_path("in_domain") == path
    assert path.stat().st_mtime_ns == written
    assert path.name.startswith("synthetic_in_domain")
    assert {"split", "annotations"} == set(pickle.loads(path.read_bytes()))


def test_processes_that_ask_at_once_get_one_whole_file(cache_home):
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        paths = pool.map(demo.demo_path, ["out_domain"] * 4, chunksize=1)
    assert len(set(paths)) == 1
    assert len(pickle.loads(paths[0].read_bytes())["annotations"]) > 1000
    assert sorted(path.suffix for path in cache_home.iterdir()) == [".lock", ".pkl"]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        demo.demo_path("in_domain")


def test_an_unknown_domain_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="in_domain, out_domain"):
        demo.demo_path("3d")
