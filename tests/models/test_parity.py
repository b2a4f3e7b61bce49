"""Every network against its oracle, uncompiled and compiled."""

import pytest
from models.oracle import Oracle, check_inference, check_training, graph_features
from networks import classifier

from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.agcn import AGCN
from flag3d_exp.models.agcn_original import AGCNOriginal
from flag3d_exp.models.blockgcn import BlockGCN
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.dgstgcn import DGSTGCN
from flag3d_exp.models.msg3d import MSG3D
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.protogcn import ProtoGCN
from flag3d_exp.models.skateformer import SkateFormer
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.models.stgcnpp import STGCNPP
from flag3d_exp.models.x3d_shallow import X3DShallow

PYSKL_BLOCKS = graph_features("backbone.gcn.{}", "gcn", "tcn")


def stages(counts: tuple[int, ...]) -> dict[str, list[str]]:
    return {
        f"backbone.layer{stage + 1}.{block}": [f"network.stages.{stage}.{block}"]
        for stage, count in enumerate(counts)
        for block in range(count)
    }


def slow_only(*counts: int) -> dict[str, list[str]]:
    return {"backbone.conv1": ["network.stem"], **stages(counts)}


X3D = {
    "backbone.conv1_s": ["network.stem"],
    "backbone.conv1_t": ["network.stem_frames"],
    "backbone.conv5": ["network.last"],
    **stages((2, 5, 3)),
}
C3D = {
    f"backbone.conv{stage + 1}{'ab'[conv]}": [f"network.stages.{stage}.{conv}"]
    for stage, conv in ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1))
}
G3D = {
    name: cells
    for stage in range(3)
    for name, cells in {
        f"backbone.sgcn{stage + 1}": [f"stages.{stage}.second"],
        f"backbone.gcn3d{stage + 1}": [f"stages.{stage}.windows.{n}" for n in range(2)],
        f"backbone.tcn{stage + 1}": [f"stages.{stage}.temporal"],
    }.items()
}
TOPOLOGY_BLOCKS = graph_features("l{}", "gcn1", "tcn1", first=1) | {
    f"t{number}": [f"topologies.{number}"] for number in (0, 9)
}
TRANSFORMER = (
    {"stem.4": ["stem.2"]}
    | {f"stages.{s}.blocks.{b}": [f"stages.{s}.{b}"] for s in range(4) for b in range(2)}
    | {f"stages.{s}.blocks.0.downsample": [f"stages.{s}.0.downsample"] for s in range(1, 4)}
)
CASES = {
    "stgcn": (lambda: classifier(STGCN, 60, "nturgb+d"), PYSKL_BLOCKS),
    "stgcn_coco": (lambda: classifier(STGCN, 60, "coco"), PYSKL_BLOCKS),
    "agcn": (lambda: classifier(AGCN, 60, "nturgb+d"), PYSKL_BLOCKS),
    "agcn_original": (
        lambda: classifier(AGCNOriginal, 60, "nturgb+d"),
        graph_features("l{}", "gcn1", "tcn1", first=1),
    ),
    "aagcn": (lambda: classifier(AAGCN, 60, "nturgb+d"), PYSKL_BLOCKS),
    "aagcn_coco": (lambda: classifier(AAGCN, 60, "coco"), PYSKL_BLOCKS),
    "stgcnpp": (lambda: classifier(STGCNPP, 60, "nturgb+d"), PYSKL_BLOCKS),
    "ctrgcn": (
        lambda: classifier(CTRGCN, 60, "nturgb+d"),
        graph_features("backbone.net.{}", "gcn1", "tcn1"),
    ),
    "dgstgcn": (lambda: classifier(DGSTGCN, 60, "nturgb+d"), PYSKL_BLOCKS),
    "protogcn": (lambda: classifier(ProtoGCN, 60, "nturgb+d"), PYSKL_BLOCKS),
    "protogcn_coco": (
        lambda: classifier(ProtoGCN, 60, "coco_20", num_prototypes=100, contrastive_weight=0.3),
        PYSKL_BLOCKS,
    ),
    "blockgcn": (
        lambda: classifier(BlockGCN, 60, "nturgb+d", joint_channels=True, batch_topology=True),
        TOPOLOGY_BLOCKS,
    ),
    "blockgcn_m2": (
        lambda: classifier(
            BlockGCN, 60, "nturgb+d", num_persons=2, joint_channels=True, batch_topology=True
        ),
        TOPOLOGY_BLOCKS,
    ),
    "skateformer": (
        lambda: classifier(SkateFormer, 60, "nturgb+d", num_persons=2, time_channel=True),
        TRANSFORMER,
    ),
    "skateformer_ucla": (
        lambda: classifier(SkateFormer, 10, "kinect20", time_channel=True, mlp_ratio=1.0),
        TRANSFORMER,
    ),
    "msg3d": (lambda: classifier(MSG3D, 60, "nturgb+d"), G3D),
    "posec3d_slowonly": (lambda: classifier(PoseC3D, 60, "coco"), slow_only(4, 6, 3)),
    "posec3d_slowonly_346": (
        lambda: classifier(PoseC3D, 60, "coco", stage_blocks=(3, 4, 6)),
        slow_only(3, 4, 6),
    ),
    "posec3d_c3d_light": (lambda: classifier(C3DLight, 60, "coco"), C3D),
    "posec3d_x3d_shallow": (lambda: classifier(X3DShallow, 60, "coco"), X3D),
}


# Compiling a network takes half a minute, so here only one on joints and one on volumes are
# compiled; `test_layers` and `test_kernels` compile the units of the others. Before a release, all
# networks are compiled.
COMPILED = ("aagcn", "posec3d_slowonly")
# Other settings of networks that are trained under another name; before a release only.
VARIANTS = ("protogcn_coco", "blockgcn_m2", "skateformer")


@pytest.mark.parametrize("name", CASES)
def test_logits_and_features_equal_the_reference(shared, name):
    build, features = CASES[name]
    oracle = Oracle(shared / "parity", name)
    check_inference(oracle, build(), features, jit=name in COMPILED)


@pytest.mark.release
@pytest.mark.parametrize("name", [name for name in CASES if name not in COMPILED])
def test_compiled_logits_of_the_others_equal_the_reference(shared, name):
    build, features = CASES[name]
    check_inference(Oracle(shared / "parity", name), build(), features, jit=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in VARIANTS])
def test_five_training_steps_equal_the_reference(shared, name):
    check_training(Oracle(shared / "parity", name), CASES[name][0](), jit=name in COMPILED)


@pytest.mark.release
@pytest.mark.parametrize("name", CASES)
def test_five_training_steps_in_the_other_mode_equal_the_reference(shared, name):
    check_training(Oracle(shared / "parity", name), CASES[name][0](), jit=name not in COMPILED)


@pytest.mark.release
@pytest.mark.parametrize("name", VARIANTS)
def test_five_training_steps_of_a_variant_equal_the_reference(shared, name):
    check_training(Oracle(shared / "parity", name), CASES[name][0](), jit=False)
