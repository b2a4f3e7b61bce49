"""Readers of files that anyone may have made: bounded in time and memory, and nothing is run.

They take data out of a container (YAML, JSON, NPZ, pickle, Protocol Buffers) and raise `Malformed`;
who knows what the file should hold turns that into a `UserError`.
"""


class Malformed(Exception):
    """What is wrong with a file, as the end of a sentence."""
