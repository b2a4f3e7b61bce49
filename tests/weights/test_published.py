"""The published evaluations, as a user runs them, on made files of FLAG3D's exact structure.

A recording of 500 frames is sampled whole, so what the network must see can be written down here.
"""

import json
import pickle

import mindspore as ms
import numpy as np
import pytest
from cli import refused, succeeded
from mindspore import Tensor
from models.oracle import Oracle
from networks import classifier

from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.results.metrics import softmax

HEIGHT, WIDTH = 480, 854
TRAIN, VAL = ("S001C001M001P002A001R001",), ("PLAY_A001_V001_R001_S001", "PHR_A060_V002_R003_S002")


def flag3d_file(path, joints: int, dims: int) -> list[np.ndarray]:
    """Write a file as FLAG3D's; return the keypoints (T, V, C) of the validation recordings."""
    rng = np.random.default_rng(0)
    annotations = []
    for name, label, num_frames in ((TRAIN[0], 0, 310), (VAL[0], 0, 500), (VAL[1], 59, 500)):
        walk = rng.standard_normal((1, num_frames, joints, dims)).cumsum(1)
        if dims == 2:
            walk = (300 + walk * 2 + rng.uniform(-100, 100, (joints, 2))).astype(np.float16)
        annotation = {
            "frame_dir": name,
            "label": label,
            "img_shape": (HEIGHT, WIDTH),
            "original_shape": (HEIGHT, WIDTH),
            "total_frames": num_frames,
            "keypoint": walk if dims == 2 else walk.astype(np.float32),
        }
        if dims == 2:
            score = rng.uniform(0, 1, (1, num_frames, joints))
            annotation["keypoint_score"] = score.astype(np.float16)
        annotations.append(annotation)
    content = {
        "split": {"train": list(TRAIN), "val": list(VAL)},
        "annotations": annotations[::-1],  # the order means nothing
    }
    path.write_bytes(pickle.dumps(content))
    return annotations[1:]


def released_file(shared, folder, fixture: str, published: str):
    """A `.ckpt` as FLAG3D's authors released it, with the weights of an oracle."""
    oracle = Oracle(shared / "parity", fixture)
    text = (shared / "parity/flag3d_checkpoint_names.json").read_text(encoding="utf-8")
    names = json.loads(text)["maps"][published]
    path = folder / f"{published}.ckpt"
    tensors = [{"name": theirs, "data": Tensor(oracle.state[n])} for n, theirs in names.items()]
    ms.save_checkpoint(tensors, str(path))
    return oracle, path


def evaluated(folder, experiment: str, data, weights, count: int = 2) -> np.ndarray:
    """Softmax scores of the run for the first recordings of VAL."""
    succeeded(
        folder,
        f"experiment={experiment}",
        f"dataset.path={data}",
        f"task.checkpoint={weights}",
        "task.batch_size=1",
        f"task.limit_batches={count}",
        "dataset.cache=null",
        "device=cpu",
        "device.jit=false",
        "tracking=none",
        "hydra.run.dir=run",
    )
    found = np.load(folder / "run/predictions/val.npz")
    assert [str(name) for name in found["names"]] == list(VAL[:count])
    assert found["labels"].tolist() == [0, 59][:count]
    return found["scores"]


def expected_scores(oracle: Oracle, model, clips: np.ndarray) -> np.ndarray:
    oracle.initialise(model)
    model.set_train(False)
    logits = [model(Tensor(clip[None].astype(np.float32))).asnumpy() for clip in clips]
    return softmax(np.concatenate(logits))


@pytest.mark.slow
def test_aagcn_in_domain(shared, tmp_path):
    data = tmp_path / "flag3d.pkl"
    recordings = flag3d_file(data, 25, 3)
    oracle, weights = released_file(shared, tmp_path, "aagcn", "agcn_3d")
    clips = np.stack([recording["keypoint"] for recording in recordings])
    expected = expected_scores(oracle, classifier(AAGCN, 60, "nturgb+d"), clips)
    found = evaluated(tmp_path, "published_aagcn_in_domain", data, weights)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_aagcn_out_domain(shared, tmp_path):
    data = tmp_path / "flag2d.pkl"
    recordings = flag3d_file(data, 17, 2)
    oracle, weights = released_file(shared, tmp_path, "aagcn_coco", "agcn_2d")
    clips = []
    for recording in recordings:
        keypoints = recording["keypoint"].astype(np.float32)
        centred = (keypoints - [WIDTH / 2, HEIGHT / 2]) / [WIDTH / 2, HEIGHT / 2]
        scores = recording["keypoint_score"].astype(np.float32)[..., None]
        clips.append(np.concatenate([centred, scores], -1))
    expected = expected_scores(oracle, classifier(AAGCN, 60, "coco"), np.stack(clips))
    found = evaluated(tmp_path, "published_aagcn_out_domain", data, weights)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_posec3d_out_domain(shared, tmp_path):
    data = tmp_path / "flag2d.pkl"
    recordings = flag3d_file(data, 17, 2)
    oracle, weights = released_file(shared, tmp_path, "posec3d_slowonly", "posec3d_2d")
    clips = []
    for recording in recordings[:1]:  # a clip takes seconds
        keypoints = recording["keypoint"].astype(np.float32)
        low, high = keypoints.min((0, 1, 2)), keypoints.max((0, 1, 2))
        half = np.full(2, ((high - low) / 2 * 1.25).max())  # a square, a quarter wider
        corner = np.trunc((low + high) / 2 - half)
        side = np.trunc((low + high) / 2 + half) - corner
        pixels = (keypoints - corner) * 64 / side
        scores = recording["keypoint_score"].astype(np.float32)[..., None]
        clips.append(np.concatenate([pixels, scores], -1))
    expected = expected_scores(oracle, classifier(PoseC3D, 60, "coco"), np.stack(clips))
    found = evaluated(tmp_path, "published_posec3d_out_domain", data, weights, count=1)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_damaged_file_ends_in_one_line(shared, tmp_path):
    data = tmp_path / "flag3d.pkl"
    flag3d_file(data, 25, 3)
    weights = tmp_path / "2sagcn_3d.ckpt"
    weights.write_bytes((shared / "parity/pth/flag3d_agcn_3d.ckpt").read_bytes()[:100_000])
    line = refused(
        tmp_path,
        "experiment=published_aagcn_in_domain",
        f"dataset.path={data}",
        f"task.checkpoint={weights}",
        "device=cpu",
        "tracking=none",
    )
    assert "2sagcn_3d.ckpt is not a MindSpore checkpoint, or is damaged" in line


def test_an_imported_checkpoint_fits_another_number_of_classes(shared, tmp_path):
    source = shared / "parity/pth/posec3d_x3d_shallow.pth"
    common = (
        "task=import_weights",
        f"task.source={source}",
        "model=x3d_shallow",
        "dataset=demo_out_domain",
        "device=cpu",
        "tracking=none",
    )
    line = refused(tmp_path, *common, "task.output=out.npz")
    assert "cls_head.fc_cls.weight (60, 216), not (16, 216)" in line
    succeeded(tmp_path, *common, "task.output=out.npz", "task.head=skip")
    weights = np.load(tmp_path / "out.npz")
    assert weights["weights/head.weight"].shape == (16, 216)
    stem = weights["weights/network.stem.weight"]
    np.testing.assert_array_equal(
        stem, Oracle(shared / "parity", "posec3d_x3d_shallow").state["backbone.conv1_s.conv.weight"]
    )
