"""Exported networks small enough to be worked out by hand."""

from pathlib import Path

from onnx import TensorProto, helper

from flag3d_exp.export.file import write_file

LAYOUT = "joints: {hip: null, knee: hip}"
GRAPH = {"clip_len": 2, "num_clips": 1}


def exported(path: Path, settings: dict, num_channels: int = 3, **facts) -> Path:
    """A file whose logits are the clip's mean coordinates; its layout has two joints."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["keypoints"], ["logits"], axes=[1, 2, 3], keepdims=0)],
        "network",
        [helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", 1, None, None, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    dataset = {
        **{"name": "made", "path": "made.pkl", "layout": "", "num_classes": 3},
        **{"num_channels": num_channels, "splits": {}},
    }
    write_file(
        path,
        model.SerializeToString(),
        {
            "classes": ["x", "y", "z"],
            "layout": {"name": "mine", "file": LAYOUT},
            "dataset": dataset,
            "pipeline": {"class": "GraphPipeline", "settings": {"layout": "", **settings}},
            "stream": {"name": "joint"},
            "clip_shape": [1, settings["clip_len"], 2, 3],
        }
        | facts,
    )
    return path
