"""Figures, tables and pages from plain values, independent of runs and networks."""

from flag3d_exp.report.figures import confusion_figure, curves_figure

__all__ = ["confusion_figure", "curves_figure"]
