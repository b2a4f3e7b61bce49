"""What pose estimators write: real samples, files in the documented forms, and damaged ones."""

import json

import numpy as np
import pytest

from flag3d_exp.data.formats.detections import Detections, Reading
from flag3d_exp.data.formats.poses import is_poses, read_poses, recording_of
from flag3d_exp.data.inputs import read_inputs
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

# A standing person in COCO's order, in pixels.
STANDING = np.array(
    [(320, 90), (328, 82), (312, 82), (336, 86), (304, 86), (356, 140), (284, 140), (372, 200),
     (268, 200), (380, 255), (260, 255), (342, 260), (298, 260), (344, 345), (296, 345),
     (346, 430), (294, 430)], np.float64)  # fmt: skip
# Sample, layout, persons, frames, and one joint: person, frame, joint, x, y, score.
SAMPLES = [
    ("openpose_body25b", "body25b", 2, 7, (0, 0, 5, 662.935, 641.887, 0.656375)),
    ("openpose_rtmlib26", "halpe26", 1, 5, (0, 0, 5, 183.949, 723.241, 0.8971)),
    ("openpose_coco18_hands_normalised.json", "openpose", 1, 1, (0, 0, 4, 153.0, 237.0, 1.0)),
    ("alphapose_halpe26", "halpe26", 1, 7, (0, 0, 5, 238.24, 230.14, 0.89)),
    ("alphapose_coco17.json", "coco", 1, 12, (0, 0, 5, 500.08, 763.62, 0.82)),
    ("mmpose_video_halpe26", "halpe26", 1, 5, (0, 0, 5, 960.673, 375.387, 0.709)),
    ("mmpose_image_wholebody133.json", "wholebody", 2, 1, (1, 0, 5, 258.995, 120.820, None)),
    ("blazepose_pixels.json", "mediapipe", 1, 8, (0, 2, 11, 411.783, 345.163, None)),
    ("mediapipe_wide_noheader.csv", "mediapipe", 1, 4, (0, 0, 11, 1327.1841, 729.26184, None)),
    ("movenet_named_pixels.json", "coco", 1, 10, (0, 2, 5, 318.421, 239.025, None)),
    ("movenet_wide_header.csv", "coco", 1, 2, (0, 0, 5, 244, 158, None)),
]


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def one(path, **how):
    (recording,) = read_poses(path, Reading(**how)).recordings
    return recording


def flat(keypoints, score=0.9):
    """x, y, score, x, y, score, ..."""
    return np.concatenate([keypoints, np.full((len(keypoints), 1), score)], 1).ravel().tolist()


@pytest.mark.parametrize(("name", "layout", "persons", "frames", "joint"), SAMPLES)
def test_a_real_sample_has_its_value(shared, name, layout, persons, frames, joint):
    found = read_poses(shared / "formats/samples" / name, Reading())
    recording = found.recordings[0]
    assert found.layout == layout
    assert recording.keypoints.shape[:2] == (persons, frames)
    person, frame, number, x, y, score = joint
    np.testing.assert_allclose(recording.keypoints[person, frame, number, :2], (x, y), atol=6e-3)
    if score is not None:
        assert recording.scores[person, frame, number] == pytest.approx(score, abs=4e-3)
        assert recording.scores.max() <= 1


def test_a_real_sample_in_metres_has_y_upwards(shared):
    path = shared / "formats/samples/mediapipe_world_long.csv"
    found = read_poses(path, Reading())
    assert found.layout == "mediapipe"
    shoulder = found.recordings[0].keypoints[0, 1, 11]
    np.testing.assert_allclose(shoulder, [-0.147275, 0.496539, -0.066386], atol=1e-6)
    flattened = one(path, num_coordinates=2).keypoints[0, 1, 11]
    np.testing.assert_allclose(flattened, [-0.147275, -0.496539], atol=1e-6)


