"""Every reader of files that may come from anywhere: a good file for it, and how it is read."""

import io
import json
import pickle
import random
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fuzz.messages import field_change
from fuzz.mutations import (
    Mutation,
    array_change,
    array_values,
    byte_change,
    json_change,
    json_lines_change,
    member_change,
    text_change,
    value_changed,
)

from flag3d_exp.config import recall, untrusted
from flag3d_exp.data.annotations import Recording, open_annotations, read_annotations
from flag3d_exp.data.formats.convert import converted_recordings
from flag3d_exp.data.formats.detections import Reading
from flag3d_exp.data.formats.ntu import read_missing
from flag3d_exp.data.formats.truth import frame_labels, read_truth
from flag3d_exp.data.inputs import read_inputs
from flag3d_exp.engine.checkpoint import Checkpoint, load_checkpoint, load_meta, save_checkpoint
from flag3d_exp.export.file import write_file
from flag3d_exp.export.serving import Classifier
from flag3d_exp.results.predictions import load_predictions
from flag3d_exp.runs import recordings, references, run_folder
from flag3d_exp.skeletons.layout import LAYOUTS, load_layout
from flag3d_exp.sweep import points, trial
from flag3d_exp.sweep.storage import open_study
from flag3d_exp.sweep.trial_records import TrialRecords, check_attributes, counted_trials
from flag3d_exp.tasks.best import Best, study_results
from flag3d_exp.weights.mindspore_file import read_mindspore_file
from flag3d_exp.weights.torch_file import read_torch_file

TEXT = (text_change, text_change, byte_change)
JSON = (json_change, json_change, *TEXT)
ARCHIVE = (member_change((array_change, byte_change)), byte_change)
CONFIG = """
dataset: {name: a, path: a.pkl, layout: coco, num_classes: 2, splits: {train: train, val: val},
  num_channels: 2, classes: [sit, stand], cache: auto}
model: {_target_: flag3d_exp.models.stgcn.STGCN, layout: '${dataset.layout}'}
stream: {_target_: flag3d_exp.data.transforms.Stream, name: joint}
task: {_target_: flag3d_exp.tasks.train.Train, batch_size: 8}
seed: 3
"""


@dataclass(frozen=True)
class Reader:
    """A file's name in a folder, good contents of it, changes to try, and what reads the folder.

    Args:
        beside: further files of the folder, which stay as they are.
    """

    name: str
    good: Callable[[], bytes]
    changes: Sequence[Mutation]
    read: Callable[[Path], Any]
    beside: Callable[[], dict[str, bytes]] = dict

    def changed(self, chance: random.Random) -> bytes:
        """Contents made of the good ones by one or two changes."""
        content = self.good()
        for _ in range(chance.choice((1, 1, 1, 2))):
            with suppress(Exception):  # what an earlier change has left may fit no other
                content = chance.choice(self.changes)(chance, content)
        return content


def annotations() -> dict[str, Any]:
    """Two recordings in two splits."""
    return {
        "split": {"train": ["S001C001P001R001A001"], "val": ["S001C002P003R001A002"]},
        "annotations": [
            {
                "frame_dir": name,
                "label": label,
                "total_frames": 3,
                "keypoint": np.ones((1, 3, 17, 2), np.float16),
                "keypoint_score": np.ones((1, 3, 17), np.float32),
                "img_shape": (480, 854),
                "subject": "P1",
            }
            for label, name in enumerate(("S001C001P001R001A001", "S001C002P003R001A002"))
        ],
    }


def pickle_change(chance: random.Random, _: bytes) -> bytes:
    """A pickle of changed annotations."""
    strange = [array_values(chance), {1, 2}, 1j, b"x" * 9, ((), ()), Path("x"), 1 << 4000]
    tree = value_changed(chance, annotations(), [*strange, "x" * 600, -1, None, [], {}, "val_ema"])
    return pickle.dumps(tree, chance.choice((2, 3, 4, 5)))


