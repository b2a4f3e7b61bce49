"""What `task=...` can be, one file each."""
