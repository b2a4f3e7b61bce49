"""Recordings without the scores that a network was trained with, in the tasks that use it."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from flag3d_exp.config.experiment import Experiment
from flag3d_exp.config.restore import restored_model
from flag3d_exp.data.annotations import Recording
from flag3d_exp.data.dataset import ClipDataset
from flag3d_exp.data.pipeline import GraphPipeline
from flag3d_exp.data.transforms import Stream
from flag3d_exp.engine.checkpoint import Checkpoint
from flag3d_exp.errors import UserError


def test_a_network_trained_with_scores_judges_no_recording_without():
    """Evaluation, prediction, explanation and export restore their networks here."""
    bare = Recording("bare", 0, np.ones((1, 5, 17, 2), np.float32))
    pipeline = GraphPipeline("coco", score_channel=True)
    experiment = Experiment(OmegaConf.create(), Path(), {})
    with pytest.raises(UserError, match="'bare': it has no `scores`"):
        restored_model(
            experiment,
            Checkpoint({}, meta={"scored": True}),
            [ClipDataset([bare], pipeline, Stream("joint"))],
        )
