import numpy as np
import pytest
from mindspore import Tensor, nn
from networks import classifier

from flag3d_exp.engine.predict import Predictor
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.stgcn import STGCN
from flag3d_exp.results.metrics import softmax
from flag3d_exp.tasks.explain import gradient_function

RNG = np.random.default_rng(0)


def graph_network() -> tuple[nn.Cell, np.ndarray]:
    model = classifier(STGCN, 5, "coco", base_channels=4, num_blocks=2, widen_at=(2,))
    return model, RNG.normal(size=(2, 1, 8, 17, 3)).astype(np.float32)


def heatmap_network() -> tuple[nn.Cell, np.ndarray]:
    stages = {"stage_blocks": (1, 1, 1), "temporal_kernels": (1, 1, 1)}
    model = classifier(
        PoseC3D, 5, "coco", train_size=16, test_size=16, sigma=2.0, base_channels=4, **stages
    )
    keypoints = RNG.uniform(3, 13, size=(2, 1, 4, 17, 3)).astype(np.float32)
    keypoints[..., 2] = 0.9
    return model, keypoints


@pytest.mark.parametrize("network", [graph_network, heatmap_network])
def test_gradients_are_slopes_of_the_log_score(network):
    model, clips = network()
    for parameter in model.trainable_params():  # away from where whole branches start at zero
        drawn = RNG.normal(0, 0.3, parameter.shape).astype(np.float32)
        parameter.set_data(Tensor(parameter.asnumpy() + drawn))
    predict = Predictor(model, jit=False)
    label = int(predict(clips)[0].argmin())  # the score of a sure class would not move

    def log_score(changed: np.ndarray) -> float:
        return float(np.log(softmax(predict(changed))[:, label]).sum())

    gradient = gradient_function(model, label)(clips)
    assert gradient.shape == clips.shape
    direction = gradient / np.linalg.norm(gradient)
    step = np.float32(5e-3)
    slope = (log_score(clips + step * direction) - log_score(clips - step * direction)) / (2 * step)
    assert slope == pytest.approx(np.linalg.norm(gradient), rel=0.05)
    assert slope > 1e-3
