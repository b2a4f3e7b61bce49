"""Readers of the files that recordings come in, and the conversion between them."""
