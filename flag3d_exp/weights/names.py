"""Where each of our parameters stands in published weight files.

Rules rewrite our parameter names into those of PYSKL, the reference whose trained weights are
public; `{0,1,2}` in a rewritten name stands for several tensors that we hold as one, joined along
the first axis. Files of other programs are first renamed to PYSKL's names.
"""

import re

import numpy as np

Rules = tuple[tuple[str, str], ...]

_GRAPH: Rules = (
    (r"^norm\.norm\.", "backbone.data_bn."),
    (r"^blocks\.", "backbone.gcn."),
    (r"^head\.", "cls_head.fc_cls."),
    (r"\.graph\.", ".gcn."),
    (r"\.temporal\.", ".tcn."),
)
_DOWN: Rules = (
    (r"\.gcn\.shortcut\.conv\.", ".gcn.down.0."),
    (r"\.gcn\.shortcut\.norm\.", ".gcn.down.1."),
)
_ADAPTIVE: Rules = (
    (r"\.gcn\.unit\.", ".gcn."),
    (r"\.similarity\.source\.", ".conv_a.{0,1,2}."),
    (r"\.similarity\.target\.", ".conv_b.{0,1,2}."),
    (r"\.gcn\.conv\.", ".gcn.conv_d.{0,1,2}."),
    *_DOWN,
)
_COMMON: Rules = ((r"\.shortcut\.", ".residual."), (r"\.norm\.", ".bn."))

_MULTI_BRANCH: Rules = (
    (r"\.branches\.entry\.conv\.", ".branches.{0,1,2,3,4}.0."),
    (r"\.branches\.entry\.norm\.", ".branches.{0,1,2,3,4}.1."),
    (r"\.branches\.convs\.(\d)\.", r".branches.\1.3.conv."),
    (r"\.branches\.plain\.", ".branches.5."),
    (r"\.tcn\.norm\.", ".tcn.transform.0."),
    (r"\.tcn\.mix\.conv\.", ".tcn.transform.2."),
    (r"\.tcn\.mix\.norm\.", ".tcn.bn."),
)

_MINDSPORE: Rules = (
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"\.moving_mean$", ".running_mean"),
    (r"\.moving_variance$", ".running_var"),
    (r"\.data_bnc\.", ".data_bn."),
    (r"\._conv\.", ".conv."),
    (r"\._batch_norm\.(bn2d\.)?", ".bn."),
    (r"\.res_layers\.(\d+)\.", r".layer<\1>."),
    (r"^head\.fc(_cls)?\.", "cls_head.fc_cls."),
)