def npz(**arrays: np.ndarray) -> bytes:
    """An archive of arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def table(data: str) -> dict[str, Any]:
    """What describes a table."""
    splits = {"train": ["one"], "val": ["two"]}
    made = {"data": data, "layout": "coco", "image_shape": [480, 854], "splits": splits}
    return made | ({"labels": {"one": 0, "two": 1}} if data.endswith(".npz") else {})


@cache
def csv_rows() -> bytes:
    """Two recordings."""
    head = "recording,label,frame,joint,x,y,score,person,subject\n"
    rows = [f"{n},{i},{f},{j},1.5,2,0.9,0,P1" for i, n in enumerate(("one", "two"))
            for f in range(2) for j in range(3)]  # fmt: skip
    return (head + "\n".join(rows) + "\n").encode()


def skeleton() -> bytes:
    """Fourteen frames of a body."""
    joints = "\n".join(f"{j}.5 1 2 0 0 0 0 0 0 0 0 2" for j in range(25))
    return ("14\n" + f"1\n72057 0 1 1 0 0 0 0 0 2\n25\n{joints}\n" * 14).encode()


@cache
def torch_file() -> bytes:
    """{"weight": a tensor of 2 x 2, "bias": one of 2}."""
    named = b"ctorch._utils\n_rebuild_tensor_v2\n"
    stored = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0"
    entries = b"X\x06\0\0\0weight" + named + stored + b"(K\x02K\x02t(K\x02K\x01t\x89}tR"
    entries += b"X\x04\0\0\0bias" + named + stored + b"K\x02\x85K\x01\x85\x89}tR"
    content = b"\x80\x02ccollections\nOrderedDict\n)R(" + entries + b"u}X\x01\0\0\0aK\x01sb."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())
        archive.writestr("archive/byteorder", "little")
    return buffer.getvalue()


def mindspore_file() -> bytes:
    """Two tensors."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    tensor = b"\x08\x02\x08\x02" + field(2, b"Float32") + field(3, bytes(16))
    scalar = b"\x08\x00" + field(2, b"Int32") + field(3, bytes(4))
    return b"".join(
        field(1, field(1, n) + field(2, t)) for n, t in ((b"w", tensor), (b"b", scalar))
    )


@cache
def checkpoint() -> bytes:
    """A checkpoint of a training run."""
    progress = {"epoch": 2, "step": 0, "best": 50.0, "metrics": {"val/top1": 50.0},
                "interval": {"loss": 0.5, "num_steps": 1}, "running": {}}  # fmt: skip
    choices = {"model": "stgcn", "dataset": "custom"}
    meta = {"config": CONFIG, "choices": choices, "progress": progress}
    weights = {"a": np.ones((2, 3), np.float32)}
    path = Path(trial_folder(), "seed.npz")
    save_checkpoint(path, Checkpoint(weights, {"m": np.zeros(2)}, weights, meta))
    return path.read_bytes()


