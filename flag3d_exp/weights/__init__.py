"""Import published weights of other programs without running code from their files.

`builtin.npz` is the checkpoint in the package, `task.checkpoint=builtin`.
"""