RULES: dict[str, Rules] = {
    "STGCN": (*_GRAPH, (r"\.importance$", ".PA"), (r"\.adjacency$", ".A"), *_COMMON),
    "AGCN": (*_GRAPH, *_ADAPTIVE, (r"\.adjacency$", ".A"), (r"\.gate$", ".alpha"), *_COMMON),
    "AAGCN": (
        *_GRAPH,
        *_ADAPTIVE,
        (r"\.adjacency$", ".A"),
        (r"\.gate$", ".alpha"),
        (r"\.attention\.joints\.", ".conv_sa."),
        (r"\.attention\.frames\.", ".conv_ta."),
        (r"\.attention\.squeeze\.", ".fc1c."),
        (r"\.attention\.excite\.", ".fc2c."),
        *_COMMON,
    ),
    "STGCNPP": (*_GRAPH, *_DOWN, *_MULTI_BRANCH, (r"\.adjacency$", ".A"), *_COMMON),
    "DGSTGCN": (
        *_GRAPH,
        *_DOWN,
        *_MULTI_BRANCH,
        (r"\.gcn\.value\.conv\.", ".gcn.pre.0."),
        (r"\.gcn\.value\.norm\.", ".gcn.pre.1."),
        (r"\.gcn\.source\.", ".gcn.conv1."),
        (r"\.gcn\.target\.", ".gcn.conv2."),
        (r"\.gcn\.mix\.", ".gcn.post."),
        (r"\.channel_gate$", ".alpha"),
        (r"\.joint_gate$", ".beta"),
        (r"\.share$", ".add_coeff"),
        (r"\.adjacency$", ".A"),
        *_COMMON,
    ),
    "CTRGCN": (
        (r"^norm\.norm\.", "backbone.data_bn."),
        (r"^blocks\.", "backbone.net."),
        (r"^head\.", "cls_head.fc_cls."),
        (r"\.graph\.", ".gcn1."),
        (r"\.temporal\.", ".tcn1."),
        (r"\.gcn1\.shortcut\.conv\.", ".gcn1.down.0."),
        (r"\.gcn1\.shortcut\.norm\.", ".gcn1.down.1."),
        (r"\.gcn1\.source\.", ".gcn1.convs.{0,1,2}.conv1."),
        (r"\.gcn1\.target\.", ".gcn1.convs.{0,1,2}.conv2."),
        (r"\.gcn1\.value\.", ".gcn1.convs.{0,1,2}.conv3."),
        (r"\.gcn1\.refine\.", ".gcn1.convs.{0,1,2}.conv4."),
        (r"\.branches\.entry\.conv\.", ".branches.{0,1,2}.0."),
        (r"\.branches\.entry\.norm\.", ".branches.{0,1,2}.1."),
        (r"\.branches\.convs\.(\d)\.", r".branches.\1.3.conv."),
        (r"\.branches\.plain\.", ".branches.3.0."),
        (r"\.tcn1\.norm\.", ".tcn1.branches.{0.3.bn,1.3.bn,2.4,3.1}."),
        (r"\.adjacency$", ".A"),
        (r"\.gate$", ".alpha"),
        *_COMMON,
    ),
    "AGCNOriginal": (
        (r"^norm\.norm\.", "data_bn."),
        (r"^head\.", "fc."),
        (r"^blocks\.(\d+)\.", r"l<\1>."),
        (r"\.graph\.", ".gcn."),
        *_ADAPTIVE,
        (r"\.gcn\.", ".gcn1."),
        (r"\.temporal\.", ".tcn1."),
        (r"\.learned$", ".PA"),
        *_COMMON,
    ),
    "MSG3D": (
        (r"^norm\.norm\.", "backbone.data_bn."),
        (r"^head\.", "cls_head.fc_cls."),
        (r"^stages\.(\d)\.windows\.(\d)\.scales\.", r"backbone.gcn3d<\1>.gcn3d.\2.gcn3d.1."),
        (r"^stages\.(\d)\.windows\.(\d)\.collapse\.", r"backbone.gcn3d<\1>.gcn3d.\2.out_"),
        (r"^stages\.(\d)\.scales\.", r"backbone.sgcn<\1>.0."),
        (r"^stages\.(\d)\.first\.", r"backbone.sgcn<\1>.1."),
        (r"^stages\.(\d)\.second\.", r"backbone.sgcn<\1>.2."),
        (r"^stages\.(\d)\.temporal\.", r"backbone.tcn<\1>."),
        (r"\.adjacency$", ".A"),
        (r"\.deviation$", ".PA"),
        (r"(\.0|3d\.1)\.conv\.conv\.", r"\1.mlp.layers.0."),
        (r"(\.0|3d\.1)\.conv\.norm\.", r"\1.mlp.layers.1."),
        (r"\.branches\.entry\.conv\.", ".branches.{0,1,2,3,4}.0."),
        (r"\.branches\.entry\.norm\.", ".branches.{0,1,2,3,4}.1."),
        (r"\.branches\.convs\.(\d)\.", r".branches.\1.3.conv."),
        (r"\.branches\.plain\.", ".branches.5.0."),
        (
            r"(sgcn<\d>\.\d|\.tcn<\d>)\.norm\.",
            r"\1.branches.{0.3.bn,1.3.bn,2.3.bn,3.3.bn,4.4,5.1}.",
        ),
        (r"out_norm", "out_bn"),
        *_COMMON,
    ),
    "C3DLight": (
        (r"^head\.", "cls_head.fc_cls."),
        (r"^network\.stages\.(\d)\.0\.", r"backbone.conv<\1>a."),
        (r"^network\.stages\.(\d)\.1\.", r"backbone.conv<\1>b."),
        *_COMMON,
    ),
    "X3DShallow": (
        (r"^head\.", "cls_head.fc_cls."),
        (r"^network\.stem\.", "backbone.conv1_s.conv."),
        (r"^network\.stem_frames\.", "backbone.conv1_t."),
        (r"^network\.last\.", "backbone.conv5."),
        (r"^network\.stages\.(\d+)\.", r"backbone.layer<\1>."),
        (r"\.widen\.", ".conv1."),
        (r"\.(\d+)\.conv\.(conv|norm)\.", r".\1.conv2.\2."),
        (r"\.narrow\.", ".conv3."),
        (r"\.shortcut\.", ".downsample."),
        (r"\.norm\.", ".bn."),
    ),
    "PoseC3D": (
        (r"^network\.stem\.", "backbone.conv1."),
        (r"^network\.stages\.(\d+)\.", r"backbone.layer<\1>."),
        (r"^head\.", "cls_head.fc_cls."),
        (r"\.narrow\.", ".conv1."),
        (r"\.(\d+)\.conv\.(conv|norm)\.", r".\1.conv2.\2."),
        (r"\.widen\.", ".conv3."),
        (r"\.shortcut\.", ".downsample."),
        (r"\.norm\.", ".bn."),
    ),
}


def source_names(model: str, parameter: str) -> list[str]:
    """PYSKL's names for what `parameter` of the model class `model` holds, in order."""
    name = parameter
    for pattern, replacement in RULES[model]:
        name = re.sub(pattern, replacement, name)
    name = _counted(name)
    several = re.search(r"\{(.+?)\}", name)
    if several is None:
        return [name]
    return [name.replace(several[0], part) for part in several[1].split(",")]


def from_torch(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of a `.pth` file under PYSKL's names, which MMAction2 shares but for the head's."""
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): array for name, array in tensors.items()}
    return {re.sub(r"^cls_head\.fc\.", "cls_head.fc_cls.", n): a for n, a in tensors.items()}


def from_mindspore(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of the `.ckpt` files released with FLAG3D, renamed to PYSKL's."""
    renamed = {}
    for name, array in tensors.items():
        for pattern, replacement in _MINDSPORE:
            name = re.sub(pattern, replacement, name)
        renamed[_counted(name)] = array
    return renamed


def _counted(name: str) -> str:
    """A name with each `<number>` as the number plus one: ours count from 0, theirs from 1."""
    return re.sub(r"<(\d+)>", lambda number: str(int(number[1]) + 1), name)
