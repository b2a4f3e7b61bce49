"""Every kind of network, small enough to run in a moment."""

from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.agcn import AGCN
from flag3d_exp.models.agcn_original import AGCNOriginal
from flag3d_exp.models.blockgcn import BlockGCN
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.classifier import Classifier
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.dgstgcn import DGSTGCN
from flag3d_exp.models.msg3d import MSG3D
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.protogcn import ProtoGCN
from flag3d_exp.models.skateformer import SkateFormer
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.models.stgcnpp import STGCNPP
from flag3d_exp.models.videopose import VideoPose
from flag3d_exp.models.x3d_shallow import X3DShallow

SMALL_GRAPH = {"base_channels": 8, "num_blocks": 2, "widen_at": (2,)}
GRAPH = {
    STGCN: SMALL_GRAPH,
    AGCN: SMALL_GRAPH,
    AAGCN: SMALL_GRAPH,
    AGCNOriginal: SMALL_GRAPH,
    STGCNPP: SMALL_GRAPH,
    CTRGCN: SMALL_GRAPH,
    DGSTGCN: SMALL_GRAPH,
    ProtoGCN: SMALL_GRAPH | {"num_prototypes": 6, "contrastive_weight": 0.02},
    BlockGCN: SMALL_GRAPH | {"halve_at": (2,), "num_groups": 1},
    MSG3D: {"base_channels": 12, "num_stages": 2, "num_scales": 3, "num_window_scales": 2},
}
OTHERS = {  # of joints as well
    SkateFormer: {
        "stage_channels": (32, 32),
        "stage_blocks": (1, 1),
        "window_frames": 2,
        "clip_len": 8,
        "attention_dropout": 0.1,
        "drop_path": 0.1,
    },
    VideoPose: {"channels": 16, "dilations": (1, 3)},
}
HEATMAP = {
    PoseC3D: {"base_channels": 4, "stage_blocks": (1, 1, 1)},
    C3DLight: {"base_channels": 4},
    X3DShallow: {"base_channels": 4, "stage_blocks": (1, 1, 1)},
}
TINY_HEATMAP = {"train_size": 16, "test_size": 16}


def classifier(kind, num_classes: int, layout: str, **settings) -> Classifier:
    """A network of this kind with a head."""
    return Classifier(kind(layout, **settings), num_classes)
