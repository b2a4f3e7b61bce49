"""Rules for tensor names in published weight files, which several networks share.

A network's attribute `published` maps its parameter names to those of PYSKL, whose trained weights
are public: a list of patterns and replacements, applied in order. In a rewritten name, `{0,1,2}`
means several tensors, which are concatenated along the first axis, and `<3>` means a number that
PYSKL counts from 1.
"""

Rules = tuple[tuple[str, str], ...]

GRAPH: Rules = (
    (r"^norm\.norm\.", "backbone.data_bn."),
    (r"^blocks\.", "backbone.gcn."),
    (r"^head\.", "cls_head.fc_cls."),
    (r"\.graph\.", ".gcn."),
    (r"\.temporal\.", ".tcn."),
)

DOWN: Rules = (
    (r"\.gcn\.shortcut\.conv\.", ".gcn.down.0."),
    (r"\.gcn\.shortcut\.norm\.", ".gcn.down.1."),
)

ADAPTIVE: Rules = (
    (r"\.gcn\.unit\.", ".gcn."),
    (r"\.similarity\.source\.", ".conv_a.{0,1,2}."),
    (r"\.similarity\.target\.", ".conv_b.{0,1,2}."),
    (r"\.gcn\.conv\.", ".gcn.conv_d.{0,1,2}."),
    *DOWN,
)

COMMON: Rules = ((r"\.shortcut\.", ".residual."), (r"\.norm\.", ".bn."))

MULTI_BRANCH: Rules = (
    (r"\.branches\.entry\.conv\.", ".branches.{0,1,2,3,4}.0."),
    (r"\.branches\.entry\.norm\.", ".branches.{0,1,2,3,4}.1."),
    (r"\.branches\.convs\.(\d)\.", r".branches.\1.3.conv."),
    (r"\.branches\.plain\.", ".branches.5."),
    (r"\.tcn\.norm\.", ".tcn.transform.0."),
    (r"\.tcn\.mix\.conv\.", ".tcn.transform.2."),
    (r"\.tcn\.mix\.norm\.", ".tcn.bn."),
)

FIVE_FRAMES: Rules = (
    (r"\.branches\.entry\.conv\.", ".branches.{0,1,2}.0."),
    (r"\.branches\.entry\.norm\.", ".branches.{0,1,2}.1."),
    (r"\.branches\.convs\.(\d)\.", r".branches.\1.3.conv."),
    (r"\.branches\.plain\.", ".branches.3.0."),
    (r"\.tcn1\.norm\.", ".tcn1.branches.{0.3.bn,1.3.bn,2.4,3.1}."),
)
