"""The networks, one file each: keypoints in, logits out."""

import os

os.environ.setdefault("GLOG_v", "3")  # before MindSpore is imported: it warns of absent devices
