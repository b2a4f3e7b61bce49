"""Where each of our parameters stands in published weight files.

Rules rewrite our parameter names into those of PYSKL, the reference whose trained weights are
public; `{0,1,2}` in a rewritten name stands for several tensors that we hold as one, joined along
the first axis. Files of other programs are first renamed to PYSKL's names.
"""

import re

Rules = tuple[tuple[str, str], ...]

_GRAPH: Rules = (
    (r"^norm\.norm\.", "backbone.data_bn."),
    (r"^blocks\.", "backbone.gcn."),
    (r"^head\.", "cls_head.fc_cls."),
    (r"\.graph\.", ".gcn."),
    (r"\.temporal\.", ".tcn."),
)
_ADAPTIVE: Rules = (
    (r"\.gcn\.unit\.", ".gcn."),
    (r"\.similarity\.source\.", ".conv_a.{0,1,2}."),
    (r"\.similarity\.target\.", ".conv_b.{0,1,2}."),
    (r"\.gcn\.conv\.", ".gcn.conv_d.{0,1,2}."),
    (r"\.gcn\.shortcut\.conv\.", ".gcn.down.0."),
    (r"\.gcn\.shortcut\.norm\.", ".gcn.down.1."),
)
_COMMON: Rules = ((r"\.shortcut\.", ".residual."), (r"\.norm\.", ".bn."))

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
    name = re.sub(r"<(\d+)>", lambda number: str(int(number[1]) + 1), name)  # counted from 1
    several = re.search(r"\{([\d,]+)\}", name)
    if several is None:
        return [name]
    return [name.replace(several[0], number) for number in several[1].split(",")]
