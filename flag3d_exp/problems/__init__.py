"""What is learned: each problem owns its head, loss, metrics and the format of its predictions."""
