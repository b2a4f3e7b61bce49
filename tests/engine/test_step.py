import numpy as np
import pytest
from engine.toy import Linear, batch, loss_and_gradient, micro_batch, train_step
from mindspore import Parameter, Tensor

from flag3d_exp.engine.optimizer import adamw, learning_rates, parameter_groups, sgd
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.engine.step import (
    LossScale,
    StepSettings,
    TrainStep,
)
from flag3d_exp.errors import UserError
from flag3d_exp.problems.classify import dropout_mask
from flag3d_exp.problems.cross_entropy import CrossEntropy


def values(step: TrainStep) -> dict[str, np.ndarray]:
    return parameter_values(step.model.get_parameters())


@pytest.mark.parametrize("jit", [False, True])
def test_sgd_follows_the_formula_with_decay_on_every_parameter(jit):
    step = train_step(StepSettings(jit=jit), lr=0.1, momentum=0.9, weight_decay=0.01)
    weight, bias = values(step)["head.weight"], values(step)["head.bias"]
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    for number in range(4):
        one = batch(number)
        expected, *gradients = loss_and_gradient(weight, bias, one, np.eye(2)[one.targets["label"]])
        factor = 1.0 - 0.2 * number
        loss, _ = step([one], factor)
        assert float(loss) == pytest.approx(expected, abs=5e-6)
        for i, parameter in enumerate((weight, bias)):
            slope = gradients[i] + 0.01 * parameter
            velocity[i] = slope if number == 0 else 0.9 * velocity[i] + slope
            parameter -= 0.1 * factor * (slope + 0.9 * velocity[i])
        np.testing.assert_allclose(values(step)["head.weight"], weight, atol=1e-6)
        np.testing.assert_allclose(values(step)["head.bias"], bias, atol=1e-6)


def test_adamw_follows_the_formula():
    model = Linear()
    groups = parameter_groups(model.get_parameters(), None, False)
    step = TrainStep(
        model, CrossEntropy(), adamw(groups, lr=0.01, weight_decay=0.1), StepSettings(jit=True)
    )
    weight, bias = values(step)["head.weight"], values(step)["head.bias"]
    moments = [[np.zeros_like(p), np.zeros_like(p)] for p in (weight, bias)]
    for number in range(1, 4):
        one = batch(number)
        _, *gradients = loss_and_gradient(weight, bias, one, np.eye(2)[one.targets["label"]])
        step([one], 1.0)
        for parameter, slope, moment in zip((weight, bias), gradients, moments, strict=True):
            moment[0] = 0.9 * moment[0] + 0.1 * slope
            moment[1] = 0.999 * moment[1] + 0.001 * slope**2
            first, second = moment[0] / (1 - 0.9**number), moment[1] / (1 - 0.999**number)
            parameter *= 1 - 0.01 * 0.1
            parameter -= 0.01 * first / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(values(step)["head.weight"], weight, atol=2e-6)
        np.testing.assert_allclose(values(step)["head.bias"], bias, atol=2e-6)


def test_accumulated_batches_equal_one_large_batch():
    first, second = batch(1), batch(2)
    both = micro_batch(
        np.concatenate([first.inputs["keypoints"], second.inputs["keypoints"]]),
        np.concatenate([first.targets["label"], second.targets["label"]]),
    )
    whole, parts = train_step(), train_step(StepSettings(accumulate=2, jit=False))
    for _ in range(3):
        loss, (num_correct,) = whole([both], 1.0)
        mean_loss, (sum_correct,) = parts([first, second], 1.0)
    assert float(mean_loss) == pytest.approx(float(loss), abs=1e-6)
    assert int(sum_correct) == int(num_correct)
    np.testing.assert_allclose(
        values(parts)["head.weight"], values(whole)["head.weight"], atol=1e-6
    )


