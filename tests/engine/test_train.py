import signal
import time
from contextlib import suppress

import numpy as np
import pytest
from engine.toy import batch, micro_batch, train_step
from mindspore import Tensor

from flag3d_exp.engine.interrupt import Interrupted, StopRequest
from flag3d_exp.engine.parameters import assign_parameters, parameter_values
from flag3d_exp.engine.schedule import Cosine
from flag3d_exp.engine.step import StepSettings, TrainStep
from flag3d_exp.engine.train import NonFiniteLoss, Plan, Progress, StepBatch, train
from flag3d_exp.problems.cross_entropy import CrossEntropy

STEPS = 5
PLAN = Plan(num_epochs=3, steps_per_epoch=STEPS, learning_rate=0.1, log_every=2)


class Recorder:
    """Hooks that remember; the objective of each evaluation is given."""

    def __init__(self, objectives=(1.0, 3.0, 2.0)):
        self.objectives = iter(objectives)
        self.events: list[tuple] = []
        self.saved: list[dict] = []
        self.step: TrainStep | None = None

    def log(self, step, metrics):
        self.events.append(("log", step, *sorted(metrics)))

    def advance(self, progress):
        pass

    def report(self, progress):
        self.events.append(("report", progress.epoch))

    def evaluate(self):
        self.events.append(("evaluate",))
        return {"val/top1": next(self.objectives)}

    def save(self, progress, is_best):
        self.events.append(("save", progress.epoch, progress.step, is_best))
        if self.step is not None:
            parameters = [*self.step.model.get_parameters(), *self.step.optimizer_state]
            self.saved.append({"values": parameter_values(parameters), "state": progress.state()})


def load(epoch: int, done: int):
    for number in range(done, STEPS):
        yield StepBatch([batch(100 * epoch + number)], np.arange(4))


def test_things_happen_in_order():
    hooks = Recorder()
    progress = Progress()
    train(train_step(), load, Cosine(), PLAN, progress, hooks, StopRequest())
    interval = ("clips_per_second", "lr", "train/loss", "train/top1")
    assert hooks.events[:6] == [
        ("log", 2, *interval),
        ("log", 4, *interval),
        ("log", 5, *interval),
        ("evaluate",),
        ("log", 5, "val/top1"),
        ("save", 1, 0, True),
    ]
    assert [event for event in hooks.events if event[0] == "save"] == [
        ("save", 1, 0, True),
        ("save", 2, 0, True),
        ("save", 3, 0, False),
    ]
    assert (progress.best, progress.best_epoch, progress.epoch) == (3.0, 2, 3)
    assert progress.metrics["lr"] == pytest.approx(0.0)


def test_of_epochs_with_one_objective_the_one_with_the_lowest_loss_is_best():
    found = iter([(3.0, 0.6), (3.0, 0.1), (3.0, 0.2), (2.0, 0.01)])
    hooks = Recorder()
    hooks.evaluate = lambda: dict(zip(("val/top1", "val/loss"), next(found), strict=True))
    progress = Progress()
    plan = Plan(4, STEPS, 0.1, early_stop=2)
    train(train_step(), load, Cosine(), plan, progress, hooks, StopRequest())
    assert (progress.best, progress.best_epoch, progress.num_worse) == (3.0, 2, 2)


def test_a_loss_as_objective_is_better_when_lower():
    hooks = Recorder((1.0, 0.5, 0.7))
    hooks.evaluate = lambda: {"val/loss": next(hooks.objectives)}
    progress = Progress()
    plan = Plan(3, STEPS, 0.1, objective="val/loss")
    train(train_step(), load, Cosine(), plan, progress, hooks, StopRequest())
    assert (progress.best, progress.best_epoch) == (0.5, 2)


def test_training_ends_when_nothing_improves():
    hooks, progress = Recorder((3.0, 2.0, 1.0)), Progress()
    plan = Plan(100, STEPS, 0.1, early_stop=2)
    train(train_step(), load, Cosine(), plan, progress, hooks, StopRequest())
    assert (progress.epoch, progress.best_epoch) == (3, 1)


def test_evaluation_comes_every_so_many_epochs_and_at_the_end():
    hooks = Recorder((1.0, 2.0))
    plan = Plan(3, STEPS, 0.1, eval_every=2)
    train(train_step(), load, Cosine(), plan, Progress(), hooks, StopRequest())
    assert hooks.events.count(("evaluate",)) == 2


