"""Whether a dataset is fit to train on, and what it looks like."""
