"""Training, evaluation and checkpoints of any model on any batches."""
