"""The networks, one file each: keypoints in, logits out."""
