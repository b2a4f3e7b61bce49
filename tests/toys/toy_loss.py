"""The loss of the toy problem."""

from mindspore import nn, ops


class SquaredError(nn.Cell):
    """The mean over clips."""

    counts = ("errors",)

    def construct(self, outputs, length):
        """outputs (N, 1), length (N,)."""
        error = outputs.squeeze(1) - length
        return ops.square(error).mean(), (ops.abs(error).sum(),)

    def metrics(self, counts, num_clips):
        """`train/error`."""
        return {"error": counts["errors"] / num_clips}
