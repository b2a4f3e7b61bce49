"""Datasets as configuration describes them: ours compose, real files fit, splits are as named."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from flag3d_exp.config.checks import CONF
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.source import Dataset, build, check_filmed, check_unfilmed, fault
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError
from flag3d_exp.skeletons.layout import load_layout

JOINT = Stream("joint")


def composed(*overrides):
    """Dataset, pipeline and stream of a configuration."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=list(overrides))
    return [instantiate(cfg[group], _convert_="all") for group in ("dataset", "pipeline", "stream")]


@pytest.fixture
def path(tmp_path):
    names = [f"r{n}" for n in range(6)]
    annotations = [
        {"frame_dir": name, "label": n % 2, "keypoint": np.full((1, 5, 25, 3), n, np.float32)}
        for n, name in enumerate(names)
    ]
    split = {"one": names[:3], "two": names[3:5], "three": names[5:]}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"split": split, "annotations": annotations}))
    return str(tmp_path / "x.pkl")


def settings(path, **splits):
    return Dataset("x", path, "nturgb+d", 2, splits, cache=None)


def test_splits_are_those_named_and_only_train_is_random(path):
    pipeline = GraphPipeline("nturgb+d", clip_len=4)
    made = build(settings(path, train="one", val="two", out_domain="three"), pipeline, JOINT, 0)
    assert {split: clips.names for split, clips in made.items()} == {
        "train": ("r0", "r1", "r2"),
        "val": ("r3", "r4"),
        "out_domain": ("r5",),
    }
    assert [clips.training for clips in made.values()] == [True, False, False]
    assert made["val"].labels.tolist() == [1, 0]
    np.testing.assert_array_equal(made["val"].clips(1), np.full((1, 1, 4, 25, 3), 4))


def test_single_splits_can_be_built(path):
    described = settings(path, train="one", val="two")
    made = build(described, GraphPipeline("nturgb+d"), JOINT, 0, splits=["val"])
    assert list(made) == ["val"]
    with pytest.raises(UserError, match="`dataset.splits` has no 'test'; available: train, val"):
        build(described, GraphPipeline("nturgb+d"), JOINT, 0, splits=["test"])


def test_scores_are_known_of_all_recordings_or_of_none():
    keypoints = np.ones((1, 5, 17, 2), np.float32)
    bare = Recording("bare", 0, keypoints)
    scored = replace(bare, name="scored", scores=np.ones((1, 5, 17), np.float32))
    for pipeline in (GraphPipeline("coco", score_channel=True), HeatmapPipeline("coco")):
        assert ClipDataset([scored, bare], pipeline, JOINT).has_scores
        assert not ClipDataset([bare], pipeline, JOINT).has_scores
        ClipDataset([bare], pipeline, JOINT).check_scores(False)
        with pytest.raises(
            UserError, match="recording 'bare': it has no `scores`, which the network"
        ):
            ClipDataset([scored, bare], pipeline, JOINT).check_scores(True)
    assert not ClipDataset([scored], GraphPipeline("coco"), JOINT).has_scores  # used to mask alone


def test_one_split_may_be_trained_and_evaluated_on_if_asked_for(path):
    made = build(settings(path, train="one", val="one"), GraphPipeline("nturgb+d"), JOINT, 0)
    assert made["train"].names == made["val"].names


def test_flag3d_is_described_as_published():
    solid, pipeline, _ = composed("dataset=flag3d_in_domain", "dataset.path=x")
    assert (solid.layout, solid.num_classes, solid.clip_len) == ("nturgb+d", 60, 500)
    assert (pipeline.normalise, pipeline.clip_len, solid.mirror) == ("none", 500, 0)
    assert solid.classes[0] == "Svend Press"
    assert solid.classes[59] == "Run In Place With Arm Swing"
    flat, pipeline, _ = composed("dataset=flag3d_out_domain", "dataset.path=x")
    assert (flat.layout, flat.num_coordinates, flat.score_channel) == ("coco", 2, True)
    assert (pipeline.normalise, pipeline.score_threshold) == ("image", None)
    assert flat.classes == solid.classes


