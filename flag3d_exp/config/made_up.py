"""Clips and batches of made-up recordings, for tables and benchmarks that need no data.

The recordings are noise in the form of the configured dataset. The pipeline and the problem treat
them as real ones, without random changes from `augment`.
"""

from typing import TYPE_CHECKING

import numpy as np

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.skeletons.layout import load_layout

if TYPE_CHECKING:
    from mindspore import nn

    from flag3d_exp.engine.step import MicroBatch

IMAGE = (720, 1280)  # height and width in pixels, for 2D recordings


def made_up_split(experiment: Experiment, count: int, training: bool = False) -> ClipDataset:
    """A split of `count` recordings, each as long as a clip, with one repetition."""
    cfg, rng = experiment.config, np.random.default_rng(0)
    dataset, pipeline = experiment.build("dataset"), experiment.build("pipeline")
    frames, joints = pipeline.clip_len, load_layout(cfg.dataset.layout).num_joints
    flat = dataset.num_coordinates == 2 or pipeline.needs_image
    shape = (cfg.dataset.num_persons, frames, joints, 2 if flat else 3)
    recordings = []
    for number in range(count):
        keypoints = rng.uniform(0, IMAGE[0], shape) if flat else rng.standard_normal(shape)
        recordings.append(
            Recording(
                f"made_up_{number}",
                int(rng.integers(cfg.dataset.num_classes)),
                keypoints.astype(np.float32),
                scores=rng.uniform(0.5, 1, shape[:3]).astype(np.float32),
                image_shape=IMAGE if flat else None,
                repetitions=np.array([[0, frames]]),
            )
        )
    stream = experiment.build("stream")
    return ClipDataset(recordings, pipeline, stream, seed=experiment.seed, training=training)


def made_up_batch(experiment: Experiment, network: "nn.Cell", count: int) -> "MicroBatch":
    """A training batch of `count` clips."""
    from flag3d_exp.runs.feed import Feed

    split = made_up_split(experiment, count, training=True)
    feed = Feed(split, experiment.problem(), network, count, seed=experiment.seed)
    return next(feed(0)).micro_batches[0]


def made_up_inputs(experiment: Experiment, count: int) -> dict[str, np.ndarray]:
    """The network's inputs for a clip of each of `count` recordings in an evaluation."""
    split = made_up_split(experiment, count)
    clips = np.stack([split.clips(index)[0] for index in range(count)])
    return experiment.problem().test_inputs(clips, split.targets)
