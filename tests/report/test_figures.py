import numpy as np
import pytest
from matplotlib.figure import Figure

from flag3d_exp.report import figures
from flag3d_exp.results import metrics
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.published import BODY_PARTS, CLASSES


def texts(figure: Figure) -> list[str]:
    """Everything written in a figure, drawn once so that labels exist."""
    figure.draw_without_rendering()
    found = []
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [tick.get_text() for tick in axes.get_xticklabels() + axes.get_yticklabels()]
    return found


def test_curves_have_one_panel_per_quantity():
    curves = {
        "train/loss": [(1, 2.0), (2, 1.0)],
        "val/loss": [(2, 1.5)],
        "val/top1": [(2, 50.0)],
        "lr": [(1, 0.1), (2, 0.0)],
    }
    figure = figures.curves_figure(curves)
    assert [axes.get_title() for axes in figure.axes] == ["loss", "top-1 (%)", "learning rate"]
    loss = figure.axes[0].lines
    assert [line.get_label() for line in loss] == ["train/loss", "val/loss"]
    np.testing.assert_array_equal(loss[0].get_ydata(), [2.0, 1.0])
    assert loss[0].get_linestyle() != loss[1].get_linestyle()
    assert loss[0].get_color() != loss[1].get_color()


def test_percents_end_at_a_hundred_and_losses_where_they_end():
    curves = {"val/top5": [(1, 100.0), (2, 100.0)], "val/loss": [(1, 104.0), (2, 3.0)]}
    loss, top5 = figures.curves_figure(curves).axes
    assert top5.get_ylim()[1] == 101
    assert loss.get_ylim()[1] > 104


def test_a_confusion_matrix_shows_percent_of_the_label():
    written = texts(figures.confusion_figure(np.array([[3, 1], [0, 0]]), ["jump", "sit"]))
    assert {"75", "25", "jump", "sit"} <= set(written)
    assert "0" not in written


def test_flag3d_classes_stand_by_body_part():
    shuffled = list(reversed(CLASSES))
    order, parts = figures.by_body_part(shuffled)
    assert list(dict.fromkeys(parts)) == list(BODY_PARTS)
    assert [shuffled[label] for label in order][:1] == ["Push-ups"]
    figure = figures.confusion_figure(np.eye(60, dtype=int), shuffled)
    assert set(BODY_PARTS) <= {
        tick.get_text() for tick in figure.axes[0].child_axes[0].get_yticklabels()
    }


def test_other_classes_keep_their_order():
    assert figures.by_body_part(["b", "a"]) == ([0, 1], ["", ""])


def test_sixty_classes_have_room_for_their_names():
    figure = figures.confusion_figure(np.eye(60, dtype=int), CLASSES)
    figure.draw_without_rendering()
    labels = figure.axes[0].get_yticklabels()
    boxes = [label.get_window_extent() for label in labels]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in zip(boxes, boxes[1:], strict=False))


def test_bars_of_two_runs_stand_apart_and_carry_their_intervals():
    runs = {
        "joint": [Estimate(0.5, 0.4, 0.6), None],
        "bone": [Estimate(0.8, 0.7, 0.9), Estimate(0.2, 0.1, 0.4)],
    }
    axes = figures.accuracy_figure(["squat", "lunge"], runs).axes[0]
    joint, bone = axes.containers[1], axes.containers[3]
    assert [len(joint), len(bone)] == [1, 2]
    assert joint[0].get_width() == 0.5
    assert joint[0].get_y() + joint[0].get_height() <= bone[0].get_y() + 1e-9
    assert joint[0].get_hatch() != bone[0].get_hatch()


def test_gaps_are_points_with_intervals():
    gaps = {"out_domain": [Estimate(0.17, 0.15, 0.19), None]}
    axes = figures.gap_figure(["overall", "chest"], gaps).axes[0]
    points = axes.containers[0].lines[0]
    assert points.get_xdata() == pytest.approx([0.17])
    assert points.get_ydata() == pytest.approx([0])


def test_reliability_names_the_calibration_error():
    scores = np.array([[0.55, 0.45], [0.55, 0.45], [0.95, 0.05], [0.85, 0.15]])
    bins = metrics.calibration(scores, np.array([0, 1, 0, 0]), num_bins=5)
    axes = figures.reliability_figure({"joint": bins}).axes[0]
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [0.55, 0.9])
    assert axes.lines[1].get_label() == "joint (ECE 7.5 %)"


def test_long_names_are_cut_with_a_sign():
    assert figures.shorten("Squat") == "Squat"
    assert figures.shorten("a" * 50, 10) == "a" * 9 + "…"


def test_a_confusion_matrix_of_many_classes_has_a_bounded_size_and_no_figures_in_its_cells():
    names = [f"class {number}" for number in range(1000)]
    figure = figures.confusion_figure(np.eye(1000, dtype=int), names)
    assert max(figure.get_size_inches()) < 25
    assert len(figure.axes[0].texts) == 0
    assert len(figure.axes[0].get_yticks()) == 100
