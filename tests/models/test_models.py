"""What all networks have in common: sizes, layouts, clips of any length, initialisation."""

import math
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from networks import GRAPH, HEATMAP, OTHERS, SMALL_GRAPH, TINY_HEATMAP, classifier

from flag3d_exp.engine.optimizer import adamw, parameter_groups
from flag3d_exp.engine.step import MicroBatch, StepSettings, TrainStep
from flag3d_exp.errors import UserError
from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.agcn import AGCN
from flag3d_exp.models.agcn_original import AGCNOriginal, with_published_edges
from flag3d_exp.models.blockgcn import BlockGCN
from flag3d_exp.models.c3d_light import C3DLight
from flag3d_exp.models.classifier import Head
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.dgstgcn import DGSTGCN
from flag3d_exp.models.graph import block_channels
from flag3d_exp.models.msg3d import MSG3D
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.protogcn import ProtoGCN
from flag3d_exp.models.skateformer import SkateFormer
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.models.stgcnpp import STGCNPP
from flag3d_exp.models.summary import layers
from flag3d_exp.models.videopose import VideoPose
from flag3d_exp.models.x3d_shallow import X3DShallow
from flag3d_exp.problems.classify import Classify
from flag3d_exp.problems.cross_entropy import CrossEntropy
from flag3d_exp.skeletons.layout import load_layout

USERS_LAYOUT = "joints: {hip: null, knee: hip, toe: knee, neck: hip}"


def count(model) -> int:
    return sum(parameter.size for parameter in model.trainable_params())


@pytest.mark.parametrize(
    ("kind", "counts"),
    [
        (STGCN, (3_098_832, 3_098_832, 3_088_704)),
        (STGCNPP, (1_403_144, 1_403_144, 1_393_016)),
        (AGCN, (3_469_520, None, 3_459_242)),
        (AAGCN, (3_781_668, 3_781_518, 3_760_126)),
        (CTRGCN, (1_446_672, 1_446_522, 1_436_394)),
        (DGSTGCN, (1_701_172, 1_701_172, 1_674_244)),
        (ProtoGCN, (4_344_860, 4_344_860, None)),
        (BlockGCN, (1_372_780, 1_366_380, None)),
        (SkateFormer, (3_616_083, 3_503_187, None)),
        (MSG3D, (3_194_595, 3_194_445, 2_975_661)),
    ],
)
def test_graph_networks_have_the_published_number_of_parameters(kind, counts):
    layouts = (("nturgb+d", 2), ("nturgb+d", 1), ("coco", 1))
    for (layout, num_persons), expected in zip(layouts, counts, strict=True):
        if expected is not None:
            assert count(classifier(kind, 60, layout, num_persons=num_persons)) == expected


def test_heatmap_networks_have_the_published_number_of_parameters():
    assert count(classifier(PoseC3D, 60, "coco")) == 2_024_860
    assert count(classifier(PoseC3D, 60, "coco", limbs=True)) == 2_024_860  # 17 limbs, 17 joints
    assert count(classifier(PoseC3D, 60, "coco", stage_blocks=(3, 4, 6))) == 3_034_140
    assert count(classifier(C3DLight, 60, "coco")) == 3_404_892
    assert count(classifier(X3DShallow, 60, "coco")) == 254_508


@pytest.mark.parametrize("kind", GRAPH)
def test_graph_networks_take_any_layout_clip_length_and_number_of_persons(kind, tmp_path):
    path = tmp_path / "users.yaml"
    path.write_text(USERS_LAYOUT)
    for layout, num_joints, persons, channels in ((str(path), 4, 1, 2), ("openpose", 18, 2, 3)):
        model = classifier(
            kind, 5, layout, num_channels=channels, num_persons=persons, **GRAPH[kind]
        ).set_train(False)
        for frames in (1, 7):
            clips = Tensor(np.ones((3, persons, frames, num_joints, channels), np.float32))
            assert model(clips).shape == (3, 5)
        mask = Tensor(np.zeros((3, model.num_features), np.float32))
        bias = model.head.bias.asnumpy()
        np.testing.assert_array_equal(model(clips, mask).asnumpy(), np.tile(bias, (3, 1)))


