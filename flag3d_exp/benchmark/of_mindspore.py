"""The project's network as a contender, and other formulations of it in MindSpore."""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn
from omegaconf import DictConfig

from flag3d_exp import files
from flag3d_exp.benchmark.memory import peak_memory
from flag3d_exp.benchmark.profile import operator_times, peak_rate
from flag3d_exp.config.experiment import Experiment, built_object, num_parameters
from flag3d_exp.data.loader import batches, training_shares
from flag3d_exp.engine.optimizer import parameter_groups
from flag3d_exp.engine.parameters import parameter_values
from flag3d_exp.engine.predict import Predictor
from flag3d_exp.engine.step import MicroBatch, StepSettings, TrainStep
from flag3d_exp.models.summary import layers
from flag3d_exp.skeletons.layout import load_layout

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
    model = experiment.model()
    clips = made_up_clips(experiment.config)
    if kind == "naive":
        from naive import in_own_layers  # exists only in a checkout

        in_own_layers(model)
    elif kind == "ours":
        files.write_arrays(folder / "clips.npz", {**clips, **heatmaps(model, clips)})
        files.write_arrays(folder / "weights.npz", parameter_values(model.get_parameters()))
    groups = parameter_groups(model.get_parameters(), None, False)
    compiled = device.compiles()
    criterion = experiment.problem().criterion({"label": clips["labels"]})
    optimizer = experiment.build("optimizer")(groups)
    step = TrainStep(model, criterion, optimizer, StepSettings(jit=compiled))
    predict = Predictor(model, compiled)
    batch = MicroBatch({"keypoints": clips["train"]}, {"label": clips["labels"]})

    def train() -> None:
        step([batch], 1.0)[0].asnumpy()

    facts = {
        "device": device_name,
        "num_parameters": num_parameters(model),
        "clip": list(clips["train"].shape[1:]),
    }
    if experiment.config.task.estimate and kind == "ours":  # before larger batches raise the peak
        one = {"label": clips["labels"][:1]}
        step([MicroBatch({"keypoints": clips["train"][:1]}, one)], 1.0)[0].asnumpy()
        predict(clips["infer"][:1])
        facts["one_clip_bytes"] = peak(device_name)
        facts["multiply_adds"] = layers(model, clips["train"][:1].shape, 1)[0].multiply_adds
    answers = {
        "memory": lambda: peak(device_name),
        "train": train,
        "infer": lambda: predict(clips["infer"]) is None,
        "data": lambda: of_data(experiment, step),
        "product": peak_rate,
        "profile": lambda: operator_times(
            train, layers(model, clips["train"].shape, 1)[0].multiply_adds
        ),
    }
    return answers, facts


def peak(device_name: str) -> int:
    """The peak memory of the process in bytes, of the machine or of the accelerator."""
    return peak_memory() if device_name == "CPU" else ms.runtime.max_memory_allocated()


def made_up_clips(cfg: DictConfig) -> dict[str, np.ndarray]:
    """`train` and `infer` clips (N, M, T, V, C) in the pipeline's shape, and `labels` (N,).

    Coordinates are noise, in pixels if the network draws heatmaps.
    """
    rng = np.random.default_rng(0)
    layout, count = load_layout(cfg.dataset.layout), cfg.task.batch_size
    persons, frames, joints = cfg.dataset.num_persons, cfg.pipeline.clip_len, layout.num_joints
    made = {"labels": rng.integers(0, cfg.dataset.num_classes, count).astype(np.int32)}
    if "train_size" in cfg.pipeline:
        for split, size in (("train", cfg.pipeline.train_size), ("infer", cfg.pipeline.test_size)):
            uniform = rng.uniform(0, 1, (count, persons, frames, joints, 3))
            made[split] = (uniform * [size, size, 1]).astype(np.float32)
    else:
        num_coordinates = built_object(cfg.dataset).num_coordinates
        channels = built_object(cfg.pipeline).num_channels(num_coordinates)
        shape = (count, persons, frames, joints, channels)
        made["train"] = made["infer"] = rng.standard_normal(shape).astype(np.float32)
    return made


def heatmaps(model: nn.Cell, clips: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of a heatmap network in other frameworks: `<split>_heatmaps` (N, V, T, H, W)."""
    backbone = getattr(model, "backbone")  # noqa: B009  of a type that pyright does not know
    if not hasattr(backbone, "heatmaps"):
        return {}
    found = {}
    for split, training in (("train", True), ("infer", False)):
        n, _, t, _, _ = clips[split].shape
        frames = backbone.set_train(training).heatmaps(Tensor(clips[split])).asnumpy()
        volumes = frames.reshape(n, t, *frames.shape[1:]).transpose(0, 2, 1, 3, 4)
        found[f"{split}_heatmaps"] = np.ascontiguousarray(volumes)
    return found


def of_data(experiment: Experiment, step: TrainStep) -> dict[str, float]:
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
    shares = training_shares(len(dataset), size, experiment.seed, 0)
    order = np.resize(shares, (DATA_STEPS + 1) * size)
    waited = trained = 0.0
    with closing(batches(dataset, order, size, workers)) as loaded:
        for number in range(DATA_STEPS + 1):
            begin = time.perf_counter()
            batch = next(loaded)
            ready = time.perf_counter()
            one = MicroBatch({"keypoints": batch.clips[:, 0]}, {"label": batch.labels})
            step([one], 1.0)[0].asnumpy()
            if number:  # the first step waits for the workers to start
                waited += ready - begin
                trained += time.perf_counter() - begin
    return {"clips_per_second": count / spent, "waiting_share": waited / trained}
