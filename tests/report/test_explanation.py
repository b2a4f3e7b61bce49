import numpy as np
import pytest

from flag3d_exp.data.annotations import Recording
from flag3d_exp.report.explanation import NUM_POSES, explanation_figure
from flag3d_exp.results.attribution import DeletionCheck
from flag3d_exp.skeletons.layout import load_layout

COCO = load_layout("coco")


def test_an_explanation_shows_poses_joints_time_and_deletion():
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(10, 400, (1, 30, 17, 2)).astype(np.float32)
    attribution = np.zeros((12, 17))
    attribution[:, 9] = 0.5
    attribution[:, 10] = -0.1
    check = DeletionCheck(np.linspace(1, 0, 18), np.ones(18))
    figure = explanation_figure("squat", Recording("r", 0, keypoints), COCO, attribution, check)
    figure.draw_without_rendering()
    *poses, joints, time, deletion = figure.axes
    assert len(poses) == NUM_POSES
    names = [tick.get_text() for tick in joints.get_yticklabels()]
    assert names[-1] == "left wrist" and names[0] == "right wrist"
    assert joints.patches[-1].get_width() == 6
    np.testing.assert_array_equal(time.images[0].get_array(), attribution.T)
    legend = [text.get_text() for text in deletion.get_legend().get_texts()]
    assert legend == ["most important first (mean 0.50)", "random order (mean 1.00)"]


@pytest.mark.parametrize("seen", [(), (3, 4)])
def test_frames_without_a_visible_joint_are_drawn_empty(seen):
    keypoints = np.zeros((2, 30, 17, 2), np.float32)
    keypoints[1, list(seen)] = np.random.default_rng(0).uniform(10, 400, (len(seen), 17, 2))
    check = DeletionCheck(np.ones(18), np.ones(18))
    recording = Recording("r", 0, keypoints)
    explanation_figure("x", recording, COCO, np.zeros((6, 17)), check).draw_without_rendering()