@pytest.mark.parametrize("kind", HEATMAP)
def test_heatmap_networks_take_any_layout_clip_length_and_number_of_persons(kind):
    for limbs, persons, frames in ((False, 1, 1), (True, 2, 5)):
        model = classifier(kind, 5, "openpose", limbs=limbs, **HEATMAP[kind], **TINY_HEATMAP)
        model.set_train(False)
        clips = Tensor(np.ones((2, persons, frames, 18, 3), np.float32))
        assert model(clips).shape == (2, 5)
        mask = Tensor(np.zeros((2, model.num_features), np.float32))
        np.testing.assert_array_equal(model(clips, mask).asnumpy(), np.zeros((2, 5)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*GRAPH, *OTHERS, *HEATMAP])
def test_every_network_learns_one_batch_by_heart(kind):
    ms.set_seed(0)
    rng = np.random.default_rng(0)
    graph = kind not in HEATMAP
    settings = (GRAPH | OTHERS)[kind] if graph else HEATMAP[kind] | TINY_HEATMAP
    layout = "nturgb+d" if graph else "coco"
    model = classifier(kind, 4, layout, **settings)
    shape = (8, 1, 8, 25 if graph else 17, 3)
    clips = rng.standard_normal(shape) if graph else rng.uniform(0, 1, shape) * [16, 16, 1]
    batch = MicroBatch(
        {"keypoints": clips.astype(np.float32)}, {"label": np.arange(8, dtype=np.int32) % 4}
    )
    groups = parameter_groups(model.get_parameters(), None, False)
    step = TrainStep(
        model, CrossEntropy(), adamw(groups, lr=0.02, weight_decay=0.0), StepSettings(jit=False)
    )
    first, _ = step([batch], 1.0)
    for _ in range(19):
        loss, (num_correct,) = step([batch], 1.0)
    assert float(first.asnumpy()) > 1.0
    assert float(loss.asnumpy()) < 0.3
    assert int(num_correct.asnumpy()) == 8


@pytest.mark.parametrize("kind", [SkateFormer, ProtoGCN, VideoPose])
def test_a_network_that_draws_at_random_goes_on_from_its_state_as_if_never_stopped(kind):
    settings = (GRAPH | OTHERS)[kind]
    rng = np.random.default_rng(0)
    clips = rng.standard_normal((4, 1, 8, 25, 3)).astype(np.float32)
    labels = np.arange(4, dtype=np.int32)
    problem = Classify(4)

    def made(seed):
        ms.set_seed(seed)
        model = classifier(kind, 4, "nturgb+d", **settings)
        groups = parameter_groups(model.get_parameters(), None, False)
        return TrainStep(model, CrossEntropy(), adamw(groups, lr=0.01), StepSettings(jit=False))

    def state(step):
        return [p.asnumpy().copy() for p in (*step.model.get_parameters(), *step.optimizer_state)]

    def update(step, number):
        drawn = problem.chance(step.model, clips.shape, np.random.default_rng((0, number)))
        step([MicroBatch(*problem.batch(clips, {"label": labels}, drawn))], 1.0)

    whole, resumed = made(0), made(1)
    update(whole, 0)
    for target, value in zip(
        (*resumed.model.get_parameters(), *resumed.optimizer_state), state(whole), strict=True
    ):
        ms.ops.assign(target, Tensor(value))
    for number in (1, 2):
        update(whole, number)
        update(resumed, number)
    for one, other in zip(state(whole), state(resumed), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def full():
    """One network of each kind whose initialisation is looked at."""
    ms.set_seed(3)
    return {
        "aagcn": classifier(AAGCN, 60, "nturgb+d"),
        "ctrgcn": classifier(CTRGCN, 60, "nturgb+d"),
        "dgstgcn": classifier(DGSTGCN, 60, "nturgb+d"),
        "msg3d": classifier(MSG3D, 60, "nturgb+d", num_stages=2),
        "stgcnpp": classifier(STGCNPP, 60, "nturgb+d"),
        "posec3d": classifier(PoseC3D, 60, "coco"),
    }


def assert_normal(parameter, deviation: float, mean: float = 0.0) -> None:
    """Mean and deviation, within four standard errors."""
    values = parameter.asnumpy().ravel()
    assert values.mean() == pytest.approx(mean, abs=4 * deviation / math.sqrt(len(values)))
    assert values.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * len(values)))
    assert abs(values - mean).max() > 2.5 * deviation  # not uniform, not cut off at two sigma


