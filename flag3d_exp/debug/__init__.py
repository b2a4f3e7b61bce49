"""Looking at a training run instead of training: `debug=overfit`, `profile`, ..."""
