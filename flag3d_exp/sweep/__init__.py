"""Sweeps: the driver of an Optuna study or a grid, and the job's side of a trial."""