@pytest.mark.parametrize("jit", [False, True])
def test_a_run_resumed_at_any_save_equals_the_uninterrupted_one(jit):
    plan = Plan(3, STEPS, 0.1, log_every=2, save_every=1)
    whole, hooks, progress = train_step(StepSettings(jit=jit)), Recorder(), Progress()
    hooks.step = whole
    train(whole, load, Cosine(), plan, progress, hooks, StopRequest())
    expected = parameter_values([*whole.model.get_parameters(), *whole.optimizer_state])
    objectives = {0: (1.0, 3.0, 2.0), 1: (3.0, 2.0), 2: (2.0,), 3: ()}
    resumed_step = train_step(StepSettings(jit=jit))
    for saved in hooks.saved[::3]:
        resumed = Progress.from_state(saved["state"])
        parameters = [*resumed_step.model.get_parameters(), *resumed_step.optimizer_state]
        assign_parameters(parameters, saved["values"])
        again = Recorder(objectives[resumed.epoch])
        train(resumed_step, load, Cosine(), plan, resumed, again, StopRequest())
        for name, value in parameter_values(parameters).items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)
        for state in (resumed.metrics, progress.metrics):
            state.pop("clips_per_second", None)
        assert resumed.metrics == progress.metrics


def test_a_signal_is_obeyed_after_the_step_and_the_state_is_saved():
    hooks, progress = Recorder(), Progress()

    def interrupted_load(epoch, done):
        for number, one in enumerate(load(epoch, done)):
            if number == 2:
                signal.raise_signal(signal.SIGTERM)
            yield one

    with StopRequest() as stop, pytest.raises(Interrupted) as caught:
        train(train_step(), interrupted_load, Cosine(), PLAN, progress, hooks, stop)
    assert caught.value.signum == signal.SIGTERM
    assert hooks.events[-1] == ("save", 0, 3, False)
    assert progress.step == 3


def test_a_signal_in_what_compiles_ends_it_at_once_unless_other_ranks_would_wait():
    with StopRequest() as stop, pytest.raises(Interrupted), stop.at_once():
        signal.raise_signal(signal.SIGTERM)
    with StopRequest(on_any_rank=bool) as stop:
        with stop.at_once():
            signal.raise_signal(signal.SIGTERM)
        assert stop.is_requested()


def test_a_stop_that_the_compiler_swallows_comes_again_until_the_block_is_left():
    with StopRequest() as stop:
        with pytest.raises(Interrupted), stop.at_once():
            with suppress(Exception):
                signal.raise_signal(signal.SIGTERM)
            time.sleep(30)
            pytest.fail("the exception did not come again")
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


def test_a_stop_during_evaluation_keeps_the_finished_epoch():
    hooks, progress = Recorder(), Progress()

    def stopped():
        raise Interrupted(signal.SIGINT)

    hooks.evaluate = stopped
    with pytest.raises(Interrupted):
        train(train_step(), load, Cosine(), PLAN, progress, hooks, StopRequest())
    assert hooks.events[-1] == ("save", 0, STEPS, False)
    again = Recorder()
    train(train_step(), load, Cosine(), PLAN, progress, again, StopRequest())
    assert again.events[0] == ("evaluate",)


def poisoned(epoch: int, done: int):
    for number, one in enumerate(load(epoch, done), done):
        first = one.micro_batches[0]
        clips = first.inputs["keypoints"] * (np.nan if (epoch, number) == (1, 3) else 1)
        micro = micro_batch(clips, first.targets["label"])
        yield StepBatch([micro], np.arange(number, number + 4))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step():
    hooks, progress = Recorder(), Progress()
    with pytest.raises(NonFiniteLoss) as caught:
        train(train_step(), poisoned, Cosine(), PLAN, progress, hooks, StopRequest())
    assert (caught.value.epoch, caught.value.step) == (1, STEPS + 4)
    np.testing.assert_array_equal(caught.value.indices, [3, 4, 5, 6])
    assert hooks.events[-1] == ("log", STEPS + 2, *hooks.events[0][2:])


def test_a_loss_that_is_not_finite_can_be_skipped_and_counted():
    hooks, progress = Recorder(), Progress()
    step = train_step(StepSettings(skip_nonfinite=True, jit=False))
    train(step, poisoned, Cosine(), PLAN, progress, hooks, StopRequest())
    assert progress.num_skipped == 1
    assert progress.metrics["train/skipped_updates"] == 1
    assert all(np.isfinite(p.asnumpy()).all() for p in step.model.get_parameters())


def test_the_mean_loss_of_an_epoch_counts_every_step():
    class Fixed:
        settings, criterion = StepSettings(), CrossEntropy()

        def __init__(self):
            self.losses = iter([1.0, 2.0, 3.0, 4.0, 5.0])

        def __call__(self, batches, factor):
            return Tensor(np.float32(next(self.losses))), (Tensor(2),)

    hooks, progress = Recorder((1.0,)), Progress()
    train(Fixed(), load, Cosine(), Plan(1, STEPS, 0.1), progress, hooks, StopRequest())
    assert progress.metrics["train/loss"] == 3.0
    assert progress.metrics["train/top1"] == 50.0
