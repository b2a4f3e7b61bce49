"""Network architectures, one file each, and their layers and heads."""

import os

os.environ.setdefault("GLOG_v", "3")  # set before MindSpore's import: it warns of absent devices
