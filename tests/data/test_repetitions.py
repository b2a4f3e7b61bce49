"""Recordings whose repetitions are known: read, kept, joined, made, and seen at several paces."""

import pickle

import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording, open_annotations, read_annotations, recording_of
from flag3d_exp.data.augment.recipe import NOTHING
from flag3d_exp.data.combined import Source, combined_content
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.demo.repetitions import FRAMES, performed_recording
from flag3d_exp.data.formats.convert import write_annotations
from flag3d_exp.data.joined import joined_by_name, joined_recording
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.sampling import covering_indices, paced_indices
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError

JOINTS = Stream("joint")


def annotation(repetitions, num_frames=20, name="a"):
    keypoints = np.random.default_rng(0).normal(size=(1, num_frames, 17, 2)).astype(np.float32)
    return {"name": name, "label": 0, "keypoints": keypoints, "repetitions": repetitions}


@pytest.mark.parametrize(
    ("repetitions", "expected"),
    [
        ([[0, 9], [9, 19]], 2),
        (np.array([[3, 3]], np.int32), 1),
        (np.zeros((0, 2), int), 0),
        ([], 0),
        (None, None),
    ],
)
def test_repetitions_are_read(repetitions, expected):
    found = recording_of(annotation(repetitions)).repetitions
    assert (None if found is None else len(found)) == expected
    assert found is None or (found.dtype == np.int64 and found.shape[1] == 2)


@pytest.mark.parametrize(
    ("repetitions", "message"),
    [
        ([[0, 20]], "within 0 to 19; number 1 is 0 to 20"),
        ([[-1, 3]], "number 1 is -1 to 3"),
        ([[0, 9], [8, 12]], "must rise.* number 2 is 8 to 12"),
        ([[5, 4]], "number 1 is 5 to 4"),
        ([[1, 2, 3]], "pairs of a first and a last frame"),
        ([[0.5, 2]], "whole numbers"),
        ([3, 4], "pairs"),
        (np.zeros((2, 3), int), r"shape \(repetitions, 2\); got \(2, 3\)"),
        (np.zeros((2, 2)), "whole numbers"),
        (7, "whole numbers of shape"),
    ],
)
def test_faulty_repetitions_are_refused_in_a_line(repetitions, message):
    with pytest.raises(UserError, match=message):
        recording_of(annotation(repetitions))


def test_repetitions_survive_the_cache_and_writing(tmp_path):
    rows = [annotation([[1, 4], [4, 9]], name="a"), annotation([], name="b"),
            annotation(None, name="c")]  # fmt: skip
    content = {"split": {"train": ["a", "b", "c"]}, "annotations": rows}
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(content))
    for _ in range(2):  # the second time from the cache
        cached = open_annotations(tmp_path / "in.pkl", str(tmp_path / "cache"))
        spans = [one.repetitions for one in cached.all]
        np.testing.assert_array_equal(spans[0], [[1, 4], [4, 9]])
        assert spans[1].shape == (0, 2) and spans[2] is None
    write_annotations(tmp_path / "out.pkl", {"train": ("a", "b")}, cached.all[:2])
    _, again = read_annotations(tmp_path / "out.pkl")
    np.testing.assert_array_equal(again[0].repetitions, [[1, 4], [4, 9]])
    assert len(again[1].repetitions) == 0


def test_targets_have_repetitions_only_if_all_recordings_have_them():
    known = [recording_of(annotation([[0, 4], [5, 9]])), recording_of(annotation([], 30))]
    data = ClipDataset(known, GraphPipeline("coco"), JOINTS)
    targets = data.targets_of(np.array([1, 0]))
    np.testing.assert_array_equal(targets["repetitions"], [[[-1, -1], [-1, -1]], [[0, 4], [5, 9]]])
    assert targets["num_frames"].tolist() == [30, 20]
    mixed = ClipDataset([*known, recording_of(annotation(None))], GraphPipeline("coco"), JOINTS)
    assert set(mixed.targets) == {"label"}


@pytest.mark.parametrize("num_frames", [5, 63, 64, 65, 200, 1000])
def test_test_clips_cover_a_recording_at_every_pace(num_frames):
    paces = [1, 1.5, 4]
    indices = covering_indices(num_frames, 32, paces)
    rates = (indices[:, -1] - indices[:, 0]) / 31
    for pace in paces:
        own = indices[np.abs(rates - pace) < 0.05]
        inside = own[(own >= 0) & (own < num_frames)]
        assert inside.min() < pace and inside.max() >= num_frames - 1 - pace
        assert np.diff(np.unique(inside)).max(initial=0) <= np.ceil(pace)
        if len(own) == 1 and num_frames < 32 * pace:  # as far outside at both ends
            assert abs((own[0, -1] - num_frames + 1) + own[0, 0]) <= pace + 1
        else:
            assert own.min() >= 0 and own.max() < num_frames


def test_training_clips_have_random_paces_and_starts():
    drawn = [paced_indices(150, 32, [1, 2, 8], np.random.default_rng(n)) for n in range(200)]
    paces = np.array([(one[-1] - one[0]) / 31 for one in drawn])
    assert paces.min() >= 0.95 and paces.max() <= 8.05 and paces.min() < 1.3 < 6 < paces.max()
    short = [one for one, pace in zip(drawn, paces, strict=True) if pace * 32 < 149]
    assert all(one[0] >= 0 and one[-1] < 150 for one in short)
    long = [one for one, pace in zip(drawn, paces, strict=True) if pace * 32 > 160]
    assert long and all(one[0] <= 0 and one[-1] >= 149 - 8 for one in long)


