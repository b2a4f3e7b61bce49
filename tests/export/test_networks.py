"""Every network's exported logits against its own, for batches of several sizes."""

import mindspore as ms
import numpy as np
import onnxruntime
import pytest
from mindspore import Tensor
from networks import GRAPH, HEATMAP, OTHERS, TINY_HEATMAP, classifier

from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.errors import UserError
from flag3d_exp.export import arithmetic, mindir
from flag3d_exp.export.onnx_file import onnx_model
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.folding import FoldedCopy
from flag3d_exp.models.kernels import cpu, native, using
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.stgcn import STGCN

NUM_CLASSES, NUM_FRAMES = 5, 8
CASES = [(kind, 1, False) for kind in (*GRAPH, *OTHERS, *HEATMAP)] + [
    (STGCN, 2, False),
    (PoseC3D, 2, True),
]


def network(kind, num_persons: int, limbs: bool):
    """A small network none of whose layers is without effect, and the shape of its clips."""
    if kind not in HEATMAP:
        settings = (GRAPH | OTHERS)[kind]
        model = classifier(kind, NUM_CLASSES, "nturgb+d", num_persons=num_persons, **settings)
        shape = (num_persons, NUM_FRAMES, 25, 3)
    else:
        model = classifier(kind, NUM_CLASSES, "coco", limbs=limbs, **HEATMAP[kind], **TINY_HEATMAP)
        shape = (num_persons, NUM_FRAMES, 17, 3)
    rng = np.random.default_rng(0)
    for parameter in model.get_parameters():
        values = parameter.asnumpy() + 0.1 * np.abs(rng.standard_normal(parameter.shape))
        ms.ops.assign(parameter, Tensor(values.astype(np.float32)))
    return model.set_train(False), shape


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "num_persons", "limbs"), CASES)
def test_exported_networks_give_their_own_logits_for_batches_of_any_size(
    kind, num_persons, limbs, tmp_path
):
    model, shape = network(kind, num_persons, limbs)
    rng = np.random.default_rng(1)
    scale = np.array([16, 16, 1] if kind in HEATMAP else [1, 1, 1])
    clips = (rng.random((3, *shape)) * scale).astype(np.float32)
    expected = model(Tensor(clips)).asnumpy()
    tolerance = max(1e-4, 2e-6 * abs(expected).max())

    with using(native):
        exported, _ = network(kind, num_persons, limbs)
    assign_parameters(exported.get_parameters(), parameter_values(model.get_parameters()))
    compiled = mindir.compiled_network(exported, shape)
    onnx = onnx_model(mindir.graph_of(compiled), shape, NUM_CLASSES)
    session = onnxruntime.InferenceSession(onnx.SerializeToString())
    (tmp_path / "model.mindir").write_bytes(compiled.SerializeToString())
    loaded = mindir.function(tmp_path / "model.mindir", shape)
    for part in (slice(0, 2), slice(0, 1), slice(0, 3)):
        (found,) = session.run(["logits"], {"keypoints": clips[part]})
        np.testing.assert_allclose(found, expected[part], rtol=0, atol=tolerance)
        if len(clips[part]) == 2 or kind is STGCN:  # MindSpore compiles for each size
            np.testing.assert_allclose(loaded(clips[part]), expected[part], rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in (CTRGCN, PoseC3D) else pytest.mark.release)
        for kind in (*GRAPH, *OTHERS, *HEATMAP)
    ],
)
def test_mindir_files_of_layers_for_cpus_give_the_logits_for_batches_of_any_size(kind, tmp_path):
    with using(cpu):
        model, shape = network(kind, 1, False)
        clips = np.random.default_rng(1).random((3, *shape)).astype(np.float32)
        expected = model(Tensor(clips)).asnumpy()
        folded = FoldedCopy(model)
        folded.take_weights()
    compiled = mindir.compiled_network(folded.network, shape)
    content = compiled.SerializeToString()
    arithmetic.check(".mindir", memoryview(content))
    (tmp_path / "model.mindir").write_bytes(content)
    loaded = mindir.function(tmp_path / "model.mindir", shape)
    tolerance = max(1e-4, 2e-6 * abs(expected).max())
    for count in (2, 1, 3):
        np.testing.assert_allclose(loaded(clips[:count]), expected[:count], rtol=0, atol=tolerance)


class Branching(ms.nn.Cell):
    """Computes something else for large batches."""

    def construct(self, x):
        return x * 2 if x.shape[0] > 4 else x


class Crashing(ms.nn.Cell):
    """Asks for the size of an axis that is not there."""

    def construct(self, x):
        return x.reshape(x.shape[7])


def test_networks_that_branch_on_the_number_of_clips_are_refused():
    with pytest.raises(UserError, match="branches on sizes"):
        mindir.graph_of(mindir.compiled_network(Branching(), (3,)))
    with pytest.raises(UserError, match="Crashing cannot be compiled"):
        mindir.compiled_network(Crashing(), (3,))