def test_clipping_bounds_the_global_norm_of_the_update():
    step = train_step(
        StepSettings(clip_norm=0.01, jit=False), lr=1.0, momentum=0, nesterov=False, weight_decay=0
    )
    before = values(step)
    step([batch(0)], 1.0)
    moved = [values(step)[name] - before[name] for name in ("head.weight", "head.bias")]
    assert np.sqrt(sum((change**2).sum() for change in moved)) == pytest.approx(0.01, rel=1e-4)


def test_label_smoothing_and_class_weights_enter_the_loss():
    one = batch(3)
    step = train_step(criterion=CrossEntropy(0.2, (1.0, 3.0)))
    before = values(step)
    targets = np.eye(2)[one.targets["label"]] * 0.8 + 0.1
    losses = [
        loss_and_gradient(
            before["head.weight"],
            before["head.bias"],
            micro_batch(one.inputs["keypoints"][i : i + 1], one.targets["label"][i : i + 1]),
            targets[i : i + 1],
        )[0]
        for i in range(4)
    ]
    loss, _ = step([one], 1.0)
    expected = np.average(losses, weights=np.array([1.0, 3.0])[one.targets["label"]])
    assert float(loss) == pytest.approx(expected, abs=5e-6)


def test_moving_averages_follow_weights_and_statistics():
    step = train_step(StepSettings(ema_decay=0.75, jit=True))
    expected = values(step)
    for number in range(3):
        step([batch(number)], 1.0)
        after = values(step)
        expected = {name: 0.75 * expected[name] + 0.25 * after[name] for name in after}
    for average in step.ema:
        np.testing.assert_allclose(
            average.asnumpy(), expected[average.name.removeprefix("ema.")], atol=1e-6
        )


def test_a_skipped_update_leaves_everything_as_it_was():
    step = train_step(StepSettings(skip_nonfinite=True, ema_decay=0.5, jit=True))
    step([batch(0)], 1.0)
    kept = [p.asnumpy().copy() for p in (*step.model.get_parameters(), *step.optimizer_state)]
    averages = [p.asnumpy().copy() for p in step.ema]
    bad = micro_batch(np.full((4, 3), np.nan), np.zeros(4))
    loss, _ = step([bad], 1.0)
    assert not np.isfinite(float(loss))
    now = [p.asnumpy() for p in (*step.model.get_parameters(), *step.optimizer_state)]
    for before, after in zip(kept + averages, now + [p.asnumpy() for p in step.ema], strict=True):
        np.testing.assert_array_equal(after, before)
    loss, _ = step([batch(1)], 1.0)
    assert np.isfinite(float(loss))


def test_the_head_can_learn_alone_or_at_its_own_rate():
    model = Linear()
    model.weight.name = "backbone.weight"
    alone = parameter_groups(model.get_parameters(), None, True)
    assert [p.name for p in alone[0]["params"]] == ["head.bias"]
    optimizer = sgd(parameter_groups(model.get_parameters(), 1.0, False), lr=0.1)
    step = TrainStep(model, CrossEntropy(), optimizer, StepSettings(jit=True))
    assert sorted(learning_rates(optimizer)) == pytest.approx([0.1, 1.0])
    step([batch(0)], 0.5)
    assert sorted(learning_rates(optimizer)) == pytest.approx([0.05, 0.5])


def test_dropout_keeps_the_mean_and_drops_its_share():
    rng = np.random.default_rng(0)
    mask = dropout_mask((400, 50), 0.25, rng)
    assert mask is not None
    assert set(np.unique(mask)) == {0, np.float32(1 / 0.75)}
    assert mask.mean() == pytest.approx(1, abs=0.02)
    assert dropout_mask((4, 5), 0.0, rng) is None