def test_cameras_make_a_3d_dataset_one_for_2d_networks():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", ["dataset=flag3d_in_domain", "dataset.path=x", "augment=camera"])
    described = instantiate(cfg.dataset, _convert_="all")
    assert (described.layout, described.recorded_layout) == ("coco", "nturgb+d")
    assert (cfg.model.layout, cfg.model.num_channels, cfg.pipeline.normalise) == ("coco", 3, "box")
    keypoints = np.ones((1, 5, 25, 3), np.float32)
    solid, flat = Recording("s", 0, keypoints), Recording("f", 0, keypoints[:, :, :17, :2])
    coco = load_layout("coco")
    assert fault(solid, described, coco, needs_image=True) is None
    assert "it has no `image_shape`" in str(fault(flat, described, coco, needs_image=True))
    short = replace(solid, keypoints=keypoints[:, :, :20])
    assert "20 joints in 3D, but layout nturgb+d" in str(fault(short, described, coco, False))
    check_filmed(described, [flat, solid])
    with pytest.raises(UserError, match="those of flag3d_in_domain are 2D"):
        check_filmed(described, [flat])
    with pytest.raises(UserError, match="holds recordings in 3D, such as 's', .*`augment=camera`"):
        check_unfilmed(described, [flat, solid])
    check_unfilmed(described, [flat])
    check_unfilmed(replace(described, recorded_layout=None), [solid])


def test_a_layout_is_read_once_for_all_recordings(monkeypatch):
    """Not once for each: a dataset may have a hundred thousand."""
    settings = Dataset("d", "d.pkl", "coco", 5, {}, num_channels=2, recorded_layout="nturgb+d")
    read = []
    monkeypatch.setattr(
        "flag3d_exp.data.source.load_layout", lambda name: read.append(name) or load_layout(name)
    )
    solid = Recording("solid", 0, np.zeros((1, 4, 25, 3), np.float32))
    flat = Recording("flat", 0, np.zeros((1, 4, 17, 2), np.float32))
    found = [settings.layout_of(one).num_joints for one in (solid, flat) * 3]
    assert found == [25, 17] * 3
    assert sorted(read) == ["coco", "nturgb+d"]


@pytest.mark.parametrize(
    "stream", ["joint", "bone", "k_bone", "joint_motion", "bone_motion", "k_bone_motion"]
)
def test_streams_are_called_what_they_are(stream):
    *_, made = composed(f"stream={stream}")
    assert made.name == stream
    assert (made.bones, made.motion) == ("bone" in stream, "motion" in stream)


def test_heatmap_settings_follow_the_dataset():
    dataset, pipeline, _ = composed("dataset=penn_action", "dataset.path=x", "pipeline=heatmap")
    assert isinstance(pipeline, HeatmapPipeline)
    assert pipeline.layout == dataset.layout == "coco"


@pytest.mark.parametrize(
    ("choice", "file", "sizes"),
    [
        ("uiprmd", "uiprmd.pkl", {"train": 490, "val": 500, "out_domain": 500}),
        ("penn_action", "pennaction.pkl", {"train": 1258, "val": 1068}),
        ("penn_action_fitness", "pennaction.pkl", {"train": 574, "val": 589}),
    ],
)
def test_real_files_fit_their_description(shared, tmp_path, choice, file, sizes):
    made = build(
        *composed(
            f"dataset={choice}",
            f"dataset.path={shared / 'data' / file}",
            f"dataset.cache={tmp_path}",
        ),
        seed=0,
    )
    assert {split: len(clips) for split, clips in made.items()} == sizes
    for clips in made.values():
        clip = clips.clips(len(clips) - 1)
        assert clip.shape[2] == 64
        assert np.isfinite(clip).all()
        assert np.abs(clip).max() < 10


def test_the_synthetic_data_takes_the_same_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset, pipeline, stream = composed("dataset=demo_out_domain", "pipeline=heatmap")
    made = build(dataset, pipeline, stream, seed=0)
    assert made["train"].clips(0).shape[1:] == (1, 48, 17, 3)
    assert list(tmp_path.rglob("*.recordings"))