def test_a_real_sample_of_other_joints_asks_for_their_layout(shared, tmp_path):
    layout = put(tmp_path / "abc.yaml", "joints: {A: null, B: A, C: B}")
    samples = shared / "formats/samples"
    for name, joint, expected in (
        ("dlc_single.csv", (0, 1, 2), (15, 16)),
        ("sleap_analysis.csv", (0, 0, 0), (205.930, 187.890)),
    ):
        with pytest.raises(UserError, match="no layout has all of its joints .*`task.layout`"):
            read_poses(samples / name, Reading())
        recording = one(samples / name, layout=str(layout))
        np.testing.assert_allclose(recording.keypoints[joint], expected, atol=1e-3)
    assert not one(samples / "dlc_single.csv", layout=str(layout)).keypoints[0, 1, 1].any()


def test_flags_of_coco_are_no_scores(shared):
    found = read_poses(shared / "formats/samples/coco_keypoint_results.json", Reading())
    assert any("flag" in note for note in found.notes)
    assert set(np.unique(found.recordings[0].scores)) == {0, 1}


def frames_of_openpose(folder, people, start=0, stem="clip_{:012d}_keypoints"):
    for number, persons in enumerate(people, start=start):
        bodies = [{"person_id": [-1], "pose_keypoints_2d": body} for body in persons]
        put(folder / f"{stem.format(number)}.json", {"version": 1.3, "people": bodies})
    return folder


def test_openpose_persons_keep_their_places_whatever_their_order(tmp_path):
    left, right = flat(STANDING), flat(STANDING + [300, 0])
    people = [[left, right], [right, left], [], [right, left], [left, right]] + [[left]] * 3
    folder = frames_of_openpose(tmp_path / "video", people)
    recording = one(folder, layout="coco")
    assert recording.name == "clip"
    assert recording.keypoints.shape == (2, 8, 17, 2)
    assert recording.keypoints[0, :, 0, 0].tolist() == [320, 320, 0, 320, 320, 320, 320, 320]
    assert recording.keypoints[1, :, 0, 0].tolist() == [620, 620, 0, 620, 620, 0, 0, 0]


