"""Made-up batches and inputs fit the networks of all problems."""

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from mindspore import Tensor

from flag3d_exp.config.checks import CONF
from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.made_up import made_up_batch, made_up_inputs
from flag3d_exp.engine.step import loss_function
from flag3d_exp.models.summary import layers

GRAPH = ("model.base_channels=4", "model.num_blocks=1", "model.widen_at=[]")
TRANSFORMER = ("model.width=8", "model.num_layers=1")
HEATMAPS = ("model=posec3d", "dataset=demo_out_domain", "model.base_channels=4")
PROBLEMS = {
    "classify": GRAPH,
    "align": GRAPH,
    "reconstruct": GRAPH,
    "count": (*GRAPH, "dataset=demo_repetitions"),
    "lift": ("model=videopose", "model.channels=8", "problem.camera.layout=coco"),
    "generate": ("model=mdm", *TRANSFORMER),
}
NETWORKS = {"actor": ("problem=generate", "model=actor", *TRANSFORMER), "heatmaps": HEATMAPS}
CASES = {name: (f"problem={name}", *given) for name, given in PROBLEMS.items()} | NETWORKS


def test_every_problem_is_tried():
    assert PROBLEMS.keys() == {path.stem for path in (CONF / "problem").glob("*.yaml")}


@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_a_network_takes_made_up_batches_and_inputs(overrides, tmp_path: Path):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", ["device=cpu", *overrides])
    experiment = Experiment(config, tmp_path, {})
    experiment.device()
    network = experiment.model()
    batch, inputs = made_up_batch(experiment, network, 3), made_up_inputs(experiment, 2)
    assert len(batch) == 3
    network.set_train(True)
    loss_of = loss_function(network, experiment.problem().criterion({}), len(batch.inputs))
    loss, _ = loss_of(*batch.tensors())
    assert np.isfinite(loss.asnumpy()) and loss.asnumpy() > 0
    network.set_train(False)
    assert len(network(*[Tensor(array) for array in inputs.values()])) == 2
    whole = layers(network, inputs.values(), 1)[0]
    assert whole.num_parameters > 0 and (whole.multiply_adds or 0) > 0
