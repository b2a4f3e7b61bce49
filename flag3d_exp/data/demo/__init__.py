"""The embedded synthetic dataset: bodies, motions, performers and cameras."""