def test_convolutions_start_kaiming_normal_by_fan_out(full):
    block = full["aagcn"].backbone.blocks[8]
    assert_normal(block.temporal.conv.weight, math.sqrt(2 / (256 * 9)))
    assert block.temporal.conv.bias.asnumpy().tolist() == [0.0] * 256
    # Convolutions computed as one keep the fan-out of each.
    assert_normal(block.graph.unit.similarity.source.weight, math.sqrt(2 / 64))
    assert_normal(full["ctrgcn"].backbone.blocks[8].graph.value.weight, math.sqrt(2 / 256))
    branches = full["stgcnpp"].backbone.blocks[8].temporal.branches  # widths 46, 42, 42, 42, 42, 42
    assert_normal(branches.entry.conv.weight[:46], math.sqrt(2 / 46))
    assert_normal(branches.entry.conv.weight[46:], math.sqrt(2 / 42))
    for size, window in zip((3, 5), full["msg3d"].backbone.stages[1].windows, strict=True):
        assert_normal(window.collapse.conv.weight, math.sqrt(2 / (size * 192)))
    assert_normal(full["posec3d"].backbone.network.stem.conv.weight, math.sqrt(2 / (32 * 49)))


def test_adaptive_graph_units_start_as_all_but_nothing(full):
    unit = full["aagcn"].backbone.blocks[8].graph.unit
    assert_normal(unit.conv.weight, math.sqrt(2 / (256 * 256 * 3)))
    np.testing.assert_allclose(unit.norm.weight.asnumpy(), 1e-6)
    assert unit.gate.asnumpy() == 0
    ctrgcn = full["ctrgcn"].backbone.blocks[3].graph
    np.testing.assert_allclose(ctrgcn.norm.weight.asnumpy(), 1e-6)
    assert ctrgcn.gate.asnumpy() == 0


def test_attention_starts_as_published(full):
    attention = full["aagcn"].backbone.blocks[8].graph.attention
    fan_in, fan_out = 256 * 25, 25
    assert_normal(attention.joints.weight, math.sqrt(2 / (fan_in + fan_out)))
    assert not attention.frames.weight.asnumpy().any()
    assert_normal(attention.squeeze.weight, math.sqrt(2 / 128))
    assert not attention.excite.weight.asnumpy().any()


@pytest.mark.parametrize(
    ("layout", "joint", "neighbour"),
    [("openpose", 0, 1), ("coco", 11, 5), ("coco", 12, 6), ("nturgb+d", 21, 22)],
    ids=["nose on neck", "hip on shoulder", "hip on shoulder", "finger tip on thumb"],
)
def test_the_graph_of_agcn_original_is_that_of_its_papers_code(layout, joint, neighbour):
    edges = dict(with_published_edges(load_layout(layout)).edges)
    assert edges[joint] == neighbour and edges.get(neighbour) != joint
    graph = AGCNOriginal(layout, **SMALL_GRAPH).blocks[0].graph.adjacency.asnumpy()
    assert graph[1, neighbour, joint] > 0 and graph[2, joint, neighbour] > 0


def test_learned_graphs_of_dg_stgcn_start_around_their_offset(full):
    graphs = np.concatenate(
        [b.graph.adjacency.asnumpy().ravel() for b in full["dgstgcn"].backbone.blocks]
    )
    assert_normal(Tensor(graphs), 0.02, mean=0.04)


def test_heads_start_small_and_residual_blocks_as_identities(full):
    for model in full.values():
        assert_normal(model.head.weight, 0.01)
        assert not model.head.bias.asnumpy().any()
    for block in full["posec3d"].backbone.network.stages[1]:
        assert not block.widen.norm.weight.asnumpy().any()


def test_the_seed_decides_the_weights():
    def weights(seed):
        ms.set_seed(seed)
        return [p.asnumpy() for p in STGCNPP("coco", **SMALL_GRAPH).trainable_params()]

    for one, same in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(one, same)
    assert any(not np.array_equal(a, b) for a, b in zip(weights(1), weights(2), strict=True))


