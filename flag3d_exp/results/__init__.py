"""What predictions say: metrics, intervals, comparison, fusion, attribution. NumPy only."""
