"""Files that can't be trained on: each is refused in one line that names the cause, soon, and
without running anything or taking much memory."""

import bz2
import collections
import datetime
import gzip
import io
import json
import lzma
import os
import pathlib
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest

from flag3d_exp.data.pipeline import GraphPipeline, HeatmapPipeline
from flag3d_exp.data.source import Dataset, build
from flag3d_exp.data.transforms import Stream
from flag3d_exp.errors import UserError

V = 25


class Calls:
    """Something whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Plain:
    pass


def content(**changes):
    """A good file's content: four recordings, two splits; `changes` are made to recording `b`."""
    annotations = [
        {
            "frame_dir": name,
            "label": number % 2,
            "total_frames": 3,
            "keypoint": np.full((1, 3, V, 3), number, np.float32),
            "keypoint_score": np.ones((1, 3, V), np.float16),
            "img_shape": (480, 854),
        }
        for number, name in enumerate("abcd")
    ]
    annotations[1] |= changes
    annotations[1] = {key: value for key, value in annotations[1].items() if value is not ...}
    return {"split": {"train": ["a", "b"], "val": ["c", "d"]}, "annotations": annotations}


def with_split(**splits):
    return content() | {"split": {"train": ["a", "b"], "val": ["c", "d"]} | splits}


def dumped(value, protocol=4):
    return pickle.dumps(value, protocol)


