"""The choices of `task=...`, one file each."""
