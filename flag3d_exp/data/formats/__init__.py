"""Readers of file formats with recordings, and their conversion to annotation files."""
