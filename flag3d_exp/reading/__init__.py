"""Readers of untrusted files: bounded in time and memory, and without running code from them.

They read data from a container (YAML, JSON, NPZ, pickle, Protocol Buffers) and raise `Malformed`.
Callers, which know what the file should contain, convert that to a `UserError`.
"""


class Malformed(Exception):
    """A fault of a file; the message is the end of a sentence."""
