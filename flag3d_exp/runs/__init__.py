"""A run on disk and in MLflow: its folder, files, references, tracking and resuming."""
