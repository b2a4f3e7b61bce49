"""From numbers to figures, tables and pages; given plain values, it knows no run and no network."""

from flag3d_exp.report.figures import confusion_figure, curves_figure

__all__ = ["confusion_figure", "curves_figure"]