def test_clips_of_several_paces_tell_their_frames_and_hide_what_is_outside():
    keypoints = np.random.default_rng(0).uniform(1, 9, (1, 40, 17, 2)).astype(np.float32)
    pipeline = GraphPipeline("coco", clip_len=16, paces=[1, 4], time_channel=True)
    clips = pipeline.test_clips(Recording("a", 0, keypoints), JOINTS)
    frames = np.rint((clips[:, 0, :, 0, -1] + 1) / 2 * 40).astype(int)
    assert frames.shape == (5, 16) and frames[-1].min() < 0 and frames[-1].max() >= 40
    for clip, own in zip(clips, frames, strict=True):
        inside = (own >= 0) & (own < 40)
        np.testing.assert_array_equal(clip[0, inside, :, :2], keypoints[0, own[inside]])
        assert not clip[0, ~inside, :, :2].any()
    first, again = (
        pipeline.train_clips(
            Recording("a", 0, keypoints), JOINTS, np.random.default_rng(3), NOTHING
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    own = np.rint((first[0, 0, :, 0, -1] + 1) / 2 * 40).astype(int)
    inside = (own >= 0) & (own < 40)
    np.testing.assert_array_equal(first[0, 0, inside, :, :2], keypoints[0, own[inside]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"paces": [2, 1]}, "rising numbers"),
        ({"paces": [1, 1]}, "rising numbers"),
        ({"paces": [0, 1]}, "paces` must be above 0"),
        ({"paces": []}, "not empty"),
        ({"paces": [1, 2], "successive": True}, "exclude each other"),
        ({"paces": [1, 2], "normalise": "body"}, "leaves out some"),
    ],
)
def test_faulty_paces_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        GraphPipeline("coco", **settings)


def single(name, subject="1", label=0, length=10, at=0.0):
    """(1, length, 3, 2) of joints that rise; joint 2 is missing."""
    keypoints = (
        np.ones((1, length, 3, 2), np.float32) * (at + np.arange(1, length + 1))[:, None, None]
    )
    keypoints[:, :, 2] = 0
    return Recording(name, label, keypoints, subject=subject)


def test_joined_recordings_follow_each_other_without_a_jump():
    made = joined_recording([single("a"), single("b", at=50, length=12)], center=0)
    assert made.keypoints.shape == (1, 22, 3, 2) and made.name == "a"
    np.testing.assert_array_equal(made.repetitions, [[0, 9], [10, 21]])
    assert np.abs(np.diff(made.keypoints[0, :, :2], axis=0)).max() <= 1.01
    assert not made.keypoints[0, :, 2].any()


def test_only_recordings_of_one_person_class_and_split_are_joined():
    given = ["a10", "b10", "c11", "d20", "e10", "f10"]  # name, subject, label
    some = [single(name, subject, int(label)) for name, subject, label in given]
    splits = {"train": ["a", "b", "c", "d", "e"], "val": ["f"]}
    found = joined_by_name(some, splits, 2, 0)
    counts = {name: [len(one.repetitions) for one in made] for name, made in found.items()}
    assert counts == {"a": [2], "b": [], "c": [1], "d": [1], "e": [1], "f": [1]}
    with pytest.raises(UserError, match="'g' has none"):
        joined_by_name([single("g", None)], {}, 2, 0)


def test_sources_are_joined_turned_and_united(tmp_path):
    rows = [annotation(None, name=name) | {"subject": "1"} for name in "abc"]
    for row in rows:
        row["keypoints"] = np.concatenate([row["keypoints"], row["keypoints"][..., :1] + 100], -1)
    content = {"split": {"train": ["a", "b"], "val": ["c"]}, "annotations": rows}
    (tmp_path / "in.pkl").write_bytes(pickle.dumps(content))
    source = Source(str(tmp_path / "in.pkl"), "coco", ["move"], {"all": ["move"]}, join=5, up="y")
    splits, recordings = combined_content(
        {"one": source}, ["all"], {"both": ["one_train", "one_val"]}
    )
    assert splits["one_train"] == ("one-a",) and splits["both"] == ("one-a", "one-c")
    assert [len(one.repetitions) for one in recordings] == [2, 1]
    np.testing.assert_array_equal(
        recordings[1].keypoints[0, 0], rows[2]["keypoints"][0, 0][:, [2, 0, 1]]
    )
    with pytest.raises(UserError, match=r"`task.splits.x` names 'one_trian'.*one_train"):
        combined_content({"one": source}, ["all"], {"x": ["one_trian"]})
    with pytest.raises(UserError, match="has a split of this name"):
        combined_content({"one": source}, ["all"], {"one_val": ["one_train"]})
    with pytest.raises(UserError, match="exclude each other"):
        Source("x", "coco", ["move"], {"all": ["move"]}, join=5, window=9)


def test_synthetic_recordings_repeat_where_they_say():
    """A frame of a repetition looks like the frame at the same share of the next one."""
    alike, apart = [], []
    for seed in range(40):
        joints, spans = performed_recording(np.random.default_rng(seed))
        assert np.isfinite(joints).all() and len(joints) <= 2 * FRAMES[1]
        assert not len(spans) or (spans[0, 0] >= 0 and spans[-1, 1] < len(joints))
        for (first, last), (start, stop) in zip(spans, spans[1:], strict=False):
            shares = np.linspace(0, 1, 9)
            one = joints[np.rint(first + shares * (last - first)).astype(int)]
            other = joints[np.rint(start + shares * (stop - start)).astype(int)]
            one, other = one - one[:, :1], other - other[:, :1]
            alike.append(np.abs(one - other).mean())
            apart.append(np.abs(one - other[[4, 5, 6, 7, 0, 1, 2, 3, 4]]).mean())
    assert len(alike) > 100 and np.median(alike) < 0.6 * np.median(apart)