def test_blocks_double_channels_and_halve_frames_where_told():
    plan = block_channels(3, 16, 4, (2, 4))
    assert plan == [(3, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2)]


def test_a_network_without_blocks_or_channels_is_refused():
    with pytest.raises(UserError, match="`model.num_blocks` must be at least 1; got 0"):
        block_channels(3, 64, 0, ())
    with pytest.raises(UserError, match="`model.base_channels` must be at least 1; got -4"):
        block_channels(3, -4, 10, ())


def test_stages_of_different_lengths_are_refused():
    with pytest.raises(UserError, match="of one length"):
        PoseC3D("coco", stage_blocks=(1, 1))


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_summary_counts_what_can_be_counted_by_hand():
    model = classifier(STGCN, 5, "coco", base_channels=4, num_blocks=1, widen_at=())
    whole, *found = layers(model, [ones(1, 1, 10, 17, 3)], depth=2)
    assert whole.shape == (1, 5)
    assert whole.num_parameters == count(model)
    by_name = {layer.name: layer for layer in found}
    # `blocks` is a list, not a layer
    assert list(by_name) == ["backbone", "backbone.norm", "head", "head.mean"]
    assert by_name["backbone.norm"].shape == (1, 3, 10, 17)
    graph = 3 * (3 * 10 * 17) * 17 + 10 * 17 * 4 * 9  # three products, then one of 9 to 4 channels
    temporal = 10 * 17 * 4 * 4 * 9
    assert whole.multiply_adds == graph + temporal + 4 * 5


class OwnLayers(nn.Cell):
    """MindSpore's layers over (N, M, T, V, C), as a user's model has them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(6, 8, 3, has_bias=True, group=2)
        self.transposed = nn.Conv1dTranspose(8, 4, 2, stride=2)
        self.norm = nn.LayerNorm((8,))
        self.lstm = nn.LSTM(8, 3, batch_first=True)
        self.dense = nn.Dense(8, 5)

    def construct(self, keypoints):
        n, m, t, v, c = keypoints.shape
        x = self.conv(keypoints.reshape(n * m, t, v * c).swapaxes(1, 2))  # (N*M, 8, T)
        self.transposed(x)
        x = self.norm(x.swapaxes(1, 2))  # (N*M, T, 8)
        self.lstm(x)
        return self.dense(x.mean(1))


def test_a_summary_counts_mindspores_layers_and_says_what_it_does_not_know():
    found = {layer.name: layer for layer in layers(OwnLayers(), [ones(1, 1, 10, 2, 3)], depth=1)}
    assert found["conv"].multiply_adds == 10 * 8 * 3 * 3  # values out, channels of a group, kernel
    assert found["transposed"].multiply_adds == 10 * 8 * 4 * 2  # values in, channels out, kernel
    assert found["norm"].multiply_adds == 0
    assert found["dense"].multiply_adds == 8 * 5
    assert found["lstm"].multiply_adds is None and found[""].multiply_adds is None


@pytest.mark.parametrize("network", [STGCN, AGCN])
def test_the_products_with_learned_edges_are_counted(network):
    small = {"base_channels": 4, "num_blocks": 1, "widen_at": ()}
    model = classifier(network, 5, "coco", **small)
    whole = layers(model, [ones(1, 1, 8, 17, 3)], depth=1)[0]
    assert whole.multiply_adds is not None


@pytest.mark.parametrize(
    ("kind", "limit", "deviation"),
    [(BlockGCN, None, math.sqrt(2 / 8)), (SkateFormer, 64**-0.5, 64**-0.5 / math.sqrt(3))],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_network_may_say_how_its_classifier_starts(kind, limit, deviation):
    ms.set_seed(0)
    weight, bias = kind.head_init(SimpleNamespace(features=64), 8)
    head = Head(64, 8, weight, bias)
    assert head.weight.asnumpy().std() == pytest.approx(deviation, rel=0.1)
    if limit is not None:
        assert np.abs(head.weight.asnumpy()).max() <= limit
    assert 0 < np.abs(head.bias.asnumpy()).max() <= 64**-0.5
    plain = Head(64, 8)
    assert plain.weight.asnumpy().std() == pytest.approx(0.01, rel=0.1)
    assert not plain.bias.asnumpy().any()