def test_weights_that_do_not_fit_are_listed_and_nothing_is_changed():
    model = Linear()
    before = parameter_values(model.get_parameters())
    wrong = {"head.weight": np.zeros((5, 3), np.float32), "other": np.zeros(2, np.float32)}
    with pytest.raises(UserError) as caught:
        assign_parameters(model.get_parameters(), wrong)
    for part in ("2 missing (head.bias, running_mean)", "1 unknown (other)", "(5, 3) instead of"):
        assert part in str(caught.value)
    for name, value in parameter_values(model.get_parameters()).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: sgd([], lr=-1),
        lambda: sgd([], lr=float("nan")),
        lambda: sgd([], momentum=0.0, nesterov=True),
        lambda: sgd([], momentum=1.0),
        lambda: adamw([], beta1=1.0),
        lambda: adamw([], weight_decay=-0.1),
    ],
)
def test_a_setting_out_of_range_is_named(wrong):
    with pytest.raises(UserError, match="`optimizer"):
        wrong()


@pytest.mark.parametrize("jit", [False, True])
def test_a_scaled_loss_gives_the_same_update(jit):
    plain, scaled = train_step(), train_step(StepSettings(loss_scaling=True, jit=jit))
    for number in range(3):
        expected, _ = plain([batch(number)], 1.0)
        loss, _ = scaled([batch(number)], 1.0)
        assert float(loss) == pytest.approx(float(expected), abs=1e-6)
    for name, value in values(plain).items():
        np.testing.assert_allclose(values(scaled)[name], value, atol=1e-5)
    assert {"loss_scale.value", "loss_scale.num_good"} <= {p.name for p in scaled.optimizer_state}


def test_an_overflow_halves_the_loss_scale_and_leaves_the_update_out():
    step = train_step(StepSettings(loss_scaling=True, jit=False))
    assert step.loss_scale is not None
    huge = batch(0)
    huge.inputs["keypoints"][:] = 3e38
    before = values(step)
    step([huge], 1.0)
    assert float(step.loss_scale.value.asnumpy()) == 2.0**15
    for name, value in values(step).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_loss_scale_doubles_after_two_thousand_updates():
    scale = LossScale(4.0)
    for _ in range(LossScale.GROWTH_INTERVAL - 1):
        scale.update(finite=True)
    assert float(scale.value.asnumpy()) == 4.0
    scale.update(finite=True)
    assert (float(scale.value.asnumpy()), int(scale.num_good.asnumpy())) == (8.0, 0)


@pytest.mark.parametrize("make", [sgd, adamw])
def test_norms_biases_and_embeddings_are_left_undecayed_if_asked_for(make):
    def trained(decay_vectors):
        values = {"dense.weight": (2, 2), "dense.bias": (2,), "embedding": (2, 2)}
        parameters = [
            Parameter(Tensor(np.ones(shape, np.float32)), name=name)
            for name, shape in values.items()
        ]
        groups = parameter_groups(parameters, None, False)
        optimizer = make(groups, lr=0.1, weight_decay=0.5, decay_vectors=decay_vectors)
        optimizer(tuple(Tensor(np.zeros(p.shape, np.float32)) for p in optimizer.parameters))
        return {p.name: float(p.asnumpy().mean()) for p in parameters}

    decayed = 1 - 0.1 * 0.5 * (1.9 if make is sgd else 1)  # the first Nesterov step
    everything = dict.fromkeys(("dense.weight", "dense.bias", "embedding"), decayed)
    assert trained(True) == pytest.approx(everything, abs=1e-6)
    assert trained(False) == pytest.approx(everything | {"dense.bias": 1, "embedding": 1}, abs=1e-6)


def test_a_second_step_with_the_same_optimizer_decays_as_the_first():
    step = train_step(lr=0.1, momentum=0.9, weight_decay=0.5)
    again = TrainStep(step.model, step.criterion, step.optimizer, step.settings)
    other = train_step(lr=0.1, momentum=0.9, weight_decay=0.5)
    for one in (again, other):
        one([batch(0)], 1.0)
    for name, value in values(other).items():
        np.testing.assert_array_equal(values(again)[name], value, err_msg=name)
