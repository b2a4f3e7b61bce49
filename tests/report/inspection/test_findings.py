"""Findings: each fault planted in good data is found, with its recordings; good data has none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flag3d_exp.data.annotations import Annotations, Recording
from flag3d_exp.data.folds import subject
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.source import Dataset
from flag3d_exp.report.inspection.findings import inspect
from flag3d_exp.skeletons.layout import load_layout

NTU, COCO = load_layout("nturgb+d"), load_layout("coco")
SOLID = Dataset("made", "made.pkl", "nturgb+d", 2, {"train": "a", "val": "b"}, clip_len=10)
FLAT = replace(SOLID, layout="coco", num_channels=3, score_channel=True, normalise="image")
NAMES = tuple(f"S001C001P00{person}R00{n}A00{n}" for person in (1, 2) for n in (1, 2))
# A person who stands with hanging arms, in pixels.
FRONT = np.array(
    [
        [0, -90],
        [4, -95],
        [-4, -95],
        [8, -93],
        [-8, -93],
        [20, -70],
        [-20, -70],
        [25, -35],
        [-25, -35],
        [27, 0],
        [-27, 0],
        [12, 0],
        [-12, 0],
        [13, 45],
        [-13, 45],
        [14, 90],
        [-14, 90],
    ]
)


def solid(number):
    """A stiff person who moves about: joints near their parents, bones of constant length."""
    rng = np.random.default_rng(number)
    pose = np.zeros((25, 3))
    for joint in sorted(range(25), key=lambda joint: len(chain(joint))):
        bone = rng.normal(size=3)
        pose[joint] = pose[NTU.parents[joint]] + bone / np.linalg.norm(bone)
    steps = rng.normal(0, 0.1, (30, 1, 3)).cumsum(0)
    keypoints = (pose + steps)[None].astype(np.float32)
    return Recording(NAMES[number], number % 2, keypoints)


def chain(joint):
    """The joint, its parent, and so on to the root."""
    return [joint, *(chain(NTU.parents[joint]) if NTU.parents[joint] >= 0 else [])]


def flat(number):
    rng = np.random.default_rng(number)
    steps = rng.normal(0, 2, (30, 1, 2)).cumsum(0)
    keypoints = (FRONT + 300 + steps)[None].astype(np.float16)
    scores = rng.uniform(0.2, 1, (1, 30, 17)).astype(np.float16)
    return Recording(NAMES[number], number % 2, keypoints, scores, (480, 854))


def findings(recordings, settings=SOLID, splits=None):
    """Findings as {(severity, check): [(text, recordings), ...]}, less the spread of lengths."""
    splits = splits or {"a": NAMES[:2], "b": NAMES[2:]}
    annotations = Annotations(Path("made.pkl"), "digest", splits, recordings)
    layout = load_layout(settings.layout)
    pipeline = GraphPipeline(
        settings.layout, normalise=settings.normalise, clip_len=settings.clip_len
    )
    found, _ = inspect(settings, annotations, pipeline, layout)
    by_kind = {}
    for finding in found:
        if "frames, median" not in finding.text:
            key = finding.severity, finding.check
            by_kind.setdefault(key, []).append((finding.text, finding.recordings))
    return by_kind


@pytest.mark.parametrize(("made", "settings"), [(solid, SOLID), (flat, FLAT)])
def test_good_data_has_no_findings(made, settings):
    assert findings([made(n) for n in range(4)], settings) == {}


PLANTED = {
    "NaN": ({"finite": False}, ("error", "recordings"), "NaN or infinite"),
    "label out of range": ({"label": 7}, ("error", "recordings"), "label 7 is not within 0 to 1"),
    "other joints": (
        {"keypoints": np.ones((1, 30, 17, 3), np.float32)},
        ("error", "recordings"),
        "it has 17 joints",
    ),
    "pixels": (
        {"keypoints": np.ones((1, 30, 25, 2), np.float32)},
        ("error", "recordings"),
        "it has 2 coordinates",
    ),
    "frozen": (
        {"keypoints": np.repeat(solid(1).keypoints[:, :1], 30, 1)},
        ("warning", "frames"),
        "frozen for at least half",
    ),
    "empty frames": (
        {"keypoints": solid(1).keypoints * (np.arange(30) % 3 > 0)[:, None, None]},
        ("warning", "frames"),
        "without a joint in at least a fifth",
    ),
    "short": ({"keypoints": solid(1).keypoints[:, :9]}, ("note", "frames"), "shorter than"),
    "elastic bones": (
        {"keypoints": np.random.default_rng(9).normal(size=(1, 30, 25, 3)).astype(np.float32)},
        ("warning", "bones"),
        "with bone lengths that vary",
    ),
    "millimetres": (
        {"keypoints": solid(1).keypoints * 1000},
        ("warning", "bones"),
        "another unit",
    ),
    "second person": (
        {"keypoints": np.concatenate([solid(1).keypoints, solid(2).keypoints])},
        ("note", "persons"),
        "more persons than",
    ),
    "scores in percent": (
        {"scores": np.full((1, 30, 25), 80, np.float32)},
        ("warning", "scores"),
        "scores outside 0 to 1",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_with_its_recording(fault):
    changes, kind, expected = PLANTED[fault]
    recordings = [solid(n) for n in range(4)]
    recordings[1] = replace(recordings[1], **changes)
    found = findings(recordings)
    ((text, names),) = found[kind]
    assert expected in text
    assert names == (NAMES[1],)


def test_missing_joints_are_told_and_do_not_count_as_faults():
    """A hand that is never there, and a frame without anyone, stretch no bone and no box."""
    recordings = [solid(n) for n in range(4)]
    keypoints = recordings[1].keypoints.copy()
    keypoints[0, :, 21:23] = 0  # 8 % of the joints
    keypoints[0, 15] = 0  # the frame in the middle
    recordings[1] = replace(recordings[1], keypoints=keypoints)
    found = findings(recordings)
    assert list(found) == [("note", "missing")]
    ((text, names),) = found["note", "missing"]
    assert "up to 11 % in a recording" in text
    assert names == (NAMES[1],)


def test_recordings_that_can_not_be_centred_are_named():
    recordings = [solid(n) for n in range(4)]
    keypoints = recordings[1].keypoints.copy()
    keypoints[:, :, NTU.center] = 0
    recordings[1] = replace(recordings[1], keypoints=keypoints)
    ((text, names),) = findings(recordings, replace(SOLID, normalise="center"))[
        "warning", "missing"
    ]
    assert "'spine at the shoulders', in any frame" in text
    assert names == (NAMES[1],)
    assert ("warning", "missing") not in findings(recordings)


FLAT_PLANTED = {
    "outside": ({"keypoints": flat(1).keypoints + np.float16(500)}, "image", "outside the image"),
    "not pixels": ({"keypoints": flat(1).keypoints / np.float16(400)}, "image", "not pixels"),
    "no scores": ({"scores": None}, "scores", "without scores"),
}


@pytest.mark.parametrize("fault", FLAT_PLANTED)
def test_a_planted_fault_in_2d_is_found_with_its_recording(fault):
    changes, check, expected = FLAT_PLANTED[fault]
    recordings = [flat(n) for n in range(4)]
    recordings[1] = replace(recordings[1], **changes)
    ((text, names),) = findings(recordings, FLAT)["warning", check]
    assert expected in text
    assert names == (NAMES[1],)


def test_joints_in_another_order_are_noticed():
    shuffled = np.random.default_rng(0).permutation(25)
    wrong = [replace(r, keypoints=r.keypoints[:, :, shuffled]) for r in map(solid, range(4))]
    ((text, names),) = findings(wrong)["warning", "layout"]
    assert "are the joints in another order?" in text
    assert names == ()


def test_splits_that_share_recordings_or_subjects_are_found():
    recordings = [solid(n) for n in range(4)]
    found = findings(recordings, splits={"a": NAMES[:3], "b": NAMES[2:]})
    assert "share 1 recordings" in found["error", "settings"][0][0]
    assert "subjects in common: P002" in found["warning", "subjects"][0][0]


def test_the_same_recording_under_two_names_is_a_leak():
    recordings = [solid(n) for n in range(4)]
    recordings[2] = replace(recordings[0], name=NAMES[2])
    ((text, names),) = findings(recordings)["error", "repeats"]
    assert "1 recordings are in train" in text
    assert names == (NAMES[0], NAMES[2])
    recordings[2] = solid(2)
    recordings[3] = replace(recordings[2], name=NAMES[3], label=1)
    assert "several names" in findings(recordings)["warning", "repeats"][0][0]


def test_classes_without_training_and_classes_without_recordings_are_found():
    recordings = [replace(solid(n), label=0 if n < 2 else 1) for n in range(4)]
    found = findings(recordings, replace(SOLID, num_classes=3))
    ((text, names),) = found["error", "labels"]
    assert "val has classes that train lacks: 1" in text
    assert names == NAMES[2:]
    assert "label of 2" in found["warning", "labels"][0][0]


def test_unbalanced_training_is_found():
    recordings = [replace(solid(n % 4), name=f"r{n}", label=int(n == 0)) for n in range(8)]
    splits = {"a": tuple(f"r{n}" for n in range(7)), "b": ("r7",)}
    texts = [text for text, _ in findings(recordings, splits=splits)["warning", "labels"]]
    assert any("train is unbalanced: label 0 6 times, 1 1 times" in text for text in texts)


def test_missing_splits_and_unused_recordings_are_found():
    recordings = [solid(n) for n in range(4)]
    found = findings(recordings, splits={"a": NAMES[:2], "c": ()})
    assert "has no split 'b'" in found["error", "splits"][0][0]
    assert found["note", "splits"][0][1] == NAMES[2:]


def test_subjects_are_read_from_names():
    for name, expected in (
        ("S001C002P003R002A013", "P003"),
        ("S002C002M001P010A044R003", "P010"),
        ("PLAY_A001_V001_R001_S001", "PLAY"),
        ("squat_07", None),
    ):
        assert subject(replace(solid(0), name=name)) == expected
    assert subject(replace(solid(0), subject="s7")) == "s7"
