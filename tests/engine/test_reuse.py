"""A compiled step that a second run uses again makes the updates of a step of its own."""

from dataclasses import replace

import numpy as np
import pytest
from engine.toy import Linear, batch, train_step
from mindspore import nn
from networks import GRAPH, HEATMAP, OTHERS, classifier

from flag3d_exp.engine import reuse
from flag3d_exp.engine.optimizer import adamw, parameter_groups, sgd
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.engine.step import StepSettings, TrainStep
from flag3d_exp.problems.cross_entropy import CrossEntropy

COMPILED = StepSettings(jit=True, ema_decay=0.9, reusable=True)


def step_of(make, seed: int, settings: StepSettings = COMPILED, **optimizer) -> TrainStep:
    """A new step from random weights."""
    model = Linear()
    rng = np.random.default_rng(seed)
    values = {name: rng.random(a.shape) for name, a in weights(model).items()}
    assign_parameters(model.get_parameters(), values)
    groups = parameter_groups(model.get_parameters(), None, False)
    return TrainStep(model, CrossEntropy(), make(groups, **optimizer), settings)


def weights(model: nn.Cell) -> dict[str, np.ndarray]:
    return parameter_values(model.get_parameters())


def updated(one: reuse.Compiled) -> dict[str, np.ndarray]:
    """Everything that three updates and a prediction come to."""
    for number in range(3):
        one.step([batch(number)], 1.0 - 0.1 * number)
    one.predict.refresh()
    clips = batch(9).inputs["keypoints"]
    state = parameter_values([*one.step.optimizer_state, *one.step.ema])
    return weights(one.step.model) | state | {"outputs": one.predict(clips)}


@pytest.mark.parametrize(
    ("make", "one", "other"),
    [
        (sgd, {"momentum": 0.9}, {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.1}),
        (adamw, {"lr": 0.1}, {"lr": 0.02, "weight_decay": 0.3}),
    ],
)
def test_a_compiled_step_that_is_used_again_gives_the_bits_of_a_new_one(make, one, other):
    first = reuse.compiled_parts({}, step_of(make, 1, **one))
    updated(first)
    again = reuse.compiled_parts({}, step_of(make, 2, **other))
    assert again is first
    found = updated(again)
    expected = updated(reuse.compiled_parts({"no": "reuse"}, step_of(make, 2, **other)))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_what_is_compiled_as_a_constant_decides_about_reuse():
    steps = {
        "same": step_of(sgd, 2, lr=0.3, momentum=0.1, weight_decay=0.2),
        "no decay": step_of(sgd, 1, weight_decay=0.0),
        "no nesterov": step_of(sgd, 1, nesterov=False),
        "decay of matrices only": step_of(sgd, 1, decay_vectors=False),
        "clipping": step_of(sgd, 1, replace(COMPILED, clip_norm=1.0)),
        "a step that is not to be used again": step_of(sgd, 1, replace(COMPILED, reusable=False)),
        "another optimizer": step_of(adamw, 1),
        "class weights": train_step(COMPILED, criterion=CrossEntropy(0.0, (1.0, 2.0))),
        "other class weights": train_step(COMPILED, criterion=CrossEntropy(0.0, (1.0, 3.0))),
        "label smoothing": train_step(COMPILED, criterion=CrossEntropy(0.1)),
    }
    key = reuse.graph_key({}, step_of(sgd, 1))
    keys = {name: reuse.graph_key({}, step) for name, step in steps.items()}
    assert keys.pop("same") == key
    assert len({key, *keys.values()}) == len(steps)
    assert reuse.graph_key({"model": "another"}, step_of(sgd, 1)) != key


@pytest.mark.parametrize("kind", [*GRAPH, *OTHERS, *HEATMAP])
def test_two_networks_with_the_same_settings_have_the_same_graph(kind):
    keys = set()
    settings = (GRAPH | OTHERS | HEATMAP)[kind]
    for _ in range(2):
        model = classifier(kind, 5, "coco", **settings)
        groups = parameter_groups(model.get_parameters(), None, False)
        step = TrainStep(model, CrossEntropy(), sgd(groups), StepSettings())
        keys.add(reuse.graph_key({}, step))
    assert len(keys) == 1


@pytest.mark.parametrize("reusable", [True, False])
def test_sgd_gives_the_bits_of_mindspores_own_and_has_its_state(reusable):
    settings = StepSettings(jit=True, reusable=reusable)
    own = step_of(sgd, 1, settings, lr=0.2, momentum=0.8, weight_decay=0.05)
    model = step_of(sgd, 1, settings).model
    theirs = TrainStep(
        model,
        CrossEntropy(),
        nn.SGD(
            parameter_groups(model.get_parameters(), None, False),
            learning_rate=0.2,
            momentum=0.8,
            weight_decay=0.05,
            nesterov=True,
        ),
        settings,
    )
    for number in range(4):
        for step in (own, theirs):
            step([batch(number)], 1.0)
    expected = weights(theirs.model) | parameter_values(theirs.optimizer_state)
    found = weights(own.model) | parameter_values(own.optimizer_state)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