def meta_change(chance: random.Random, content: bytes) -> bytes:
    """A checkpoint whose meta is changed, with its own checksum."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    if chance.random() < 0.5:
        meta["config"] = text_change(chance, meta["config"].encode()).decode("utf-8", "replace")
    elif chance.random() < 0.5:
        changed = value_changed(chance, yaml.safe_load(meta["config"]))
        meta["config"] = yaml.safe_dump(changed)
    else:
        meta = value_changed(chance, meta)
    arrays["meta"] = np.array(json.dumps(meta))
    return npz(**arrays)


def read_checkpoint(folder: Path) -> None:
    """What an evaluation reads of a checkpoint before it makes a network."""
    path = folder / "best.npz"
    meta = load_meta(path)
    saved, _ = recall.saved_configuration(meta, str(path))
    untrusted.check_values(saved, str(path), lambda: {"model": {"_target_": "os.system"}})
    load_checkpoint(path)


@cache
def trial_folder() -> str:
    """A folder for seeds."""
    import tempfile

    return tempfile.mkdtemp(prefix="flag3d_fuzz_")


BEGUN = {"seed": 0, "model._target_": "flag3d_exp.models.stgcn.STGCN"}


@cache
def journal() -> bytes:
    """A study with a trial that ended and one that waits."""
    path = Path(trial_folder(), "journal.log")
    path.unlink(missing_ok=True)
    study, storage, _ = open_study(path.parent, "s", str(path), ["maximize"], BEGUN)
    one = study.ask()
    one.suggest_float("optimizer.lr", 0.1, 1.0, log=True)
    one.suggest_categorical("model", ["a", "b"])
    TrialRecords(study, storage).note(
        one.number, owner={"host": "h", "pid": 1, "started": 2.5}, folder="0"
    )
    one.report(0.5, 1)
    study.tell(one, 0.7)
    study.enqueue_trial({"optimizer.lr": 0.2})
    return path.read_bytes()


def read_journal(folder: Path) -> None:
    """What a driver reads of a study."""
    study, storage, _ = open_study(folder, "s", str(folder / "journal.log"), ["maximize"], BEGUN)
    trials = TrialRecords(study, storage).trials()
    check_attributes(trials)
    for one in counted_trials(trials):
        run_folder.inside(folder, one.user_attrs.get("folder", str(one.number)))
        lines = [f"{key}={value}" for key, value in one.params.items()]
        untrusted.checked_overrides(lines, "the study's storage")


@cache
def onnx_graph() -> bytes:
    """logits = the clip's mean coordinates * [1, 10, 1]."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["keypoints"], ["m"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Mul", ["m", "weight"], ["logits"]),
        ],
        "network",
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 1, 2, 2, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor("weight", TensorProto.FLOAT, [3], [1, 10, 1])],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@cache
def mindir_graph() -> bytes:
    """The same in MindSpore, with a second operation."""
    import mindspore as ms

    from flag3d_exp.export import mindir

    class Weighing(ms.nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.weight = ms.Parameter(np.array([1, 10, 1], np.float32), name="weight")

        def construct(self, x):
            return ms.ops.mean(x, (1, 2, 3)) * self.weight

    return mindir.compiled_network(Weighing(), (1, 2, 2, 3)).SerializeToString()


def exported(suffix: str, graph: bytes | None = None, facts: Any = None) -> bytes:
    """An exported file with a checksum that fits its graph."""
    path = Path(trial_folder(), f"model{suffix}")
    good = onnx_graph() if suffix == ".onnx" else mindir_graph()
    write_file(path, good if graph is None else graph, FACTS if facts is None else facts)
    return path.read_bytes()


def graph_change(suffix: str) -> Mutation:
    """A graph changed in one or two fields, with a checksum that fits: what an attacker writes."""

    def change(chance: random.Random, _: bytes) -> bytes:
        graph = onnx_graph() if suffix == ".onnx" else mindir_graph()
        for _number in range(chance.choice((1, 1, 2))):
            graph = field_change(chance, graph)
        return exported(suffix, graph)

    return change


def facts_change(suffix: str) -> Mutation:
    """A file that says something else of itself."""

    def change(chance: random.Random, _: bytes) -> bytes:
        facts = value_changed(chance, FACTS)
        return exported(suffix, facts=facts if isinstance(facts, dict) else {})

    return change


def classify(path: Path) -> None:
    """Open an exported file and ask it about a recording."""
    keypoints = np.ones((1, 3, 2, 3), np.float32)
    Classifier(path).scores([Recording("a", 0, keypoints)])


def read_cached(folder: Path) -> None:
    """A converted file in the cache, which may be damaged."""
    cached = folder / "cache"
    cached.mkdir(exist_ok=True)
    path = folder / "a.pkl"
    from flag3d_exp.data import cache as stores

    stores.place(cached, stores.digest(path, cached)).write_bytes(
        (folder / "a.stored").read_bytes()
    )
    found = open_annotations(path, str(cached))
    for recording in found.all:
        recording.keypoints.sum()


@cache
def stored() -> bytes:
    """The converted form of the annotations."""
    from flag3d_exp.data import cache as stores

    path = Path(trial_folder(), "a.pkl")
    path.write_bytes(pickle.dumps(annotations()))
    stores.write(path.with_suffix(".stored"), *read_annotations(path))
    return path.with_suffix(".stored").read_bytes()


def read_best(folder: Path) -> None:
    """What `task=best` hands on."""
    found = study_results(folder)
    drawn = Best(str(folder), trial=0).parameters(found)
    lines = [*found.overrides, *(f"{key}={value}" for key, value in drawn.items())]
    untrusted.checked_overrides(lines, "results")


def read_run(folder: Path) -> None:
    """What a report reads of a run folder."""
    run = references.open_run(str(folder))
    recordings.find_recordings([run])
    run_folder.History(folder).series()
    run_folder.mlflow_run(folder)
    run_folder.read_metrics(folder)
    trial.read_job_settings(folder)
    untrusted.checked_overrides(references.started_with(folder) or [], "overrides")


def dumped(value: Any) -> Callable[[], bytes]:
    """The value as YAML."""
    return lambda: yaml.safe_dump(value, sort_keys=False).encode()


def predictions() -> bytes:
    """Of two recordings."""
    return npz(names=np.array(["a", "b"]), labels=np.array([0, 1]), scores=np.eye(2))


HISTORY = b'{"step": 1, "timestamp": 2, "metrics": {"val/top1": 50.0, "train/loss": 0.5}}\n' * 3
JOB_SETTINGS = {"study": "s", "storage": "x", "number": 1, "objectives": {"val/top1": "maximize"},
          "pruner": {"_target_": "optuna.pruners.NopPruner"}, "tags": {"a": "b"}}  # fmt: skip
RESULTS = {"study": "s", "overrides": ["model=stgcn", "seed=1"], "best_value": 1.0,
           "best_params": {"optimizer.lr": 0.1, "model": "stgcn"}}  # fmt: skip
FRONT = {"overrides": [], "pareto_front": [{"trial": 0, "params": {"seed": 1}, "values": [1, 2]}]}
GRID = [{"folder": "0", "choices": {"seed": "1"}, "state": "complete", "metrics": {"val/top1": 5}}]
DATASET = {"name": "made", "path": "made.pkl", "layout": "", "num_classes": 3, "splits": {}}
FACTS = {
    "classes": ["x", "y", "z"],
    "layout": {"name": "mine", "file": "joints: {hip: null, knee: hip}"},
    "dataset": DATASET,
    "pipeline": {"class": "GraphPipeline", "settings": {"layout": "", "clip_len": 2}},
    "stream": {"name": "joint"},
    "clip_shape": [1, 2, 2, 3],
}
FUSED = {
    "title": "a + b",
    "members": [],
    "config": {"dataset": {"name": "a", "classes": ["a", "b"]}},
}
PICKLED = (pickle_change, pickle_change, byte_change)


def run_reader(name: str, good: Callable[[], bytes], changes: Sequence[Mutation]) -> Reader:
    """A file of a run folder that has predictions besides."""
    return Reader(name, good, changes, read_run, lambda: {"predictions/val.npz": predictions()})


def plain_bytes(value: Any) -> Callable[[], bytes]:
    """The value as JSON."""
    return lambda: json.dumps(value).encode()


def table_reader(name: str, good: Callable[[], bytes], changes: Sequence[Mutation]) -> Reader:
    """A CSV or NPZ file with the YAML file that describes it."""
    described = {"table.yaml": dumped(table(name))()}
    return Reader(
        name, good, changes, lambda f: converted_recordings(f / "table.yaml"), lambda: described
    )


def model_reader(suffix: str) -> Reader:
    """An exported network."""
    name, changed = f"model{suffix}", (graph_change(suffix), facts_change(suffix))
    changes = (*changed, *changed, field_change, byte_change)
    return Reader(name, lambda: exported(suffix), changes, at(name, classify))


def points_of(folder: Path) -> None:
    """What a grid that goes on reads."""
    points.recall([points.Point("0", {"seed": "1"})], BEGUN, folder)


def at(name: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Read one file of the folder."""
    return lambda folder: read(folder / name)


def read_poses(folder: Path) -> None:
    """What `task=predict` reads."""
    read_inputs(folder, load_layout("coco"))


def pickled() -> bytes:
    """The annotations as a pickle."""
    return pickle.dumps(annotations())


def pose() -> bytes:
    """One recording."""
    return npz(keypoint=np.ones((1, 3, 17, 2)), img_shape=np.array([480, 854]))


def poses() -> bytes:
    """Two recordings."""
    return npz(one=np.ones((2, 17, 2)), two=np.ones((1, 2, 17, 2)))


def body(scored: bool = True) -> list[float]:
    """17 joints: x, y and, if asked for, a score, one after the other."""
    joints = [[300.0 + 7 * j, 90.0 + 20 * j, 0.9][: 3 if scored else 2] for j in range(17)]
    return [value for joint in joints for value in joint]


def alphapose() -> Any:
    """Three frames of AlphaPose."""
    return [{"image_id": f"{n}.jpg", "keypoints": body(), "score": 3.1, "idx": [0.0],
             "box": [1, 2, 3, 4]} for n in range(3)]  # fmt: skip


def by_image() -> Any:
    """Two images of AlphaPose's other forms."""
    return {f"{n}.jpg": [{"keypoints": body(False), "scores": [0.5] * 17, "idx": 1}]
            for n in range(2)}  # fmt: skip


def openpose() -> Any:
    """A frame of OpenPose with a person, in a list as some programs save it."""
    people = [{"person_id": [-1], "pose_keypoints_2d": body(), "face_keypoints_2d": []}]
    return [{"version": 1.3, "people": people, "canvas_width": 640, "canvas_height": 480}] * 2


def mmpose() -> Any:
    """Two frames of MMPose's demo."""
    pairs = np.array(body(False)).reshape(17, 2).tolist()
    one = {"keypoints": pairs, "keypoint_scores": [0.5] * 17, "bbox": [[1, 2, 3, 4]],
           "bbox_score": 0.9}  # fmt: skip
    frames = [{"frame_id": n, "instances": [one]} for n in (1, 2)]
    return {"meta_info": {"dataset_name": "coco"}, "instance_info": frames}


def mediapipe() -> Any:
    """Two frames of 33 landmarks in pixels."""
    joints = [{"x": 100.0 + j, "y": 9.0 * j, "z": 0.5, "visibility": 0.9} for j in range(33)]
    return [{"frame": n, "landmarks": joints} for n in range(2)]


def by_name() -> Any:
    """Two frames of MoveNet."""
    names = ("nose", "left_eye", "right_eye", "left_hip")
    return [{name: {"x": 10.5 * at, "y": 20.0} for at, name in enumerate(names, 1)}] * 2


def azure() -> Any:
    """Two frames of Azure Kinect."""
    places = [[10.0 * j, 5.0 * j, 2000.0] for j in range(32)]
    frames = [{"frame_id": n, "bodies": [{"body_id": 1, "joint_positions": places}]}
              for n in range(2)]  # fmt: skip
    return {"joint_names": [], "frames": frames}


def wide_csv() -> bytes:
    """Three frames with the coordinates of a joint in columns."""
    return b"frame,nose_x,nose_y,left_eye_x,left_eye_y\n0,1,20,3,40\n1,1,20,3,40\n3,1,20,3,40\n"


def long_csv() -> bytes:
    """Two frames with a row for each landmark."""
    rows = "".join(f"{f},LEFT_{n},10.5,20,0.1\n" for f in (1, 2) for n in ("HIP", "KNEE", "PINKY"))
    return b"frame_number,landmark,x,y,z\n" + rows.encode()


def landmarks_csv() -> bytes:
    """Two frames of MediaPipe as a wide table."""
    names = ",".join(f"{axis}{j}" for j in range(1, 34) for axis in "xyzv")
    row = ",".join(f"{10 + j}.5,{20 + j},1,0.9" for j in range(33))
    return f"class,{names}\nsquat,{row}\nsquat,{row}\n".encode()


def landmarks_npy() -> bytes:
    """Two frames of MediaPipe as an array."""
    buffer = io.BytesIO()
    np.save(buffer, np.arange(2 * 33 * 3, dtype=np.float32).reshape(2, 33, 3))
    return buffer.getvalue()


def bvh() -> bytes:
    """Two frames of a leg."""
    head = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition "
    head += "Zrotation Xrotation Yrotation\nJOINT LeftUpLeg\n{\nOFFSET 0 -170 0\nCHANNELS 3 "
    head += "Zrotation Xrotation Yrotation\nEnd Site\n{\nOFFSET 0 -9 0\n}\n}\n}\nMOTION\n"
    return (head + "Frames: 2\nFrame Time: 0.033\n" + "1 2 3 4 5 6 7 8 9\n" * 2).encode()


def read_motion(path: Path) -> None:
    """What `task=convert` reads of a BVH file."""
    converted_recordings(path, how=Reading(layout="nturgb+d"))


def truth() -> bytes:
    """Two segments of one person."""
    return b"name,person,first,last,class\na,0,0,9,squat\na,0,10,19,lunge\n"


def read_segments(path: Path) -> None:
    """What `task=evaluate` reads of a table of segments."""
    for (name, _), stretches in read_truth(path, ("squat", "lunge")).items():
        frame_labels(stretches, 20, name)


def pose_reader(good: Callable[[], Any]) -> Reader:
    """A pose estimator's JSON file."""
    return Reader("a.json", lambda: plain_bytes(good())(), JSON, at("a.json", converted_recordings))


def names_of_missing() -> bytes:
    """As the authors of NTU RGB+D list them."""
    return b"S001C001P001R001A001\n" * 3


def layout() -> bytes:
    """The layout of COCO."""
    return (LAYOUTS / "coco.yaml").read_bytes()


BODY, STUDY = "S001C001P001R001A001.skeleton", "optimization_results.yaml"
OVERRIDES = ["model=stgcn", "dataset.splits={val: a}", "seed=1"]
MLFLOW = {"uri": "sqlite:///x", "run_id": "0"}
READERS: dict[str, Reader] = {
    "pickle": Reader("a.pkl", pickled, PICKLED, at("a.pkl", read_annotations)),
    "pickle to predict": Reader("a.pkl", pickled, PICKLED, read_poses),
    "pickle to convert": Reader("a.pkl", pickled, PICKLED, at("a.pkl", converted_recordings)),
    "npz to predict": Reader("a.npz", pose, ARCHIVE, read_poses),
    "cache": Reader("a.stored", stored, (byte_change,), read_cached, lambda: {"a.pkl": pickled()}),
    "csv": table_reader("clips.csv", csv_rows, TEXT),
    "npz": table_reader("clips.npz", poses, ARCHIVE),
    "table": Reader(
        "table.yaml",
        dumped(table("clips.csv")),
        TEXT,
        at("table.yaml", converted_recordings),
        lambda: {"clips.csv": csv_rows()},
    ),
    "alphapose": pose_reader(alphapose),
    "alphapose by image": pose_reader(by_image),
    "openpose": pose_reader(openpose),
    "mmpose": pose_reader(mmpose),
    "mediapipe": pose_reader(mediapipe),
    "joints by name": pose_reader(by_name),
    "azure kinect": pose_reader(azure),
    "wide csv": Reader("a.csv", wide_csv, TEXT, at("a.csv", converted_recordings)),
    "long csv": Reader("a.csv", long_csv, TEXT, at("a.csv", converted_recordings)),
    "landmarks csv": Reader("a.csv", landmarks_csv, TEXT, at("a.csv", converted_recordings)),
    "landmarks npy": Reader(
        "a.npy", landmarks_npy, (array_change, byte_change), at("a.npy", converted_recordings)
    ),
    "bvh": Reader("a.bvh", bvh, TEXT, at("a.bvh", read_motion)),
    "truth": Reader("a.csv", truth, TEXT, at("a.csv", read_segments)),
    "layout": Reader("my.yaml", layout, TEXT, at("my.yaml", lambda path: load_layout(str(path)))),
    "skeleton": Reader(BODY, skeleton, TEXT, converted_recordings),
    "missing": Reader("missing.txt", names_of_missing, TEXT, at("missing.txt", read_missing)),
    "pth": Reader("a.pth", torch_file, ARCHIVE, at("a.pth", read_torch_file)),
    "ckpt": Reader(
        "a.ckpt", mindspore_file, (field_change, byte_change), at("a.ckpt", read_mindspore_file)
    ),
    "checkpoint": Reader("best.npz", checkpoint, (meta_change, *ARCHIVE), read_checkpoint),
    "predictions": Reader("val.npz", predictions, ARCHIVE, at("val.npz", load_predictions)),
    "history": run_reader("history.jsonl", lambda: HISTORY, (json_lines_change, *TEXT)),
    "metrics": run_reader("metrics.json", plain_bytes({"val/top1": 1.0, "best_epoch": 2}), JSON),
    "mlflow": run_reader("mlflow.json", plain_bytes(MLFLOW), JSON),
    "trial": run_reader("trial.json", plain_bytes(JOB_SETTINGS), JSON),
    "fusion": run_reader("fusion.json", plain_bytes(FUSED), JSON),
    "config": run_reader(".hydra/config.yaml", lambda: CONFIG.encode(), TEXT),
    "overrides": run_reader(".hydra/overrides.yaml", dumped(OVERRIDES), TEXT),
    "journal": Reader("journal.log", journal, (json_lines_change, *TEXT), read_journal),
    "grid": Reader("grid.yaml", dumped(GRID), TEXT, points_of),
    "study": Reader(STUDY, dumped(RESULTS), TEXT, read_best),
    "front": Reader(STUDY, dumped(FRONT), TEXT, read_best),
    "onnx": model_reader(".onnx"),
    "mindir": model_reader(".mindir"),
}
LONG_ONLY = ("mindir",)  # MindSpore compiles the good file, which takes seconds
