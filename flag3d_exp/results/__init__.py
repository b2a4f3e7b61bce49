"""Evaluate predictions: metrics, intervals, comparison, fusion, attribution. NumPy only."""
