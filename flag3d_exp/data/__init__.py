"""Recordings, from files to batches; NumPy, but for the loader."""
