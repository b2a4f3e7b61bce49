"""Recordings, from files to batches. All in NumPy, except the loader, which uses MindSpore."""