def archived():
    """A zip archive of 100 MB of zeros, in 100 kB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(100_000_000))
    return buffer.getvalue()


def npz():
    buffer = io.BytesIO()
    np.savez(buffer, keypoint=np.zeros(3))
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def declaring(shape, raw=b"\0" * 8, dtype="f8"):
    """A pickle of an array whose declared shape is not that of its data."""
    out = [b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"]
    out.append(b"(K\x01" + pickle.dumps(shape, 2)[2:-1] + b"cnumpy\ndtype\n")
    out.append(b"U" + bytes([len(dtype)]) + dtype.encode() + b"K\0K\x01\x87R\x89")
    out.append(b"U" + bytes([len(raw)]) + raw + b"tb.")
    return b"".join(out)


def nested_keys(depth=60):
    """A dict whose key takes 2^60 steps to hash: tuples of a tuple twice."""
    out = b"\x80\x02}K\x01\x85"
    for number in range(depth):
        out += b"q" + bytes([number]) + b"h" + bytes([number]) + b"\x86"
    return out + b"K\x01s."


def nan(value, at=(0, 1, 2, 0)):
    keypoints = np.zeros((1, 3, V, 3), np.float32)
    keypoints[at] = value
    return keypoints


MARKER = "it-was-run"
FOREIGN = "it was refused, and nothing in it was run"
FILES = {
    "empty": (b"", "is empty"),
    "one byte": (dumped(content())[:1], "cut short|not a pickle"),
    "two bytes": (dumped(content())[:2], "cut short"),
    "half": (dumped(content())[:1000], "cut short"),
    "no last byte": (dumped(content())[:-1], "cut short"),
    "text": (b"hello, this is no pickle\n", "not a pickle of protocol 2 or later"),
    "json": (json.dumps({"split": {}}).encode(), "not a pickle of protocol 2 or later"),
    "csv": (b"frame,joint,x,y\n0,0,1,2\n", "not a pickle of protocol 2 or later"),
    "noise": (np.random.default_rng(0).bytes(5000), "not a pickle"),
    "noise as a pickle": (
        b"\x80\x04" + np.random.default_rng(1).bytes(5000),
        "can't be read|damaged",
    ),
    "protocol 0": (dumped(content(), 0), "not a pickle of protocol 2 or later"),
    "zip bomb": (archived(), "is a zip archive"),
    "npz": (npz(), "is a zip archive .or .npz"),
    "npy": (npy(), "is a .npy file"),
    "gzip": (gzip.compress(dumped(content())), "gzip-compressed"),
    "bzip2": (bz2.compress(dumped(content())), "bzip2-compressed"),
    "xz": (lzma.compress(dumped(content())), "xz-compressed"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "os.system": (dumped(Calls(os.system, f"touch {MARKER}")), f"system`.*{FOREIGN}"),
    "eval": (dumped(Calls(eval, f"open('{MARKER}', 'w')")), f"builtins.eval`.*{FOREIGN}"),
    "exec, protocol 2": (dumped(Calls(exec, f"open('{MARKER}', 'w')"), 2), "__builtin__.exec`"),
    "Popen": (dumped(Calls(subprocess.Popen, ["touch", MARKER])), f"subprocess.Popen`.*{FOREIGN}"),
    "getattr": (dumped(Calls(getattr, content(), "clear")), "builtins.getattr`"),
    "own class": (dumped(Plain()), f"Plain`.*{FOREIGN}"),
    "own class among the recordings": (dumped(content(extra=Plain())), "Plain`"),
    "date": (dumped(content(date=datetime.date(2026, 1, 1))), "datetime.date`"),
    "path": (dumped(content(file=pathlib.PurePosixPath("x"))), "pathlib.*PurePosixPath`"),
    "ordered dict": (dumped(collections.OrderedDict(content())), "collections.OrderedDict`"),
    "set": (dumped(content() | {"split": {"train": {"a"}}}), "opcode|builtins.set"),
    "complex number": (dumped(content(label=1j)), "builtins.complex`"),
    "numpy.load": (dumped(Calls(np.load, "x.npy")), "numpy.load`"),
    "persistent id": (b"\x80\x02X\x01\0\0\0aQ.", "opcode 'Q'"),
    "extension": (b"\x80\x02\x82\x01.", "opcode"),
    "instance": (b"\x80\x02(cos\nsystem\no.", "os.system`"),
    "object array": (dumped(content(keypoint=np.array([{}, {}]))), "dtype 'O"),
    "structured array": (dumped(content(keypoint=np.zeros(3, "i4,f4"))), "dtype 'V"),
    "dates array": (dumped(content(keypoint=np.zeros(3, "M8[s]"))), "dtype 'M8"),
    "complex array": (dumped(content(keypoint=np.zeros((1, 3, V, 3), complex))), "dtype 'c16"),
    "array of a terabyte": (declaring((1 << 37,)), "in 8 bytes"),
    "array of overflowing size": (declaring((1 << 63, 1 << 63)), "in 8 bytes"),
    "array of negative size": (declaring((-1, -8)), "negative size"),
    "array with too many axes": (declaring((1,) * 60), "damaged"),
    "array without shape": (declaring(None), "without data or shape"),
    "bytes of an exabyte": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.", "cut short"),
    "text of 4 GB": (b"\x80\x04X" + struct.pack("<I", (1 << 32) - 1) + b"x.", "cut short"),
    "no text": (b"\x80\x04\x8c\x02\xff\xfe.", "damaged"),
    "far memory": (b"\x80\x02]r\xff\xff\xff\xff.", "must be a dict"),
    "memory that is not there": (b"\x80\x02h\x07.", "damaged"),
    "nothing on the stack": (b"\x80\x02.", "damaged"),
    "no mark": (b"\x80\x02]K\x01e.", "damaged"),
    "state of a list": (b"\x80\x02]}b.", "sets the state of something other"),
    "call of a text": (b"\x80\x02cnumpy\nndarray\n)R.", "damaged"),
    "keys that take forever": (nested_keys(), "neither text nor a number"),
    "unhashable key": (b"\x80\x02}]K\x01s.", "neither text nor a number"),
    "200,000 lists": (b"\x80\x02" + b"]" * 200_000 + b".", "must be a dict"),
    "a list": (dumped(content()["annotations"]), "must be a dict with `split`.*got list"),
    "None": (dumped(None), "must be a dict with `split`"),
    "no split": (dumped({"annotations": []}), "`split` and `annotations`; got keys"),
    "no annotations": (dumped({"split": {}, "data": []}), "`split` and `annotations`"),
    "split is a list": (dumped(content() | {"split": ["a"]}), "`split` must map"),
    "split is a text": (dumped(with_split(train="abc")), "split 'train' must be a list"),
    "split of numbers": (dumped(with_split(train=[0, 1])), "split 'train' must be a list"),
    "annotations in a dict": (dumped(content() | {"annotations": {}}), "`annotations` must be"),
    "recording is None": (
        dumped(content() | {"annotations": [None]}),
        "number 0: it must be a dict",
    ),
    "no name": (dumped(content(frame_dir=...)), "number 1: `name` must be"),
    "name is a number": (dumped(content(frame_dir=7)), "`frame_dir` must be a text.*got 7"),
    "empty name": (dumped(content(frame_dir="")), "`frame_dir` must be"),
    "endless name": (dumped(content(frame_dir="x" * 100_000)), "`frame_dir` must be"),
    "no label": (dumped(content(label=...)), "'b': `label` must be an integer; got None"),
    "float label": (dumped(content(label=1.0)), "`label` must be an integer; got 1.0"),
    "NumPy float label": (dumped(content(label=np.float32(1))), "must be an integer; got 1.0"),
    "boolean label": (dumped(content(label=True)), "`label` must be an integer; got True"),
    "text label": (dumped(content(label="squat")), "`label` must be an integer; got 'squat'"),
    "list label": (dumped(content(label=[1])), "`label` must be an integer"),
    "negative label": (dumped(content(label=-1)), "'b': its label -1 is not within 0 to 1"),
    "label too large": (dumped(content(label=2)), "label 2 is not within.*dataset.num_classes"),
    "endless label": (dumped(content(label=1 << 400_000)), "an integer of 50001 bytes"),
    "label of 64 bits": (dumped(content(label=(1 << 64) - 1)), "is not within"),
    "no keypoints": (dumped(content(keypoint=...)), "`keypoints` must be an array.*got nothing"),
    "keypoints in lists": (dumped(content(keypoint=[[[0.0]]])), "`keypoint` must be.*got list"),
    "keypoints as text": (dumped(content(keypoint=np.array(["a"]))), "must be an array of numbers"),
    "boolean keypoints": (dumped(content(keypoint=np.ones((1, 3, V, 3), bool))), "got bool"),
    "three axes": (dumped(content(keypoint=np.zeros((3, V, 3)))), r"got \(3, 25, 3\)"),
    "five axes": (dumped(content(keypoint=np.zeros((1, 1, 3, V, 3)))), "must have shape"),
    "no frames": (dumped(content(keypoint=np.zeros((1, 0, V, 3)))), "none of them 0"),
    "no persons": (dumped(content(keypoint=np.zeros((0, 3, V, 3)))), "none of them 0"),
    "no joints": (dumped(content(keypoint=np.zeros((1, 3, 0, 3)))), "none of them 0"),
    "four coordinates": (dumped(content(keypoint=np.zeros((1, 3, V, 4)))), "2 or 3 coordinates"),
    "two coordinates": (
        dumped(content(keypoint=np.zeros((1, 3, V, 2)))),
        "2 coordinates, but `dataset.num_channels` is 3",
    ),
    "17 joints": (
        dumped(content(keypoint=np.zeros((1, 3, 17, 3)), keypoint_score=...)),
        r"'b': it has 17 joints, but layout nturgb\+d has 25; set `dataset.layout`",
    ),
    "a million joints": (
        dumped(content(keypoint=np.zeros((1, 3, 10**6, 3), np.float16), keypoint_score=...)),
        "it has 1000000 joints",
    ),
    "NaN": (dumped(content(keypoint=nan(np.nan))), "'b': it holds NaN or infinite"),
    "infinity": (dumped(content(keypoint=nan(-np.inf))), "'b': it holds NaN or infinite"),
    "too large for single precision": (
        dumped(content(keypoint=np.full((1, 3, V, 3), 1e300))),
        "'b': it holds NaN or infinite",
    ),
    "NaN score": (
        dumped(content(keypoint_score=np.full((1, 3, V), np.nan))),
        "'b': it holds NaN or infinite",
    ),
    "scores of another length": (
        dumped(content(keypoint_score=np.ones((1, 4, V)))),
        r"`keypoint_score` must have shape \(1, 3, 25\); got \(1, 4, 25\)",
    ),
    "scores in a list": (dumped(content(keypoint_score=[1])), "`keypoint_score` must be an array"),
    "another number of frames": (dumped(content(total_frames=4)), "`total_frames` is 4, but .* 3"),
    "image of three sides": (dumped(content(img_shape=(1, 2, 3))), "`img_shape` must be"),
    "image of half pixels": (dumped(content(img_shape=(48.5, 85.4))), "`img_shape` must be"),
    "image of no height": (dumped(content(img_shape=(0, 854))), "`img_shape` must be"),
    "one name twice": (dumped(content(frame_dir="a")), "two recordings are called 'a'"),
    "split names a stranger": (dumped(with_split(val=["c", "x"])), "names 1 recordings.*'x'"),
    "split names one twice": (
        dumped(with_split(val=["c", "c"])),
        "split 'val' lists 'c' twice",
    ),
    "empty split": (dumped(with_split(val=[])), "`dataset.splits.val`: .*'val' is empty"),
    "no recordings": (
        dumped({"split": {"train": [], "val": []}, "annotations": []}),
        "the split 'train' is empty",
    ),
    "splits overlap": (dumped(with_split(val=["b", "c"])), "share 1 recordings, such as 'b'"),
    "another split's name": (
        dumped(content() | {"split": {"train": ["a"], "xview_val": ["b"], "vals": ["c"]}}),
        "has no split 'val'; available: train, xview_val, vals. Did you mean `vals`",
    ),
}


def clips_of(path, **settings):
    dataset = Dataset(
        **{
            **{"name": "broken", "path": str(path), "layout": "nturgb+d", "num_classes": 2},
            **{"splits": {"train": "train", "val": "val"}, "cache": None},
            **settings,
        }
    )
    pipeline = GraphPipeline(dataset.layout, clip_len=3, normalise=dataset.normalise)
    return build(dataset, pipeline, Stream("joint"), 0)


def test_the_file_that_the_broken_ones_are_made_of_is_good(tmp_path):
    path = tmp_path / "good.pkl"
    for protocol in (2, 3, 4, 5):
        path.write_bytes(dumped(content(), protocol))
        clips = clips_of(path)
        np.testing.assert_array_equal(clips["val"].clips(1), np.full((1, 1, 3, V, 3), 3))
        assert clips["train"].labels.tolist() == [0, 1]


def test_the_corpus_is_large():
    assert len(FILES) >= 60


@pytest.mark.parametrize("cached", [False, True], ids=["read", "cached"])
@pytest.mark.parametrize("name", FILES)
def test_a_broken_file_is_refused_in_one_line(tmp_path, monkeypatch, name, cached):
    monkeypatch.chdir(tmp_path)
    raw, expected = FILES[name]
    path = tmp_path / "broken.pkl"
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=expected) as caught:
            clips_of(path, cache=str(tmp_path / "cache") if cached else None)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    assert memory < 60e6 + 4 * len(raw)
    assert not (tmp_path / MARKER).exists()
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_missing_file_is_named_with_its_key(tmp_path):
    with pytest.raises(UserError, match=r"`dataset.path`: .*nothing.pkl is not there"):
        clips_of(tmp_path / "nothing.pkl")
    with pytest.raises(UserError, match="is a folder"):
        clips_of(tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"layout": "nturgb"}, "`dataset.layout` must be one of"),
        ({"num_classes": 0}, "`dataset.num_classes` must be at least 1"),
        ({"num_channels": 5}, "`dataset.num_channels` must be 2 or 3"),
        ({"classes": ["squat"]}, "`dataset.classes` must name 2 classes"),
        ({"normalise": "image"}, "is for 2 coordinates"),
        ({"num_channels": 2}, "it has 3 coordinates, but `dataset.num_channels` is 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path, settings, expected):
    path = tmp_path / "good.pkl"
    path.write_bytes(dumped(content()))
    with pytest.raises(UserError, match=expected):
        clips_of(path, **settings)


def test_pixels_without_an_image_are_refused(tmp_path):
    flat = content()
    for annotation in flat["annotations"]:
        annotation["keypoint"] = annotation["keypoint"][..., :2]
    flat["annotations"][2]["img_shape"] = None
    path = tmp_path / "flat.pkl"
    path.write_bytes(dumped(flat))
    with pytest.raises(UserError, match="'c': it has no `image_shape`"):
        clips_of(path, num_channels=2, normalise="image")
    dataset = Dataset("x", str(path), "nturgb+d", 2, {"val": "val"}, num_channels=2, cache=None)
    with pytest.raises(UserError, match="'c': it has no `image_shape`"):
        build(dataset, HeatmapPipeline("nturgb+d"), Stream("joint"), 0)


def test_all_broken_recordings_are_told_at_once(tmp_path):
    broken = content()
    broken["annotations"][0]["label"] = "squat"
    broken["annotations"][1]["keypoint"] = np.zeros((3, V, 3))
    path = tmp_path / "broken.pkl"
    path.write_bytes(dumped(broken))
    with pytest.raises(UserError) as caught:
        clips_of(path)
    expected = "2 recordings can't be used: 'a': `label` must be an integer; got 'squat'; 'b': `key"
    assert expected in str(caught.value)
    broken = content()
    broken["annotations"][0]["label"] = 7
    broken["annotations"][2] |= {"keypoint": np.zeros((1, 3, 17, 3)), "keypoint_score": None}
    path.write_bytes(dumped(broken))
    with pytest.raises(UserError) as caught:
        clips_of(path)
    text = str(caught.value)
    assert "splits 'train', 'val': 2 recordings can't be used: 'a': its label 7 is not" in text
    assert "'c': it has 17 joints, but layout nturgb+d has 25" in text


def test_heatmaps_of_bones_are_refused(tmp_path):
    flat = content()
    for annotation in flat["annotations"]:
        annotation["keypoint"] = annotation["keypoint"][..., :2]
    path = tmp_path / "flat.pkl"
    path.write_bytes(dumped(flat))
    dataset = Dataset("x", str(path), "nturgb+d", 2, {"val": "val"}, num_channels=2, cache=None)
    with pytest.raises(UserError, match="`stream=bone` is for graph networks"):
        build(dataset, HeatmapPipeline("nturgb+d"), Stream("bone", bones=True), 0)


def test_a_file_of_countless_objects_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("flag3d_exp.reading.unpickle.MAX_OPCODES", 10_000)
    path = tmp_path / "many.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 20_000 + b".")
    with pytest.raises(UserError, match="it consists of more than 10,000 parts"):
        clips_of(path)


def test_heatmaps_of_three_coordinates_are_refused(tmp_path):
    path = tmp_path / "good.pkl"
    path.write_bytes(dumped(content()))
    dataset = Dataset("x", str(path), "nturgb+d", 2, {"val": "val"}, cache=None)
    with pytest.raises(UserError, match="`pipeline=heatmap` draws 2D keypoints"):
        build(dataset, HeatmapPipeline("nturgb+d"), Stream("joint"), 0)