@pytest.mark.parametrize("layout", ["body25", "body25b"])
def test_25_joints_of_openpose_are_told_apart_by_their_middles(tmp_path, layout):
    pose = np.random.default_rng(0).uniform(100, 500, (25, 2))
    if layout == "body25":
        pose[1], pose[8] = (pose[2] + pose[5]) / 2, (pose[9] + pose[12]) / 2
    folder = frames_of_openpose(tmp_path / "video", [[flat(pose)]] * 3)
    found = read_poses(folder, Reading())
    assert found.layout == layout
    assert any("BODY_25" in note for note in found.notes)
    hidden = flat(np.where(np.isin(np.arange(25), (1, 8))[:, None], 0, pose))
    hidden = [0 if value == 0 or at // 3 in (1, 8) else value for at, value in enumerate(hidden)]
    folder = frames_of_openpose(tmp_path / "other", [[hidden]] * 3)
    with pytest.raises(UserError, match="`task.layout=body25` or body25b"):
        read_poses(folder, Reading())
    assert read_poses(folder, Reading(layout=layout)).layout == layout


def test_shares_of_an_image_ask_for_its_size(tmp_path):
    folder = frames_of_openpose(tmp_path / "video", [[flat(STANDING / [640, 480])]] * 2)
    with pytest.raises(UserError, match=r"0 to 1\); set the size .*task.image_shape=\[1080,1920"):
        read_poses(folder, Reading(layout="coco"))
    recording = one(folder, layout="coco", image_shape=(480, 640))
    np.testing.assert_allclose(recording.keypoints[0, 0], STANDING, rtol=1e-5)
    assert recording.image_shape == (480, 640)


def test_places_of_minus_1_to_1_are_of_the_image_too(tmp_path):
    folder = frames_of_openpose(tmp_path / "video", [[flat(STANDING / [320, 240] - 1)]] * 2)
    recording = one(folder, layout="coco", image_shape=(480, 640))
    np.testing.assert_allclose(recording.keypoints[0, 0], STANDING, rtol=1e-4)


def test_a_folder_of_folders_is_a_recording_each(tmp_path):
    for name in ("a", "b"):
        frames_of_openpose(tmp_path / name, [[flat(STANDING)]] * 2, 1, "frame_{:05d}")
    found = read_poses(tmp_path, Reading())
    assert [recording.name for recording in found.recordings] == ["a", "b"]
    assert found.recordings[0].keypoints.shape == (1, 2, 17, 2)


def test_a_frame_may_lack_persons_bodies_and_parts(tmp_path):
    folder = frames_of_openpose(tmp_path / "v", [[flat(STANDING)]] * 2)
    put(folder / "clip_000000000002_keypoints.json", {"people": [{}, {"pose_keypoints_2d": []}]})
    put(folder / "clip_000000000003_keypoints.json", {"people": []})
    assert one(folder).keypoints.shape == (1, 4, 17, 2)


def test_kinetics_skeletons_are_read(tmp_path):
    pose = (STANDING[np.r_[0:17, 0]] / [640, 480]).ravel().tolist()
    frames = [{"frame_index": n, "skeleton": [{"pose": pose, "score": [0.5] * 18}] * (n != 2)}
              for n in (1, 2, 3)]  # fmt: skip
    path = put(tmp_path / "k.json", {"data": frames, "label": "x", "label_index": 0})
    recording = one(path, image_shape=(480, 640))
    assert recording.keypoints.shape == (1, 3, 18, 2)
    assert not recording.keypoints[0, 1].any()


def result(image, keypoints, **facts):
    return {"image_id": image, "category_id": 1, "keypoints": flat(keypoints), "score": 3.1} | facts


def test_alphapose_frames_are_sorted_by_number_and_gaps_are_missing(tmp_path):
    images = ["10.jpg", "9.jpg", "12.jpg"]
    rows = [result(image, STANDING + 10 * at) for at, image in enumerate(images)]
    recording = one(put(tmp_path / "video" / "alphapose-results.json", rows))
    assert recording.name == "video"
    assert recording.keypoints[0, :, 0, 0].tolist() == [330, 320, 0, 340]


def test_identities_of_alphapose_are_used_if_they_tell_persons_apart(tmp_path):
    # Persons who jump: overlap would lose them.
    far = [(0, 0, 1), (300, 1, 2), (600, 2, 1), (300, 3, 2)]
    rows = [result(frame, STANDING + [shift, 0], idx=[[float(who)]]) for shift, frame, who in far]
    recording = one(put(tmp_path / "a.json", rows))
    assert recording.keypoints[:, :, 0, 0].tolist() == [[320, 0, 920, 0], [0, 620, 0, 620]]
    rows.append(result(2, STANDING, idx=1))
    found = read_poses(put(tmp_path / "b.json", rows), Reading())
    assert any("two persons of a frame share one" in note for note in found.notes)


@pytest.mark.parametrize(
    "persons",
    [
        {"version": "AlphaPose v0.3", "bodies": [{"joints": flat(STANDING[np.r_[0:17, 0]])}]},
        {"version": 1.3, "people": [{"pose_keypoints_2d": flat(STANDING[np.r_[0:17, 0]])}]},
        [{"keypoints": STANDING.ravel().tolist(), "scores": [0.9] * 17, "idx": 1}],
    ],
)
def test_alphapose_mappings_from_images_are_read(tmp_path, persons):
    recording = one(put(tmp_path / "a.json", {"1.jpg": persons, "3.jpg": persons}))
    assert recording.keypoints.shape[:2] == (1, 3)
    assert recording.keypoints[0, [0, 2], 0].tolist() == [[320, 90]] * 2
    assert not recording.keypoints[0, 1].any()


def instance(keypoints, score=0.8, **facts):
    scores = [score] * len(keypoints)
    box = [[10, 10, 500, 500]]
    return {"keypoints": keypoints.tolist(), "keypoint_scores": scores, "bbox": box,
            "bbox_score": 0.9} | facts  # fmt: skip


def test_every_writer_of_mmpose_is_read(tmp_path):
    frames = [{"frame_id": n, "instances": [instance(STANDING, 1.2)]} for n in (1, 2)]
    demo = {"meta_info": {"dataset_name": "coco"}, "instance_info": frames}
    image = {"meta_info": {}, "instance_info": [instance(STANDING)]}
    for at, (content, num_frames) in enumerate(
        ((demo, 2), (frames, 2), ([instance(STANDING)], 1), (image, 1))
    ):
        found = read_poses(put(tmp_path / f"results_{at}.json", content), Reading())
        assert (found.format, found.layout) == ("mmpose", "coco")
        recording = found.recordings[0]
        assert recording.name == str(at)
        assert recording.keypoints.shape == (1, num_frames, 17, 2)
        assert recording.scores.max() <= 1


def test_the_pose_that_mmpose_invents_where_nobody_is_counts_for_nothing(tmp_path):
    nobody = instance(STANDING, 0.2, bbox=[[0.0, 0.0, 640, 480]], bbox_score=1)
    frames = [{"frame_id": n, "instances": [nobody if n == 1 else instance(STANDING)]}
              for n in range(3)]  # fmt: skip
    found = read_poses(put(tmp_path / "a.json", frames), Reading())
    assert not found.recordings[0].keypoints[0, 1].any()
    assert any("1 frames in which nobody" in note for note in found.notes)


def test_mmpose_in_3d_is_turned_and_its_persons_keep_their_order(tmp_path):
    pose = np.arange(51, dtype=float).reshape(17, 3) / 50
    frames = [{"frame_id": n, "instances": [instance(pose), instance(pose + 0.1)]}
              for n in range(2)]  # fmt: skip
    found = read_poses(put(tmp_path / "a.json", frames), Reading())
    assert found.layout == "h36m"
    x, y, z = pose[3]
    np.testing.assert_allclose(found.recordings[0].keypoints[0, 1, 3], [x, z, -y], atol=1e-6)


MEDIAPIPE = np.stack([np.linspace(0.3, 0.6, 33), np.linspace(0.1, 0.9, 33),
                      np.linspace(-0.2, 0.2, 33)], 1)  # fmt: skip


def landmarks(pose, scale=1.0):
    keys = ("x", "y", "z", "visibility")
    return [dict(zip(keys, [*(scale * row).tolist(), 0.7], strict=True)) for row in pose]


def test_mediapipe_lists_of_frames_are_read(tmp_path):
    pose = landmarks(MEDIAPIPE, 1000)
    contents = [
        [pose, [], pose],
        [{"landmarks": pose}, {"landmarks": None}, {"landmarks": pose}],
        {
            "frames": [
                {"frame": 4, "pose_landmarks": [pose]},
                {"frame": 6, "pose_landmarks": [pose]},
            ]
        },
        {"4": pose, "6": {"landmarks": pose}},
        [MEDIAPIPE * 1000, np.zeros((33, 3)), MEDIAPIPE * 1000],
    ]
    for at, content in enumerate(contents):
        rows = [one.tolist() if isinstance(one, np.ndarray) else one for one in content] \
            if isinstance(content, list) else content  # fmt: skip
        recording = one(put(tmp_path / f"{at}.json", rows), image_shape=(2000, 1000))
        assert recording.keypoints.shape == (1, 3, 33, 2)
        assert not recording.keypoints[0, 1].any()
        np.testing.assert_allclose(recording.keypoints[0, 2], 1000 * MEDIAPIPE[:, :2], rtol=1e-5)


@pytest.mark.parametrize("first", [0, 1])
def test_wide_tables_of_mediapipe_are_read(tmp_path, first):
    names = [f"{axis}{joint + first}" for joint in range(33) for axis in "xyzv"]
    values = np.concatenate([MEDIAPIPE, np.full((33, 1), 0.5)], 1).ravel()
    row = ",".join(f"{value:.6f}" for value in values)
    path = put(tmp_path / "coords.csv", f"class,{','.join(names)}\nsquat,{row}\nsquat,{row}\n")
    recording = one(path, image_shape=(100, 200))
    assert recording.name == tmp_path.name
    np.testing.assert_allclose(recording.keypoints[0, 1], MEDIAPIPE[:, :2] * [200, 100], atol=1e-3)
    assert recording.scores[0, 0, 0] == 0.5


@pytest.mark.parametrize("shape", [(-1, 33, 3), (-1, 99)])
def test_arrays_of_mediapipe_are_read(tmp_path, shape):
    frames = np.stack([MEDIAPIPE * 900, MEDIAPIPE * np.nan, MEDIAPIPE * 901])
    np.save(tmp_path / "a.npy", frames.reshape(shape))
    recording = one(tmp_path / "a.npy", num_coordinates=3)
    assert recording.keypoints.shape == (1, 3, 33, 3)
    assert not recording.keypoints[0, 1].any()
    np.save(tmp_path / "a.npy", frames[:, :17])
    with pytest.raises(UserError, match="the layout can't be inferred from 17 joints"):
        one(tmp_path / "a.npy")
    assert one(tmp_path / "a.npy", layout="coco", unit="pixels").keypoints.shape[2] == 17
    np.save(tmp_path / "a.npy", frames[:, :1])
    with pytest.raises(UserError, match=r"must be numbers of shape \(frames, joints"):
        one(tmp_path / "a.npy")


def test_arrays_of_several_persons_are_read(tmp_path):
    frames = np.stack([MEDIAPIPE * 900, MEDIAPIPE * 901, MEDIAPIPE * 902])
    absent = np.stack([frames[0] + 300, np.zeros((33, 3)), frames[2] + 300])
    np.save(tmp_path / "a.npy", np.stack([frames, absent]))
    recording = one(tmp_path / "a.npy", num_coordinates=3)
    assert recording.keypoints.shape == (2, 3, 33, 3)
    np.testing.assert_allclose(recording.keypoints[0], frames, rtol=1e-5)
    assert not recording.keypoints[1, 1].any()
    np.testing.assert_allclose(recording.keypoints[1, 2], absent[2], rtol=1e-5)


def test_arrays_of_a_body_have_the_unit_in_which_it_is_as_large_as_one(tmp_path):
    body = np.random.default_rng(0).uniform(0.1, 1, (5, 24, 3)) * [0.5, 1.7, 0.4]
    np.save(tmp_path / "a.npy", body * 1000)
    found = read_poses(tmp_path / "a.npy", Reading())
    assert found.layout == "smpl"
    np.testing.assert_allclose(found.recordings[0].keypoints[0], body, rtol=1e-5)


def test_the_body_of_larger_sets_of_halpe_is_read(tmp_path):
    pose = np.random.default_rng(0).uniform(100, 500, (136, 2))
    found = read_poses(put(tmp_path / "a.json", [result("1.jpg", pose)]), Reading())
    assert found.layout == "halpe26"
    np.testing.assert_allclose(found.recordings[0].keypoints[0, 0], pose[:26], rtol=1e-5)


def test_lists_of_frames_of_mmpose_0_are_read(tmp_path):
    pose = np.concatenate([STANDING, np.full((17, 1), 0.5)], 1).tolist()
    content = [[{"bbox": [0, 0, 9, 9, 1], "keypoints": pose, "track_id": 4}], [], [{"keypoints":
               pose, "track_id": 4}]]  # fmt: skip
    recording = one(put(tmp_path / "a.json", content))
    assert recording.keypoints.shape == (1, 3, 17, 2)
    assert recording.scores[0, :, 0].tolist() == [0.5, 0, 0.5]


def test_names_with_a_letter_for_the_score_are_read(tmp_path):
    text = "frame,NOSE_x,NOSE_y,NOSE_v,LEFT_EYE_x,LEFT_EYE_y,LEFT_EYE_v\n3,10,20,0.5,30,40,0.25\n"
    recording = one(put(tmp_path / "a.csv", text), layout="mediapipe")
    assert recording.keypoints[0, 0, 0].tolist() == [10, 20]
    assert recording.scores[0, 0, 2] == 0.25


def test_azure_kinect_is_read_in_metres(tmp_path):
    body = {"body_id": 7, "joint_positions": [[100.0 * j, 50.0, 2000.0] for j in range(1, 33)]}
    frames = [{"frame_id": n, "num_bodies": 1, "bodies": [body]} for n in (3, 5)]
    path = put(tmp_path / "a.json", {"joint_names": [], "frames": frames})
    found = read_poses(path, Reading())
    assert (found.format, found.layout) == ("azure_kinect", "azure")
    assert found.recordings[0].keypoints.shape == (1, 3, 32, 3)
    np.testing.assert_allclose(found.recordings[0].keypoints[0, 0, 1], [-0.2, -0.05, 2], atol=1e-6)


BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT mixamorig:LeftUpLeg
  {
    OFFSET 10 0 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    JOINT LeftLeg
    {
      OFFSET 0 -90 0
      CHANNELS 3 Zrotation Xrotation Yrotation
      End Site
      {
        OFFSET 0 -40 0
      }
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.0333
5 100 0 0 0 0 0 0 0 0 0 0
5 100 0 90 0 0 0 90 0 0 0 0
"""


def test_bvh_places_follow_from_offsets_and_turns(tmp_path):
    path = put(tmp_path / "walk.bvh", BVH)
    with pytest.raises(UserError, match="joints of its own; name the layout"):
        read_poses(path, Reading())
    layout = load_layout("nturgb+d")
    keypoints = one(path, layout="nturgb+d", unit="centimetres").keypoints[0]
    hips, hip, knee = (layout.joint_number(n) for n in ("base of spine", "left hip", "left knee"))
    np.testing.assert_allclose(keypoints[0, [hips, hip, knee]],
                               [[0.05, 1, 0], [0.15, 1, 0], [0.15, 0.1, 0]], atol=1e-6)  # fmt: skip
    # The hips turn a quarter about z: x becomes y. The thigh then turns a quarter about its own x,
    # which takes -y to -z.
    expected = [[0.05, 1, 0], [0.05, 1.1, 0], [0.05, 1.1, -0.9]]
    np.testing.assert_allclose(keypoints[1, [hips, hip, knee]], expected, atol=1e-6)


def test_bvh_has_the_unit_in_which_it_is_as_large_as_a_person(tmp_path):
    path = put(tmp_path / "walk.bvh", BVH)  # 90 of something between hip and knee
    with pytest.raises(UserError, match="may be centimetres or inches; say .*`task.unit"):
        read_poses(path, Reading(layout="nturgb+d"))
    hip = load_layout("nturgb+d").joint_number("left hip")
    for unit in (0.01, 0.0254, 1, 0.001):
        put(path, BVH.replace("-90", f"-{1.7 / unit}").replace("10 0 0", f"{0.1 / unit} 0 0"))
        found = one(path, layout="nturgb+d").keypoints[0, 0, hip, 0]
        assert found == pytest.approx(5 * unit + 0.1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("Frames: 2", "Frames: 3"), "3 frames of 12 channels need 36 numbers; it has 24"),
        (("ROOT", "ROOTS"), "word 2 must be ROOT"),
        (("OFFSET 10 0", "OFFSET ten 0"), "must be a number; got 'ten'"),
        (("Zrotation Xrotation Yrotation\n    JOINT", "Wrotation"), "got 'Wrotation'"),
        (("5 100 0 90", "5 100 0 nan"), "NaN or beyond 1e7"),
    ],
)
def test_a_damaged_bvh_file_is_refused_with_its_place(tmp_path, change, expected):
    path = put(tmp_path / "a.bvh", BVH.replace(*change))
    with pytest.raises(UserError, match=expected):
        read_poses(path, Reading(layout="nturgb+d"))


def damaged(case):
    """A file's name and content, and what is said of it."""
    bad = flat(STANDING)[:-1]
    frames = [{"frame_id": 0, "instances": [instance(STANDING)]}]
    return {
        "cut": ("a.json", '[{"image_id": 1, "keyp', "it is not JSON"),
        "length": ("a.json", [{"image_id": 1, "keypoints": bad}], "entry 0: `keypoints` must be"),
        "text": ("a.json", [{"image_id": 1, "keypoints": ["1"] * 51}], "must be numbers"),
        "image": ("a.json", [result("x.jpg", STANDING)], "must contain a frame number"),
        "frame": ("a.json", [result(-4, STANDING)], "`image_id` must be a whole number"),
        "joints": ("a.json", [result(1, STANDING), result(2, STANDING[:9])], "17 joints"),
        "huge": ("a.json", [result(1, STANDING * 1e9)], "must be within -1e"),
        "span": ("a.json", [result(1, STANDING), result(10**8, STANDING)], "too many for"),
        "scores": ("a.json", frames + [{"frame_id": 1, "instances": [
            {"keypoints": STANDING.tolist(), "keypoint_scores": [1]}]}], "frame 1: `keypoint_sc"),
        "nobody": ("a.json", {"people": []}, "nobody is seen"),
        "header": ("a.csv", ",".join(f"{a}{j}" for j in range(1, 34) for a in "xyz"), "nobody is"),
        "unknown": ("a.json", {"a": 1}, "holds no poses of a known format"),
        "cells": ("a.csv", "nose_x,nose_y,left_eye_x,left_eye_y\n1,2,x,3\n", "line 2: 'x'"),
        "short": ("a.csv", "nose_x,nose_y,left_eye_x,left_eye_y\n1,2\n", "line 2"),
    }[case]  # fmt: skip


@pytest.mark.parametrize(
    "case",
    ["cut", "length", "text", "image", "frame", "joints", "huge", "span", "scores", "nobody",
     "header", "unknown", "cells", "short"],
)  # fmt: skip
def test_a_damaged_file_is_refused_in_one_line(tmp_path, case):
    name, content, expected = damaged(case)
    with pytest.raises(UserError, match=expected) as caught:
        read_poses(put(tmp_path / name, content), Reading())
    assert "\n" not in str(caught.value)


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    with pytest.raises(UserError, match="openpose, alphapose, .*Did you mean `openpose`"):
        read_poses(tmp_path, Reading("openpos"))


def test_files_of_recordings_are_not_taken_for_those_of_an_estimator(tmp_path):
    whole = {"keypoints": [STANDING.tolist()], "label": 0}
    assert not is_poses(put(tmp_path / "a.json", whole))
    assert not is_poses(put(tmp_path / "b.json", [whole]))
    assert not is_poses(put(tmp_path / "c.csv", "recording,frame,joint,x,y\na,0,0,1,2\n"))


def test_a_persons_joints_are_moved_to_the_layout_of_a_network(tmp_path):
    content = [landmarks(MEDIAPIPE, 1000)] * 2
    put(tmp_path / "v.json", content)
    (recording,) = read_inputs(tmp_path, load_layout("coco"))
    assert recording.keypoints.shape == (1, 2, 17, 2)
    np.testing.assert_allclose(recording.keypoints[0, 0, 5], 1000 * MEDIAPIPE[11, :2], rtol=1e-5)


def test_many_persons_of_a_long_video_are_read(tmp_path):
    """Persons who come and go: 400 frames, a new one every 40."""
    rng = np.random.default_rng(0)
    frames = np.arange(400).repeat(2)
    shift = (frames // 40)[:, None, None] * 2000.0 + np.tile([0, 500], 400)[:, None, None]
    keypoints = STANDING[None] + shift + rng.normal(0, 1, (800, 17, 2))
    found = Detections("v", "coco", frames, keypoints.astype(np.float32), unit="pixels")
    recording, _, notes = recording_of(found, Reading())
    assert recording.keypoints.shape == (8, 400, 17, 2)
    assert (recording.keypoints.any((2, 3)).sum(1) == 40).all()
    assert any("left out: 12 persons who are seen only briefly" in note for note in notes)
