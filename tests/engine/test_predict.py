"""Evaluation: the predictor follows the model's weights, and leaves the model alone."""

from functools import partial

import numpy as np
import pytest
from mindspore import Tensor, ops

from flag3d_exp.engine.predict import Predictor
from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.classifier import Classifier
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.folding import MAX_KEPT, LaidOut
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.stgcn import STGCN

RNG = np.random.default_rng(0)
CLIPS = RNG.standard_normal((3, 1, 12, 25, 3)).astype(np.float32)
PIXELS = RNG.uniform(0, 16, (2, 1, 4, 17, 3)).astype(np.float32)
GRAPH = {"layout": "nturgb+d", "base_channels": 8, "num_blocks": 2, "widen_at": (2,)}
HEATMAP = {"layout": "coco", "test_size": 16, "base_channels": 4, "stage_blocks": (1, 1, 1)}
MODELS = {
    "stgcn": (partial(STGCN, **GRAPH), CLIPS),
    "aagcn": (partial(AAGCN, **GRAPH), CLIPS),
    "ctrgcn": (partial(CTRGCN, **GRAPH), CLIPS),
    "posec3d": (partial(PoseC3D, **HEATMAP), PIXELS),
}


def change_weights(model, seed: int) -> None:
    """Give every parameter other values, running statistics too."""
    rng = np.random.default_rng(seed)
    for parameter in model.get_parameters():
        ops.assign(parameter, Tensor(rng.uniform(0.1, 0.3, parameter.shape).astype(np.float32)))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_a_predictor_asked_again_has_the_model_s_new_weights(name, jit):
    kind, clips = MODELS[name]
    model = Classifier(kind(), 5).set_train()
    predict, names = None, [parameter.name for parameter in model.get_parameters()]
    found = []
    for seed in (1, 2):
        change_weights(model, seed)
        if predict is None:
            predict = Predictor(model, jit)
        predict.refresh()
        found.append(predict(clips))
        assert model.training
        expected = model.set_train(False)(Tensor(clips), None).asnumpy()
        model.set_train()
        np.testing.assert_allclose(found[-1], expected, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(predict(clips[:1]), expected[:1], rtol=1e-4, atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.01
    assert [parameter.name for parameter in model.get_parameters()] == names


@pytest.mark.parametrize(("num_clips", "num_kept"), [(MAX_KEPT, MAX_KEPT), (MAX_KEPT + 1, None)])
def test_weights_are_laid_out_for_the_first_number_of_clips_unless_it_is_large(num_clips, num_kept):
    model = Classifier(AAGCN(**GRAPH), 5)
    predict = Predictor(model, jit=False)
    predict(np.zeros((num_clips, *CLIPS.shape[1:]), np.float32))
    predict(CLIPS)
    cells = [cell for _, cell in predict.network.cells_and_names() if isinstance(cell, LaidOut)]
    products = [cell for cell in cells if cell.matrix.ndim == 2]  # not those of other convolutions
    kept = {None if cell.copies is None else cell.copies.shape[0] for cell in products}
    assert kept == {num_kept}
    assert not any(isinstance(cell, LaidOut) for _, cell in model.cells_and_names())
