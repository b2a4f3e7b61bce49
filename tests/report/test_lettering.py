"""Whatever letters users' names are of, every figure is drawn, and shows them as they are."""

from pathlib import Path

import matplotlib
import numpy as np
import optuna
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from flag3d_exp.data.annotations import Recording
from flag3d_exp.report import figures, lettering
from flag3d_exp.report.explanation import explanation_figure
from flag3d_exp.report.inspection.pictures import sheets
from flag3d_exp.report.lettering import legible
from flag3d_exp.results.attribution import DeletionCheck
from flag3d_exp.results.intervals import Estimate
from flag3d_exp.results.metrics import Calibration
from flag3d_exp.skeletons.layout import Layout
from flag3d_exp.sweep.results import draw_plots
from flag3d_exp.sweep.trial_records import TrialRecords

# A broken formula, one that would be typeset, an escape, markup, and letters of no font at all.
NAMES = [r"$\frac{1$", r"$x^2$", "\x1b[2Jred", "<b>bold</b>", "a\u0378b", "50 % & _more_"]
SHOWN = [r"$\frac{1$", r"$x^2$", r"\x1b[2Jred", "<b>bold</b>", r"a\u0378b", "50 % & _more_"]
HALF = Estimate(0.5, 0.4, 0.6)


@pytest.fixture(autouse=True)
def fresh_fonts(monkeypatch):
    """The fonts that matplotlib brings, and nothing remembered of others."""
    listed = [font for font in font_manager.fontManager.ttflist if "matplotlib" in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", listed)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    for known in (lettering._letters, lettering._letters_of_new_fonts, lettering._warn):
        known.cache_clear()


def written(figure: Figure) -> set[str]:
    """Every text of a figure that was drawn without a failure and without an empty box."""
    figure.canvas.draw()  # warnings of missing letters are errors
    return {text.get_text() for text in figure.findobj(Text)}


def made_up(name: str) -> Recording:
    return Recording(name, 0, np.random.default_rng(0).random((1, 9, 6, 3), np.float32))


LAYOUT = Layout("mine", tuple(NAMES), (-1, 0, 1, 2, 3, 4), (), ((0, 1), (1, 2)), 0, ((1, 0),))
CHECK = DeletionCheck(np.linspace(1, 0, 7), np.linspace(1, 0.5, 7))
BINS = Calibration(np.array([1, 1]), np.array([0.2, 0.8]), np.array([0.1, 0.9]))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.curves_figure({f"{name}/loss": [(1, 1.0)] for name in NAMES}),
        lambda: figures.confusion_figure(np.eye(6), NAMES),
        lambda: figures.accuracy_figure(NAMES, {name: [HALF] * 6 for name in NAMES}),
        lambda: figures.gap_figure(NAMES, {name: [HALF] * 6 for name in NAMES}),
        lambda: figures.reliability_figure(dict.fromkeys(NAMES, BINS)),
        lambda: explanation_figure(
            " ".join(NAMES), made_up("x"), LAYOUT, np.ones((9, 6), np.float32), CHECK
        ),
        lambda: next(sheets(dict(enumerate(map(made_up, NAMES))), NAMES, LAYOUT, 2)),
    ],
)
def test_names_in_figures_are_text(draw):
    found = " ".join(written(draw()))
    for name in SHOWN:
        assert name in found


def test_a_studys_plots_are_drawn_whatever_its_parameters_are_called(tmp_path):
    study = optuna.create_study()

    def objective(trial: optuna.Trial) -> float:
        chosen = trial.suggest_categorical(r"$\frac{1$", [r"$\sqrt{", "b"])
        return trial.suggest_float("rate", 1e-4, 1, log=True) + (chosen == "b")

    study.optimize(objective, n_trials=5)
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "flag3d_exp.files.write_figure",
            lambda path, figure, **_: drawn.append((path.stem, written(figure))),
        )
        draw_plots(TrialRecords(study, study._storage), tmp_path, ["loss"])
    texts = dict(drawn)
    assert {"slice", "parallel_coordinate", "history"} <= texts.keys()
    assert r"$\frac{1$" in texts["slice"]
    assert not any("mathdefault" in text for found in texts.values() for text in found)


def test_a_letter_without_a_font_is_drawn_as_its_number_and_that_is_said_once(caplog):
    assert legible("深蹲") == r"\u6df1\u8e72"
    assert legible("俯卧撑") == r"\u4fef\u5367\u6491"
    assert len(caplog.records) == 1
    assert "Noto Sans CJK" in caplog.text


def test_letters_of_an_installed_font_are_drawn_with_it(tmp_path, caplog):
    font_manager.fontManager.addfont(made_font(tmp_path / "font.ttf", "深蹲"))
    figure = figures.confusion_figure(np.eye(2), ["深蹲", "Lunges"])
    assert "深蹲" in written(figure)
    assert not caplog.records


def test_a_font_that_was_installed_since_matplotlib_looked_is_found(tmp_path, monkeypatch):
    path = made_font(tmp_path / "font.ttf", "深蹲")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path), "gone.ttf"])
    assert "深蹲" in written(figures.confusion_figure(np.eye(2), ["深蹲", "Lunges"]))


def test_the_settings_of_other_figures_stay_as_they_are():
    before = dict(matplotlib.rcParams)
    figures.confusion_figure(np.eye(2), ["深蹲", "$"])
    assert dict(matplotlib.rcParams) == before


def made_font(path: Path, letters: str) -> Path:
    """A font of the name that is looked for first, with a square for each letter."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"u{ord(letter):x}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):x}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (900, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": lettering.WIDE_FONTS[0], "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path
