"""Sentences about classes, and their sentence embeddings."""
