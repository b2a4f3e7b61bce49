"""Debugging of a training run instead of training: `debug=overfit`, `debug=profile`, ..."""
