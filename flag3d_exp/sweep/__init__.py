"""Sweeps: the driver of an Optuna study or a grid, and the code of a trial within its job."""
