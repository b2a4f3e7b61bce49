"""Inspection of a dataset: checks before training, and pictures."""
