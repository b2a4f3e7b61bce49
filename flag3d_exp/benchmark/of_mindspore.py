"""The project's network as a contender, and other formulations of it in MindSpore."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from flag3d_exp import files
from flag3d_exp.benchmark.memory import peak_memory
from flag3d_exp.benchmark.profile import operator_times, peak_rate
from flag3d_exp.config.experiment import Experiment, num_parameters
from flag3d_exp.config.made_up import made_up_batch, made_up_inputs, made_up_split
from flag3d_exp.data.loader import batches, training_shares
from flag3d_exp.engine.optimizer import parameter_groups
from flag3d_exp.engine.parameters import parameter_values
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.engine.step import MicroBatch, StepSettings, TrainStep
from flag3d_exp.models.summary import layers
from flag3d_exp.problems.problem import Arrays
from flag3d_exp.runs.feed import Feed

DATA_SECONDS = 2.0  # duration of the measurement of the data pipeline
DATA_STEPS = 10  # number of training steps for which the wait for data is measured


def prepare(
    experiment: Experiment, kind: str
) -> tuple[dict[str, Callable[[], Any]], dict[str, Any]]:
    """The function for each request, and the facts of the contender.

    The project's network (`ours`) writes clips.npz and weights.npz for a PyTorch network. The other
    formulations have the same settings, so that only their layers make them slower. The kernels are
    those of `models.kernels.using`.

    Args:
        kind: ours, products or naive.
    """
    folder = experiment.folder
    device, device_name = experiment.device()
    model, size = experiment.model(), experiment.config.task.batch_size
    batch, inputs = made_up_batch(experiment, model, size), made_up_inputs(experiment, size)
    if kind == "naive":
        from naive import in_own_layers  # exists only in a checkout

        in_own_layers(model)
    elif kind == "ours":
        files.write_arrays(folder / "clips.npz", arrays_for_others(model, batch, inputs))
        files.write_arrays(folder / "weights.npz", parameter_values(model.get_parameters()))
    groups = parameter_groups(model.get_parameters(), None, False)
    compiled = device.compiles()
    criterion = experiment.problem().criterion(made_up_split(experiment, size).targets)
    optimizer = experiment.build("optimizer")(groups)
    step = TrainStep(model, criterion, optimizer, StepSettings(jit=compiled))
    predict = Predictor(model, compiled)

    def train() -> None:
        step([batch], 1.0)[0].asnumpy()

    facts = {
        "device": device_name,
        "num_parameters": num_parameters(model),
        "clip": list(made_up_split(experiment, 1, training=True).clips(0).shape[1:]),
    }
    if experiment.config.task.estimate and kind == "ours":  # before larger batches raise the peak
        one = made_up_batch(experiment, model, 1)
        step([one], 1.0)[0].asnumpy()
        predict(*made_up_inputs(experiment, 1).values())
        facts["one_clip_bytes"] = peak(device_name)
        facts["multiply_adds"] = layers(model, one.inputs.values(), 1)[0].multiply_adds
    answers = {
        "memory": lambda: peak(device_name),
        "train": train,
        "infer": lambda: predict(*inputs.values()) is None,
        "data": lambda: of_data(experiment, model, step),
        "product": peak_rate,
        "profile": lambda: operator_times(
            train, layers(model, batch.inputs.values(), 1)[0].multiply_adds
        ),
    }
    return answers, facts


def peak(device_name: str) -> int:
    """The peak memory of the process in bytes, of the machine or of the accelerator."""
    return peak_memory() if device_name == "CPU" else ms.runtime.max_memory_allocated()


def arrays_for_others(model: nn.Cell, batch: MicroBatch, inputs: Arrays) -> Arrays:
    """What the contenders of other frameworks take of a network that classifies; else {}.

    `train` and `infer` (N, M, T, V, C), `labels` (N,), and for a heatmap network its inputs in
    other frameworks, `<split>_heatmaps` (N, V, T, H, W).

    Args:
        inputs: of inference.
    """
    if "label" not in batch.targets:
        return {}
    found = {
        "train": np.asarray(batch.inputs["keypoints"]),
        "infer": inputs["keypoints"],
        "labels": np.asarray(batch.targets["label"]),
    }
    backbone = getattr(model, "backbone")  # noqa: B009  of a type that pyright does not know
    if not hasattr(backbone, "heatmaps"):
        return found
    for split, training in (("train", True), ("infer", False)):
        n, _, t, _, _ = found[split].shape
        frames = backbone.set_train(training).heatmaps(Tensor(found[split])).asnumpy()
        volumes = frames.reshape(n, t, *frames.shape[1:]).transpose(0, 2, 1, 3, 4)
        found[f"{split}_heatmaps"] = np.ascontiguousarray(volumes)
    return found


def of_data(experiment: Experiment, model: nn.Cell, step: TrainStep) -> dict[str, float]:
    """Clips per second of the data pipeline, and the share of training time that waits for it."""
    dataset = experiment.datasets(["train"])["train"]
    task = experiment.config.task
    size, workers = task.batch_size, task.num_workers
    count, spent, epoch = 0, 0.0, 0
    while spent < DATA_SECONDS:
        order = training_shares(len(dataset), size, experiment.seed, epoch).ravel()
        begin = time.perf_counter()
        count += sum(len(b.labels) for b in batches(dataset, order, size, workers))
        spent, epoch = spent + time.perf_counter() - begin, epoch + 1
    passes = -(-(DATA_STEPS + 1) * size // len(dataset))
    feed = Feed(
        dataset,
        experiment.problem(),
        model,
        size,
        seed=experiment.seed,
        num_workers=workers,
        limit=DATA_STEPS + 1,
        repeat=passes,
    )
    waited = trained = 0.0
    with closing(feed(0)) as updates:
        for number in range(DATA_STEPS + 1):
            begin = time.perf_counter()
            batch = next(updates)
            ready = time.perf_counter()
            step(batch.micro_batches, 1.0)[0].asnumpy()
            if number:  # the first step waits for the workers to start
                waited += ready - begin
                trained += time.perf_counter() - begin
    return {"clips_per_second": count / spent, "waiting_share": waited / trained}
